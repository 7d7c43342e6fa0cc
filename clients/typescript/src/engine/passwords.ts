// What this device may be let in with, in the order in which the engine tries it. More than one while it is not certain which is
// good: one that it was given and has not used may have been replaced since by a repeated call, and an app may bring another
// than the store has.

export class Passwords {
  private all: string[];
  private at = 0;

  /** The same twice counts once. */
  constructor(given: readonly string[]) {
    this.all = [...new Set(given)];
  }

  /** For the next connection. */
  get current(): string {
    return this.all[this.at] ?? "";
  }

  /** The server does not take the current one. Whether there is another; otherwise they are tried once more, later. */
  refused(): boolean {
    this.at = (this.at + 1) % Math.max(1, this.all.length);
    return this.at > 0;
  }

  /** The server takes the current one, and no other is needed. Returns it if that was not certain before. */
  accepted(): string | undefined {
    if (this.all.length < 2) return undefined;
    const { current } = this;
    [this.all, this.at] = [[current], 0];
    return current;
  }

  /** The device was given a new one, which it has not used. */
  renewed(password: string): void {
    this.all = [...new Set([password, this.current])];
    this.at = 0;
  }
}
