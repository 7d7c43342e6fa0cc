// Bytes as packets of the server (MQTT 5.0, section 3). `PacketReader` takes bytes as they come, in pieces of any size.

import { MalformedPacket, type ServerPacket, type UserProperty } from "./packet.js";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Takes the bytes of one connection. Holds one packet that is not complete, of up to `packetBytesMax` bytes. */
export class PacketReader {
  /** What is left of pieces that were read, oldest first. */
  private pieces: Uint8Array[] = [];
  private size = 0;

  constructor(private readonly packetBytesMax: number) {}

  /** The packets that are complete with these bytes. @throws MalformedPacket */
  push(bytes: Uint8Array): ServerPacket[] {
    this.pieces.push(bytes);
    this.size += bytes.length;
    const packets: ServerPacket[] = [];
    for (;;) {
      const length = this.frameLength();
      if (length === undefined || length > this.size) return packets;
      packets.push(decode(this.take(length)));
    }
  }

  /** Bytes of the next packet, as its fixed header has it. */
  private frameLength(): number | undefined {
    let [length, factor] = [0, 1];
    for (let at = 1; at < 5; at++) {
      const byte = this.peek(at);
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        const whole = length + at + 1;
        if (whole > this.packetBytesMax) throw new MalformedPacket("larger than this client takes");
        return whole;
      }
      factor *= 128;
    }
    throw new MalformedPacket("remaining length");
  }

  private peek(at: number): number | undefined {
    let rest = at;
    for (const piece of this.pieces) {
      if (rest < piece.length) return piece[rest];
      rest -= piece.length;
    }
    return undefined;
  }

  private take(length: number): Uint8Array {
    this.size -= length;
    const first = this.pieces[0];
    if (first && first.length >= length) {
      if (first.length > length) this.pieces[0] = first.subarray(length);
      else this.pieces.shift();
      return first.subarray(0, length);
    }
    const whole = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const piece = this.pieces.shift();
      if (!piece) throw new MalformedPacket("length");
      const part = piece.subarray(0, length - at);
      whole.set(part, at);
      at += part.length;
      if (part.length < piece.length) this.pieces.unshift(piece.subarray(part.length));
    }
    return whole;
  }
}

/** One whole packet. @throws MalformedPacket */
export function decode(packet: Uint8Array): ServerPacket {
  const input = new Reader(packet);
  const first = input.byte();
  input.variable();
  const flags = first & 0x0f;
  const kind = first >> 4;
  if (kind !== 3 && flags !== 0) throw new MalformedPacket("flags");
  switch (kind) {
    case 2:
      return connack(input);
    case 3:
      return publish(input, flags);
    case 4: {
      const packetId = input.u16();
      const reason = input.rest > 0 ? input.byte() : 0;
      const properties = input.rest > 0 ? input.properties() : NONE;
      return { type: "puback", packetId, reason, text: properties.text, userProperties: properties.user };
    }
    case 9:
    case 11: {
      const packetId = input.u16();
      input.properties();
      return { type: kind === 9 ? "suback" : "unsuback", packetId, reasons: [...input.remaining()] };
    }
    case 13:
      return { type: "pingresp" };
    case 14: {
      const reason = input.rest > 0 ? input.byte() : 0;
      return { type: "disconnect", reason, text: input.rest > 0 ? input.properties().text : "" };
    }
    default:
      throw new MalformedPacket(`a packet of type ${kind}`);
  }
}

function connack(input: Reader): ServerPacket {
  const flags = input.byte();
  if (flags > 1) throw new MalformedPacket("CONNACK flags");
  const reason = input.byte();
  // A server of 3.1.1 alone answers without properties.
  const properties = input.rest > 0 ? input.properties() : NONE;
  return {
    type: "connack",
    sessionPresent: flags === 1,
    reason,
    text: properties.text,
    receiveMaximum: properties.receiveMaximum ?? 0xffff,
    packetBytesMax: properties.packetBytesMax ?? 0xffff_ffff,
    assignedClientId: properties.assignedClientId,
    userProperties: properties.user,
  };
}

function publish(input: Reader, flags: number): ServerPacket {
  const qos = (flags >> 1) & 3;
  if (qos > 1) throw new MalformedPacket("QoS 2, which was not asked for");
  const topic = input.string();
  const packetId = qos > 0 ? input.u16() : 0;
  if (qos > 0 && packetId === 0) throw new MalformedPacket("packet identifier 0");
  const { alias } = input.properties();
  if (topic === "" && alias === undefined) throw new MalformedPacket("neither topic nor alias");
  const [payload, dup] = [input.remaining(), (flags & 8) !== 0];
  return { type: "publish", topic, alias, payload, qos: qos as 0 | 1, packetId, dup };
}

interface Properties {
  text: string;
  user: UserProperty[];
  receiveMaximum?: number;
  packetBytesMax?: number;
  assignedClientId?: string;
  alias?: number;
}

const NONE: Properties = { text: "", user: [] };

class Reader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get rest(): number {
    return this.bytes.length - this.at;
  }

  remaining(): Uint8Array {
    return this.take(this.rest);
  }

  private take(length: number): Uint8Array {
    if (length > this.rest) throw new MalformedPacket("too short");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  byte(): number {
    return this.take(1)[0] as number;
  }

  u16(): number {
    return this.byte() * 256 + this.byte();
  }

  u32(): number {
    return this.u16() * 65_536 + this.u16();
  }

  variable(): number {
    let [value, factor] = [0, 1];
    for (let n = 0; n < 4; n++) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new MalformedPacket("variable byte integer");
  }

  binary(): Uint8Array {
    return this.take(this.u16());
  }

  string(): string {
    try {
      return utf8.decode(this.binary());
    } catch (error) {
      if (error instanceof MalformedPacket) throw error;
      throw new MalformedPacket("a string is not UTF-8");
    }
  }

  /** Those that this client has a use for; the others are read over (section 2.2.2.2 has their types). */
  properties(): Properties {
    const length = this.variable();
    const end = this.at + length;
    if (length > this.rest) throw new MalformedPacket("property length");
    const found: Properties = { text: "", user: [] };
    while (this.at < end) this.property(found);
    if (this.at !== end) throw new MalformedPacket("property length");
    return found;
  }

  private property(into: Properties): void {
    const identifier = this.variable();
    switch (identifier) {
      case 0x12:
        into.assignedClientId = this.string();
        break;
      case 0x1f:
        into.text = this.string();
        break;
      case 0x21:
        into.receiveMaximum = this.u16();
        break;
      case 0x23:
        into.alias = this.u16();
        break;
      case 0x26:
        into.user.push([this.string(), this.string()]);
        break;
      case 0x27:
        into.packetBytesMax = this.u32();
        break;
      case 0x01: case 0x17: case 0x19: case 0x24: case 0x25: case 0x28: case 0x29: case 0x2a:
        this.byte();
        break;
      case 0x13: case 0x22:
        this.u16();
        break;
      case 0x02: case 0x11: case 0x18:
        this.u32();
        break;
      case 0x03: case 0x08: case 0x15: case 0x1a: case 0x1c:
        this.string();
        break;
      case 0x09: case 0x16:
        this.binary();
        break;
      case 0x0b:
        this.variable();
        break;
      default:
        throw new MalformedPacket(`property ${identifier}`);
    }
  }
}
