// How many messages this user has not read: of others, above what it has read, not taken back, and kept on this device. The
// number stands with the conversation and goes along with what happens; it is counted where it is not known.

import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import type { ConversationRecord, MessageRecord } from "./record.js";

/** Messages that are looked at together. */
const BATCH = 64;

/** Whether this message is one of them. */
export function isUnread(me: string, conversation: ConversationRecord, at: number, message: MessageRecord): boolean {
  return at > conversation.read && isOfOthers(me, conversation, message);
}

function isOfOthers(me: string, conversation: ConversationRecord, message: MessageRecord): boolean {
  const sender = conversation.members.find((member) => member.ordinal === message.sender);
  return !message.recalled && message.send === 0 && sender?.user !== me;
}

/** This user has read up to here. */
export async function readUpTo(job: Job, id: number, conversation: ConversationRecord, upTo: number): Promise<void> {
  if (upTo <= conversation.read) return;
  if (conversation.unread !== undefined && conversation.unread > 0) {
    // Each message is looked at once, however often this is called.
    conversation.unread = Math.max(0, conversation.unread - (await count(job, id, conversation, conversation.read, upTo)));
  }
  conversation.read = upTo;
}

/** How many there are. Without an archive messages go one by one, and are counted each time. */
export async function unreadOf(job: Job, id: number, conversation: ConversationRecord): Promise<number> {
  if (conversation.unread !== undefined && job.archive) return conversation.unread;
  const unread = await count(job, id, conversation, conversation.read, undefined);
  if (conversation.unread !== unread) {
    conversation.unread = unread;
    job.tx.put(keys.conversation(id), conversation);
  }
  return unread;
}

async function count(job: Job, id: number, conversation: ConversationRecord, above: number, to: number | undefined) {
  let [from, sum] = [above + 1, 0];
  for (;;) {
    const bounds = keys.messages(id, from, to === undefined ? undefined : to + 1);
    const rows = await job.tx.scan<MessageRecord>(...bounds, { limit: BATCH });
    sum += rows.filter(([, message]) => isOfOthers(job.me, conversation, message)).length;
    const last = rows.at(-1);
    if (!last || rows.length < BATCH) return sum;
    from = keys.secondOf(last[0]) + 1;
  }
}
