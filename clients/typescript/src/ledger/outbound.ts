// Sends: queued, answered, placed, ticked.

import type { Refusal } from "../errors.js";
import type { Place } from "../network/link.js";
import * as keys from "./keys.js";
import { type Job, withOrder } from "./ledger.js";
import type { ConversationRecord, MediaRecord, OutRecord, Recipient, SentRecord } from "./record.js";
import { hasUnroutedPhones, storedWithoutConversation } from "./unplaced.js";

/** Sends that an app without an archive can still ask about. */
const SENT_KEPT = 1_000;

/** A message that is to be sent. */
export interface Draft {
  body: Uint8Array;
  /** It vanishes after so many seconds; 0: as the conversation says. */
  expiresInS: number;
  /** The message of the same conversation that it answers; 0: none. */
  replyTo: number;
  media: MediaRecord[];
}

/** How far a message is. Only grows: each state includes those before it. */
export type SendState =
  /** On this device's disk. */
  | { kind: "queued" }
  /** On the server's disk: one tick. The place is unknown for a while if the first attempt's answer was lost. */
  | { kind: "sent"; at: Place | undefined }
  /** A device of each other member has it: two ticks. */
  | { kind: "delivered"; at: Place }
  /** Each other member has read it. */
  | { kind: "read"; at: Place }
  /** The server did not take it, and it will not be tried again. With 0x91 it is not known whether it did. */
  | { kind: "refused"; refusal: Refusal };

/** A send that was not answered. */
export interface UnansweredSend {
  id: number;
  counter: number;
  /** The conversation, where it is known: that is shorter than a name. */
  to: Recipient;
  draft: Draft;
}

/** Puts a message in the outbox. The same `token` twice is one message: its number is returned again. */
export async function queue(job: Job, to: Recipient, draft: Draft, now: number, token?: string): Promise<number> {
  const { tx } = job;
  if (token !== undefined) {
    const known = await tx.get<number>(keys.token(token));
    if (known !== undefined) return known;
  }
  const id = (await tx.number(keys.LAST_SEND)) + 1;
  tx.put(keys.LAST_SEND, id);
  if (token !== undefined) tx.put(keys.token(token), id);
  const out: OutRecord = { to, queuedAt: now, ...draft };
  tx.put(keys.outbox(id), out);
  await countUnanswered(job, to, 1);
  return id;
}

/** Forgets which send a token named: nobody will ask again. */
export function forgetToken(job: Job, token: string): void {
  job.tx.delete(keys.token(token));
}

/** The oldest unanswered sends after this one. */
export async function unanswered(job: Job, after: number, limit: number): Promise<UnansweredSend[]> {
  const rows = await job.tx.scan<OutRecord>(...keys.above(keys.OUTBOX, after), { limit });
  const sends: UnansweredSend[] = [];
  for (const [key, out] of rows) {
    const direct = "user" in out.to ? await directWith(job, out.to.user) : undefined;
    const to: Recipient = direct === undefined ? out.to : { conversation: direct };
    const { body, expiresInS, replyTo, media } = out;
    sends.push({ id: keys.numberOf(key), counter: job.counter, to, draft: { body, expiresInS, replyTo, media } });
  }
  return sends;
}

/** The server has stored a send, at this place if it says so. Returns every send that has a place now. */
export async function stored(job: Job, id: number, at: Place | undefined): Promise<number[]> {
  const out = await answered(job, id);
  if (!out) return [];
  const { tx } = job;
  const conversation = at?.conversation ?? (await conversationOf(job, out.to));
  const { to, body, replyTo, queuedAt, media } = out;
  const sent: SentRecord = { to, conversation: conversation ?? 0, sequence: 0, queuedAt, body, replyTo, media };
  tx.put(keys.sent(id), sent);
  if (!job.archive && id > SENT_KEPT) tx.delete(keys.sent(id - SENT_KEPT));
  if (conversation === undefined) {
    await storedWithoutConversation(job, to, id);
    return [];
  }
  const record = await job.conversation(conversation);
  record.activeAt = Math.max(record.activeAt, queuedAt);
  record.request = false;
  const placed: number[] = [];
  if (at) {
    withOrder(record, (order) => order.own(at.sequence));
    await place(job, id, conversation, at.sequence, record);
    placed.push(id);
    for (const send of record.unplaced) if (send.id < id && send.below === 0) send.below = at.sequence;
  } else {
    record.unplaced.push({ id, above: record.lastOwn, below: 0 });
  }
  placed.push(...(await settle(job, conversation, record)));
  tx.put(keys.conversation(conversation), record);
  return placed;
}

/** The server says that it took this send before, as all of this store's count up to `last`. Believed of what this store may
 * have sent; false: others have counted further under its name, and what this number was for is not known. Numbers go on above
 * theirs. */
export async function isOwnRepetition({ tx }: Job, id: number, last: bigint): Promise<boolean> {
  const given = await tx.number(keys.LAST_SEND);
  if (last > BigInt(given) && last < BigInt(Number.MAX_SAFE_INTEGER / 2)) {
    tx.put(keys.STRANGE, given);
    tx.put(keys.LAST_SEND, Number(last));
  }
  return id > (await tx.number(keys.STRANGE));
}

/** The server does not take a send. Returns every send that has a place now. */
export async function refused(job: Job, id: number, refusal: Refusal): Promise<number[]> {
  const out = await answered(job, id);
  if (!out) return [];
  const { to, queuedAt, body, replyTo, media } = out;
  const conversation = (await conversationOf(job, to)) ?? 0;
  const { reason, text } = refusal;
  const sent: SentRecord = { to, conversation, sequence: 0, queuedAt, body, replyTo, media, refusal: { reason, text } };
  job.tx.put(keys.sent(id), sent);
  job.tx.put(keys.numbered(keys.REFUSED, id), true);
  await job.tell({ kind: "refused", send: id });
  if (!("conversation" in to)) return [];
  const record = await job.conversation(to.conversation);
  const placed = await settle(job, to.conversation, record);
  job.tx.put(keys.conversation(to.conversation), record);
  return placed;
}

async function answered(job: Job, id: number): Promise<OutRecord | undefined> {
  const out = await job.tx.get<OutRecord>(keys.outbox(id));
  if (!out) return undefined;
  job.tx.delete(keys.outbox(id));
  await countUnanswered(job, out.to, -1);
  return out;
}

export async function countUnanswered({ tx }: Job, to: Recipient, by: number): Promise<void> {
  const key =
    "user" in to ? keys.unansweredOfUser(to.user)
    : "phone" in to ? keys.UNANSWERED_PHONES
    : keys.unansweredOf(to.conversation);
  const count = Math.max(0, (await tx.number(key)) + by);
  if (count === 0) tx.delete(key);
  else tx.put(key, count);
}

/** Sends to this conversation are on their way, under its number or the other side's name, or to a phone number that may be
 * theirs. */
async function hasUnanswered(job: Job, id: number, conversation: ConversationRecord): Promise<boolean> {
  const counts = [keys.unansweredOf(id)];
  if (!conversation.group) {
    counts.push(...conversation.members.map((member) => keys.unansweredOfUser(member.user)), keys.UNANSWERED_PHONES);
  }
  for (const key of counts) if ((await job.tx.number(key)) > 0) return true;
  return !conversation.group && (await hasUnroutedPhones(job));
}

/** The direct conversation with a user, if this device knows of it. */
export function directWith({ tx }: Job, user: string): Promise<number | undefined> {
  return tx.get<number>(keys.direct(user));
}

/** Where what is for this recipient goes, if that is known. */
export async function conversationOf(job: Job, to: Recipient): Promise<number | undefined> {
  if ("conversation" in to) return to.conversation;
  return "user" in to ? await directWith(job, to.user) : undefined;
}

/** Gives places to unplaced sends, and has what is missing looked for. Returns the sends. */
export async function settle(job: Job, id: number, conversation: ConversationRecord): Promise<number[]> {
  const waiting = await hasUnanswered(job, id, conversation);
  const settled = withOrder(conversation, (order) => order.settle(conversation.unplaced, waiting));
  for (const [first, last] of settled.missing) job.lookFor({ conversation: id, first, last });
  for (const { id: send, place: at } of settled.placed) await place(job, send, id, at, conversation);
  return settled.placed.map((it) => it.id);
}

/** A send of this device stands at this place. */
async function place(job: Job, send: number, id: number, at: number, conversation: ConversationRecord): Promise<void> {
  conversation.lastOwn = Math.max(conversation.lastOwn, at);
  const sent = await job.sent(send);
  if (!sent) return;
  const { body, media } = sent;
  job.tx.put(keys.sent(send), { ...sent, conversation: id, sequence: at, body: new Uint8Array(), media: [] });
  if (job.archive) {
    const sender = conversation.members.find((member) => member.user === job.me)?.ordinal ?? 0;
    const { queuedAt, replyTo } = sent;
    const fresh = { edited: false, recalled: false, editedAt: 0, reactions: [] };
    job.tx.put(keys.message(id, at), { sender, at: queuedAt, body, send, replyTo, media, ...fresh });
  }
  conversation.lastMessage = Math.max(conversation.lastMessage, at);
}

/** How far a send is; `undefined`: there is none, or it is no longer kept. */
export async function stateOf(job: Job, id: number): Promise<SendState | undefined> {
  if (await job.tx.get(keys.outbox(id))) return { kind: "queued" };
  const sent = await job.sent(id);
  if (!sent) return undefined;
  if (sent.refusal) return { kind: "refused", refusal: sent.refusal };
  if (sent.sequence === 0) return { kind: "sent", at: undefined };
  const conversation = await job.conversation(sent.conversation);
  return ticks(conversation, job.me, { conversation: sent.conversation, sequence: sent.sequence });
}

/** What a message at this place has reached with all who were to get it and are still there. */
export function ticks(conversation: ConversationRecord, me: string, at: Place): SendState {
  const { sequence } = at;
  const others = conversation.members.filter((it) => it.user !== me && !it.gone && it.since < sequence);
  if (others.length === 0) return { kind: "sent", at };
  if (others.every((it) => it.read >= sequence)) return { kind: "read", at };
  if (others.every((it) => Math.max(it.delivered, it.read) >= sequence)) return { kind: "delivered", at };
  return { kind: "sent", at };
}
