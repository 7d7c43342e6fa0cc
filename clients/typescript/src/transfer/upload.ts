// One file on its way up. Every step may be repeated: what is known of an upload stands in the file's row, and the server says which
// parts it has.

import { create } from "../protobuf.js";
import { sha256 } from "@noble/hashes/sha2";

import { type FileFailure, GodwitError } from "../errors.js";
import { CompleteUploadSchema, CreateUploadSchema, GetUploadSchema, type Link, type Upload } from "../gen/messages.js";
import type { Caller } from "../groups.js";
import type { FileRecord } from "../ledger/record.js";
import { plain } from "../wire.js";
import { put } from "./http.js";
import type { OpenFile } from "./source.js";

/** Read and hashed at a time, in bytes. */
const PIECE = 1 << 20;

/** Why an upload ended without success. */
export class UploadFailed extends Error {
  constructor(
    readonly failure: FileFailure,
    /** It may be tried again by itself. */
    readonly again: boolean,
  ) {
    super(failure.kind);
  }
}

/** How far it is: bytes that were given to the network. */
export type UploadProgress = (phase: "hashing" | "uploading", bytes: number) => void;

export async function hash(file: OpenFile, progress: UploadProgress, signal: AbortSignal): Promise<Uint8Array> {
  const digest = sha256.create();
  for (let at = 0; at < file.size; at += PIECE) {
    if (signal.aborted) throw new UploadFailed({ kind: "cancelled" }, false);
    digest.update(await read(file, at, Math.min(at + PIECE, file.size)));
    progress("hashing", Math.min(at + PIECE, file.size));
  }
  return digest.digest();
}

async function read(file: OpenFile, from: number, to: number): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await file.read(from, to);
  } catch (error) {
    throw new UploadFailed({ kind: "unreadable", text: error instanceof Error ? error.message : String(error) }, false);
  }
  if (bytes.length !== to - from) throw new UploadFailed({ kind: "changed" }, false);
  return bytes;
}

/** Brings the file up. Returns its id on the server. @throws UploadFailed, GodwitError */
export async function upload(
  call: Caller,
  record: FileRecord & { sha256: Uint8Array },
  file: OpenFile,
  progress: UploadProgress,
  signal: AbortSignal,
): Promise<string> {
  const { sha256: digest, size, contentType, to } = record;
  const conversation = "conversation" in to ? BigInt(to.conversation) : 0n;
  const announced = create(CreateUploadSchema, { sha256: digest, size: BigInt(size), contentType, conversation });
  let state = await answer(call({ case: "createUpload", value: announced }));
  while (!state.complete) {
    if (state.link) await send(state.link, file, 0, size, progress, signal);
    else if (state.parts.length > 0) await sendParts(state, file, progress, signal);
    if (!state.link && (await hasMore(call, state))) {
      state = await answer(call({ case: "getUpload", value: create(GetUploadSchema, { media: state.media }) }));
      continue;
    }
    await answer(call({ case: "completeUpload", value: create(CompleteUploadSchema, { media: state.media }) }));
    return state.media;
  }
  return state.media;
}

/** Links come for 16 parts at a time. */
async function hasMore(call: Caller, state: Upload): Promise<boolean> {
  const now = await answer(call({ case: "getUpload", value: create(GetUploadSchema, { media: state.media }) }));
  return now.parts.length > 0;
}

async function sendParts(state: Upload, file: OpenFile, progress: UploadProgress, signal: AbortSignal): Promise<void> {
  const partBytes = plain(state.partBytes);
  for (const { part, link } of state.parts) {
    const from = (part - 1) * partBytes;
    if (!link || part < 1 || from >= file.size) throw new UploadFailed({ kind: "storage", status: 0 }, true);
    await send(link, file, from, Math.min(from + partBytes, file.size), progress, signal);
  }
}

async function send(
  link: Link,
  file: OpenFile,
  from: number,
  to: number,
  progress: UploadProgress,
  signal: AbortSignal,
): Promise<void> {
  const bytes = await read(file, from, to);
  const status = await put(link, bytes, (done) => progress("uploading", from + done), signal);
  if (signal.aborted) throw new UploadFailed({ kind: "cancelled" }, false);
  // Also a link that has expired: the next attempt asks for another.
  if (status < 200 || status > 299) throw new UploadFailed({ kind: "storage", status }, true);
}

async function answer(response: Promise<{ upload?: Upload }>): Promise<Upload> {
  const { upload: state } = await response;
  if (!state) throw new GodwitError("no-answer", "the server does not say how far the upload is");
  return state;
}
