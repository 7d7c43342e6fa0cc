// What tabs say to each other on their channel. Each tab gets everything; requests are answered by the tab that has the connection,
// the leader.

import { type ErrorKind, type FileFailure, GodwitError, type Refusal } from "../errors.js";
import type { Signal } from "../engine/shared.js";
import type { Event } from "../ledger/events.js";
import type { Status } from "../status.js";

export type TabMessage =
  /** To the leader. `tab` and `id` together name the request. */
  | { type: "request"; tab: string; id: number; method: string; args: unknown[] }
  | { type: "response"; tab: string; id: number; result?: unknown; error?: PlainError }
  /** This one leads. Of another than before: what was not answered is to be asked again. */
  | { type: "leader"; leader: string }
  /** Is there a leader? */
  | { type: "hello" }
  /** What queries show may have changed. */
  | { type: "change" }
  /** A file is further. */
  | { type: "progress" }
  | { type: "status"; status: Status }
  | { type: "signal"; signal: Signal }
  /** Told once to all tabs together: it is confirmed already. */
  | { type: "event"; event: Event }
  /** Who has the connection gives it up, and the store with it. */
  | { type: "close" }
  | { type: "closed" };

/** An error as it is copied. */
export interface PlainError {
  kind: ErrorKind | "other";
  message: string;
  refusal?: Refusal | undefined;
  failure?: FileFailure | undefined;
}

export function plainError(error: unknown): PlainError {
  if (error instanceof GodwitError) {
    const { kind, message, refusal, failure } = error;
    return { kind, message, refusal, failure };
  }
  return { kind: "other", message: error instanceof Error ? error.message : String(error) };
}

export function realError({ kind, message, refusal, failure }: PlainError): Error {
  return kind === "other" ? new Error(message) : new GodwitError(kind, message, refusal, failure);
}

/** A name that no other tab and no other leader has. */
export function uniqueName(): string {
  return Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 8)).join("");
}

/** The name of the lock and of the channel. */
export function channelName(user: string, device: string): string {
  return `godwit:${user}/${device}`;
}
