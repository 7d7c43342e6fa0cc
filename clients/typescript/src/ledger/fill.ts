// What a device that is new fetches of what was before it: this user's conversations, and of those in which something happened
// most recently the last messages, as far as the server keeps them. The engine asks for a little at a time, beside everything
// else, and over connections and restarts until it has all. What comes is no news: it is among the messages, and no event. More of
// a conversation is fetched when an app wants it (`Client.loadOlder`).

import type { Event, Response, Summary } from "../gen/messages.js";
import { MalformedEvent, eventOf, openedOf, plain } from "../wire.js";
import { described, messageRecord } from "./inbound.js";
import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import type { FillRecord, MessageRecord } from "./record.js";
import { readUpTo } from "./unread.js";

/** Pages that are asked for at a time. */
const AT_ONCE = 2;
/** Conversations whose last messages are fetched. */
const CONVERSATIONS_MAX = 100;
/** Messages and changes of a page. */
export const PAGE = 50;
/** Pages of one conversation, where some hold nothing but changes. */
export const PAGES_MAX = 4;

/** What is to be asked for. */
export type HistoryFill =
  /** The conversations behind this one. */
  | { kind: "list"; after: number }
  /** A page of history, newest first; 0: from the end. */
  | { kind: "page"; conversation: number; before: number };

/** What is to be asked for now. */
export async function fills({ tx }: Job): Promise<HistoryFill[]> {
  const after = await tx.get<number>(keys.LISTED);
  if (after !== undefined) return [{ kind: "list", after }];
  const pages = await tx.scan<FillRecord>(...keys.above(keys.FILLS, 0), { limit: AT_ONCE });
  return pages.map(([key, { before }]) => ({ kind: "page", conversation: keys.secondOf(key), before }));
}

/** The same, if there may be more than when it was asked last. */
export async function newFills(job: Job): Promise<HistoryFill[]> {
  if (!job.questions.fills) return [];
  job.questions.fills = false;
  return await fills(job);
}

/** The server's answer. If it is a refusal, the next connection asks again for a list; a page is left out. */
export async function filled(job: Job, fill: HistoryFill, response: Response, now: number): Promise<void> {
  if (fill.kind === "list") await listed(job, fill.after, response, now);
  else await paged(job, fill.conversation, fill.before, response, now);
}

async function listed(job: Job, after: number, response: Response, now: number): Promise<void> {
  const { tx } = job;
  if ((await tx.get<number>(keys.LISTED)) !== after || response.reason !== 0) return;
  for (const summary of response.conversations) await summarized(job, summary, now);
  job.questions.fills = true;
  const next = plain(response.next);
  if (next > after) {
    tx.put(keys.LISTED, next);
    return;
  }
  tx.delete(keys.LISTED);
  const pages = await tx.scan<FillRecord>(...keys.above(keys.FILLS, 0));
  for (const [key] of pages.slice(CONVERSATIONS_MAX)) {
    await setFilling(job, keys.secondOf(key), false);
    tx.delete(key);
  }
}

async function summarized(job: Job, summary: Summary, now: number): Promise<void> {
  const id = plain(summary.conversation);
  const { description, last } = summary;
  // What is known came with events, which may be newer.
  if (id > 0 && description && !(await job.conversation(id)).known) await described(job, id, openedOf(description));
  const conversation = await job.conversation(id);
  if (!conversation.known) return;
  await readUpTo(job, id, conversation, plain(summary.readUpTo));
  if (last?.event.case === "message") {
    conversation.activeAt = Math.max(conversation.activeAt, now - plain(last.event.value.ageS));
  }
  if (last && job.archive) {
    conversation.filling = true;
    const fill: FillRecord = { before: 0, pages: 0 };
    job.tx.put(keys.fill(conversation.activeAt, id), fill);
  }
  job.tx.put(keys.conversation(id), conversation);
}

async function paged(job: Job, id: number, before: number, response: Response, now: number): Promise<void> {
  const { tx } = job;
  const pages = await tx.scan<FillRecord>(...keys.above(keys.FILLS, 0), { limit: CONVERSATIONS_MAX });
  const found = pages.find(([key, fill]) => keys.secondOf(key) === id && fill.before === before);
  if (!found) return;
  const [key, fill] = found;
  job.questions.fills = true;
  const asked: FillRecord = { before: fill.before, pages: fill.pages + 1 };
  const mayGoOn = asked.pages < PAGES_MAX;
  const conversation = await job.conversation(id);
  const { stale } = conversation;
  conversation.stale = false;
  if (stale && mayGoOn) {
    // A message of it may have been changed since.
    tx.put(keys.conversation(id), conversation);
    tx.put(key, asked);
    return;
  }
  const next = plain(response.next);
  const kept = await keepPast(job, id, response.history, now);
  if (kept === 0 && next > 0 && mayGoOn) {
    tx.put(key, { ...asked, before: next });
    return;
  }
  tx.delete(key);
  await setFilling(job, id, false);
}

async function setFilling(job: Job, id: number, filling: boolean): Promise<void> {
  const conversation = await job.conversation(id);
  job.tx.put(keys.conversation(id), { ...conversation, filling, stale: false });
}

/** Keeps messages of history that are not here. Returns how many there were, here before or not. */
export async function keepPast(job: Job, id: number, history: readonly Event[], now: number): Promise<number> {
  const conversation = await job.conversation(id);
  let found = 0;
  for (const event of history) {
    const past = pastMessage(id, event, now, conversation.order.lastReceived);
    if (!past) continue;
    found += 1;
    conversation.lastMessage = Math.max(conversation.lastMessage, past.sequence);
    conversation.activeAt = Math.max(conversation.activeAt, past.message.at);
    if (!(await job.message(id, past.sequence))) job.tx.put(keys.message(id, past.sequence), past.message);
  }
  conversation.unread = undefined;
  job.tx.put(keys.conversation(id), conversation);
  return found;
}

/** A message of this conversation, as history has it: with all changes at least up to `changedUpTo`, which was the last that this
 * device had received. */
export function pastMessage(
  id: number,
  event: Event,
  now: number,
  changedUpTo: number,
): { sequence: number; message: MessageRecord } | undefined {
  if (event.event.case !== "message") return undefined;
  try {
    const message = eventOf(event);
    if (message.kind !== "message" || message.conversation !== id) return undefined;
    return { sequence: message.sequence, message: messageRecord(message, now, changedUpTo) };
  } catch (error) {
    if (error instanceof MalformedEvent) return undefined;
    throw error;
  }
}
