// What came on a connection at once and goes into the ledger in one commit.

import type { Refusal } from "../errors.js";
import type { FoundPhone, Response } from "../gen/messages.js";
import { type HistoryFill, filled, newFills } from "../ledger/fill.js";
import { fetched, newGaps } from "../ledger/gaps.js";
import { type InboxDelivery, described, nothingReceived, receive } from "../ledger/inbound.js";
import * as keys from "../ledger/keys.js";
import type { Job } from "../ledger/ledger.js";
import { type SendState, isOwnRepetition, refused, stateOf, stored } from "../ledger/outbound.js";
import { readTold } from "../ledger/queries.js";
import type { Gap } from "../ledger/record.js";
import { newPhones, phonesFound } from "../ledger/unplaced.js";
import type { Place } from "../network/link.js";
import { Reason } from "../reason.js";
import type { ConversationUpdate } from "../wire.js";

const STRANGE =
  "another copy of this device's store has sent under this number: whether this message was stored is not known";

/** Packets that were read together, sorted by what the ledger does with them. */
export class InboundBatch {
  /** Sends that the server has stored; `repeated`: before, and all of its count up to this number. */
  readonly stored: { id: number; at: Place | undefined; repeated: bigint | undefined }[] = [];
  /** Sends that it does not take, and why. */
  readonly refused: { id: number; refusal: Refusal }[] = [];
  /** What it knows to be read. */
  readonly told: { conversation: number; upTo: number }[] = [];
  readonly deliveries: InboxDelivery[] = [];
  /** Conversations that it described. */
  readonly described: { conversation: number; opened: ConversationUpdate & { kind: "opened" } }[] = [];
  /** The server holds the subscriptions of this device. */
  subscribed = false;
  /** Places that did not come, looked for in history. */
  readonly fetched: { gap: Gap; response: Response }[] = [];
  /** What was before this device. */
  readonly filled: { fill: HistoryFill; response: Response }[] = [];
  /** Who has phone numbers. */
  readonly phones: { asked: readonly Uint8Array[]; found: readonly FoundPhone[] }[] = [];
  /** Packet identifiers to be acknowledged after the commit. */
  readonly acks: number[] = [];

  /** Nothing of it needs a commit. */
  get isEmpty(): boolean {
    const lists = [this.stored, this.refused, this.told, this.deliveries, this.described, this.fetched, this.filled, this.phones];
    return !this.subscribed && lists.every((list) => list.length === 0);
  }
}

/** What a batch has changed. */
export interface Applied {
  /** There are new events for the app. */
  news: boolean;
  unknown: Set<number>;
  gaps: Gap[];
  fills: HistoryFill[];
  phones: string[];
  /** How far those of the followed sends are that it concerns. */
  states: Map<number, SendState>;
}

export async function apply(job: Job, batch: InboundBatch, now: number, followed: readonly number[]): Promise<Applied> {
  const concerned = new Set<number>();
  const received = nothingReceived();
  for (const { id, at, repeated } of batch.stored) {
    concerned.add(id);
    if (repeated === undefined || (await isOwnRepetition(job, id, repeated))) {
      for (const placed of await stored(job, id, at)) concerned.add(placed);
    } else {
      batch.refused.push({ id, refusal: { reason: Reason.packetIdentifierInUse, text: STRANGE } });
    }
  }
  for (const { id, refusal } of batch.refused) {
    concerned.add(id);
    for (const placed of await refused(job, id, refusal)) concerned.add(placed);
  }
  for (const { conversation, upTo } of batch.told) await readTold(job, conversation, upTo);
  for (const { conversation, opened } of batch.described) await described(job, conversation, opened);
  if (batch.subscribed) job.tx.put(keys.SUBSCRIBED, true);
  await receive(job, batch.deliveries, now, received);
  for (const { gap, response } of batch.fetched) await fetched(job, gap, response, now, received);
  for (const { fill, response } of batch.filled) await filled(job, fill, response, now);
  for (const { asked, found } of batch.phones) {
    for (const placed of await phonesFound(job, asked, found)) concerned.add(placed);
  }
  for (const placed of received.placed) concerned.add(placed);
  const all = received.ticked || batch.described.length > 0 || batch.filled.length > 0;
  const states = new Map<number, SendState>();
  for (const id of followed.filter((it) => all || concerned.has(it))) {
    const state = await stateOf(job, id);
    if (state) states.set(id, state);
  }
  return {
    news: received.news || batch.refused.length > 0 || batch.described.length > 0,
    unknown: received.unknown,
    gaps: await newGaps(job),
    fills: await newFills(job),
    phones: await newPhones(job),
    states,
  };
}
