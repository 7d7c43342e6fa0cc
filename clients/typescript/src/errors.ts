// What a call may fail with, and whether a retry helps.

import { Reason, inHex } from "./reason.js";

/** The server understood and said no. */
export interface Refusal {
  /** MQTT 5 reason code; client.proto says which call is refused with which. */
  readonly reason: number;
  /** The same in English; may be empty. */
  readonly text: string;
}

/** The server is busy, not against it. Or (0x91) the device's store has a copy, or is an older state of itself, and what the
 * number of a send was used for is not known: sent again, the message may arrive a second time. */
export function retryHelps(refusal: Refusal): boolean {
  return (
    refusal.reason === Reason.serverUnavailable ||
    refusal.reason === Reason.serverBusy ||
    refusal.reason === Reason.messageRateTooHigh ||
    refusal.reason === Reason.packetIdentifierInUse
  );
}

/** Why a file was not sent, or not fetched. */
export type FileFailure =
  | { kind: "changed" | "gone" | "damaged" | "cancelled" }
  /** It cannot be read. */
  | { kind: "unreadable"; text: string }
  | { kind: "refused"; refusal: Refusal }
  /** The object store answers with this HTTP status, whatever the server says; 0: it does not answer. */
  | { kind: "storage"; status: number };

export type ErrorKind =
  /** The store cannot be read or written. */
  | "store"
  /** The store belongs to another device. */
  | "owner"
  /** The address is none. */
  | "address"
  /** The server does not take it: see `refusal`. */
  | "refused"
  /** The server does not let this device in. */
  | "not-admitted"
  /** A call needs a connection, and there was none in the time it had. It had no effect. */
  | "offline"
  /** A call was sent and not answered in the time it had: it may have taken effect. */
  | "no-answer"
  /** A file was not sent, or not fetched: see `failure`. */
  | "file"
  /** The client was closed. */
  | "closed";

/** Why a call of the library failed. */
export class GodwitError extends Error {
  override name = "GodwitError";

  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly refusal?: Refusal,
    readonly failure?: FileFailure,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the same may succeed later. After "no-answer" it may also take effect a second time. */
  get retryHelps(): boolean {
    switch (this.kind) {
      case "store":
      case "offline":
      case "no-answer":
        return true;
      case "refused":
        return this.refusal !== undefined && retryHelps(this.refusal);
      case "file":
        return this.failure !== undefined && fileRetryHelps(this.failure);
      case "owner":
      case "address":
      case "not-admitted":
      case "closed":
        return false;
    }
  }
}

/** Whether the same file may succeed later. */
export function fileRetryHelps(failure: FileFailure): boolean {
  switch (failure.kind) {
    case "unreadable":
    case "storage":
    case "damaged":
      return true;
    case "refused":
      return retryHelps(failure.refusal);
    case "changed":
    case "gone":
    case "cancelled":
      return false;
  }
}

export function refused(refusal: Refusal): GodwitError {
  return new GodwitError("refused", `refused with ${inHex(refusal.reason)}: ${refusal.text}`, refusal);
}

export function notAdmitted(reason: number): GodwitError {
  const why = `the server does not let this device in (${inHex(reason)}): see user, device and password`;
  return new GodwitError("not-admitted", why, { reason, text: "" });
}

export function closed(): GodwitError {
  return new GodwitError("closed", "the client is closed");
}

export function fileError(failure: FileFailure): GodwitError {
  return new GodwitError("file", fileFailureText(failure), undefined, failure);
}

function fileFailureText(failure: FileFailure): string {
  switch (failure.kind) {
    case "changed":
      return "the file has changed";
    case "gone":
      return "the file is gone";
    case "damaged":
      return "what came is not what was sent";
    case "cancelled":
      return "called off";
    case "unreadable":
      return failure.text;
    case "refused":
      return refused(failure.refusal).message;
    case "storage":
      return failure.status === 0 ? "the object store does not answer" : `the object store answers with ${failure.status}`;
  }
}
