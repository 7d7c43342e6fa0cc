// A store in a browser's IndexedDB. A commit is one transaction with `durability: "strict"`, which returns when the data is on
// disk. One client may have it open at a time: in a page the holder of a lock sees to that (see `tabs`).

import { type IDBPDatabase, openDB } from "idb";

import type { Row, ScanOptions, Store, Write } from "./store.js";

const ROWS = "rows";

export class IndexedDbStore implements Store {
  private constructor(private readonly database: IDBPDatabase) {}

  /** Opens the database of this name, or makes it. */
  static async open(name: string): Promise<IndexedDbStore> {
    const database = await openDB(name, 1, {
      upgrade: (fresh) => void fresh.createObjectStore(ROWS),
      // A newer version of the app, or somebody who deletes it, wants it closed.
      blocking: (_from, _to, event) => (event.target as IDBDatabase).close(),
    });
    return new IndexedDbStore(database);
  }

  get(key: string): Promise<unknown> {
    return this.database.get(ROWS, key);
  }

  async scan(from: string, to: string, { reverse = false, limit }: ScanOptions = {}): Promise<Row[]> {
    if (from >= to || limit === 0) return [];
    const { store } = this.database.transaction(ROWS);
    const all = IDBKeyRange.bound(from, to, false, true);
    // The last ones are read like the first ones, from where the first of them stands: a cursor would ask for each of them.
    let first = reverse ? await store.openKeyCursor(all, "prev") : null;
    if (reverse && !first) return [];
    if (first && limit !== undefined && limit > 1) first = await first.advance(limit - 1);
    const start = reverse && first && limit !== undefined ? (first.key as string) : from;
    const range = IDBKeyRange.bound(start, to, false, true);
    const most = reverse ? undefined : limit;
    const [keys, values] = await Promise.all([store.getAllKeys(range, most), store.getAll(range, most)]);
    const rows = keys.map((key, at): Row => [key as string, values[at] as unknown]);
    return reverse ? rows.reverse() : rows;
  }

  async commit(writes: readonly Write[]): Promise<void> {
    const transaction = this.database.transaction(ROWS, "readwrite", { durability: "strict" });
    try {
      for (const [key, value] of writes) {
        void (value === undefined ? transaction.store.delete(key) : transaction.store.put(value, key)).catch(ignored);
      }
    } catch (error) {
      // What cannot be stored is noticed at once; what was written before it must not stay.
      transaction.abort();
      await transaction.done.catch(ignored);
      throw error;
    }
    await transaction.done;
  }

  close(): Promise<void> {
    this.database.close();
    return Promise.resolve();
  }
}

/** The transaction fails with each of its requests. */
function ignored(): void {}
