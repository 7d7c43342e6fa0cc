// A store in one file, for Node: a journal of commits, and all rows in memory. Each commit is one record, written and synced
// before it returns: length and CRC-32 of what follows (4 bytes each, big-endian), then the writes as `v8.serialize` has them.
// When the file is opened, a record that is cut off or damaged ends the journal: it was never promised. When the journal is
// several times as large as what it says, it is written anew beside itself and put in its place.
//
// One process at a time: the file `<path>.lock` names the process that has it open.

import { constants } from "node:fs";
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { deserialize, serialize } from "node:v8";
import { crc32 } from "./crc32.js";
import { SortedMap } from "./memory.js";
import type { Row, ScanOptions, Store, Write } from "./store.js";

const MAGIC = Buffer.from("godwit client 1\n");
const HEAD_BYTES = 8;
/** A journal is not compacted below this size. */
const COMPACT_BYTES_MIN = 1 << 20;
/** Rows in one record of a compacted journal. */
const ROWS_MAX = 1_000;

export class FileStore implements Store {
  private readonly map = new SortedMap();
  private bytes = 0;
  /** Size after which it is compacted. */
  private compactAt = COMPACT_BYTES_MIN;
  private failed = false;

  private constructor(
    private readonly path: string,
    private file: FileHandle,
  ) {}

  /** Opens the file, or makes it, readable by its owner only. @throws Error: it cannot be read, is none, or is in use. */
  static async open(path: string): Promise<FileStore> {
    await lock(path);
    let file: FileHandle | undefined;
    try {
      file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
      const store = new FileStore(path, file);
      await store.load();
      return store;
    } catch (error) {
      await file?.close();
      await unlock(path);
      throw error;
    }
  }

  get(key: string): Promise<unknown> {
    return Promise.resolve(structuredClone(this.map.get(key)));
  }

  scan(from: string, to: string, options?: ScanOptions): Promise<Row[]> {
    return Promise.resolve(structuredClone(this.map.scan(from, to, options)) as Row[]);
  }

  async commit(writes: readonly Write[]): Promise<void> {
    if (writes.length === 0) return;
    if (this.failed) throw new Error("an earlier write failed: open the file again");
    const bytes = record(writes);
    try {
      await this.append(this.file, bytes, this.bytes);
      await this.file.datasync();
    } catch (error) {
      // What follows would stand behind half a record.
      this.failed = true;
      throw error;
    }
    this.bytes += bytes.length;
    this.apply(structuredClone(writes));
    if (this.bytes >= this.compactAt) await this.compact();
  }

  async close(): Promise<void> {
    await this.file.close();
    await unlock(this.path);
  }

  private apply(writes: readonly Write[]): void {
    for (const [key, value] of writes) {
      if (value === undefined) this.map.delete(key);
      else this.map.set(key, value);
    }
  }

  private async load(): Promise<void> {
    const bytes = await readFile(this.path);
    if (bytes.length < MAGIC.length && MAGIC.subarray(0, bytes.length).equals(bytes)) {
      await this.append(this.file, MAGIC, 0);
      await this.file.datasync();
      await syncFolder(this.path);
      this.bytes = MAGIC.length;
      return;
    }
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error(`${this.path} is no store of this library`);
    let at = MAGIC.length;
    while (at + HEAD_BYTES <= bytes.length) {
      const length = bytes.readUInt32BE(at);
      const end = at + HEAD_BYTES + length;
      // Zeros are what some file systems leave behind a crash.
      if (length === 0 || end > bytes.length) break;
      const body = bytes.subarray(at + HEAD_BYTES, end);
      if (crc32(body) !== bytes.readUInt32BE(at + 4)) break;
      this.apply(deserialize(body) as Write[]);
      at = end;
    }
    await this.file.truncate(at);
    this.bytes = at;
    this.compactAt = Math.max(COMPACT_BYTES_MIN, at * 2);
  }

  private async append(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const done = await file.write(bytes, written, bytes.length - written, at + written);
      written += done.bytesWritten;
    }
  }

  private async compact(): Promise<void> {
    const beside = `${this.path}.new`;
    await rm(beside, { force: true });
    const file = await open(beside, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    let at = 0;
    try {
      const rows = this.map.rows();
      await this.append(file, MAGIC, at);
      at += MAGIC.length;
      for (let first = 0; first < rows.length; first += ROWS_MAX) {
        const bytes = record(rows.slice(first, first + ROWS_MAX));
        await this.append(file, bytes, at);
        at += bytes.length;
      }
      await file.datasync();
      await rename(beside, this.path);
      await syncFolder(this.path);
    } catch {
      // The journal is whole without it.
      await file.close();
      await rm(beside, { force: true });
      this.compactAt = this.bytes * 2;
      return;
    }
    await this.file.close();
    this.file = file;
    this.bytes = at;
    this.compactAt = Math.max(COMPACT_BYTES_MIN, at * 4);
  }
}

function record(writes: readonly Write[]): Uint8Array {
  const body = serialize(writes);
  const bytes = Buffer.alloc(HEAD_BYTES + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.writeUInt32BE(crc32(body), 4);
  body.copy(bytes, HEAD_BYTES);
  return bytes;
}

/** So that a new name is on disk, too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function lockOf(path: string): string {
  return `${path}.lock`;
}

/** Files that this process has open. */
const opened = new Set<string>();

/** @throws Error: a process that is alive has it. */
async function lock(path: string): Promise<void> {
  if (opened.has(path)) throw new Error(`${path} is open already`);
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(lockOf(path), "wx", 0o600);
      await file.writeFile(`${process.pid} ${await startOf(process.pid)}`);
      await file.close();
      opened.add(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const [pid, start] = (await readFile(lockOf(path), "utf8").catch(() => "")).split(" ");
      if (Number(pid) > 0 && isAlive(Number(pid)) && (await startOf(Number(pid))) === start) {
        throw new Error(`${path} is in use by process ${pid}`);
      }
      await rm(lockOf(path), { force: true });
    }
  }
  throw new Error(`${lockOf(path)} cannot be made`);
}

async function unlock(path: string): Promise<void> {
  opened.delete(path);
  await rm(lockOf(path), { force: true });
}

/** When a process began, where the system says so: another process may have the number later. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
