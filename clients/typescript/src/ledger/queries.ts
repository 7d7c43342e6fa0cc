// What an app asks of this device's own store, and what it has read.

import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import { type SendState, conversationOf, directWith, ticks } from "./outbound.js";
import type {
  ConversationRecord,
  MediaRecord,
  MessageRecord,
  OutRecord,
  Recipient,
  RetentionRecord,
  SentRecord,
  SettingsRecord,
} from "./record.js";
import { readUpTo, unreadOf } from "./unread.js";

/** A message of a conversation. */
export interface Message {
  conversation: number;
  /** Its place there, among messages and changes. */
  sequence: number;
  /** The sender's ordinal in the conversation. */
  sender: number;
  /** Who that is, if the members are known. */
  user: string | undefined;
  /** Sent by this user, on this device (then with its number) or on another. */
  mine: boolean;
  send: number | undefined;
  /** When the server stored it: seconds since 1970, by this device's clock. */
  at: number;
  /** Opaque to the server. Empty if the message is sealed. */
  body: Uint8Array;
  /** It is encrypted from end to end, which this library cannot open. */
  sealed: boolean;
  media: MediaRecord[];
  /** The place of the message that it answers. */
  replyTo: number | undefined;
  edited: boolean;
  /** It was taken back, by its sender or an admin of the group, and is empty. */
  recalled: boolean;
  reactions: { member: number; user: string | undefined; reaction: string }[];
  /** How far it is, if this user sent it: on this device, or on another. */
  state: SendState | undefined;
}

/** A member of a conversation, or a former one. */
export interface Member {
  ordinal: number;
  user: string;
  /** 0 member, 1 admin, 2 owner. */
  role: number;
  /** It is one now. */
  present: boolean;
  deliveredUpTo: number;
  readUpTo: number;
}

/** A conversation as this device knows it from its inbox. The server may be ahead of it. */
export interface Conversation {
  id: number;
  /** Group rather than direct. */
  group: boolean;
  title: string;
  /** In the order they joined. Empty until this device has learned them. */
  members: Member[];
  /** This user has read up to here. */
  readUpTo: number;
  /** Messages of others on this device that this user has not read. */
  unread: number;
  /** The place of the newest message; 0: there was none. */
  lastMessage: number;
  /** That message, if it is still kept. */
  last: Message | undefined;
  /** When something happened last: seconds since 1970. */
  activeAt: number;
  /** A stranger has opened it, and this user has not accepted it. */
  request: boolean;
  settings: SettingsRecord | undefined;
  retention: RetentionRecord | undefined;
}

/** A send that has no place in its conversation yet. */
export interface PendingSend {
  id: number;
  to: Recipient;
  body: Uint8Array;
  media: MediaRecord[];
  replyTo: number | undefined;
  /** Seconds since 1970. */
  queuedAt: number;
  /** Queued, sent, or refused. */
  state: SendState;
}

/** A message as the app sees it. */
export function messageOf(
  me: string,
  conversation: number,
  sequence: number,
  record: MessageRecord,
  within: ConversationRecord,
): Message {
  const userOf = (ordinal: number) => within.members.find((member) => member.ordinal === ordinal)?.user;
  const { sender, at, body, sealed = false, send, replyTo, edited, recalled, media } = record;
  const user = send > 0 ? me : userOf(sender);
  const mine = user === me;
  const reactions = record.reactions.filter((it) => it.reaction !== "");
  return {
    conversation,
    sequence,
    sender,
    user,
    mine,
    send: send > 0 ? send : undefined,
    at,
    body,
    sealed,
    media,
    replyTo: replyTo > 0 ? replyTo : undefined,
    edited,
    recalled,
    reactions: reactions.map(({ member, reaction }) => ({ member, user: userOf(member), reaction })),
    state: mine ? ticks(within, me, { conversation, sequence }) : undefined,
  };
}

/** All conversations, the one in which something happened last first. */
export async function conversations(job: Job): Promise<Conversation[]> {
  const rows = await job.tx.scan<ConversationRecord>(...keys.above(keys.CONVERSATIONS, 0));
  const found: Conversation[] = [];
  for (const [key, record] of rows) found.push(await asSeen(job, keys.numberOf(key), record));
  return found.sort((a, b) => b.activeAt - a.activeAt || b.id - a.id);
}

/** One of them. */
export async function conversation(job: Job, id: number): Promise<Conversation | undefined> {
  const record = await job.tx.get<ConversationRecord>(keys.conversation(id));
  return record && (await asSeen(job, id, record));
}

async function asSeen(job: Job, id: number, record: ConversationRecord): Promise<Conversation> {
  const unread = await unreadOf(job, id, record);
  const last = await job.message(id, record.lastMessage);
  const { group, title, activeAt, lastMessage, request, settings, retention } = record;
  const members = record.members.map(({ ordinal, user, role, gone, delivered, read }) => ({
    ordinal,
    user,
    role,
    present: !gone,
    deliveredUpTo: delivered,
    readUpTo: read,
  }));
  return {
    id,
    group,
    title,
    members,
    readUpTo: record.read,
    unread,
    lastMessage,
    last: last && messageOf(job.me, id, lastMessage, last, record),
    activeAt,
    request,
    settings,
    retention,
  };
}

/** Conversations whose members are not known. */
export async function unknownConversations({ tx }: Job): Promise<number[]> {
  const rows = await tx.scan<ConversationRecord>(...keys.above(keys.CONVERSATIONS, 0));
  return rows.filter(([, record]) => record.members.length === 0).map(([key]) => keys.numberOf(key));
}

/** The newest messages below `before`, oldest first. */
export async function messages(job: Job, id: number, before: number | undefined, limit: number): Promise<Message[]> {
  const within = await job.conversation(id);
  const rows = await job.tx.scan<MessageRecord>(...keys.messages(id, 0, before), { reverse: true, limit });
  return rows.reverse().map(([key, record]) => messageOf(job.me, id, keys.secondOf(key), record, within));
}

/** Messages whose body contains a text, newest first within a conversation; without one, of all conversations. Letters of either
 * case, with or without accents, are alike. */
export async function search(job: Job, text: string, id: number | undefined, limit: number): Promise<Message[]> {
  const wanted = folded(text);
  if (wanted === "") return [];
  const utf8 = new TextDecoder();
  const all = id === undefined ? (await conversations(job)).map((it) => it.id) : [id];
  const found: Message[] = [];
  for (const conversation of all) {
    let before: number | undefined;
    while (found.length < limit) {
      const page = await messages(job, conversation, before, 200);
      found.push(...page.reverse().filter((it) => folded(utf8.decode(it.body)).includes(wanted)));
      before = page.at(-1)?.sequence;
      if (before === undefined || page.length < 200) break;
    }
  }
  return found.slice(0, limit);
}

function folded(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** Sends to this recipient that have no place yet, oldest first. */
export async function pending(job: Job, to: Recipient): Promise<PendingSend[]> {
  const id = await conversationOf(job, to);
  const found: PendingSend[] = [];
  const unplaced = id === undefined ? [] : (await job.conversation(id)).unplaced.map((send) => send.id);
  const unrouted =
    "user" in to ? await job.tx.get<number[]>(keys.unrouted(to.user))
    : "phone" in to ? await job.tx.get<number[]>(keys.unroutedPhone(to.phone))
    : undefined;
  for (const send of [...(unrouted ?? []), ...unplaced]) {
    const sent = await job.sent(send);
    if (sent) found.push(pendingOf(send, sent, { kind: "sent", at: undefined }));
  }
  for (const [key, out] of await job.tx.scan<OutRecord>(...keys.above(keys.OUTBOX, 0))) {
    if (await isFor(job, out.to, to, id)) found.push(pendingOf(keys.numberOf(key), out, { kind: "queued" }));
  }
  return found;
}

async function isFor(job: Job, target: Recipient, to: Recipient, id: number | undefined): Promise<boolean> {
  if ("user" in target) {
    if ("user" in to && to.user === target.user) return true;
    return id !== undefined && (await directWith(job, target.user)) === id;
  }
  if ("phone" in target) return "phone" in to && to.phone === target.phone;
  return target.conversation === id;
}

function pendingOf(id: number, record: OutRecord | SentRecord, state: SendState): PendingSend {
  const { to, body, media, replyTo, queuedAt } = record;
  return { id, to, body, media, replyTo: replyTo > 0 ? replyTo : undefined, queuedAt, state };
}

/** Sends that were refused and not dismissed, with what they said, oldest first. */
export async function refusedSends({ tx }: Job): Promise<PendingSend[]> {
  const found: PendingSend[] = [];
  for (const [key] of await tx.scan(...keys.above(keys.REFUSED, 0))) {
    const sent = await tx.get<SentRecord>(keys.sent(keys.numberOf(key)));
    if (sent?.refusal) found.push(pendingOf(keys.numberOf(key), sent, { kind: "refused", refusal: sent.refusal }));
  }
  return found;
}

/** Nobody wants to see this refused send any more. */
export function dismiss({ tx }: Job, id: number): void {
  tx.delete(keys.numbered(keys.REFUSED, id));
}

/** The user has read up to here; told to the server when there is a connection. Returns whether that is news. */
export async function markRead(job: Job, id: number, upTo: number): Promise<boolean> {
  const record = await job.conversation(id);
  if (upTo <= record.read) return false;
  await readUpTo(job, id, record, upTo);
  record.request = false;
  job.tx.put(keys.conversation(id), record);
  job.tx.put(keys.read(id), upTo);
  return true;
}

/** What was read and not told to the server. */
export async function untoldReads({ tx }: Job): Promise<{ conversation: number; upTo: number }[]> {
  const rows = await tx.scan<number>(...keys.above(keys.READ, 0));
  return rows.map(([key, upTo]) => ({ conversation: keys.numberOf(key), upTo }));
}

/** The server knows that the user has read up to here. */
export async function readTold({ tx }: Job, id: number, upTo: number): Promise<void> {
  if ((await tx.number(keys.read(id))) <= upTo) tx.delete(keys.read(id));
}

/** Forgets messages up to here. */
export async function forget({ tx }: Job, id: number, upTo: number): Promise<void> {
  for (const [key, record] of await tx.scan<MessageRecord>(...keys.messages(id, 0, upTo + 1))) {
    if (record.send > 0) tx.delete(keys.sent(record.send));
    tx.delete(key);
  }
  const record = await tx.get<ConversationRecord>(keys.conversation(id));
  if (record) tx.put(keys.conversation(id), { ...record, unread: undefined });
}

/** The place of the oldest message that is kept; `undefined`: there is none. */
export async function oldest({ tx }: Job, id: number): Promise<number | undefined> {
  const [first] = await tx.scan(...keys.messages(id), { limit: 1 });
  return first && keys.secondOf(first[0]);
}
