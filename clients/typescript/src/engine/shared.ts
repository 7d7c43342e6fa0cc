// What the engine, the transfers of files and the client that an app holds have in common: the ledger, and who is to be told of
// what. Told is only what is committed.

import type { Ledger } from "../ledger/ledger.js";
import type { SendState } from "../ledger/outbound.js";
import type { Status } from "../status.js";

/** What others do right now. It is not stored, and may be lost. */
export type Signal =
  /** A member of a conversation has published this: typing, for example. */
  | { kind: "live"; conversation: number; member: number; body: Uint8Array }
  /** A contact is online, or was last so many minutes ago (`undefined`: that is not known, or not shown to you). */
  | { kind: "presence"; user: string; online: boolean; lastSeenAgeMin: number | undefined };

type Listener<T> = (value: T) => void;

/** Listeners of one kind of news. */
export class Listeners<T> {
  private readonly all = new Set<Listener<T>>();

  /** Returns what ends it. */
  add(listener: Listener<T>): () => void {
    this.all.add(listener);
    return () => void this.all.delete(listener);
  }

  get isEmpty(): boolean {
    return this.all.size === 0;
  }

  tell(value: T): void {
    for (const listener of [...this.all]) listener(value);
  }
}

export class EngineShared {
  readonly onChange = new Listeners<void>();
  readonly onNews = new Listeners<void>();
  readonly onSignal = new Listeners<Signal>();
  readonly onStatus = new Listeners<Status>();
  /** By number of the send. */
  readonly followed = new Map<number, Listeners<SendState>>();
  /** Set by the engine and by the transfers. */
  wake: () => void = () => undefined;
  wakeTransfers: () => void = () => undefined;
  private current: Status = { kind: "connecting" };

  constructor(readonly ledger: Ledger) {}

  get status(): Status {
    return this.current;
  }

  setStatus(status: Status): void {
    if (this.current.kind === "closed") return;
    this.current = status;
    this.onStatus.tell(status);
  }

  /** What queries show may have changed. */
  changed(): void {
    this.onChange.tell();
  }

  /** There are new events for the app. */
  hasNews(): void {
    this.onNews.tell();
  }

  /** Something is in the outbox. */
  queued(): void {
    this.changed();
    this.wake();
  }

  setState(id: number, state: SendState): void {
    this.followed.get(id)?.tell(state);
  }
}
