// Places of a conversation that did not come: they are looked for in the server's history, and only what is not there is told to
// the app as missing. A gap is kept until that is known, over connections and restarts.

import type { Event, Response } from "../gen/messages.js";
import { MalformedEvent, eventOf, eventPayload, plain } from "../wire.js";
import { amend } from "./amend.js";
import { pastMessage } from "./fill.js";
import { type Received, receiveMessage, tellChange } from "./inbound.js";
import * as keys from "./keys.js";
import { type Job, withOrder } from "./ledger.js";
import type { Gap } from "./record.js";

/** Gaps that are looked for at a time. */
const AT_ONCE = 8;

/** What is to be looked for, the first of it. */
export async function gaps({ tx }: Job): Promise<Gap[]> {
  const rows = await tx.scan<Gap>(...keys.above(keys.GAPS, 0), { limit: AT_ONCE });
  return rows.map(([, gap]) => gap);
}

/** The same, if there is more than when it was asked last. */
export async function newGaps(job: Job): Promise<Gap[]> {
  if (!job.questions.gaps) return [];
  job.questions.gaps = false;
  return await gaps(job);
}

/** What history has of a gap, or a refusal to say. */
export async function fetched(job: Job, gap: Gap, response: Response, now: number, received: Received): Promise<void> {
  const key = keys.gap(gap.conversation, gap.first);
  if (!(await job.tx.get(key))) return;
  job.tx.delete(key);
  // There may be others that wait for their turn.
  job.questions.gaps = true;
  for (const event of response.history) await found(job, gap, event, now, received);
  // Pages come oldest first; `next` is the last place that was looked at.
  let lookedAt = gap.last;
  const next = plain(response.next);
  if (response.reason === 0 && next > 0 && next < gap.last) {
    lookedAt = Math.max(next, gap.first);
    job.lookFor({ ...gap, first: lookedAt + 1 });
  }
  const { order } = await job.conversation(gap.conversation);
  for (const [from, to] of order.missing) {
    const [first, last] = [Math.max(from, gap.first), Math.min(to, lookedAt)];
    if (first > last) continue;
    await job.tell({ kind: "missing", gap: { conversation: gap.conversation, first, last } });
    received.news = true;
  }
}

async function found(job: Job, gap: Gap, event: Event, now: number, received: Received): Promise<void> {
  const id = gap.conversation;
  const isOfGap = (at: number) => gap.first <= at && at <= gap.last;
  const conversation = await job.conversation(id);
  const past = pastMessage(id, event, now, conversation.order.lastReceived);
  if (past) {
    if (!isOfGap(past.sequence)) return;
    if (!past.message.recalled) return await receiveMessage(job, id, past.sequence, past.message, received);
    withOrder(conversation, (order) => order.receive(past.sequence));
    job.tx.put(keys.conversation(id), conversation);
    return;
  }
  const change = changeOf(event);
  if (change?.conversation !== id || !isOfGap(change.sequence)) return;
  if (!withOrder(conversation, (order) => order.receive(change.sequence))) return;
  const belief = await amend(job, { id, sequence: change.sequence, by: change.by }, conversation, change.change);
  job.tx.put(keys.conversation(id), conversation);
  await tellChange(job, eventPayload(event), belief);
  received.news = true;
  // Later changes have been applied already: what is so now is asked for.
  received.unknown.add(id);
}

function changeOf(event: Event) {
  try {
    const parsed = eventOf(event);
    return parsed.kind === "changed" ? parsed : undefined;
  } catch (error) {
    if (error instanceof MalformedEvent) return undefined;
    throw error;
  }
}
