// Packets of a client as bytes (MQTT 5.0, section 3).

import type { ClientPacket } from "./packet.js";

const TYPE = { connect: 0x10, publish: 0x30, puback: 0x40, subscribe: 0x82, unsubscribe: 0xa2, pingreq: 0xc0, disconnect: 0xe0 };

/** Property identifiers (section 2.2.2.2). */
const SESSION_EXPIRY = 0x11;
const RECEIVE_MAXIMUM = 0x21;
const TOPIC_ALIAS_MAXIMUM = 0x22;
const MAXIMUM_PACKET_SIZE = 0x27;

const utf8 = new TextEncoder();

/** @throws RangeError: a string has more than 65,535 bytes. */
export function encode(packet: ClientPacket): Uint8Array {
  const out = new Writer();
  switch (packet.type) {
    case "connect": {
      out.string("MQTT").byte(5);
      out.byte((packet.user ? 0x80 : 0) | (packet.password ? 0x40 : 0) | (packet.cleanStart ? 0x02 : 0));
      out.u16(packet.keepAliveS);
      const properties = new Writer().byte(SESSION_EXPIRY).u32(packet.sessionExpiryS);
      properties.byte(RECEIVE_MAXIMUM).u16(packet.receiveMaximum);
      properties.byte(MAXIMUM_PACKET_SIZE).u32(packet.packetBytesMax);
      if (packet.topicAliasMaximum > 0) properties.byte(TOPIC_ALIAS_MAXIMUM).u16(packet.topicAliasMaximum);
      out.variable(properties.length).bytes(properties.finish());
      out.string(packet.clientId);
      if (packet.user) out.string(packet.user);
      if (packet.password) out.string(packet.password);
      return framed(TYPE.connect, out);
    }
    case "publish":
      out.string(packet.topic);
      if (packet.qos > 0) out.u16(packet.packetId);
      out.variable(0).bytes(packet.payload);
      return framed(TYPE.publish | (packet.dup ? 0x08 : 0) | (packet.qos << 1), out);
    case "puback":
      return framed(TYPE.puback, out.u16(packet.packetId));
    case "subscribe":
      out.u16(packet.packetId).variable(0);
      for (const filter of packet.filters) out.string(filter).byte(1);
      return framed(TYPE.subscribe, out);
    case "unsubscribe":
      out.u16(packet.packetId).variable(0);
      for (const filter of packet.filters) out.string(filter);
      return framed(TYPE.unsubscribe, out);
    case "pingreq":
      return framed(TYPE.pingreq, out);
    case "disconnect":
      return framed(TYPE.disconnect, packet.reason === 0 ? out : out.byte(packet.reason));
  }
}

function framed(first: number, body: Writer): Uint8Array {
  return new Writer().byte(first).variable(body.length).bytes(body.finish()).finish();
}

class Writer {
  private readonly parts: Uint8Array[] = [];
  length = 0;

  bytes(part: Uint8Array): this {
    this.parts.push(part);
    this.length += part.length;
    return this;
  }

  byte(value: number): this {
    return this.bytes(Uint8Array.of(value));
  }

  u16(value: number): this {
    return this.bytes(Uint8Array.of(value >> 8, value));
  }

  u32(value: number): this {
    return this.bytes(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }

  /** A variable byte integer (section 1.5.5). */
  variable(value: number): this {
    let rest = value;
    do {
      const byte = rest % 128;
      rest = Math.floor(rest / 128);
      this.byte(rest > 0 ? byte | 0x80 : byte);
    } while (rest > 0);
    return this;
  }

  string(text: string): this {
    const bytes = utf8.encode(text);
    if (bytes.length > 0xffff) throw new RangeError("a string of MQTT has up to 65,535 bytes");
    return this.u16(bytes.length).bytes(bytes);
  }

  finish(): Uint8Array {
    const whole = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
