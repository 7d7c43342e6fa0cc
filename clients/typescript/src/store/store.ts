// Where the client keeps what must survive the app: an ordered map from strings to plain values, with commits. The ledger is
// the only caller, one job after another; what the keys and values mean is its business. Promise: what was committed is there
// after the app, or the device, was killed at any moment; what was not is not there in part.
//
// Values are what structured clones may hold: objects, arrays, strings, numbers, bigints, bytes (`Uint8Array`), in a browser
// also `Blob`. An app may bring a store of its own: `conformance.ts` says whether it is one.

/** A key with its value. Keys are compared by code units, as `<` does. */
export type Row = readonly [key: string, value: unknown];

/** What a commit does with a key; `undefined`: it is removed. */
export type Write = readonly [key: string, value: unknown];

/** Which rows a scan returns. */
export interface ScanOptions {
  /** Highest key first. */
  reverse?: boolean;
  limit?: number;
}

/** An ordered key-value store. A value that was returned is the caller's: changing it does not change the store. */
export interface Store {
  /** The value of a key; `undefined`: there is none. */
  get(key: string): Promise<unknown>;
  /** Rows with `from <= key < to`. */
  scan(from: string, to: string, options?: ScanOptions): Promise<Row[]>;
  /** All of them at once, in order. Durable when it returns; if it fails, nothing was written. */
  commit(writes: readonly Write[]): Promise<void>;
  /** Nothing may be called afterwards. */
  close(): Promise<void>;
}
