// One job of the ledger on a store: it reads what it has written itself, and everything it wrote is committed at once or not
// at all. A record that is read twice is the same object.

import type { Row, ScanOptions, Store, Write } from "../store/store.js";

export class Transaction {
  /** What this job has read or written; `undefined`: there is no such row. */
  private readonly known = new Map<string, unknown>();
  private readonly written = new Set<string>();

  constructor(private readonly store: Store) {}

  async get<T>(key: string): Promise<T | undefined> {
    if (!this.known.has(key)) this.known.set(key, await this.store.get(key));
    return this.known.get(key) as T | undefined;
  }

  async number(key: string): Promise<number> {
    return (await this.get<number>(key)) ?? 0;
  }

  put(key: string, value: unknown): void {
    this.known.set(key, value);
    this.written.add(key);
  }

  delete(key: string): void {
    this.put(key, undefined);
  }

  async scan<T>(from: string, to: string, options: ScanOptions = {}): Promise<[key: string, value: T][]> {
    const mine = [...this.written].filter((key) => key >= from && key < to);
    const removed = mine.filter((key) => this.known.get(key) === undefined).length;
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    const wanted = Number.isFinite(limit) ? { ...options, limit: limit + removed } : options;
    const rows = new Map<string, unknown>();
    for (const [key, value] of await this.store.scan(from, to, wanted)) {
      if (!this.known.has(key)) this.known.set(key, value);
      rows.set(key, this.known.get(key));
    }
    for (const key of mine) rows.set(key, this.known.get(key));
    const found = [...rows].filter((row): row is [string, T] => row[1] !== undefined);
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    if (options.reverse) found.reverse();
    return found.slice(0, Math.min(limit, found.length));
  }

  /** The writes, to be committed. */
  writes(): Write[] {
    return [...this.written].map((key): Row => [key, this.known.get(key)]);
  }
}
