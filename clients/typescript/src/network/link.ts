// One connection to the server: packets in and out, from CONNECT to its end. The engine makes a new link for each connection
// and is its only user; nothing of a link outlives it.
//
// What came waits in the link until the engine takes it in. The server sends no more than Receive Maximum deliveries that
// are not acknowledged, and the packets of a connection together are no more than that and the answers to what was asked.

import { openSocket } from "#socket";

import { PacketReader } from "../mqtt/decode.js";
import { encode } from "../mqtt/encode.js";
import { type ClientPacket, MalformedPacket, type ServerPacket, type UserProperty } from "../mqtt/packet.js";
import { Reason, retryAfterMs } from "../reason.js";
import type { Socket } from "./socket.js";

/** Largest packet that this client takes, in bytes. */
const PACKET_BYTES_MAX = 1 << 20;
/** Deliveries that the server may leave unacknowledged. */
const RECEIVE_MAXIMUM = 128;
/** Topics that the server may abbreviate: `inbox` and `rpc`. */
const TOPIC_ALIASES = 2;

/** Why a connection is no more, or never was. */
export type Lost =
  | { kind: "unreachable"; text: string }
  | { kind: "not-mqtt"; text: string }
  | { kind: "refused"; reason: number }
  /** The server has closed it, for this reason. */
  | { kind: "closed"; reason: number; text: string }
  /** The server asks to come back after so many milliseconds. */
  | { kind: "later"; waitMs: number }
  | { kind: "other-server"; expected: bigint; found: bigint }
  | { kind: "broken"; text: string };

/** Thrown by the engine when a connection ends. */
export class ConnectionLost extends Error {
  constructor(readonly lost: Lost) {
    super(lost.kind);
  }
}

/** What the server's memory is known by: see client.proto, `Server`. */
export interface ServerIdentity {
  server: bigint;
  epoch: bigint;
}

/** What comes down. */
export type Inbound =
  | { type: "welcome"; sessionPresent: boolean; unansweredMax: number; packetBytesMax: number; origin: ServerIdentity | undefined }
  | { type: "publish"; packetId: number; topic: string; payload: Uint8Array }
  | { type: "answer"; packetId: number; reason: number; text: string; at: Place | undefined; repeated: bigint | undefined }
  | { type: "subscribed"; granted: boolean }
  | { type: "pong" };

/** A message's place. */
export interface Place {
  conversation: number;
  sequence: number;
}

export interface LinkOptions {
  url: string;
  user: string;
  device: string;
  password: string;
  /** What the server is told, in seconds. */
  keepAliveS: number;
  /** Milliseconds until CONNACK. */
  timeoutMs: number;
}

export class Link {
  /** What came and was not taken in. */
  private readonly received: Inbound[] = [];
  private lost: Lost | undefined;
  private welcomed = false;
  private readonly aliases = new Map<number, string>();
  private readonly reader = new PacketReader(PACKET_BYTES_MAX);
  private readonly socket: Socket | undefined;
  private readonly giveUp: ReturnType<typeof setTimeout>;

  /** `notify` is called when something came, or the connection ended. */
  constructor(
    options: LinkOptions,
    private readonly notify: () => void,
  ) {
    this.giveUp = setTimeout(() => this.end({ kind: "unreachable", text: "no answer" }), options.timeoutMs);
    try {
      this.socket = openSocket(options.url, {
        opened: () => this.push(connect(options)),
        received: (bytes) => this.onBytes(bytes),
        ended: (text) => this.end(this.welcomed ? { kind: "broken", text } : { kind: "unreachable", text }),
      });
    } catch (error) {
      this.end({ kind: "unreachable", text: String(error) });
    }
  }

  /** Takes in what came, up to `limit`. @throws ConnectionLost when everything that came before the end was taken in. */
  take(limit: number): Inbound[] {
    if (this.received.length === 0 && this.lost) throw new ConnectionLost(this.lost);
    return this.received.splice(0, limit);
  }

  /** Something came, or it is over. */
  get ready(): boolean {
    return this.received.length > 0 || this.lost !== undefined;
  }

  /** Bytes that the network has not taken. */
  get buffered(): number {
    return this.socket?.buffered ?? 0;
  }

  push(packet: ClientPacket): void {
    if (!this.lost) this.socket?.send(encode(packet));
  }

  /** Ends it, and tells the server that nothing is in doubt. */
  goodbye(): void {
    if (this.welcomed) this.push({ type: "disconnect", reason: 0 });
    this.close();
  }

  close(): void {
    clearTimeout(this.giveUp);
    this.lost ??= { kind: "broken", text: "closed" };
    this.socket?.close();
  }

  private end(lost: Lost): void {
    if (this.lost) return;
    clearTimeout(this.giveUp);
    this.lost = lost;
    this.socket?.close();
    this.notify();
  }

  private onBytes(bytes: Uint8Array): void {
    if (this.lost) return;
    try {
      for (const packet of this.reader.push(bytes)) this.onPacket(packet);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      this.end(this.welcomed ? { kind: "broken", text: error.message } : { kind: "not-mqtt", text: error.message });
    }
    if (this.received.length > 0) this.notify();
  }

  private onPacket(packet: ServerPacket): void {
    if (this.lost) return;
    if (!this.welcomed && packet.type !== "connack") return this.end({ kind: "not-mqtt", text: "no CONNACK" });
    switch (packet.type) {
      case "connack":
        return this.onConnack(packet);
      case "publish": {
        const { packetId, payload } = packet;
        this.received.push({ type: "publish", packetId, topic: this.topic(packet.topic, packet.alias), payload });
        return;
      }
      case "puback": {
        const { packetId, reason, text, userProperties } = packet;
        const repeated = told(userProperties, "repeated");
        this.received.push({
          type: "answer",
          packetId,
          reason,
          text,
          at: place(told(userProperties, "at")),
          repeated: repeated !== undefined && /^\d{1,20}$/.test(repeated) ? BigInt(repeated) : undefined,
        });
        return;
      }
      case "suback":
        this.received.push({ type: "subscribed", granted: packet.reasons.every((reason) => reason < 0x80) });
        return;
      case "unsuback":
        return;
      case "pingresp":
        this.received.push({ type: "pong" });
        return;
      case "disconnect": {
        const waitMs = retryAfterMs(packet.text);
        const { reason, text } = packet;
        return this.end(waitMs === undefined ? { kind: "closed", reason, text } : { kind: "later", waitMs });
      }
    }
  }

  private onConnack(packet: ServerPacket & { type: "connack" }): void {
    if (this.welcomed) return this.end({ kind: "broken", text: "a second CONNACK" });
    if (packet.reason !== Reason.success) {
      const waitMs = retryAfterMs(packet.text);
      if (waitMs !== undefined) return this.end({ kind: "later", waitMs });
      // Return code 1 of 3.1.1: it does not speak MQTT 5.
      if (packet.reason === Reason.unsupportedVersion || packet.reason === 1) {
        return this.end({ kind: "not-mqtt", text: "the server does not speak MQTT 5" });
      }
      return this.end({ kind: "refused", reason: packet.reason });
    }
    clearTimeout(this.giveUp);
    this.welcomed = true;
    const [server, epoch] = [hex(told(packet.userProperties, "server")), hex(told(packet.userProperties, "epoch"))];
    this.received.push({
      type: "welcome",
      sessionPresent: packet.sessionPresent,
      unansweredMax: packet.receiveMaximum,
      packetBytesMax: packet.packetBytesMax,
      origin: server !== undefined && epoch !== undefined ? { server, epoch } : undefined,
    });
  }

  private topic(name: string, alias: number | undefined): string {
    if (alias === undefined) return name;
    if (alias < 1 || alias > TOPIC_ALIASES) throw new MalformedPacket("topic alias");
    if (name !== "") this.aliases.set(alias, name);
    const known = this.aliases.get(alias);
    if (known === undefined) throw new MalformedPacket("topic alias");
    return known;
  }
}

function connect(options: LinkOptions): ClientPacket {
  return {
    type: "connect",
    clientId: options.device,
    user: options.user,
    password: options.password,
    keepAliveS: options.keepAliveS,
    cleanStart: false,
    sessionExpiryS: 0xffff_ffff,
    receiveMaximum: RECEIVE_MAXIMUM,
    packetBytesMax: PACKET_BYTES_MAX,
    topicAliasMaximum: TOPIC_ALIASES,
  };
}

function told(properties: readonly UserProperty[], name: string): string | undefined {
  return properties.find(([known]) => known === name)?.[1];
}

function hex(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** `<conversation>/<sequence>` */
function place(text: string | undefined): Place | undefined {
  const found = /^(\d{1,16})\/(\d{1,16})$/.exec(text ?? "");
  const [conversation, sequence] = [Number(found?.[1]), Number(found?.[2])];
  return found && Number.isSafeInteger(conversation) && Number.isSafeInteger(sequence) ? { conversation, sequence } : undefined;
}
