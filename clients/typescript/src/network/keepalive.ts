// How long a connection may be silent before it must be looked after. Networks forget silent connections, each after a
// time of its own, and every ping wakes a radio: so the interval grows while the path holds, and falls when it breaks.
// All times are milliseconds.

/** Pings at an interval before a longer one is tried. */
const HELD = 3;

export class KeepAlive {
  private readonly longestMs: number;
  private current: number;
  /** A silence of this length broke the connection: no interval reaches it again on this network. */
  private ceiling: number;
  private held = 0;

  constructor(
    private readonly firstMs: number,
    longestMs: number,
  ) {
    this.longestMs = Math.max(longestMs, firstMs);
    this.current = firstMs;
    this.ceiling = this.longestMs;
  }

  /** After this much silence: ping. */
  get interval(): number {
    return this.current;
  }

  /** A ping after a silence was answered. */
  answered(): void {
    this.held += 1;
    if (this.held < HELD) return;
    this.held = 0;
    this.current = Math.min(this.current * 1.5, this.longestMs, this.ceiling);
  }

  /** The connection broke, found out after this much silence. Shorter silences prove nothing about silence. */
  broke(silenceMs: number): void {
    this.held = 0;
    if (silenceMs < this.current / 2) return;
    this.ceiling = Math.max(this.current * 0.8, this.firstMs / 2);
    this.current = this.ceiling;
  }

  /** Another network: nothing is known. */
  reset(): void {
    this.current = this.firstMs;
    this.ceiling = this.longestMs;
    this.held = 0;
  }
}
