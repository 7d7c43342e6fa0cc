// Cases of the Rust library (`client-sdk/src/text.rs`).

import assert from "node:assert/strict";
import test from "node:test";

import { fileName, isHidden, numberedFileName } from "../src/text.js";

test("what is not seen is known", () => {
  for (const hidden of ["\0", "\x1b", "\u00ad", "\u200b", "\u202e", "\u2066", "\ufeff", "\u{e0041}", "\n"]) assert.ok(isHidden(hidden));
  for (const seen of ["a", " ", "ä", "م", "😀", "\u0301"]) assert.ok(!isHidden(seen), seen);
});

test("a name that somebody chose becomes one part of a path", () => {
  const cases: [string, string][] = [
    ["photo.jpg", "photo.jpg"],
    ["/etc/passwd", "passwd"],
    ["..\\..\\boot.ini", "boot.ini"],
    ["../..", "file"],
    ["", "file"],
    [".bashrc", "bashrc"],
    ["-rf", "_-rf"],
    ["con.txt", "_con.txt"],
    ["COM1", "_COM1"],
    ["a:b?c*.txt", "a_b_c_.txt"],
    ["harmless\u202egpj.exe", "harmlessgpj.exe"],
    ["two\n  words .txt", "two words .txt"],
  ];
  for (const [given, wanted] of cases) assert.equal(fileName(given), wanted, JSON.stringify(given));
  const long = fileName(`${"ä".repeat(300)}.jpeg`);
  assert.ok(new TextEncoder().encode(long).length <= 200 && long.endsWith("ä.jpeg"));
});

test("a second file of a name is told from the first", () => {
  assert.equal(numberedFileName("photo.jpg", 1), "photo (1).jpg");
  assert.equal(numberedFileName("notes", 2), "notes (2)");
  assert.equal(numberedFileName(".x", 3), ".x (3)");
});
