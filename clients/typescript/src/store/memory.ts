// A store in memory, for tests and for programs that may lose what they know: everything is gone when the process ends. The
// map behind it is also the one of the file store.

import type { Row, ScanOptions, Store, Write } from "./store.js";

/** A map whose keys are in order. */
export class SortedMap {
  private readonly values = new Map<string, unknown>();
  private readonly keys: string[] = [];

  get size(): number {
    return this.keys.length;
  }

  get(key: string): unknown {
    return this.values.get(key);
  }

  set(key: string, value: unknown): void {
    if (!this.values.has(key)) this.keys.splice(this.indexOf(key), 0, key);
    this.values.set(key, value);
  }

  delete(key: string): void {
    if (this.values.delete(key)) this.keys.splice(this.indexOf(key), 1);
  }

  scan(from: string, to: string, { reverse = false, limit = Number.POSITIVE_INFINITY }: ScanOptions = {}): Row[] {
    const [first, end] = [this.indexOf(from), this.indexOf(to)];
    const keys = reverse
      ? this.keys.slice(Math.max(first, end - limit), end).reverse()
      : this.keys.slice(first, Math.min(end, first + limit));
    return keys.map((key) => [key, this.values.get(key)]);
  }

  rows(): Row[] {
    return this.keys.map((key) => [key, this.values.get(key)]);
  }

  /** Where the first key that is not below this one stands. */
  private indexOf(key: string): number {
    let [low, high] = [0, this.keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class MemoryStore implements Store {
  private readonly map = new SortedMap();

  get(key: string): Promise<unknown> {
    return Promise.resolve(structuredClone(this.map.get(key)));
  }

  scan(from: string, to: string, options?: ScanOptions): Promise<Row[]> {
    return Promise.resolve(structuredClone(this.map.scan(from, to, options)) as Row[]);
  }

  async commit(writes: readonly Write[]): Promise<void> {
    for (const [key, value] of structuredClone(writes)) {
      if (value === undefined) this.map.delete(key);
      else this.map.set(key, value);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
