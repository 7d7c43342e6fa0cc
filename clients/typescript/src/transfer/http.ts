// Bytes to the object store and back, by links that the server has signed. In a browser by XMLHttpRequest, which tells how far an
// upload is; elsewhere by fetch, which does not.

import type { Link } from "../gen/messages.js";

/** Milliseconds of silence after which a request is given up. */
const SILENCE_MS = 60_000;
/** A browser sets these itself, to what is signed. */
const OWN_HEADERS = ["content-length", "host"];

/** How many bytes are done, of those that were given to the network. */
export type Progress = (bytes: number) => void;

/** The HTTP status; 0: no answer. */
export function put(link: Link, bytes: Uint8Array, progress: Progress, signal: AbortSignal): Promise<number> {
  return typeof XMLHttpRequest === "undefined" ? putByFetch(link, bytes, progress, signal) : putByXhr(link, bytes, progress, signal);
}

function headersOf(link: Link): [name: string, value: string][] {
  const given = link.headers.filter(({ name }) => !OWN_HEADERS.includes(name.toLowerCase()));
  return given.map(({ name, value }) => [name, value]);
}

async function putByFetch(link: Link, bytes: Uint8Array, progress: Progress, signal: AbortSignal): Promise<number> {
  const { method, url } = link;
  try {
    const body = bytes as Uint8Array<ArrayBuffer>;
    const response = await fetch(url, { method, headers: headersOf(link), body, signal: anyOf(signal, SILENCE_MS * 5) });
    await response.arrayBuffer();
    progress(bytes.length);
    return response.status;
  } catch {
    return 0;
  }
}

function putByXhr(link: Link, bytes: Uint8Array, progress: Progress, signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let silence: ReturnType<typeof setTimeout> | undefined;
    const abort = () => request.abort();
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(abort, SILENCE_MS);
    };
    request.open(link.method, link.url);
    for (const [name, value] of headersOf(link)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => {
      heard();
      progress(loaded);
    };
    request.onloadend = () => {
      clearTimeout(silence);
      signal.removeEventListener("abort", abort);
      resolve(request.status);
    };
    signal.addEventListener("abort", abort);
    heard();
    request.send(bytes as Uint8Array<ArrayBuffer>);
  });
}

/** Aborted with this signal, or after so many milliseconds. `AbortSignal.any` came with Node 20. */
function anyOf(signal: AbortSignal, ms: number): AbortSignal {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ms);
  (timer as { unref?(): void }).unref?.();
  signal.addEventListener("abort", () => controller.abort());
  return controller.signal;
}
