// What the server delivered, each thing once.

import { type ConversationUpdate, type InboxEvent, type OpenedMember } from "../wire.js";
import { type Belief, type ChangePlace, amend } from "./amend.js";
import * as keys from "./keys.js";
import { type Job, otherSide, withOrder } from "./ledger.js";
import { settle } from "./outbound.js";
import type { ConversationRecord, MessageRecord } from "./record.js";
import { isUnread, readUpTo } from "./unread.js";

/** What a batch from the server changed. */
export interface Received {
  /** There are new events for the app. */
  news: boolean;
  /** Watermarks or members changed. */
  ticked: boolean;
  /** Sends that have a place now. */
  placed: number[];
  /** Conversations whose members this device does not know. */
  unknown: Set<number>;
}

export function nothingReceived(): Received {
  return { news: false, ticked: false, placed: [], unknown: new Set() };
}

/** A delivery: parsed, and as it came. */
export interface InboxDelivery {
  event: InboxEvent;
  payload: Uint8Array;
}

/** Takes a batch of deliveries. What was received before has no effect. Once it is committed they may be acknowledged. */
export async function receive(job: Job, batch: readonly InboxDelivery[], now: number, received: Received): Promise<void> {
  for (const { event, payload } of batch) {
    switch (event.kind) {
      case "message":
        await receiveMessage(job, event.conversation, event.sequence, messageRecord(event, now, 0), received);
        break;
      case "changed": {
        const at = { id: event.conversation, sequence: event.sequence, by: event.by };
        await receiveChange(job, at, event.change, payload, now, received);
        break;
      }
      case "receipt":
        await receiveReceipt(job, event.conversation, event.member, event.deliveredUpTo, event.readUpTo, received);
        break;
    }
  }
}

/** A message as it is kept. `changedUpTo`: history has it with all changes at least up to there. */
export function messageRecord(event: InboxEvent & { kind: "message" }, now: number, changedUpTo: number): MessageRecord {
  const { sender, body, sealed, replyTo, media, edited, recalled } = event;
  return {
    sender,
    at: Math.max(0, now - event.ageS),
    body,
    ...(sealed && { sealed }),
    send: 0,
    replyTo,
    edited,
    recalled,
    media,
    editedAt: edited ? changedUpTo : 0,
    reactions: event.reactions.map((it) => ({ ...it, at: changedUpTo })),
  };
}

export async function receiveMessage(
  job: Job,
  id: number,
  sequence: number,
  message: MessageRecord,
  received: Received,
): Promise<void> {
  const conversation = await job.conversation(id);
  if (!withOrder(conversation, (order) => order.receive(sequence))) return;
  conversation.activeAt = Math.max(conversation.activeAt, message.at);
  conversation.lastMessage = Math.max(conversation.lastMessage, sequence);
  // One that history had already is counted.
  if (conversation.unread !== undefined && isUnread(job.me, conversation, sequence, message)) {
    if (!(await job.message(id, sequence))) conversation.unread += 1;
  }
  job.tx.put(keys.message(id, sequence), message);
  await job.tell({ kind: "message", conversation: id, sequence });
  await finish(job, id, conversation, received);
}

async function receiveChange(
  job: Job,
  at: ChangePlace,
  change: ConversationUpdate,
  payload: Uint8Array,
  now: number,
  received: Received,
): Promise<void> {
  const conversation = await job.conversation(at.id);
  if (!withOrder(conversation, (order) => order.receive(at.sequence))) return;
  if (!isOfMessage(change)) conversation.activeAt = Math.max(conversation.activeAt, now);
  const belief = await amend(job, at, conversation, change);
  await apply(job, at, conversation, change);
  await tellChange(job, payload, belief);
  received.ticked = true;
  await finish(job, at.id, conversation, received);
}

/** A list of conversations that jumps when somebody reacts to an old message helps nobody. */
function isOfMessage(change: ConversationUpdate): boolean {
  return change.kind === "recalled" || change.kind === "edited" || change.kind === "reacted";
}

/** A change for the app, unless it is not to be believed. */
export async function tellChange(job: Job, payload: Uint8Array, belief: Belief): Promise<void> {
  if (belief !== "refuted") await job.tell({ kind: "change", payload: payload.slice(), checked: belief === "checked" });
}

async function finish(job: Job, id: number, conversation: ConversationRecord, received: Received): Promise<void> {
  received.placed.push(...(await settle(job, id, conversation)));
  if (!conversation.known) received.unknown.add(id);
  received.news = true;
  job.tx.put(keys.conversation(id), conversation);
}

async function apply(job: Job, at: ChangePlace, conversation: ConversationRecord, change: ConversationUpdate): Promise<void> {
  switch (change.kind) {
    case "opened":
      return await opened(job, at.id, conversation, at.sequence, change);
    case "added":
      return join(conversation, at.sequence, change.member);
    case "removed":
      for (const member of conversation.members) if (member.ordinal === change.ordinal) member.gone = true;
      return;
    case "renamed":
      conversation.title = change.title;
      return;
    case "role":
      for (const member of conversation.members.filter((it) => !it.gone)) {
        if (member.ordinal === change.member.ordinal) member.role = change.member.role;
        else if (change.member.role === 2 && member.role === 2) member.role = 1;
      }
      return;
    case "settings":
      conversation.settings = change.settings;
      return;
    case "retention":
      conversation.retention = change.retention;
      return;
    // See `amend`.
    case "recalled":
    case "edited":
    case "reacted":
      return;
  }
}

/** Who is in a conversation, as an event or an answer says. */
export async function opened(
  job: Job,
  id: number,
  conversation: ConversationRecord,
  sequence: number,
  { group, title, members, settings, retention, request }: ConversationUpdate & { kind: "opened" },
): Promise<void> {
  // Now it is known which messages are this user's own: `unread` is to be counted.
  Object.assign(conversation, { known: true, group, title, settings, retention, request, unread: undefined });
  for (const member of conversation.members) member.gone = true;
  for (const member of members) join(conversation, sequence, member);
  for (const { ordinal, delivered, read } of conversation.early.splice(0)) raise(conversation, ordinal, delivered, read);
  const other = otherSide(conversation, job.me);
  if (other === undefined) return;
  job.tx.put(keys.direct(other), id);
  const unrouted = (await job.tx.get<number[]>(keys.unrouted(other))) ?? [];
  conversation.unplaced.unshift(...unrouted.map((send) => ({ id: send, above: 0, below: 0 })));
  job.tx.delete(keys.unrouted(other));
}

/** The answer to a question about the members: as if they had been there from the beginning, since who joined when is not told. */
export async function described(job: Job, id: number, update: ConversationUpdate & { kind: "opened" }): Promise<void> {
  const conversation = await job.conversation(id);
  await opened(job, id, conversation, 0, update);
  job.tx.put(keys.conversation(id), conversation);
}

async function receiveReceipt(
  job: Job,
  id: number,
  member: number,
  delivered: number,
  read: number,
  received: Received,
): Promise<void> {
  const conversation = await job.conversation(id);
  if (!raise(conversation, member, delivered, read)) return;
  const mine = conversation.members.some((it) => it.ordinal === member && it.user === job.me);
  // This user has read, on another device.
  if (mine) await readUpTo(job, id, conversation, read);
  if (!conversation.known) received.unknown.add(id);
  job.tx.put(keys.conversation(id), conversation);
  const key = keys.receipt(id, member);
  const earlier = await job.tx.number(key);
  if (earlier > 0) job.tx.delete(keys.numbered(keys.INBOX, earlier));
  job.tx.put(key, await job.tell({ kind: "receipt", conversation: id, member }));
  received.news = true;
  received.ticked = true;
}

function join(conversation: ConversationRecord, since: number, { ordinal, user, role }: OpenedMember): void {
  const known = conversation.members.find((member) => member.ordinal === ordinal);
  if (known) Object.assign(known, { user, role, gone: false });
  else conversation.members.push({ ordinal, user, role, since, gone: false, delivered: 0, read: 0 });
}

/** Raises a member's watermarks; false if that says nothing new. */
function raise(conversation: ConversationRecord, ordinal: number, delivered: number, read: number): boolean {
  let marks: { delivered: number; read: number } | undefined =
    conversation.members.find((member) => member.ordinal === ordinal) ??
    conversation.early.find((early) => early.ordinal === ordinal);
  if (!marks) {
    const early = { ordinal, delivered: 0, read: 0 };
    conversation.early.push(early);
    marks = early;
  }
  const raised = delivered > marks.delivered || read > marks.read;
  marks.delivered = Math.max(marks.delivered, delivered);
  marks.read = Math.max(marks.read, read);
  return raised;
}
