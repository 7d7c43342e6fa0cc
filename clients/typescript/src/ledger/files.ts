// Files that are to be sent, until their message is in the outbox.

import type { FileFailure } from "../errors.js";
import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import { type Draft, queue } from "./outbound.js";
import type { FileRecord } from "./record.js";

/** What became of a file. */
export type FileState =
  | { kind: "waiting" }
  /** Its message has this number. */
  | { kind: "queued"; send: number }
  | { kind: "failed"; failure: FileFailure };

/** What became of this many is kept. */
const OVER_KEPT = 1_000;

/** A file is to be sent. The same `token` twice is one file: its number is returned again. */
export async function add({ tx }: Job, file: FileRecord, token?: string): Promise<number> {
  if (token !== undefined) {
    const known = await tx.get<number>(keys.token(token));
    if (known !== undefined) return known;
  }
  const id = (await tx.number(keys.LAST_FILE)) + 1;
  tx.put(keys.LAST_FILE, id);
  tx.put(keys.file(id), file);
  if (token !== undefined) tx.put(keys.token(token), id);
  return id;
}

/** Files that are to be sent, oldest first. */
export async function files({ tx }: Job): Promise<{ id: number; file: FileRecord }[]> {
  const rows = await tx.scan<FileRecord>(...keys.above(keys.FILES, 0));
  return rows.map(([key, file]) => ({ id: keys.numberOf(key), file }));
}

/** What is known of its upload. False: it was called off. */
export async function learned({ tx }: Job, id: number, known: Pick<FileRecord, "sha256" | "media">): Promise<boolean> {
  const file = await tx.get<FileRecord>(keys.file(id));
  if (!file) return false;
  tx.put(keys.file(id), { ...file, ...known });
  return true;
}

/** The upload is complete: its message goes into the outbox. Returns its number; `undefined`: it was called off. */
export async function uploaded(job: Job, id: number, media: string, now: number): Promise<number | undefined> {
  const file = await job.tx.get<FileRecord>(keys.file(id));
  if (!file) return undefined;
  const { to, name, contentType, size, thumbnail, caption, replyTo } = file;
  const attached = { id: media, name, thumbnail, key: new Uint8Array(), size, contentType };
  const draft: Draft = {
    body: caption,
    expiresInS: 0,
    replyTo,
    media: [{ ...attached, sha256: file.sha256 ?? new Uint8Array() }],
  };
  const send = await queue(job, to, draft, now);
  over(job, id, { kind: "queued", send });
  return send;
}

/** It will not be sent. False: it was sent, or called off. */
export async function failed(job: Job, id: number, failure: FileFailure): Promise<boolean> {
  const file = await job.tx.get<FileRecord>(keys.file(id));
  if (!file) return false;
  over(job, id, { kind: "failed", failure });
  await job.tell({ kind: "file-failed", file: id, to: file.to, name: file.name, failure });
  return true;
}

/** `undefined`: there was none, or it is no longer known. */
export async function fileState({ tx }: Job, id: number): Promise<FileState | undefined> {
  if (await tx.get(keys.file(id))) return { kind: "waiting" };
  return await tx.get<FileState>(keys.numbered(keys.FILES_OVER, id));
}

function over({ tx }: Job, id: number, state: FileState): void {
  tx.delete(keys.file(id));
  tx.put(keys.numbered(keys.FILES_OVER, id), state);
  if (id > OVER_KEPT) tx.delete(keys.numbered(keys.FILES_OVER, id - OVER_KEPT));
}
