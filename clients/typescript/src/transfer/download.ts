// A file of a message from the object store, by a link that the server has signed. Apart from the client, so that a page may fetch
// it while the client is in a worker of another tab.

import { sha256 } from "@noble/hashes/sha2";

import { fileError } from "../errors.js";
import type { MediaRecord } from "../ledger/record.js";

export { GodwitError } from "../errors.js";

/** Where a file is, for a while. */
export interface DownloadLink {
  url: string;
  /** To be sent exactly like this: they are signed too. */
  headers: [name: string, value: string][];
}

export interface DownloadOptions {
  /** Called with how many bytes have come. */
  progress?: (bytes: number) => void;
  signal?: AbortSignal;
}

/** The file, whole and what was sent, in memory. @throws GodwitError "file" */
export async function download(link: DownloadLink, media: MediaRecord, options: DownloadOptions = {}): Promise<Uint8Array> {
  const { progress = () => undefined, signal } = options;
  let bytes: Uint8Array | number;
  try {
    bytes = await get(link, media.size, progress, signal);
  } catch {
    bytes = 0;
  }
  if (signal?.aborted) throw fileError({ kind: "cancelled" });
  if (typeof bytes === "number") throw fileError({ kind: "storage", status: bytes });
  const digest = sha256(bytes);
  if (media.sha256.length !== digest.length || !media.sha256.every((byte, at) => byte === digest[at])) {
    throw fileError({ kind: "damaged" });
  }
  return bytes;
}

/** A number: the HTTP status of a refusal; 0: it broke off, or is of another size. */
async function get(link: DownloadLink, size: number, progress: (bytes: number) => void, signal?: AbortSignal) {
  const response = await fetch(link.url, { headers: link.headers, signal: signal ?? null });
  if (!response.ok || !response.body) return response.status;
  const whole = new Uint8Array(size);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return at === size ? whole : 0;
    if (at + value.length > size) {
      await reader.cancel();
      return 0;
    }
    whole.set(value, at);
    at += value.length;
    progress(at);
  }
}
