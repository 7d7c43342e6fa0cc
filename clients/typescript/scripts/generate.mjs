// Writes src/gen/messages.ts from schemas/proto: a type and a table for each message. `node scripts/generate.mjs [--check]`
//
// Tables instead of protobuf-es's own generated code: that needs its reflection at run time, which is a fifth of a page.

import { fromBinary } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label as Label, FieldDescriptorProto_Type as Type, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const TARGET = here("../src/gen/messages.ts");
const FILES = ["godwit/media.proto", "godwit/client.proto"];
/** This library does not encrypt from end to end: fields of these messages are left out, as unknown ones are. */
const LEFT_OUT = "godwit/e2ee.proto";

const folder = mkdtempSync(join(tmpdir(), "godwit-proto-"));
const image = join(folder, "image.binpb");
execFileSync(here("../node_modules/.bin/buf"), ["build", here("../../../schemas/proto"), "-o", image]);
const { file: files } = fromBinary(FileDescriptorSetSchema, readFileSync(image));
rmSync(folder, { recursive: true });
const leftOut = new Set(files.find((it) => it.name === LEFT_OUT).messageType.map((it) => `.godwit.client.${it.name}`));

/** Letters of the tables, and the types. */
const SCALARS = {
  [Type.UINT32]: ["u", "number"],
  [Type.UINT64]: ["U", "bigint"],
  [Type.FIXED64]: ["F", "bigint"],
  [Type.STRING]: ["s", "string"],
  [Type.BYTES]: ["b", "Uint8Array"],
  [Type.BOOL]: ["o", "boolean"],
  [Type.ENUM]: ["e", "number"],
};
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

function describe(field) {
  const [letter, type] = field.type === Type.MESSAGE ? Array(2).fill(field.typeName.split(".").at(-1)) : (SCALARS[field.type] ?? []);
  if (!letter) throw new Error(`${field.name}: a type that the tables do not have`);
  const many = field.label === Label.REPEATED;
  const optional = field.proto3Optional;
  const mark = many ? "*" : optional ? "?" : "";
  return { name: camel(field.name), entry: `${field.number} ${mark}${letter}`, type, many, optional, isMessage: field.type === Type.MESSAGE };
}

function message({ name, field, oneofDecl }) {
  const lines = [];
  const table = [];
  const oneofs = new Map();
  for (const it of field.filter((it) => !leftOut.has(it.typeName))) {
    const { name: property, entry, type, many, optional, isMessage } = describe(it);
    if (it.oneofIndex !== undefined && it.oneofIndex !== null && !it.proto3Optional && Object.hasOwn(it, "oneofIndex")) {
      const oneof = camel(oneofDecl[it.oneofIndex].name);
      if (!oneofs.has(oneof)) {
        oneofs.set(oneof, []);
        lines.push(oneof);
      }
      oneofs.get(oneof).push(`{ case: "${property}"; value: ${type} }`);
      table.push(`${oneof}.${property} ${entry}`);
    } else {
      lines.push(`  ${property}${optional || (isMessage && !many) ? "?" : ""}: ${many ? `${type}[]` : type}${optional || (isMessage && !many) ? " | undefined" : ""};`);
      table.push(`${property} ${entry}`);
    }
  }
  const body = lines.map((line) => {
    const cases = oneofs.get(line);
    return cases ? `  ${line}:\n${[...cases, "{ case: undefined; value?: undefined }"].map((it) => `    | ${it}`).join("\n")};` : line;
  });
  const type = body.length === 0 ? `export type ${name} = object;` : `export interface ${name} {\n${body.join("\n")}\n}`;
  return `${type}\n\nexport const ${name}Schema: Schema<${name}> = message("${name}", "${table.join("|")}");\n`;
}

const parts = [
  "// Written by scripts/generate.mjs from schemas/proto, which has what each message and field means. Do not edit.",
  'import { type Schema, message } from "../protobuf.js";',
];
for (const path of FILES) {
  const file = files.find((it) => it.name === path);
  parts.push(...file.messageType.map(message));
}
const text = `${parts.join("\n\n").trimEnd()}\n`;
if (process.argv.includes("--check")) {
  if (readFileSync(TARGET, "utf8") !== text) {
    console.error("src/gen/messages.ts is not what schemas/proto says: run npm run generate");
    process.exit(1);
  }
} else writeFileSync(TARGET, text);
