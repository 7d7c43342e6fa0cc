// What the server delivers, as plain values.

import assert from "node:assert/strict";
import test from "node:test";

import { ChangeSchema, EditedSchema, EventSchema, MessageSchema } from "../src/gen/messages.js";
import { create, toBinary } from "../src/protobuf.js";
import { parseEvent } from "../src/wire.js";

const body = Uint8Array.of(1, 2, 3);

test("what is sealed is told, and its bytes are not taken for a text", () => {
  const message = (mlsEpoch: bigint) => {
    const value = create(MessageSchema, { conversation: 7n, sequence: 9n, body, mlsEpoch });
    const it = parseEvent(toBinary(EventSchema, create(EventSchema, { event: { case: "message", value } })));
    return it.kind === "message" && { body: it.body, sealed: it.sealed };
  };
  assert.deepEqual(message(0n), { body, sealed: false });
  assert.deepEqual(message(1n << 33n), { body: new Uint8Array(), sealed: true });
});

test("a sealed edit takes the text away", () => {
  const change = { case: "edited" as const, value: create(EditedSchema, { sequence: 9n, body, mlsEpoch: 4n }) };
  const value = create(ChangeSchema, { conversation: 7n, sequence: 10n, change });
  const it = parseEvent(toBinary(EventSchema, create(EventSchema, { event: { case: "change", value } })));
  assert.deepEqual(it.kind === "changed" && it.change, { kind: "edited", sequence: 9, body: new Uint8Array(), sealed: true });
});
