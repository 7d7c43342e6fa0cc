// Protobuf messages by tables: what `gen/messages.ts` says of a message, on the wire format of @bufbuild/protobuf. It has what
// schemas/proto uses of proto3 and nothing else. Unknown fields are passed over. Messages are plain objects:
//
// - numbers of 32 bits and enums are numbers, those of 64 bits are bigints, bytes are `Uint8Array`;
// - what is optional, or a message, and absent is `undefined`; everything else has its default;
// - a oneof is `{ case, value }`.

import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** The type of a message at run time. */
export interface Schema<T> {
  readonly name: string;
  /** Never there; it carries the type. */
  readonly type?: T;
}

/** What a message may be made of: what is left out has its default. */
export type Init<T> = { [Name in keyof T]?: InitOf<T[Name]> };
type InitOf<V> =
  V extends Uint8Array | bigint | string | number | boolean | undefined ? V
  : V extends readonly (infer Item)[] ? readonly InitOf<Item>[]
  : V extends { case: unknown } ? V
  : V extends object ? V | Init<V>
  : V;

interface Field {
  name: string;
  /** The name of the oneof that it is a case of. */
  oneof: string | undefined;
  number: number;
  /** A letter, or the name of a message. */
  type: string;
  many: boolean;
  optional: boolean;
}

type Values = Record<string, unknown>;

/** By name of the message: its table, as text until it is used. */
const tables = new Map<string, string | Field[]>();

/** A message with this table: for each field its name (behind that of its oneof), its number, and its type. */
export function message<T>(name: string, table: string): Schema<T> {
  tables.set(name, table);
  return { name };
}

function fieldsOf(name: string): Field[] {
  const table = tables.get(name) ?? "";
  if (typeof table !== "string") return table;
  const fields = table === "" ? [] : table.split("|").map((entry): Field => {
    const [, oneof, field, number, mark, type] = /^(?:(\w+)\.)?(\w+) (\d+) ([*?]?)(\w+)$/.exec(entry) as RegExpExecArray;
    return { name: field!, oneof, number: Number(number), type: type!, many: mark === "*", optional: mark === "?" };
  });
  tables.set(name, fields);
  return fields;
}

const DEFAULTS: Record<string, () => unknown> = {
  u: () => 0,
  e: () => 0,
  U: () => 0n,
  F: () => 0n,
  s: () => "",
  b: () => new Uint8Array(),
  o: () => false,
};

const isMessage = (type: string) => type.length > 1;

/** A message with these values. */
export function create<T>(schema: Schema<T>, init: Init<T> = {}): T {
  return make(schema.name, init as Values) as T;
}

function make(name: string, init: Values): Values {
  const made: Values = {};
  for (const { name: field, oneof, type, many, optional } of fieldsOf(name)) {
    if (oneof !== undefined) {
      made[oneof] = init[oneof] ?? { case: undefined };
      continue;
    }
    const value = init[field];
    const inner = (it: unknown) => (isMessage(type) ? make(type, it as Values) : it);
    if (many) made[field] = value === undefined ? [] : (value as unknown[]).map(inner);
    else if (value !== undefined) made[field] = inner(value);
    else made[field] = optional || isMessage(type) ? undefined : DEFAULTS[type]!();
  }
  return made;
}

export function toBinary<T>(schema: Schema<T>, value: T): Uint8Array {
  const writer = new BinaryWriter();
  write(writer, schema.name, value as Values);
  return writer.finish();
}

function write(writer: BinaryWriter, name: string, values: Values): void {
  for (const field of fieldsOf(name)) {
    if (field.oneof !== undefined) {
      const chosen = values[field.oneof] as { case?: string; value?: unknown };
      if (chosen.case === field.name) writeField(writer, field, chosen.value);
    } else if (field.many) writeMany(writer, field, values[field.name] as unknown[]);
    else {
      const value = values[field.name];
      if (value === undefined || (!field.optional && isDefault(value))) continue;
      writeField(writer, field, value);
    }
  }
}

function isDefault(value: unknown): boolean {
  return value instanceof Uint8Array ? value.length === 0 : value === 0 || value === 0n || value === "" || value === false;
}

function writeMany(writer: BinaryWriter, field: Field, values: unknown[]): void {
  if (field.type !== "u" || values.length === 0) {
    for (const value of values) writeField(writer, field, value);
    return;
  }
  // Numbers are packed.
  writer.tag(field.number, WireType.LengthDelimited).fork();
  for (const value of values) writer.uint32(value as number);
  writer.join();
}

function writeField(writer: BinaryWriter, { number, type }: Field, value: unknown): void {
  switch (type) {
    case "u":
      return void writer.tag(number, WireType.Varint).uint32(value as number);
    case "e":
      return void writer.tag(number, WireType.Varint).int32(value as number);
    case "U":
      return void writer.tag(number, WireType.Varint).uint64(value as bigint);
    case "o":
      return void writer.tag(number, WireType.Varint).bool(value as boolean);
    case "F":
      return void writer.tag(number, WireType.Bit64).fixed64(value as bigint);
    case "s":
      return void writer.tag(number, WireType.LengthDelimited).string(value as string);
    case "b":
      return void writer.tag(number, WireType.LengthDelimited).bytes(value as Uint8Array);
    default:
      writer.tag(number, WireType.LengthDelimited).fork();
      write(writer, type, value as Values);
      writer.join();
  }
}

/** @throws Error: the bytes are no message of this type */
export function fromBinary<T>(schema: Schema<T>, bytes: Uint8Array): T {
  return read(new BinaryReader(bytes), schema.name, bytes.length) as T;
}

/** The wire type of each scalar. */
const WIRE: Record<string, WireType> = {
  u: WireType.Varint,
  e: WireType.Varint,
  U: WireType.Varint,
  o: WireType.Varint,
  F: WireType.Bit64,
};

function read(reader: BinaryReader, name: string, end: number): Values {
  const fields = fieldsOf(name);
  const values = make(name, {});
  while (reader.pos < end) {
    const [number, wire] = reader.tag();
    const field = fields.find((it) => it.number === number);
    const wanted = field && (WIRE[field.type] ?? WireType.LengthDelimited);
    if (field?.many && wire === WireType.LengthDelimited && wanted === WireType.Varint) {
      const list = values[field.name] as unknown[];
      for (const stop = reader.uint32() + reader.pos; reader.pos < stop; ) list.push(readField(reader, field.type));
    } else if (!field || wire !== wanted) {
      reader.skip(wire, number);
    } else {
      const value = readField(reader, field.type);
      if (field.oneof !== undefined) values[field.oneof] = { case: field.name, value };
      else if (field.many) (values[field.name] as unknown[]).push(value);
      else values[field.name] = value;
    }
  }
  if (reader.pos > end) throw new RangeError(`${name} is longer than it says`);
  return values;
}

function readField(reader: BinaryReader, type: string): unknown {
  switch (type) {
    case "u":
      return reader.uint32();
    case "e":
      return reader.int32();
    case "U":
      return BigInt(reader.uint64());
    case "o":
      return reader.bool();
    case "F":
      return BigInt(reader.fixed64());
    case "s":
      return reader.string();
    case "b":
      return reader.bytes();
    default: {
      const length = reader.uint32();
      return read(reader, type, reader.pos + length);
    }
  }
}
