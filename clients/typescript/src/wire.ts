// What travels in MQTT payloads, as plain values: numbers instead of bigints, tagged unions instead of protobuf's. For those who
// bring an MQTT client of their own, too.

import { create, fromBinary, toBinary } from "./protobuf.js";

import {
  type Change,
  type Event,
  EventSchema,
  type Opened,
  ReadReceiptSchema,
  type Request,
  RequestSchema,
  type Response,
  ResponseSchema,
  SendSchema,
} from "./gen/messages.js";
import { type Media, MediaSchema } from "./gen/messages.js";
import type { Draft } from "./ledger/outbound.js";
import type { MediaRecord, Recipient, RetentionRecord, SettingsRecord } from "./ledger/record.js";

/** A member as `opened`, `added` and `role` name it. */
export interface OpenedMember {
  ordinal: number;
  user: string;
  /** 0 member, 1 admin, 2 owner. */
  role: number;
}

/** A change of a conversation: see client.proto, `Change`. */
export type ConversationUpdate =
  | {
      kind: "opened";
      group: boolean;
      title: string;
      members: OpenedMember[];
      settings: SettingsRecord | undefined;
      retention: RetentionRecord | undefined;
      request: boolean;
    }
  | { kind: "added"; member: OpenedMember }
  | { kind: "removed"; ordinal: number }
  | { kind: "renamed"; title: string }
  | { kind: "role"; member: OpenedMember }
  | { kind: "settings"; settings: SettingsRecord }
  | { kind: "recalled"; sequence: number }
  | { kind: "edited"; sequence: number; body: Uint8Array; sealed: boolean }
  | { kind: "reacted"; sequence: number; reaction: string }
  | { kind: "retention"; retention: RetentionRecord };

/** What the server delivers to `inbox`. */
export type InboxEvent =
  | {
      kind: "message";
      conversation: number;
      sequence: number;
      sender: number;
      ageS: number;
      /** Empty if it is sealed. */
      body: Uint8Array;
      /** It is encrypted from end to end, which this library cannot open. */
      sealed: boolean;
      replyTo: number;
      media: MediaRecord[];
      edited: boolean;
      recalled: boolean;
      reactions: { member: number; reaction: string }[];
    }
  | { kind: "receipt"; conversation: number; member: number; deliveredUpTo: number; readUpTo: number }
  | { kind: "changed"; conversation: number; sequence: number; by: number; change: ConversationUpdate };

/** The payload is no event that this version knows. A retry does not help: acknowledge and go on. */
export class MalformedEvent extends Error {
  override name = "MalformedEvent";
}

/** A number of 64 bits that the server keeps below 2^53. @throws MalformedEvent: it did not. */
export function plain(number: bigint): number {
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedEvent("a number above 2^53");
  return Number(number);
}

/** @throws MalformedEvent */
export function parseEvent(payload: Uint8Array): InboxEvent {
  let event: Event;
  try {
    event = fromBinary(EventSchema, payload);
  } catch (error) {
    throw new MalformedEvent(String(error));
  }
  return eventOf(event);
}

/** @throws MalformedEvent */
export function eventOf({ event }: Event): InboxEvent {
  switch (event.case) {
    case "message": {
      const it = event.value;
      return {
        kind: "message",
        conversation: named(it.conversation),
        sequence: named(it.sequence),
        sender: it.sender,
        ageS: plain(it.ageS),
        ...bodyOf(it),
        replyTo: plain(it.replyTo),
        media: it.media.map(mediaOf),
        edited: it.edited,
        recalled: it.recalled,
        reactions: it.reactions.map(({ member, reaction }) => ({ member, reaction })),
      };
    }
    case "receipt": {
      const { conversation, member, deliveredUpTo, readUpTo } = event.value;
      const upTo = { deliveredUpTo: plain(deliveredUpTo), readUpTo: plain(readUpTo) };
      return { kind: "receipt", conversation: named(conversation), member, ...upTo };
    }
    case "change": {
      const { conversation, sequence, by } = event.value;
      const change = updateOf(event.value);
      return { kind: "changed", conversation: named(conversation), sequence: named(sequence), by, change };
    }
    default:
      throw new MalformedEvent("unknown kind");
  }
}

function bodyOf({ body, mlsEpoch }: { body: Uint8Array; mlsEpoch: bigint }): { body: Uint8Array; sealed: boolean } {
  const sealed = mlsEpoch !== 0n;
  return { body: sealed ? new Uint8Array() : body, sealed };
}

function named(number: bigint): number {
  if (number === 0n) throw new MalformedEvent("no conversation or no place");
  return plain(number);
}

function updateOf({ change }: Change): ConversationUpdate {
  switch (change.case) {
    case "opened":
      return openedOf(change.value);
    case "added":
    case "role":
      return { kind: change.case, member: memberOf(change.value) };
    case "removed":
      return { kind: "removed", ordinal: change.value };
    case "renamed":
      return { kind: "renamed", title: change.value };
    case "settings": {
      const { maySend, mayAdd, mayRename, historyForNew } = change.value;
      return { kind: "settings", settings: { maySend, mayAdd, mayRename, historyForNew } };
    }
    case "recalled":
      return { kind: "recalled", sequence: plain(change.value) };
    case "edited":
      return { kind: "edited", sequence: plain(change.value.sequence), ...bodyOf(change.value) };
    case "reacted":
      return { kind: "reacted", sequence: plain(change.value.sequence), reaction: change.value.reaction };
    case "retention": {
      const { historyDaysPlusOne, expiresInS } = change.value;
      return { kind: "retention", retention: { historyDaysPlusOne, expiresInS } };
    }
    default:
      throw new MalformedEvent("unknown change");
  }
}

/** @throws MalformedEvent */
export function openedOf(opened: Opened): ConversationUpdate & { kind: "opened" } {
  const { group, title, members, settings, retention, request } = opened;
  return {
    kind: "opened",
    group,
    title,
    members: members.map(memberOf),
    settings: settings && {
      maySend: settings.maySend,
      mayAdd: settings.mayAdd,
      mayRename: settings.mayRename,
      historyForNew: settings.historyForNew,
    },
    retention: retention && { historyDaysPlusOne: retention.historyDaysPlusOne, expiresInS: retention.expiresInS },
    request,
  };
}

function memberOf({ ordinal, user, role }: OpenedMember): OpenedMember {
  if (!isName(user)) throw new MalformedEvent("a name of a user");
  if (role < 0 || role > 2) throw new MalformedEvent("a role");
  return { ordinal, user, role };
}

/** Whether this is a name of a user or a device: 1 to 64 of `a-z A-Z 0-9 . _ - @`, no dot first. */
export function isName(name: string): boolean {
  return /^[a-zA-Z0-9_@-][a-zA-Z0-9._@-]{0,63}$/.test(name);
}

/** Whether this is a phone number in E.164, with its plus sign. */
export function isPhone(number: string): boolean {
  return /^\+[1-9]\d{1,14}$/.test(number);
}

function mediaOf({ id, name, thumbnail, key, size, contentType, sha256 }: Media): MediaRecord {
  return { id, name, thumbnail, key, size: plain(size), contentType, sha256 };
}

/** The payload of a message on `send`. */
export function sendPayload(to: Recipient, counter: number, clientSequence: number, draft: Draft): Uint8Array {
  const { body, expiresInS, replyTo, media } = draft;
  const recipient =
    "user" in to ? ({ case: "user", value: to.user } as const)
    : "phone" in to ? ({ case: "phone", value: to.phone } as const)
    : ({ case: "conversation", value: BigInt(to.conversation) } as const);
  return toBinary(SendSchema, create(SendSchema, {
    to: recipient,
    clientSequence: BigInt(clientSequence),
    body,
    expiresInS,
    replyTo: BigInt(replyTo),
    // Size, type and hash are filled in by the server.
    media: media.map(({ id, name, thumbnail, key }) => create(MediaSchema, { id, name, thumbnail, key })),
    counter: BigInt(counter),
  }));
}

/** The payload of a read receipt on `receipt`. */
export function readPayload(conversation: number, upTo: number): Uint8Array {
  const receipt = { conversation: BigInt(conversation), readUpTo: BigInt(upTo) };
  return toBinary(ReadReceiptSchema, create(ReadReceiptSchema, receipt));
}

/** A call: see client.proto, `Request.call`. */
export type Call = Exclude<Request["call"], { case: undefined }>;

/** The payload of a request on `rpc`. */
export function callPayload(id: number, call: Call): Uint8Array {
  return toBinary(RequestSchema, create(RequestSchema, { id: BigInt(id), call }));
}

/** @throws MalformedEvent */
export function parseResponse(payload: Uint8Array): Response {
  try {
    return fromBinary(ResponseSchema, payload);
  } catch (error) {
    throw new MalformedEvent(String(error));
  }
}

/** An event as it travels. */
export function eventPayload(event: Event): Uint8Array {
  return toBinary(EventSchema, event);
}
