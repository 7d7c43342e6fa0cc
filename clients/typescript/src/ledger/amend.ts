// What happens to messages that are here: edited, taken back, reacted to. The server cannot check who may do that where it keeps
// nothing of a message any more; so it is checked here, against the message that this device has (client.proto, `Change`). What
// is not to be believed has no effect, and the app is not told of it.

import type { ConversationUpdate } from "../wire.js";
import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import type { ConversationRecord, MessageRecord } from "./record.js";
import { isUnread } from "./unread.js";

/** What becomes of a change: it is so; it concerns a message that is not here; who did it may not. */
export type Belief = "checked" | "unchecked" | "refuted";

/** Where a change stands, and who did it. */
export interface ChangePlace {
  id: number;
  sequence: number;
  /** The member's ordinal. */
  by: number;
}

/** Applies a change of a message, at this place. Others are none of this module's. */
export async function amend(
  job: Job,
  { id, sequence, by }: ChangePlace,
  conversation: ConversationRecord,
  change: ConversationUpdate,
): Promise<Belief> {
  if (change.kind !== "recalled" && change.kind !== "edited" && change.kind !== "reacted") return "checked";
  const message = await job.message(id, change.sequence);
  if (!message) {
    conversation.stale ||= conversation.filling;
    return "unchecked";
  }
  const wasUnread = isUnread(job.me, conversation, change.sequence, message);
  const sentIt = hasSent(job.me, conversation, message, by);
  if (sentIt === undefined) return "unchecked";
  let believed: boolean;
  switch (change.kind) {
    case "recalled":
      believed = sentIt || (conversation.group && roleOf(conversation, by) > 0);
      if (believed) Object.assign(message, { body: new Uint8Array(), recalled: true, media: [], reactions: [] });
      break;
    case "edited":
      // What was taken back says nothing any more. One that comes late (`gaps`) is no news after what came after it.
      believed = sentIt && !message.recalled && sequence > message.editedAt;
      if (believed) Object.assign(message, { body: change.body, sealed: change.sealed, edited: true, editedAt: sequence });
      break;
    case "reacted":
      believed = react(message, sequence, by, change.reaction);
      break;
  }
  if (!believed) return "refuted";
  if (wasUnread && !isUnread(job.me, conversation, change.sequence, message) && conversation.unread !== undefined) {
    conversation.unread = Math.max(0, conversation.unread - 1);
  }
  job.tx.put(keys.message(id, change.sequence), message);
  return "checked";
}

/** Whether this member sent the message; `undefined`: nobody knows yet who the members are. What this device sent before it knew
 * them has no sender, but is this user's. */
function hasSent(me: string, conversation: ConversationRecord, message: MessageRecord, by: number): boolean | undefined {
  if (message.send === 0) return message.sender === by;
  if (!conversation.known) return undefined;
  return conversation.members.some((member) => member.ordinal === by && member.user === me);
}

/** What is no more is kept too, for one that comes late. */
function react(message: MessageRecord, at: number, member: number, reaction: string): boolean {
  if (message.recalled) return false;
  const known = message.reactions.find((it) => it.member === member);
  if (known && known.at >= at) return false;
  if (known) Object.assign(known, { reaction, at });
  else message.reactions.push({ member, reaction, at });
  return true;
}

export function roleOf(conversation: ConversationRecord, ordinal: number): number {
  return conversation.members.find((member) => member.ordinal === ordinal)?.role ?? 0;
}
