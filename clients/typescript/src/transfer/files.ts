// Files: sent like messages, as soon as they are uploaded, and fetched when they are wanted. A file that is to be sent is a row in
// the store; what runs here does what the rows say, and may be stopped at any moment.

import { create } from "../protobuf.js";

import { nowS } from "../engine/connection.js";
import { type EngineShared, Listeners } from "../engine/shared.js";
import { GodwitError, fileError, fileRetryHelps } from "../errors.js";
import { DownloadLinkSchema } from "../gen/messages.js";
import type { Caller } from "../groups.js";
import { type FileState, add, failed, fileState, files, learned, uploaded } from "../ledger/files.js";
import type { FileRecord, MediaRecord, Recipient } from "../ledger/record.js";
import { Backoff } from "../network/backoff.js";
import { type DownloadLink, type DownloadOptions, download } from "./download.js";
import { type FileSource, type OpenFile, type OpenPath, openSource } from "./source.js";
import { UploadFailed, hash, upload } from "./upload.js";

/** Files that are uploaded at a time. */
const AT_ONCE = 2;
/** Longest wait before an upload is tried again, in milliseconds. */
const LONGEST_WAIT_MS = 60_000;
const utf8 = new TextEncoder();

/** A file that an app sends. */
export interface FileDraft {
  /** The file itself, or in Node its path. It must stay as it is until it is sent. */
  file: Blob | string;
  name: string;
  /** Like `image/jpeg`. */
  contentType: string;
  /** The message's body. */
  caption?: string | Uint8Array;
  /** A small picture of it. */
  thumbnail?: Uint8Array;
  /** The place of the message of the same conversation that it answers. */
  replyTo?: number;
  /** See `SendOptions.token`. */
  token?: string;
}

/** A file on its way. */
export interface FileProgress {
  id: number;
  to: Recipient;
  name: string;
  contentType: string;
  size: number;
  caption: Uint8Array;
  thumbnail: Uint8Array;
  queuedAt: number;
  phase: "waiting" | "hashing" | "uploading";
  /** Of this phase. */
  bytes: number;
}

export class Files {
  private readonly running = new Map<number, { abort: AbortController; phase: FileProgress["phase"]; bytes: number }>();
  private readonly progress = new Listeners<void>();
  private stopped = false;
  private looking = false;
  private lookAgain = false;

  /** @internal */
  constructor(
    private readonly shared: EngineShared,
    private readonly call: Caller,
    private readonly openPath: OpenPath | undefined,
  ) {
    shared.wakeTransfers = () => void this.look();
    shared.onStatus.add((status) => status.kind === "online" && void this.look());
  }

  /** Sends a file. When it returns it is in the store that it is to be sent (in a browser the file itself, too); its message goes
   * into the outbox in the commit that ends the upload. Returns its number.
   * @throws GodwitError "file": it cannot be read; "store", "closed" */
  async send(to: Recipient, draft: FileDraft): Promise<number> {
    const source: FileSource =
      typeof draft.file === "string" ? { kind: "path", path: draft.file } : { kind: "blob", blob: draft.file };
    const file = await this.opened(source);
    const { size } = file;
    await file.close();
    const { name, contentType, caption = "", thumbnail = new Uint8Array(), replyTo = 0, token } = draft;
    const record: FileRecord = {
      to,
      source,
      name,
      contentType,
      size,
      thumbnail,
      caption: typeof caption === "string" ? utf8.encode(caption) : caption,
      replyTo,
      queuedAt: nowS(),
    };
    const id = await this.shared.ledger.run((job) => add(job, record, token));
    this.shared.changed();
    void this.look();
    return id;
  }

  /** Files that are still to be sent, oldest first. */
  async list(): Promise<FileProgress[]> {
    const rows = await this.shared.ledger.run(files);
    return rows.map(({ id, file }) => {
      const { to, name, contentType, size, caption, thumbnail, queuedAt } = file;
      const { phase, bytes } = this.running.get(id) ?? { phase: "waiting" as const, bytes: 0 };
      return { id, to, name, contentType, size, caption, thumbnail, queuedAt, phase, bytes };
    });
  }

  /** What became of a file, until a thousand others were sent or given up after it. */
  state(id: number): Promise<FileState | undefined> {
    return this.shared.ledger.run((job) => fileState(job, id));
  }

  /** Calls back when a file is further. Returns what ends that. */
  onProgress(listener: () => void): () => void {
    return this.progress.add(listener);
  }

  /** Calls off a file that is still to be sent. */
  async cancel(id: number): Promise<void> {
    await this.fail(id, { kind: "cancelled" });
    this.running.get(id)?.abort.abort();
  }

  /** Fetches a file of a message: whole, and what was sent. @throws GodwitError "file", and as calls do */
  async fetch(conversation: number, media: MediaRecord, options?: DownloadOptions): Promise<Uint8Array> {
    return await download(await this.link(conversation, media.id), media, options);
  }

  /** A link to a file of a message, for `download`. It holds for a while. @throws as calls do */
  async link(conversation: number, media: string): Promise<DownloadLink> {
    const value = create(DownloadLinkSchema, { media, conversation: BigInt(conversation) });
    const { download: link } = await this.call({ case: "downloadLink", value });
    if (!link) throw fileError({ kind: "storage", status: 0 });
    return { url: link.url, headers: link.headers.map(({ name, value: text }) => [name, text]) };
  }

  /** @internal No more is begun, and what runs is broken off. */
  stop(): void {
    this.stopped = true;
    for (const { abort } of this.running.values()) abort.abort();
  }

  /** Begins what is to be done. */
  private async look(): Promise<void> {
    if (this.looking) {
      this.lookAgain = true;
      return;
    }
    this.looking = true;
    try {
      do {
        this.lookAgain = false;
        if (this.stopped || this.shared.status.kind !== "online") return;
        for (const { id, file } of await this.shared.ledger.run(files)) {
          if (this.running.size >= AT_ONCE) break;
          if (!this.running.has(id)) void this.run(id, file);
        }
      } while (this.lookAgain);
    } catch {
      // The store failed: the next connection looks again.
    } finally {
      this.looking = false;
    }
  }

  private async run(id: number, record: FileRecord): Promise<void> {
    const state = { abort: new AbortController(), phase: "waiting" as FileProgress["phase"], bytes: 0 };
    this.running.set(id, state);
    const report = (phase: "hashing" | "uploading", bytes: number) => {
      Object.assign(state, { phase, bytes });
      this.progress.tell();
    };
    const backoff = new Backoff(LONGEST_WAIT_MS);
    try {
      while (!state.abort.signal.aborted && this.shared.status.kind === "online") {
        if (await this.attempt(id, record, report, state.abort.signal)) break;
        await pause(backoff.next(), state.abort.signal);
      }
    } catch {
      // The client is closed, or its store failed: the next connection goes on.
    } finally {
      this.running.delete(id);
      this.shared.changed();
      void this.look();
    }
  }

  /** Whether it is over, for good or until the next connection. */
  private async attempt(
    id: number,
    record: FileRecord,
    report: (phase: "hashing" | "uploading", bytes: number) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    let file: OpenFile | undefined;
    try {
      file = await this.opened(record.source);
      if (file.size !== record.size) throw new UploadFailed({ kind: "changed" }, false);
      const digest = record.sha256 ?? (await hash(file, report, signal));
      if (!(await this.shared.ledger.run((job) => learned(job, id, { sha256: digest })))) return true;
      const media = await upload(this.call, { ...record, sha256: digest }, file, report, signal);
      await this.shared.ledger.run((job) => uploaded(job, id, media, nowS()));
      this.shared.queued();
      return true;
    } catch (error) {
      if (error instanceof UploadFailed) {
        if (error.again) return false;
        if (error.failure.kind !== "cancelled") await this.fail(id, error.failure);
        return true;
      }
      if (!(error instanceof GodwitError)) throw error;
      if (error.failure) await this.fail(id, error.failure);
      else if (error.refusal && error.kind === "refused") {
        if (error.retryHelps) return false;
        await this.fail(id, { kind: "refused", refusal: error.refusal });
      } else return error.kind === "closed" || error.kind === "not-admitted";
      return true;
    } finally {
      await file?.close().catch(() => undefined);
    }
  }

  private async opened(source: FileSource): Promise<OpenFile> {
    try {
      return await openSource(source, this.openPath);
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") throw fileError({ kind: "gone" });
      throw fileError({ kind: "unreadable", text: error instanceof Error ? error.message : String(error) });
    }
  }

  private async fail(id: number, failure: Parameters<typeof fileRetryHelps>[0]): Promise<void> {
    if (!(await this.shared.ledger.run((job) => failed(job, id, failure)))) return;
    this.shared.changed();
    this.shared.hasNews();
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
