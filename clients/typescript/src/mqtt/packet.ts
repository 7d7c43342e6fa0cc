// The packets of MQTT 5 that a client of Godwit sends and receives, as plain values. `encode` and `decode` turn them into
// bytes and back. Absent: QoS 2, wills and retained messages, which this server does not have.

/** A user property: name and value. */
export type UserProperty = readonly [name: string, value: string];

/** What a client sends. */
export type ClientPacket =
  | {
      type: "connect";
      clientId: string;
      user: string;
      password: string;
      /** Seconds; the server waits half as long again. */
      keepAliveS: number;
      cleanStart: boolean;
      /** 0xFFFFFFFF: for ever. */
      sessionExpiryS: number;
      receiveMaximum: number;
      packetBytesMax: number;
      topicAliasMaximum: number;
    }
  | { type: "publish"; topic: string; payload: Uint8Array; qos: 0 | 1; packetId: number; dup: boolean }
  | { type: "puback"; packetId: number }
  | { type: "subscribe"; packetId: number; filters: readonly string[] }
  | { type: "unsubscribe"; packetId: number; filters: readonly string[] }
  | { type: "pingreq" }
  | { type: "disconnect"; reason: number };

/** What the server sends. */
export type ServerPacket =
  | {
      type: "connack";
      sessionPresent: boolean;
      reason: number;
      text: string;
      /** Publishes that may wait for PUBACK. */
      receiveMaximum: number;
      /** Bytes of the largest packet that the server takes. */
      packetBytesMax: number;
      assignedClientId: string | undefined;
      userProperties: readonly UserProperty[];
    }
  | {
      type: "publish";
      /** Empty: that of the alias. */
      topic: string;
      alias: number | undefined;
      payload: Uint8Array;
      qos: 0 | 1;
      /** 0 with QoS 0. */
      packetId: number;
      dup: boolean;
    }
  | { type: "puback"; packetId: number; reason: number; text: string; userProperties: readonly UserProperty[] }
  | { type: "suback" | "unsuback"; packetId: number; reasons: readonly number[] }
  | { type: "pingresp" }
  | { type: "disconnect"; reason: number; text: string };

/** The bytes are no packet that the server may send. Nothing that follows them can be understood. */
export class MalformedPacket extends Error {
  override name = "MalformedPacket";
}
