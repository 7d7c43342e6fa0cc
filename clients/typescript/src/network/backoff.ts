// How long to wait before the next connection: exponential, with full jitter, so that a million clients of a server that
// restarts do not come back in step. All times are milliseconds.

/** The first wait is anything up to this. */
const BASE_MS = 500;

export class Backoff {
  private failures = 0;

  constructor(
    private readonly longestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** A connection works, or there is a new network: the next failure is a first one. */
  reset(): void {
    this.failures = 0;
  }

  /** After a failure. */
  next(): number {
    const most = Math.min(BASE_MS * 2 ** Math.min(this.failures, 20), this.longestMs);
    this.failures += 1;
    return this.random() * most;
  }

  /** When the server has said when: within the second before. */
  told(waitMs: number): number {
    return Math.max(0, waitMs - this.random() * 1_000);
  }

  /** When the server has too much to do and could not say how long. */
  busy(): number {
    return this.told(Math.min(5_000 + this.random() * 15_000, this.longestMs));
  }

  /** After a no that will be the same in a moment: at least half of the longest wait. */
  long(): number {
    return this.longestMs * (0.5 + this.random() / 2);
  }
}
