// Which server this store is of, and what happens to it when that server was restored from a backup: it has forgotten what came
// after the backup, and this device has not. What both know stays; conversations that the server does not have are nobody's any
// more; messages that were not sent go only where the members are those that this device knew.

import type { ServerIdentity } from "../network/link.js";
import { Reason } from "../reason.js";
import type { ConversationUpdate } from "../wire.js";
import { failed } from "./files.js";
import { described } from "./inbound.js";
import * as keys from "./keys.js";
import { type Job, otherSide, withOrder } from "./ledger.js";
import { countUnanswered, refused } from "./outbound.js";
import type { ConversationRecord, FileRecord, OutRecord } from "./record.js";

const GONE = "the server was restored from a backup, and this conversation is not there any more";
const UNSURE = "the server was restored from a backup, and whether this conversation is what it was is not known";
const OTHERS = "the server was restored from a backup, and this conversation has other members than when it was written";

/** What a restored server has of the conversations that this device knows. */
export interface RestoreFindings {
  /** Those that it described. */
  there: Map<number, ConversationUpdate & { kind: "opened" }>;
  /** Those that it does not let this user look at, or does not have. */
  gone: Set<number>;
  /** Those of which it says nothing. */
  unsure: Set<number>;
}

/** The server that this store is of; `undefined`: it does not know yet. */
export function origin({ tx }: Job): Promise<ServerIdentity | undefined> {
  return tx.get<ServerIdentity>(keys.SERVER);
}

/** From now on it is of this one. */
export function setOrigin({ tx }: Job, identity: ServerIdentity): void {
  tx.put(keys.SERVER, identity);
}

/** The server was restored: it gives places above this one. Those below it that did not come are of a history that is no more, or
 * come yet; none of them is missing. Returns the conversations that are known, each to be asked about. */
export async function leap({ tx }: Job, above: number): Promise<Set<number>> {
  const known = new Set<number>();
  for (const [key, conversation] of await tx.scan<ConversationRecord>(...keys.above(keys.CONVERSATIONS, 0))) {
    withOrder(conversation, (order) => order.leap(above));
    // Where these sends stood only the server could have told.
    conversation.unplaced = [];
    tx.put(key, conversation);
    known.add(keys.numberOf(key));
  }
  return known;
}

/** The server was restored, and has said what it has. Returns the sends that are refused now. */
export async function restored(job: Job, identity: ServerIdentity, found: RestoreFindings): Promise<number[]> {
  const { tx } = job;
  const others = new Set<number>();
  for (const [id, opened] of found.there) {
    const before = await job.conversation(id);
    const now = new Set(opened.members.map((member) => member.user));
    if (before.known && !same(present(before), now)) others.add(id);
    await described(job, id, opened);
  }
  const lost: number[] = [];
  for (const id of found.gone) {
    const conversation = await job.conversation(id);
    if (present(conversation).has(job.me)) lost.push(id);
    await forgetDirect(job, id, conversation);
    for (const member of conversation.members) member.gone = true;
    tx.put(keys.conversation(id), conversation);
  }
  const against = (id: number): { reason: number; text: string } | undefined => {
    if (found.gone.has(id)) return { reason: Reason.topicNameInvalid, text: GONE };
    if (others.has(id)) return { reason: Reason.notAuthorized, text: OTHERS };
    return found.unsure.has(id) ? { reason: Reason.notAuthorized, text: UNSURE } : undefined;
  };
  const refusals = await judgeUnsent(job, against);
  await judgeFiles(job, against);
  setOrigin(job, identity);
  await job.tell({ kind: "restored", lost });
  // What the server has and this device has not heard of.
  tx.put(keys.LISTED, 0);
  job.questions.fills = true;
  return refusals;
}

type Against = (id: number) => { reason: number; text: string } | undefined;

async function forgetDirect({ tx, me }: Job, id: number, conversation: ConversationRecord): Promise<void> {
  const other = otherSide(conversation, me);
  if (other !== undefined && (await tx.get<number>(keys.direct(other))) === id) tx.delete(keys.direct(other));
}

/** Sends to conversations against which something speaks are refused, or go to the other side by its name. */
async function judgeUnsent(job: Job, against: Against): Promise<number[]> {
  const refusals: number[] = [];
  for (const [key, out] of await job.tx.scan<OutRecord>(...keys.above(keys.OUTBOX, 0))) {
    if (!("conversation" in out.to)) continue;
    const refusal = against(out.to.conversation);
    if (!refusal) continue;
    const user = otherSide(await job.conversation(out.to.conversation), job.me);
    if (user === undefined) {
      const send = keys.numberOf(key);
      refusals.push(send, ...(await refused(job, send, refusal)));
      continue;
    }
    // The send is for this user, whatever the number of the conversation with it is. What it answers stood in the other one.
    await countUnanswered(job, out.to, -1);
    await countUnanswered(job, { user }, 1);
    job.tx.put(key, { ...out, to: { user }, replyTo: 0 });
  }
  return refusals;
}

async function judgeFiles(job: Job, against: Against): Promise<void> {
  for (const [key, file] of await job.tx.scan<FileRecord>(...keys.above(keys.FILES, 0))) {
    const refusal = "conversation" in file.to ? against(file.to.conversation) : undefined;
    if (refusal) await failed(job, keys.numberOf(key), { kind: "refused", refusal });
  }
}

function present(conversation: ConversationRecord): Set<string> {
  return new Set(conversation.members.filter((member) => !member.gone).map((member) => member.user));
}

function same(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((it) => b.has(it));
}
