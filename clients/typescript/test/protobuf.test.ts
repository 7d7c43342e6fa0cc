// The tables against protobuf-es with the descriptors that buf makes of schemas/proto: random messages both ways.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { type DescField, type DescMessage, ScalarType, createFileRegistry, create as createReal, fromBinary as readReal, toBinary as writeReal } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

import * as messages from "../src/gen/messages.js";
import { type Schema, fromBinary, toBinary } from "../src/protobuf.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

function descriptors(): DescMessage[] {
  const folder = mkdtempSync(join(tmpdir(), "godwit-proto-"));
  const image = join(folder, "image.binpb");
  execFileSync(here("../../node_modules/.bin/buf"), ["build", here("../../../../schemas/proto"), "-o", image]);
  const set = readReal(FileDescriptorSetSchema, readFileSync(image));
  rmSync(folder, { recursive: true });
  // The tables have neither these messages nor fields of them.
  const leftOut = new Set(set.file.find((it) => it.name === "godwit/e2ee.proto")?.messageType.map((it) => it.name));
  for (const message of set.file.flatMap((it) => it.messageType)) {
    message.field = message.field.filter((it) => !leftOut.has(it.typeName.replace(".godwit.client.", "")));
  }
  const ours = (it: DescMessage) => it.typeName.startsWith("godwit.client.") && !leftOut.has(it.name);
  return [...createFileRegistry(set)].filter((it): it is DescMessage => it.kind === "message" && ours(it));
}

let state = 1;
function roll(below: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

function scalar(type: ScalarType): unknown {
  const big = () => BigInt.asUintN(64, BigInt(roll(2 ** 32)) << BigInt(roll(40)));
  switch (type) {
    case ScalarType.UINT32: return [0, 1, roll(2 ** 32), 2 ** 32 - 1][roll(4)];
    case ScalarType.UINT64: case ScalarType.FIXED64: return [0n, big(), 2n ** 64n - 1n][roll(3)];
    case ScalarType.STRING: return ["", "ä€😀", "x".repeat(roll(300))][roll(3)];
    case ScalarType.BYTES: return Uint8Array.from({ length: roll(200) }, () => roll(256));
    case ScalarType.BOOL: return roll(2) === 0;
    default: throw new Error(`a scalar of type ${type}`);
  }
}

function value(field: DescField, depth: number): unknown {
  if (field.message) return random(field.message, depth + 1);
  if (field.enum) return field.enum.values[roll(field.enum.values.length)]?.number;
  return scalar(field.scalar as ScalarType);
}

/** A message of protobuf-es with random values. */
function random(type: DescMessage, depth = 0): Record<string, unknown> {
  const init: Record<string, unknown> = {};
  for (const field of type.fields.filter((it) => !it.oneof)) {
    if (field.fieldKind === "list") {
      const items = Array.from({ length: roll(4) }, () => (field.listKind === "message" ? random(field.message, depth + 1)
        : field.listKind === "enum" ? 0 : scalar(field.scalar)));
      init[field.localName] = items;
    } else if (field.fieldKind !== "message" || depth < 4) if (roll(3) > 0) init[field.localName] = value(field, depth);
  }
  for (const oneof of type.oneofs) {
    const chosen = oneof.fields[roll(oneof.fields.length + 1)];
    if (chosen) init[oneof.localName] = { case: chosen.localName, value: value(chosen, depth) };
  }
  return createReal(type, init as never) as unknown as Record<string, unknown>;
}

/** Without what protobuf-es adds. */
function bare(it: unknown): unknown {
  if (Array.isArray(it)) return it.map(bare);
  if (it === null || typeof it !== "object" || it instanceof Uint8Array) return it;
  const found: Record<string, unknown> = {};
  const proto = Object.getPrototypeOf(it) as object | null;
  const names = new Set([...Object.keys(it), ...(proto ? Object.keys(proto) : [])]);
  for (const name of names) {
    const inner = (it as Record<string, unknown>)[name];
    if (!name.startsWith("$") && inner !== undefined) found[name] = bare(inner);
  }
  return found;
}

test("the tables say what schemas/proto says", () => {
  execFileSync(process.execPath, [here("../../scripts/generate.mjs"), "--check"], { stdio: "inherit" });
});

test("messages are read and written as protobuf-es does", () => {
  const all = descriptors();
  assert.ok(all.length > 70);
  for (const type of all) {
    const schema = (messages as unknown as Record<string, Schema<unknown>>)[`${type.name}Schema`];
    assert.ok(schema, type.name);
    for (let n = 0; n < 60; n++) {
      const real = random(type);
      const bytes = writeReal(type, real as never);
      const mine: unknown = fromBinary(schema, bytes);
      assert.deepEqual(bare(mine), bare(real), type.name);
      const again: Uint8Array = toBinary(schema, mine);
      assert.deepEqual(bare(readReal(type, again)), bare(real), type.name);
      assert.equal(again.length, bytes.length, type.name);
    }
  }
});

test("unknown fields are passed over, and what is no message is refused", () => {
  const { MessageSchema, EventSchema, UploadSchema } = messages;
  const known = toBinary(MessageSchema, { ...fromBinary(MessageSchema, new Uint8Array()), conversation: 65n });
  const unknown = Uint8Array.of(...known, 0xf8, 0x7f, 5, 0xfa, 0x7f, 2, 1, 2, 0xf9, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8);
  assert.equal(fromBinary(MessageSchema, unknown).conversation, 65n);
  // Of another wire type than it has.
  assert.equal(fromBinary(MessageSchema, Uint8Array.of(0x0a, 1, 65)).conversation, 0n);
  // Packed or not.
  assert.deepEqual(fromBinary(UploadSchema, Uint8Array.of(0x2a, 2, 1, 2, 0x28, 3)).stored, [1, 2, 3]);
  for (const bad of [[0xff, 0xff], [0x0a, 5, 1], [0x0a, 3, 0x2a, 9, 1], [0x08], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x00, 1]]) {
    assert.throws(() => fromBinary(EventSchema, Uint8Array.from(bad)), String(bad));
  }
  for (let n = 0; n < 20_000; n++) {
    const bytes = Uint8Array.from({ length: roll(40) }, () => roll(256));
    try {
      fromBinary(EventSchema, bytes);
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  }
});
