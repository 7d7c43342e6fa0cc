// The codec against mqtt-packet, which was not written here: random packets both ways.

import assert from "node:assert/strict";
import test from "node:test";

import mqtt, { type Packet } from "mqtt-packet";

import { PacketReader, decode } from "../src/mqtt/decode.js";
import { encode } from "../src/mqtt/encode.js";
import { type ClientPacket, MalformedPacket, type ServerPacket } from "../src/mqtt/packet.js";

/** Always the same numbers (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let it = Math.imul(state ^ (state >>> 15), 1 | state);
    it = (it + Math.imul(it ^ (it >>> 7), 61 | it)) ^ it;
    return ((it ^ (it >>> 14)) >>> 0) % below;
  };
}

const LETTERS = ["a", "/", "ü", "€", "😀", " ", "0"];
type Dice = ReturnType<typeof dice>;
const text = (roll: Dice, most = 20) => Array.from({ length: roll(most) }, () => LETTERS[roll(LETTERS.length)]).join("");
const bytes = (roll: Dice, most: number) => Uint8Array.from({ length: roll(most) }, () => roll(256));

function parsedByOther(packet: Uint8Array): Packet {
  const parser = mqtt.parser({ protocolVersion: 5 });
  const found: Packet[] = [];
  parser.on("packet", (it: Packet) => found.push(it));
  parser.on("error", (error: Error) => { throw error; });
  parser.parse(Buffer.from(packet));
  assert.equal(found.length, 1);
  return found[0] as Packet;
}

test("others understand what this client sends", () => {
  const roll = dice(1);
  for (let n = 0; n < 2_000; n++) {
    const packetId = 1 + roll(65_535);
    const [topic, payload] = [`t${text(roll)}`, bytes(roll, n % 50 === 0 ? 40_000 : 300)];
    const packets: ClientPacket[] = [
      {
        type: "connect", clientId: text(roll), user: text(roll), password: text(roll), keepAliveS: roll(65_536),
        cleanStart: roll(2) === 0, sessionExpiryS: roll(2 ** 32), receiveMaximum: 1 + roll(65_535),
        packetBytesMax: 1 + roll(2 ** 32 - 1), topicAliasMaximum: roll(65_536),
      },
      { type: "publish", topic, payload, qos: 1, packetId, dup: roll(2) === 0 },
      { type: "publish", topic, payload, qos: 0, packetId: 0, dup: false },
      { type: "puback", packetId },
      { type: "subscribe", packetId, filters: [topic, "inbox"] },
      { type: "unsubscribe", packetId, filters: [topic, "inbox"] },
      { type: "pingreq" },
      { type: "disconnect", reason: roll(2) * 4 },
    ];
    for (const packet of packets) {
      const other = parsedByOther(encode(packet)) as unknown as Record<string, unknown>;
      assert.equal(other.cmd, packet.type);
      if (packet.type === "connect") {
        assert.equal(other.clientId, packet.clientId);
        assert.equal(other.username ?? "", packet.user);
        assert.equal(String(other.password ?? ""), packet.password);
        assert.equal(other.keepalive, packet.keepAliveS);
        assert.equal(other.clean, packet.cleanStart);
        const { sessionExpiryS, receiveMaximum, packetBytesMax, topicAliasMaximum } = packet;
        assert.deepEqual({ topicAliasMaximum: 0, ...(other.properties as object) }, {
          sessionExpiryInterval: sessionExpiryS, receiveMaximum, maximumPacketSize: packetBytesMax, topicAliasMaximum,
        });
      } else if (packet.type === "publish") {
        assert.deepEqual([other.topic, other.qos, other.dup], [packet.topic, packet.qos, packet.dup]);
        assert.deepEqual(other.payload, Buffer.from(packet.payload));
        assert.equal(other.messageId ?? 0, packet.packetId);
      } else if (packet.type === "subscribe") {
        const filters = (other.subscriptions as { topic: string; qos: number }[]).map((it) => [it.topic, it.qos]);
        assert.deepEqual(filters, packet.filters.map((filter) => [filter, 1]));
      } else if (packet.type === "unsubscribe") assert.deepEqual(other.unsubscriptions, packet.filters);
      else if (packet.type === "disconnect") assert.equal(other.reasonCode, packet.reason);
      else if (packet.type === "puback") assert.equal(other.messageId, packetId);
    }
  }
});

test("this client understands what others send, in pieces of any size", () => {
  const roll = dice(2);
  const reader = new PacketReader(1 << 20);
  for (let n = 0; n < 2_000; n++) {
    const messageId = 1 + roll(65_535);
    const [topic, payload] = [`t${text(roll)}`, Buffer.from(bytes(roll, n % 50 === 0 ? 40_000 : 300))];
    const userProperties = { at: `${roll(99)}/${roll(99)}`, [`x${text(roll)}`]: text(roll) };
    const reasonString = text(roll);
    const user = Object.entries(userProperties);
    const pairs: [Packet, ServerPacket][] = [
      [
        {
          cmd: "connack", reasonCode: 0, sessionPresent: roll(2) === 0,
          properties: {
            receiveMaximum: 128, maximumPacketSize: 131_072, assignedClientIdentifier: "x", reasonString, userProperties,
            topicAliasMaximum: 16, retainAvailable: false, serverKeepAlive: 60, wildcardSubscriptionAvailable: true,
            sessionExpiryInterval: 7, maximumQoS: 1, responseInformation: "r", serverReference: "s",
            authenticationMethod: "jwt", authenticationData: payload.subarray(0, 9),
          },
        } as unknown as Packet,
        {
          type: "connack", reason: 0, sessionPresent: false, text: reasonString, receiveMaximum: 128,
          packetBytesMax: 131_072, assignedClientId: "x", userProperties: user,
        },
      ],
      [
        {
          cmd: "publish", topic, payload, qos: 1, messageId, dup: roll(2) === 0, retain: false,
          properties: {
            topicAlias: 1 + roll(9), userProperties, contentType: "text/plain", correlationData: Buffer.from("c"),
            messageExpiryInterval: roll(9_999), payloadFormatIndicator: true, responseTopic: "r",
          },
        },
        { type: "publish", topic, payload: Uint8Array.from(payload), qos: 1, packetId: messageId, alias: undefined, dup: false },
      ],
      [
        { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false },
        { type: "publish", topic, payload: Uint8Array.from(payload), qos: 0, packetId: 0, alias: undefined, dup: false },
      ],
      [
        { cmd: "puback", messageId, reasonCode: 0x87, properties: { reasonString, userProperties } } as unknown as Packet,
        { type: "puback", packetId: messageId, reason: 0x87, text: reasonString, userProperties: user },
      ],
      [{ cmd: "puback", messageId }, { type: "puback", packetId: messageId, reason: 0, text: "", userProperties: [] }],
      [{ cmd: "suback", messageId, granted: [1, 0x87] }, { type: "suback", packetId: messageId, reasons: [1, 0x87] }],
      [{ cmd: "pingresp" }, { type: "pingresp" }],
      [
        { cmd: "disconnect", reasonCode: 0x8e, properties: { reasonString } } as unknown as Packet,
        { type: "disconnect", reason: 0x8e, text: reasonString },
      ],
    ];
    const whole = Buffer.concat(pairs.map(([packet]) => mqtt.generate(packet, { protocolVersion: 5 })));
    const found: ServerPacket[] = [];
    for (let at = 0; at < whole.length; ) {
      const length = 1 + roll(roll(4) === 0 ? 3 : 5_000);
      found.push(...reader.push(Uint8Array.from(whole.subarray(at, at + length))));
      at += length;
    }
    pairs.forEach(([other, wanted], at) => {
      const it = { ...found[at] } as Record<string, unknown>;
      const expected = { ...wanted } as Record<string, unknown>;
      const given = other as unknown as Record<string, Record<string, unknown>>;
      if ("dup" in it) expected.dup = given.dup;
      if ("sessionPresent" in it) expected.sessionPresent = given.sessionPresent;
      if ("alias" in it) expected.alias = given.properties?.topicAlias;
      assert.deepEqual(it, expected);
    });
  }
});

test("what is no packet is refused, and never read beyond its end", () => {
  const bad = ["", "20", "2000", "200100", "20020000ff", "3003000561", "300500017f", "3600", "3207000161000000", "40010a",
    "900300", "d001", "e0020005", "f000", "1000", "30060001610100ff", "320600016100000000", "20060100032100"];
  for (const hex of bad) {
    const packet = Uint8Array.from(Buffer.from(hex, "hex"));
    assert.ok(packet.length < 2 || ((): boolean => {
      try {
        decode(packet);
        return ["d001"].includes(hex);
      } catch (error) {
        return error instanceof MalformedPacket;
      }
    })(), hex);
  }
  const roll = dice(3);
  for (let n = 0; n < 50_000; n++) {
    const packet = bytes(roll, 40);
    try {
      decode(packet);
    } catch (error) {
      assert.ok(error instanceof MalformedPacket, `${Buffer.from(packet).toString("hex")}: ${String(error)}`);
    }
  }
  assert.throws(() => new PacketReader(100).push(Uint8Array.of(0x30, 0x80, 0x01)), MalformedPacket);
  assert.throws(() => new PacketReader(1e9).push(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff)), MalformedPacket);
});
