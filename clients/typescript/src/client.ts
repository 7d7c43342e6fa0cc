// What an app holds: it sends, reads events and confirms them, and asks. Everything else happens behind it.

import { create } from "./protobuf.js";
import { randomBytes } from "@noble/hashes/utils";

import { Engine, type EngineOptions } from "./engine/engine.js";
import { nowS } from "./engine/connection.js";
import { EngineShared, type Signal } from "./engine/shared.js";
import { GodwitError, closed } from "./errors.js";
import { Events } from "./events.js";
import * as pb from "./gen/messages.js";
import { Groups } from "./groups.js";
import { PAGE, PAGES_MAX, keepPast } from "./ledger/fill.js";
import * as keys from "./ledger/keys.js";
import { Ledger } from "./ledger/ledger.js";
import { type Draft, directWith, queue, stateOf } from "./ledger/outbound.js";
import * as queries from "./ledger/queries.js";
import type { MediaRecord, Recipient, RetentionRecord } from "./ledger/record.js";
import { Account, People } from "./people.js";
import { SendHandle } from "./send.js";
import type { Status } from "./status.js";
import { MemoryStore } from "./store/memory.js";
import type { Store } from "./store/store.js";
import { Files } from "./transfer/files.js";
import type { OpenPath } from "./transfer/source.js";
import { type Call, isName, isPhone, plain } from "./wire.js";

export interface ConnectOptions {
  /** `ws://host:port/mqtt` or `wss://`. */
  url: string;
  user: string;
  device: string;
  /** The device's own password, or a token. A function is called for each refusal, for a token that is not too old. (A password
   * that was renewed stands in the store, and is tried first.) */
  password: string | (() => string | Promise<string>);
  /** Default: a store in memory, which is lost with the program. */
  store?: Store;
  /** Keep messages when the app has confirmed them, for `messages` and `search`. Default: true. */
  archive?: boolean;
  /** Fetch what was before this device, if its store is new. Default: true. */
  fill?: boolean;
  /** Receive what others do right now: typing, presence. Default: true. */
  live?: boolean;
  /** Milliseconds of silence after which a connection is over, while something is not answered. Default: 30,000. */
  patienceMs?: number;
  /** Milliseconds that a call waits for its answer, connection included. Default: 60,000. */
  callTimeoutMs?: number;
  /** Longest wait between attempts to connect, in milliseconds. Default: 60,000. */
  longestWaitMs?: number;
  /** First and longest interval between pings of a silent connection, in milliseconds. Default: 60,000 and 900,000. */
  keepAliveMs?: readonly [first: number, longest: number];
  /** Opens files that are named by a path; `@godwit/client/node` has one. */
  openPath?: OpenPath;
}

/** What is seldom said of a message. */
export interface SendOptions {
  /** It vanishes after so many whole seconds: undelivered copies, and from history. */
  expiresInS?: number;
  /** The place of the message of the same conversation that it answers. */
  replyTo?: number;
  /** Files that were uploaded, or that this user can see; up to 16. */
  media?: readonly MediaRecord[];
  /** A name for this send that no other has: the same name twice is one message, also after a restart. For a caller that may not
   * learn whether an earlier attempt succeeded. */
  token?: string;
}

/** Opens a client. It connects by itself; without a connection everything that needs none works.
 * @throws GodwitError "address", "owner", "store" */
export async function connect(options: ConnectOptions): Promise<Client> {
  const { url, user, device, password } = options;
  if (!/^wss?:\/\/[^/]/.test(url)) throw new GodwitError("address", `not the address of a WebSocket: ${url}`);
  if (!isName(user) || !isName(device)) throw new GodwitError("address", "not a name of a user and a device");
  const ledger = await Ledger.open({
    store: options.store ?? new MemoryStore(),
    user,
    device,
    archive: options.archive ?? true,
    beginning: beginning(),
  });
  const fresh = typeof password === "function" ? async () => await password() : undefined;
  const given = fresh ? await fresh() : (password as string);
  const kept = await ledger.run(({ tx }) => tx.get<{ fresh: string; proven: string }>(keys.PASSWORDS));
  return new Client(new EngineShared(ledger), options, {
    url,
    user,
    device,
    passwords: [kept?.fresh ?? "", kept?.proven ?? "", given].filter((it) => it !== ""),
    fresh,
    live: options.live ?? true,
    fills: options.fill ?? true,
    patienceMs: options.patienceMs ?? 30_000,
    callTimeoutMs: options.callTimeoutMs ?? 60_000,
    longestWaitMs: options.longestWaitMs ?? 60_000,
    keepAliveMs: options.keepAliveMs ?? [60_000, 900_000],
  });
}

/** Milliseconds from 1970 to 2026. */
const EPOCH_MS = 1_767_225_600_000;

/** A count with a name that no earlier store of this device has used. */
function beginning() {
  const after = Math.max(0, Math.floor((Date.now() - EPOCH_MS) / 16));
  // Four bytes on the wire.
  const random = new DataView(randomBytes(4).buffer).getUint32(0);
  return { after, counter: Math.max(1, random & 0x0fff_ffff) };
}

const utf8 = new TextEncoder();
/** What is published to `live/<conversation>` while this user types. */
export const TYPING = "typing";

export class Client {
  readonly user: string;
  readonly device: string;
  readonly groups: Groups;
  readonly people: People;
  readonly account: Account;
  readonly files: Files;
  private readonly engine: Engine;

  /** @internal See `connect`. */
  constructor(
    private readonly shared: EngineShared,
    options: ConnectOptions,
    engine: EngineOptions,
  ) {
    this.user = engine.user;
    this.device = engine.device;
    this.engine = new Engine(shared, engine);
    const caller = (call: Call) => this.engine.call(call);
    this.groups = new Groups(caller);
    this.people = new People(caller);
    this.account = new Account(caller);
    this.files = new Files(shared, caller, options.openPath);
    this.engine.start();
  }

  /** Sends a message: to a user by name, to a conversation by number, or to whoever has a phone number. When it returns the
   * message is in the store: it will be sent, once, whatever happens to the app. To one recipient messages go in the order of the
   * calls. @throws GodwitError "store", "closed", RangeError: it will not be sent */
  async send(to: Recipient | string | number, body: Uint8Array | string, options: SendOptions = {}): Promise<SendHandle> {
    const { expiresInS = 0, replyTo = 0, media = [], token } = options;
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const draft: Draft = { body: bytes, expiresInS, replyTo, media: [...media] };
    const target = recipient(to);
    const id = await this.shared.ledger.run((job) => queue(job, target, draft, nowS(), token));
    this.shared.queued();
    return new SendHandle(this.shared, id);
  }

  /** The handle of an earlier send; `undefined`: there was none, or it is no longer in the store. */
  async follow(id: number): Promise<SendHandle | undefined> {
    const state = await this.shared.ledger.run((job) => stateOf(job, id));
    return state && new SendHandle(this.shared, id);
  }

  /** What the app is to be told, beginning with the oldest event that it has not confirmed. Meant for one reader. */
  events(): Events {
    return new Events(this.shared);
  }

  /** The app has done what it wanted with this event and all before it: none of them is told again, after any crash. Durable when
   * it returns. */
  confirm(delivery: { id: number }): Promise<void> {
    return this.events().confirm(delivery);
  }

  get status(): Status {
    return this.shared.status;
  }

  /** Calls back when the status changes. Returns what ends that. */
  onStatus(listener: (status: Status) => void): () => void {
    return this.shared.onStatus.add(listener);
  }

  /** Calls back when something that conversations, messages and pending sends show may have changed. Returns what ends that. */
  onChange(listener: () => void): () => void {
    return this.shared.onChange.add(listener);
  }

  /** Calls back with what others do right now. Returns what ends that. */
  onSignal(listener: (signal: Signal) => void): () => void {
    return this.shared.onSignal.add(listener);
  }

  /** All conversations of this device, the one in which something happened last first. */
  conversations(): Promise<queries.Conversation[]> {
    return this.shared.ledger.run(queries.conversations);
  }

  conversation(id: number): Promise<queries.Conversation | undefined> {
    return this.shared.ledger.run((job) => queries.conversation(job, id));
  }

  /** The direct conversation with a user, if this device knows of one. */
  direct(user: string): Promise<number | undefined> {
    return this.shared.ledger.run((job) => directWith(job, user));
  }

  /** The direct conversation with a user, made if there is none. */
  async openDirect(user: string): Promise<number> {
    const response = await this.engine.call({ case: "openDirect", value: create(pb.OpenDirectSchema, { user }) });
    return plain(response.conversation);
  }

  /** The newest `limit` messages below `before` that this device keeps, oldest first. What has no place yet is in `pending`. */
  messages(id: number, { before, limit = 50 }: { before?: number; limit?: number } = {}): Promise<queries.Message[]> {
    return this.shared.ledger.run((job) => queries.messages(job, id, before, limit));
  }

  /** Messages on this device that contain a text, in one conversation or in all. Letters of either case, with or without accents,
   * are alike. */
  search(text: string, { conversation, limit = 50 }: { conversation?: number; limit?: number } = {}): Promise<queries.Message[]> {
    return this.shared.ledger.run((job) => queries.search(job, text, conversation, limit));
  }

  /** What was sent to this recipient and has no place in the conversation yet, oldest first. */
  async pending(to: Recipient | string | number): Promise<queries.PendingSend[]> {
    const target = recipient(to);
    return await this.shared.ledger.run((job) => queries.pending(job, target));
  }

  /** Sends that were refused and not dismissed, oldest first. */
  refused(): Promise<queries.PendingSend[]> {
    return this.shared.ledger.run(queries.refusedSends);
  }

  /** A refused send is not wanted any more. */
  async dismiss(id: number): Promise<void> {
    await this.shared.ledger.run((job) => Promise.resolve(queries.dismiss(job, id)));
    this.shared.changed();
  }

  /** The user has read everything up to here: told to the others as soon as there is a connection. Going back has no effect.
   * Durable when it returns. */
  async markRead(id: number, upTo: number): Promise<void> {
    if (!(await this.shared.ledger.run((job) => queries.markRead(job, id, upTo)))) return;
    this.shared.queued();
  }

  /** Removes the messages up to here from this device. */
  async forget(id: number, upTo: number): Promise<void> {
    await this.shared.ledger.run((job) => queries.forget(job, id, upTo));
    this.shared.changed();
  }

  /** Brings messages before the oldest one that this device has into its store, a page of them, as far as the server keeps them.
   * `messages` has them when it returns; they are no events. Whether there may be more. */
  async loadOlder(id: number): Promise<boolean> {
    const { ledger } = this.shared;
    let before = (await ledger.run((job) => queries.oldest(job, id))) ?? 0;
    // Some pages hold nothing but changes.
    for (let page = 0; page < PAGES_MAX; page++) {
      const range = { conversation: BigInt(id), before: BigInt(before), limit: PAGE };
      const response = await this.engine.call({ case: "getHistory", value: create(pb.GetHistorySchema, range) });
      const found = await ledger.run((job) => keepPast(job, id, response.history, nowS()));
      if (found > 0) this.shared.changed();
      const next = plain(response.next);
      // A server that does not come nearer to the beginning would be asked for ever.
      if (next === 0 || (before > 0 && next >= before)) return false;
      if (found > 0) return true;
      before = next;
    }
    return true;
  }

  /** This user wants to be in a conversation that a stranger has opened. Sending there and reading do the same. */
  async accept(id: number): Promise<void> {
    await this.engine.call({ case: "accept", value: create(pb.AcceptSchema, { conversation: BigInt(id) }) });
    await this.shared.ledger.run(async (job) => {
      const record = await job.conversation(id);
      if (record.known) job.tx.put(keys.conversation(id), { ...record, request: false });
    });
    this.shared.changed();
  }

  /** Takes a message back, for its sender and for admins of a group. */
  async recall(id: number, sequence: number): Promise<void> {
    const value = create(pb.RecallSchema, { conversation: BigInt(id), sequence: BigInt(sequence) });
    await this.engine.call({ case: "recall", value });
  }

  /** Gives a message another body. For its sender. */
  async edit(id: number, sequence: number, body: Uint8Array | string): Promise<void> {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const place = { conversation: BigInt(id), sequence: BigInt(sequence) };
    await this.engine.call({ case: "edit", value: create(pb.EditSchema, { ...place, body: bytes }) });
  }

  /** Reacts to a message in up to 32 bytes, instead of how this user did before; with nothing, no more. */
  async react(id: number, sequence: number, reaction: string): Promise<void> {
    const place = { conversation: BigInt(id), sequence: BigInt(sequence) };
    await this.engine.call({ case: "react", value: create(pb.ReactSchema, { ...place, reaction }) });
  }

  /** Says how long what is sent from now on is kept. */
  async setRetention(id: number, retention: RetentionRecord): Promise<void> {
    const value = create(pb.SetRetentionSchema, {
      conversation: BigInt(id),
      retention: create(pb.RetentionSchema, retention),
    });
    await this.engine.call({ case: "setRetention", value });
  }

  /** Everything so far is gone for this user, on all its devices, and from this device. */
  async deleteConversation(id: number): Promise<void> {
    const value = create(pb.DeleteConversationSchema, { conversation: BigInt(id) });
    await this.engine.call({ case: "deleteConversation", value });
    await this.shared.ledger.run(async (job) => {
      const record = await job.conversation(id);
      await queries.forget(job, id, Math.max(record.lastMessage, record.order.lastReceived));
    });
    this.shared.changed();
  }

  /** Tells the members who are there what this user does right now, in up to 256 bytes. Without a connection it is dropped. The
   * server passes on ten of them a second. */
  signal(id: number, body: Uint8Array | string): void {
    this.engine.signal(id, typeof body === "string" ? utf8.encode(body) : body);
  }

  /** This user types: to be said every few seconds while that is so. */
  typing(id: number): void {
    this.signal(id, TYPING);
  }

  /** Gets a new password for this device, stores it, and connects again with it; then the old one is void. An app without a lasting
   * store must keep the one that is returned. */
  async renewPassword(): Promise<string> {
    const value = create(pb.RenewPasswordSchema, { device: this.device });
    const { password } = await this.engine.call({ case: "renewPassword", value });
    await this.engine.renewed(password);
    return password;
  }

  /** The device is on another network, or on one again: connects anew at once. */
  networkChanged(): void {
    this.engine.networkChanged();
  }

  /** Says goodbye to the server and closes the store. What was not sent is sent when the store is opened again. Every other call
   * fails afterwards. */
  async close(): Promise<void> {
    if (this.shared.status.kind === "closed") throw closed();
    this.files.stop();
    await this.engine.close();
    await this.shared.ledger.close();
    this.shared.hasNews();
  }
}

/** @throws RangeError: it is none. */
export function recipient(to: Recipient | string | number): Recipient {
  const found: Recipient =
    typeof to === "number" ? { conversation: to }
    : typeof to === "string" ? (to.startsWith("+") ? { phone: to } : { user: to })
    : to;
  const good =
    "user" in found ? isName(found.user)
    : "phone" in found ? isPhone(found.phone)
    : Number.isSafeInteger(found.conversation) && found.conversation > 0;
  if (!good) throw new RangeError("neither a user, nor a conversation, nor a phone number in E.164");
  return found;
}
