// Events that wait for the app: it sees each at least until it has confirmed it, in order, and never afterwards, whoever is
// killed when.

import type { FileFailure, Refusal } from "../errors.js";
import { type ConversationUpdate, MalformedEvent, parseEvent } from "../wire.js";
import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import { type Message, messageOf } from "./queries.js";
import type { ConversationRecord, InboxRecord, Recipient } from "./record.js";

/** What an app is told. */
export type Event =
  /** Somebody else sent a message, or this user did on another device. */
  | { kind: "message"; message: Message }
  /** A conversation began for this device, or its members or title changed, or one of its messages. `checked` is false if it
   * concerns a message that this device does not have (any more), so that nobody has checked who may do it: compare `by` with
   * who sent the message, as client.proto says. What somebody did who may not is not told. */
  | {
      kind: "changed";
      conversation: number;
      sequence: number;
      /** The ordinal of the member who did it. */
      by: number;
      /** Who that is, if the members are known. */
      user: string | undefined;
      change: ConversationUpdate;
      checked: boolean;
    }
  /** How far a member is now. An event that waits is replaced by a newer one of the same member. */
  | {
      kind: "receipt";
      conversation: number;
      member: number;
      user: string | undefined;
      deliveredUpTo: number;
      readUpTo: number;
    }
  /** These places hold messages that did not come: they expired, or are larger than this device takes. */
  | { kind: "missing"; conversation: number; first: number; last: number }
  /** A send was refused, and will not be tried again. */
  | { kind: "refused"; send: number; to: Recipient; refusal: Refusal }
  /** The server was restored from a backup: it has forgotten what happened after it. What this device has received or sent since
   * then stays here. `lost`: conversations that this user was in and that are not there any more. */
  | { kind: "server-restored"; lost: number[] }
  /** A file was not sent, and will not be tried again. */
  | { kind: "file-failed"; file: number; to: Recipient; name: string; failure: FileFailure };

/** An event, and the number under which it is confirmed. Later events have larger numbers. */
export interface Delivery {
  id: number;
  event: Event;
}

/** Events that the app has not confirmed, after this one, and the last number that was looked at. */
export async function eventsAfter(job: Job, after: number, limit: number): Promise<{ last: number; deliveries: Delivery[] }> {
  const rows = await job.tx.scan<InboxRecord>(...keys.above(keys.INBOX, after), { limit });
  let last = after;
  const deliveries: Delivery[] = [];
  for (const [key, record] of rows) {
    last = keys.numberOf(key);
    const event = await eventOf(job, record);
    if (event) deliveries.push({ id: last, event });
  }
  return { last, deliveries };
}

async function eventOf(job: Job, record: InboxRecord): Promise<Event | undefined> {
  switch (record.kind) {
    case "message": {
      const { conversation: id, sequence } = record;
      const message = await job.message(id, sequence);
      return message && { kind: "message", message: messageOf(job.me, id, sequence, message, await job.conversation(id)) };
    }
    case "change": {
      const event = parsed(record.payload);
      if (event?.kind !== "changed") return undefined;
      const { conversation, sequence, by, change } = event;
      const user = member(await job.conversation(conversation), by)?.user;
      return { kind: "changed", conversation, sequence, by, user, change, checked: record.checked };
    }
    case "receipt": {
      const conversation = await job.conversation(record.conversation);
      const known = member(conversation, record.member);
      const marks = known ?? conversation.early.find((early) => early.ordinal === record.member);
      const upTo = { deliveredUpTo: marks?.delivered ?? 0, readUpTo: marks?.read ?? 0 };
      return { kind: "receipt", conversation: record.conversation, member: record.member, user: known?.user, ...upTo };
    }
    case "missing":
      return { kind: "missing", ...record.gap };
    case "refused": {
      const sent = await job.sent(record.send);
      return sent?.refusal && { kind: "refused", send: record.send, to: sent.to, refusal: sent.refusal };
    }
    case "restored":
      return { kind: "server-restored", lost: record.lost };
    case "file-failed":
      return record;
  }
}

function parsed(payload: Uint8Array) {
  try {
    return parseEvent(payload);
  } catch (error) {
    // It was understood when it was stored, by a newer version.
    if (error instanceof MalformedEvent) return undefined;
    throw error;
  }
}

function member(conversation: ConversationRecord, ordinal: number) {
  return conversation.members.find((it) => it.ordinal === ordinal);
}

/** The app is done with this event and those before it. */
export async function confirm({ tx, archive }: Job, upTo: number): Promise<void> {
  const [from] = keys.above(keys.INBOX, 0);
  for (const [key, record] of await tx.scan<InboxRecord>(from, keys.numbered(keys.INBOX, upTo + 1))) {
    if (record.kind === "message" && !archive) tx.delete(keys.message(record.conversation, record.sequence));
    if (record.kind === "receipt") tx.delete(keys.receipt(record.conversation, record.member));
    tx.delete(key);
  }
}
