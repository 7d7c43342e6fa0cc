// The client's memory: what was sent and how far it is, what was received and what the app has confirmed. Everything that must
// survive the app is decided here, in jobs that run one after another and are committed before anybody is told. No network, no
// clock. The Rust library (`client-sdk/src/ledger`) makes the same decisions in the same modules:
//
// - `outbound`: sends, from the call to the last tick.
// - `inbound`: what the server delivered, each thing once; the events that wait for the app (`events`).
// - `files`: files that are to be sent, until their message is in the outbox.
// - `amend`: what happens to messages that are here: edited, taken back, reacted to.
// - `unread`: how many messages this user has not read.
// - `fill`: what a device that is new fetches of what was before it.
// - `gaps`: what did not come, until it has been looked for.
// - `queries`: what an app asks.
// - `unplaced`: sends whose conversation is not known yet.
// - `origin`: which server the store is of, and what a restored one has forgotten.
// - `sequence`: which places of a conversation are accounted for.

import { GodwitError, closed } from "../errors.js";
import type { Store } from "../store/store.js";
import * as keys from "./keys.js";
import type { ConversationRecord, Gap, InboxRecord, MessageRecord, SentRecord } from "./record.js";
import { SequenceTracker } from "./sequence.js";
import { Transaction } from "./transaction.js";

/** What an empty store begins with. */
export interface Beginning {
  /** Sends are numbered from here on. */
  after: number;
  /** The name of the count that these numbers are of: one that no earlier store of this device has used. */
  counter: number;
}

export interface LedgerOptions {
  store: Store;
  user: string;
  device: string;
  /** Messages are kept when the app has confirmed them. */
  archive: boolean;
  beginning: Beginning;
}

/** What there is to ask the server for since it was last looked. */
export interface Questions {
  gaps: boolean;
  fills: boolean;
  phones: boolean;
}

/** Runs jobs, one after another. */
export class Ledger {
  private last: Promise<unknown> = Promise.resolve();
  private isClosed = false;
  private readonly questions: Questions = { gaps: false, fills: false, phones: false };

  private constructor(
    private readonly options: LedgerOptions,
    private counter: number,
  ) {}

  /** Takes a store over, or begins one. @throws GodwitError "owner", "store" */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const ledger = new Ledger(options, 0);
    const owner = `${options.user}/${options.device}`;
    ledger.counter = await ledger.run(async ({ tx }) => {
      const stored = await tx.get<string>(keys.OWNER);
      if (stored !== undefined && stored !== owner) {
        throw new GodwitError("owner", `the store belongs to ${stored}`);
      }
      if (stored === undefined) {
        tx.put(keys.OWNER, owner);
        tx.put(keys.LAST_SEND, options.beginning.after);
        tx.put(keys.COUNTER, options.beginning.counter);
        tx.put(keys.LISTED, 0);
      }
      return await tx.number(keys.COUNTER);
    });
    return ledger;
  }

  /** Runs a job and commits what it wrote. If it fails, nothing of it is left. @throws GodwitError "store", "closed" */
  run<T>(job: (job: Job) => Promise<T>): Promise<T> {
    const done = this.last.then(() => this.runNow(job));
    this.last = done.catch(() => undefined);
    return done;
  }

  private async runNow<T>(job: (job: Job) => Promise<T>): Promise<T> {
    if (this.isClosed) throw closed();
    const { store, user, archive } = this.options;
    const tx = new Transaction(store);
    const before = { ...this.questions };
    try {
      const result = await job(new Job(tx, user, archive, this.counter, this.questions));
      const writes = tx.writes();
      if (writes.length > 0) await store.commit(writes);
      return result;
    } catch (error) {
      Object.assign(this.questions, before);
      if (error instanceof GodwitError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new GodwitError("store", `store: ${why}`, undefined, undefined, { cause: error });
    }
  }

  /** When the jobs before it are done. */
  async close(): Promise<void> {
    await this.last;
    if (this.isClosed) return;
    this.isClosed = true;
    await this.options.store.close();
  }
}

/** What the functions of the ledger work on. */
export class Job {
  constructor(
    readonly tx: Transaction,
    readonly me: string,
    readonly archive: boolean,
    /** The name of the count of this store's sends. */
    readonly counter: number,
    readonly questions: Questions,
  ) {}

  async conversation(id: number): Promise<ConversationRecord> {
    const key = keys.conversation(id);
    const known = await this.tx.get<ConversationRecord>(key);
    return known ?? emptyConversation();
  }

  message(id: number, sequence: number): Promise<MessageRecord | undefined> {
    return this.tx.get<MessageRecord>(keys.message(id, sequence));
  }

  sent(id: number): Promise<SentRecord | undefined> {
    return this.tx.get<SentRecord>(keys.sent(id));
  }

  /** An event for the app. Returns its number. */
  async tell(event: InboxRecord): Promise<number> {
    const id = (await this.tx.number(keys.LAST_EVENT)) + 1;
    this.tx.put(keys.LAST_EVENT, id);
    this.tx.put(keys.numbered(keys.INBOX, id), event);
    return id;
  }

  /** These did not come. */
  lookFor(gap: Gap): void {
    this.tx.put(keys.gap(gap.conversation, gap.first), gap);
    this.questions.gaps = true;
  }
}

export function emptyConversation(): ConversationRecord {
  return {
    known: false,
    group: false,
    title: "",
    members: [],
    order: { next: 0, seen: [], missing: [], lastReceived: 0 },
    lastOwn: 0,
    read: 0,
    unplaced: [],
    activeAt: 0,
    lastMessage: 0,
    early: [],
    filling: false,
    stale: false,
    request: false,
    settings: undefined,
    retention: undefined,
  };
}

/** Works on the places of a conversation. */
export function withOrder<T>(conversation: ConversationRecord, work: (order: SequenceTracker) => T): T {
  const order = new SequenceTracker(conversation.order);
  const result = work(order);
  conversation.order = order.record();
  return result;
}

/** The other side of a direct conversation; of one with oneself, oneself. */
export function otherSide(conversation: ConversationRecord, me: string): string | undefined {
  if (!conversation.known || conversation.group) return undefined;
  return (conversation.members.find((member) => member.user !== me) ?? conversation.members[0])?.user;
}
