// Sends that the server has stored, this device does not know in which conversation: to a user whose conversation it does not
// know yet, or to a phone number, if the answer did not say whose it is. For the latter the server is asked.

import { sha256 } from "@noble/hashes/sha2";

import type { FoundPhone } from "../gen/messages.js";
import * as keys from "./keys.js";
import type { Job } from "./ledger.js";
import { directWith, settle } from "./outbound.js";
import type { Recipient } from "./record.js";

/** Numbers that are asked for at a time. */
const AT_ONCE = 100;

/** A number as the server is asked for it. */
export function phoneHash(number: string): Uint8Array {
  return sha256(new TextEncoder().encode(number));
}

/** A send was stored, nobody said where. */
export async function storedWithoutConversation(job: Job, to: Recipient, id: number): Promise<void> {
  if ("user" in to) await addUnrouted(job, keys.unrouted(to.user), [id]);
  if ("phone" in to) {
    job.questions.phones = true;
    await addUnrouted(job, keys.unroutedPhone(to.phone), [id]);
  }
}

async function addUnrouted({ tx }: Job, key: string, sends: readonly number[]): Promise<void> {
  tx.put(key, [...((await tx.get<number[]>(key)) ?? []), ...sends]);
}

/** A hole in any direct conversation may be the place of a send to a number. */
export async function hasUnroutedPhones({ tx }: Job): Promise<boolean> {
  return (await tx.scan(...keys.UNROUTED_PHONES, { limit: 1 })).length > 0;
}

/** Numbers of which it is to be asked who has them. */
export async function unroutedPhones({ tx }: Job): Promise<string[]> {
  const rows = await tx.scan(...keys.UNROUTED_PHONES, { limit: AT_ONCE });
  return rows.map(([key]) => key.slice(2));
}

/** The same, if there are more than when it was asked last. */
export async function newPhones(job: Job): Promise<string[]> {
  if (!job.questions.phones) return [];
  job.questions.phones = false;
  return await unroutedPhones(job);
}

/** Who has the numbers of these hashes, of which was `asked`. Returns sends that have a place now. */
export async function phonesFound(job: Job, asked: readonly Uint8Array[], found: readonly FoundPhone[]): Promise<number[]> {
  const placed: number[] = [];
  for (const number of await unroutedPhones(job)) {
    const hash = phoneHash(number);
    if (!asked.some((it) => same(it, hash))) continue;
    const key = keys.unroutedPhone(number);
    const sends = (await job.tx.get<number[]>(key)) ?? [];
    job.tx.delete(key);
    // Nobody: then nobody knows where they are.
    const user = found.find((it) => same(it.sha256, hash))?.user;
    if (user) placed.push(...(await sentTo(job, user, sends)));
  }
  return placed;
}

async function sentTo(job: Job, user: string, sends: readonly number[]): Promise<number[]> {
  const id = await directWith(job, user);
  if (id === undefined) {
    await addUnrouted(job, keys.unrouted(user), sends);
    return [];
  }
  const conversation = await job.conversation(id);
  conversation.unplaced.unshift(...sends.map((send) => ({ id: send, above: 0, below: 0 })));
  const placed = await settle(job, id, conversation);
  job.tx.put(keys.conversation(id), conversation);
  return placed;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
