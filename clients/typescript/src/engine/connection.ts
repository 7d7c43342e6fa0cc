// One connection, from CONNECT to its end. In rounds: put what there is to send into the link, wait for what happens, take in
// everything that came at once with one commit, acknowledge it. A delivery is acknowledged after the commit that holds it, and a
// send leaves the outbox in the commit that says so.

import { fromBinary } from "../protobuf.js";

import { LiveSchema, PresenceSchema } from "../gen/messages.js";
import { fills } from "../ledger/fill.js";
import { gaps } from "../ledger/gaps.js";
import * as keys from "../ledger/keys.js";
import { type UnansweredSend, unanswered } from "../ledger/outbound.js";
import { unknownConversations, untoldReads } from "../ledger/queries.js";
import { unroutedPhones } from "../ledger/unplaced.js";
import { ConnectionLost, type Inbound, Link, type LinkOptions } from "../network/link.js";
import { Reason } from "../reason.js";
import { type InboxEvent, MalformedEvent, parseEvent, readPayload, sendPayload } from "../wire.js";
import { type Applied, InboundBatch, apply } from "./batch.js";
import type { Learned, Question } from "./calls.js";
import type { Engine } from "./engine.js";
import { Reconciliation } from "./reconciliation.js";
import { Stopped } from "./stopped.js";

/** What comes is taken in together, up to this many packets. */
const BATCH = 128;
/** How long the engine asks for something, in milliseconds. */
const ASKED_MS = 60_000;
/** Questions of a reconciliation are asked again on the next connection, not on this one. */
const RECONCILED_MS = 24 * 3_600_000;
/** Sends without an answer at a time. */
const WINDOW = 32;
/** Bytes of them: more would only wait in a slow network's queue, before the pings. */
const WINDOW_BYTES = 64 * 1024;
/** Fixed header, topic, packet identifier and property length of a publish. */
const OVERHEAD = 16;
/** Packet identifiers that the engine uses; 1 is SUBSCRIBE's. */
const [FIRST_PACKET_ID, LAST_PACKET_ID] = [2, 1_000];
const SUBSCRIBE_ID = 1;
/** What it subscribes to always, and with live signals. */
const FILTERS = ["inbox", "rpc", "live/+", "presence/+"];
const ALWAYS = 2;

/** A publish without its PUBACK. */
type Unacknowledged =
  | { kind: "send"; id: number; bytes: number }
  | { kind: "read"; conversation: number; upTo: number }
  | { kind: "call"; id: number };

export class EngineConnection {
  private readonly link: Link;
  private readonly reconciliation: Reconciliation;
  /** CONNACK came, and lets the device in. */
  private connected = false;
  /** Publishes that the server lets wait for their PUBACK. */
  private unansweredMax = 0;
  /** Largest packet that the server takes, in bytes. */
  private packetBytesMax = Number.POSITIVE_INFINITY;
  /** By packet identifier. */
  private readonly inFlight = new Map<number, Unacknowledged>();
  /** Of sends among them. */
  private bytesInFlight = 0;
  private lastPacketId = FIRST_PACKET_ID - 1;
  /** Read from the outbox and not sent. */
  private readonly outbox: UnansweredSend[] = [];
  /** The last send that was read from the outbox. */
  private readUpTo = 0;
  /** There may be more to send than was read. */
  mayHaveMore = true;
  /** When the last packet came, by `performance.now()`. */
  private heardAt = performance.now();
  /** When the server was asked whether it is there, if it has not said so yet. */
  private pingedAt: number | undefined;
  /** Since when publishes wait for the answer that is next. */
  private waitingSince: number | undefined;
  /** Deliveries that wait for the end of a reconciliation: Receive Maximum bounds them. */
  private readonly deferred: { packetId: number; payload: Uint8Array }[] = [];

  constructor(
    private readonly engine: Engine,
    options: LinkOptions,
  ) {
    this.link = new Link(options, () => engine.wake());
    this.reconciliation = new Reconciliation(engine.shared, {
      ask: (question) => engine.calls.wonder(question, performance.now() + RECONCILED_MS),
      over: () => this.reconciled(),
      wonder: (questions) => this.wonder(questions),
    });
    engine.calls.disconnected();
  }

  /** @throws ConnectionLost when it is over, GodwitError "store" when the store failed. */
  async run(): Promise<void> {
    try {
      for (;;) await this.round();
    } catch (error) {
      if (error instanceof ConnectionLost && error.lost.kind === "broken" && this.connected) {
        const silence = (this.pingedAt ?? performance.now()) - this.heardAt;
        this.engine.keepAlive.broke(silence);
      }
      // Nothing is in doubt. (Calls that go on over another connection are: there the server must know them by DUP.)
      if (error instanceof Stopped && error.why === "closed") this.link.goodbye();
      throw error;
    } finally {
      this.link.close();
    }
  }

  /** QoS 0, if there is a connection. */
  signal(conversation: number, body: Uint8Array): void {
    if (!this.connected) return;
    this.link.push({ type: "publish", topic: `live/${conversation}`, payload: body, qos: 0, packetId: 0, dup: false });
  }

  private async round(): Promise<void> {
    if (this.connected) {
      await this.readOutbox();
      await this.sendWhatFits();
    }
    if (!this.link.ready) await this.engine.sleep(this.deadline());
    this.engine.checkStopped();
    this.handleDeadlines();
    const batch = new InboundBatch();
    for (const packet of this.link.take(BATCH)) await this.handlePacket(packet, batch);
    await this.commit(batch);
  }

  private async handlePacket(packet: Inbound, batch: InboundBatch): Promise<void> {
    this.heardAt = performance.now();
    switch (packet.type) {
      case "welcome":
        this.connected = true;
        this.unansweredMax = Math.max(1, packet.unansweredMax);
        this.packetBytesMax = packet.packetBytesMax;
        await this.reconciliation.begin(packet.origin);
        await this.begin(packet.sessionPresent);
        return;
      case "publish":
        await this.handlePublish(packet.packetId, packet.topic, packet.payload, batch);
        break;
      case "answer":
        await this.handleAnswer(packet, batch);
        break;
      case "subscribed":
        batch.subscribed = packet.granted;
        break;
      case "pong":
        this.pingedAt = undefined;
        // Otherwise something was owed, and the silence a short one.
        if (this.waitingSince === undefined) this.engine.keepAlive.answered();
        break;
    }
    // It works: whatever comes after it, the next failure is a first one.
    this.engine.backoff.reset();
  }

  /** The server lets the device in: asks it for all that this device has to know. */
  private async begin(sessionPresent: boolean): Promise<void> {
    const { ledger } = this.engine.shared;
    const accepted = this.engine.passwords.accepted();
    const known = await ledger.run(async (job) => {
      if (accepted !== undefined) job.tx.put(keys.PASSWORDS, { fresh: "", proven: accepted });
      return {
        subscribed: (await job.tx.get<boolean>(keys.SUBSCRIBED)) ?? false,
        questions: [
          ...(await unknownConversations(job)).map((conversation): Question => ({ kind: "describe", conversation })),
          ...(await gaps(job)).map((gap): Question => ({ kind: "gap", gap })),
          ...(await fills(job)).map((fill): Question => ({ kind: "fill", fill })),
          ...phones(await unroutedPhones(job)),
        ],
      };
    });
    // The session of a restored server is an older one.
    if (!(sessionPresent && known.subscribed) || this.reconciliation.isUnderWay) {
      const filters = this.engine.options.live ? FILTERS : FILTERS.slice(0, ALWAYS);
      this.link.push({ type: "subscribe", packetId: SUBSCRIBE_ID, filters });
    }
    this.wonder(known.questions);
    this.engine.shared.setStatus({ kind: "online" });
  }

  private wonder(questions: readonly Question[]): void {
    const wanted = questions.filter((question) => question.kind !== "fill" || this.engine.options.fills);
    for (const question of wanted) this.engine.calls.wonder(question, performance.now() + ASKED_MS);
  }

  private async handlePublish(packetId: number, topic: string, payload: Uint8Array, batch: InboundBatch): Promise<void> {
    if (topic === "inbox" && this.reconciliation.isUnderWay) {
      this.deferred.push({ packetId, payload });
      return;
    }
    if (packetId > 0) batch.acks.push(packetId);
    if (topic === "inbox") this.handleDelivery(payload, batch);
    else if (topic === "rpc") await this.handleResponse(payload, batch);
    else this.handleSignal(topic, payload);
  }

  private handleDelivery(payload: Uint8Array, batch: InboundBatch): void {
    const event = understood<InboxEvent>(() => parseEvent(payload));
    if (event) batch.deliveries.push({ event, payload });
  }

  private async handleResponse(payload: Uint8Array, batch: InboundBatch): Promise<void> {
    const learned = understood<Learned | undefined>(() => this.engine.calls.answered(payload));
    if (!learned || (await this.reconciliation.learn(learned))) return;
    switch (learned.kind) {
      case "described":
        batch.described.push(learned);
        break;
      case "fetched":
        batch.fetched.push(learned);
        break;
      case "filled":
        batch.filled.push(learned);
        break;
      case "found":
        batch.phones.push(learned);
        break;
      case "not-described":
      case "server":
        break;
    }
  }

  private handleSignal(topic: string, payload: Uint8Array): void {
    const live = /^live\/(\d{1,16})$/.exec(topic);
    const presence = /^presence\/(.+)$/.exec(topic);
    understood(() => {
      if (live) {
        const { member, body } = fromBinary(LiveSchema, payload);
        this.engine.shared.onSignal.tell({ kind: "live", conversation: Number(live[1]), member, body });
      } else if (presence) {
        const { online, lastSeenAgeMin } = fromBinary(PresenceSchema, payload);
        this.engine.shared.onSignal.tell({ kind: "presence", user: presence[1] as string, online, lastSeenAgeMin });
      }
    });
  }

  private async handleAnswer(answer: Inbound & { type: "answer" }, batch: InboundBatch): Promise<void> {
    const { packetId, reason, text, at, repeated } = answer;
    const publish = this.inFlight.get(packetId);
    this.inFlight.delete(packetId);
    this.waitingSince = this.inFlight.size > 0 ? performance.now() : undefined;
    const refusal = reason >= 0x80 ? { reason, text } : undefined;
    switch (publish?.kind) {
      case "send":
        this.bytesInFlight -= publish.bytes;
        if (refusal) batch.refused.push({ id: publish.id, refusal });
        else batch.stored.push({ id: publish.id, at, repeated });
        break;
      case "read":
        // If it was refused this user is no member any more, and nobody wants to know.
        batch.told.push(publish);
        this.mayHaveMore = true;
        break;
      case "call": {
        const question = refusal && this.engine.calls.refused(publish.id, refusal);
        if (question && refusal) await this.reconciliation.refused(question, refusal);
        break;
      }
      case undefined:
        break;
    }
  }

  /** Commits what came, tells the app of it, and then acknowledges it. */
  private async commit(batch: InboundBatch): Promise<void> {
    const { shared } = this.engine;
    if (!batch.isEmpty) {
      const [now, followed] = [nowS(), [...shared.followed.keys()]];
      const applied: Applied = await shared.ledger.run((job) => apply(job, batch, now, followed));
      for (const [id, state] of applied.states) shared.setState(id, state);
      shared.changed();
      if (applied.news) shared.hasNews();
      this.wonder([
        ...[...applied.unknown].map((conversation): Question => ({ kind: "describe", conversation })),
        ...applied.gaps.map((gap): Question => ({ kind: "gap", gap })),
        ...applied.fills.map((fill): Question => ({ kind: "fill", fill })),
        ...phones(applied.phones),
      ]);
    }
    for (const packetId of batch.acks) this.link.push({ type: "puback", packetId });
  }

  /** A reconciliation is over: what has waited goes on. */
  private async reconciled(): Promise<void> {
    const batch = new InboundBatch();
    for (const { packetId, payload } of this.deferred.splice(0)) {
      await this.handlePublish(packetId, "inbox", payload, batch);
    }
    await this.commit(batch);
    // What was said of them was not for the ledger yet.
    const unknown = await this.engine.shared.ledger.run(unknownConversations);
    this.wonder(unknown.map((conversation) => ({ kind: "describe", conversation })));
  }

  /** Reads on in the outbox. */
  private async readOutbox(): Promise<void> {
    if (!this.mayHaveMore || this.outbox.length > 0 || this.reconciliation.isUnderWay) return;
    this.mayHaveMore = false;
    const { sends, reads } = await this.engine.shared.ledger.run(async (job) => ({
      sends: await unanswered(job, this.readUpTo, WINDOW),
      reads: await untoldReads(job),
    }));
    this.mayHaveMore ||= sends.length === WINDOW;
    this.readUpTo = sends.at(-1)?.id ?? this.readUpTo;
    this.outbox.push(...sends);
    for (const { conversation, upTo } of reads) this.tellRead(conversation, upTo);
  }

  private tellRead(conversation: number, upTo: number): void {
    for (const it of this.inFlight.values()) {
      if (it.kind === "read" && it.conversation === conversation && it.upTo === upTo) return;
    }
    const packetId = this.inFlight.size < this.unansweredMax ? this.freePacketId() : undefined;
    if (packetId === undefined) return;
    this.inFlight.set(packetId, { kind: "read", conversation, upTo });
    this.publish(packetId, false, "receipt", readPayload(conversation, upTo));
  }

  /** Puts as much into the link as there is room for. */
  private async sendWhatFits(): Promise<void> {
    for (let next = this.outbox[0]; next; next = this.outbox[0]) {
      const { id, counter, to, draft } = next;
      const payload = sendPayload(to, counter, id, draft);
      const bytes = payload.length + OVERHEAD;
      if (bytes > this.packetBytesMax) {
        // The server would close the connection, and the next one, and the next.
        this.outbox.shift();
        const batch = new InboundBatch();
        batch.refused.push({ id, refusal: { reason: Reason.packetTooLarge, text: "larger than the server takes" } });
        await this.commit(batch);
        continue;
      }
      const room = this.bytesInFlight === 0 || this.bytesInFlight + bytes <= WINDOW_BYTES;
      const packetId = room && this.inFlight.size < Math.min(WINDOW, this.unansweredMax) ? this.freePacketId() : undefined;
      if (packetId === undefined) break;
      this.outbox.shift();
      this.bytesInFlight += bytes;
      this.inFlight.set(packetId, { kind: "send", id, bytes });
      this.publish(packetId, false, "send", payload);
    }
    while (this.inFlight.size < this.unansweredMax) {
      const call = this.engine.calls.next(() => this.freePacketId());
      if (!call) break;
      this.inFlight.set(call.packetId, { kind: "call", id: call.id });
      this.publish(call.packetId, call.again, "rpc", call.payload);
    }
  }

  private publish(packetId: number, dup: boolean, topic: string, payload: Uint8Array): void {
    this.waitingSince ??= performance.now();
    this.link.push({ type: "publish", topic, payload, qos: 1, packetId, dup });
  }

  private freePacketId(): number | undefined {
    for (let tried = FIRST_PACKET_ID; tried <= LAST_PACKET_ID; tried++) {
      this.lastPacketId = this.lastPacketId >= LAST_PACKET_ID ? FIRST_PACKET_ID : this.lastPacketId + 1;
      if (!this.inFlight.has(this.lastPacketId) && !this.engine.calls.holds(this.lastPacketId)) return this.lastPacketId;
    }
    return undefined;
  }

  /** When the connection is to be asked whether it is there, or given up because it did not say so. An answer that is owed is no
   * proof: the server may have to wait for its disk. */
  private nextCheck(): number {
    const patience = this.engine.options.patienceMs / 2;
    if (this.pingedAt !== undefined) return Math.max(this.pingedAt, this.heardAt) + patience;
    if (this.waitingSince !== undefined) return Math.max(this.waitingSince, this.heardAt) + patience;
    return this.heardAt + this.engine.keepAlive.interval;
  }

  /** When to look, although nothing has happened. CONNACK has a deadline of its own, in the link. */
  private deadline(): number {
    return Math.min(this.connected ? this.nextCheck() : Number.POSITIVE_INFINITY, this.engine.calls.deadline);
  }

  private handleDeadlines(): void {
    const now = performance.now();
    this.engine.calls.expire(now);
    if (!this.connected || this.link.ready || now < this.nextCheck()) return;
    if (this.pingedAt !== undefined) throw new ConnectionLost({ kind: "broken", text: "the server does not answer" });
    this.pingedAt = now;
    this.link.push({ type: "pingreq" });
  }
}

function phones(numbers: readonly string[]): Question[] {
  return numbers.length > 0 ? [{ kind: "phones", numbers }] : [];
}

/** What this version does not understand is passed over, and acknowledged. */
function understood<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MalformedEvent) return undefined;
    throw error;
  }
}

/** Seconds since 1970. */
export function nowS(): number {
  return Math.floor(Date.now() / 1_000);
}
