// Text from others. A message's body, a name, a title is whatever its sender wrote: before it is shown, or becomes the name of a
// file, an app asks here which characters of it are not what they seem. The Rust library has the same (`client-sdk/src/text.rs`).

/** Characters that are not seen themselves: controls, separators of lines and paragraphs, and those that Unicode has as default
 * ignorable or as format controls that are not seen. Sorted. */
const HIDDEN: readonly (readonly [first: number, last: number])[] = [
  [0x0000, 0x001f], [0x007f, 0x009f], [0x00ad, 0x00ad], [0x034f, 0x034f], [0x061c, 0x061c], [0x115f, 0x1160],
  [0x17b4, 0x17b5], [0x180b, 0x180f], [0x200b, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f], [0x3164, 0x3164],
  [0xd800, 0xdfff], [0xfe00, 0xfe0f], [0xfeff, 0xfeff], [0xffa0, 0xffa0], [0xfff0, 0xfffb], [0xfffe, 0xffff],
  [0x13430, 0x1343f], [0x16fe4, 0x16fe4], [0x1bca0, 0x1bca3], [0x1d173, 0x1d17a], [0xe0000, 0xe0fff],
  [0x10fffe, 0x10ffff],
];

/** Whether a character is not seen and may change what is seen, or make two names look the same. Line ends, joiners and variation
 * selectors are among them; where these have a meaning is for the app to say. */
export function isHidden(character: string): boolean {
  const at = character.codePointAt(0) ?? 0;
  return HIDDEN.some(([first, last]) => first <= at && at <= last);
}

/** Longest name that `fileName` gives, in bytes: room for an app's own additions below the 255 of file systems. */
const FILE_NAME_BYTES_MAX = 200;
/** Longest extension that is kept when a name is shortened, in bytes. */
const EXTENSION_BYTES_MAX = 16;
/** What some systems take for devices, whatever the extension. */
const DEVICE = /^(con|prn|aux|nul|clock\$|conin\$|com.|lpt.)$/u;
const utf8 = new TextEncoder();

/** A name under which a file may be saved, made of the one that its sender chose: one part of a path on every system, not hidden,
 * no device's, no option of a command, nothing in it that is not seen, and not too long. */
export function fileName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? "";
  const plain = [...last].filter((it) => !isHidden(it)).join("").replace(/[:<>"|?*]/g, "_");
  const words = plain.split(/\s+/u).filter((word) => word !== "").join(" ");
  const short = shortened(words.replace(/^[. ]+|[. ]+$/g, ""));
  if (short === "") return "file";
  const stem = (short.split(".")[0] ?? "").trimEnd().toLowerCase();
  return DEVICE.test(stem) || /^[-~]/.test(short) ? `_${short}` : short;
}

/** Without the end of what is before the extension, if it is too long. */
function shortened(name: string): string {
  if (utf8.encode(name).length <= FILE_NAME_BYTES_MAX) return name;
  const dot = name.lastIndexOf(".");
  const after = dot < 0 ? "" : name.slice(dot + 1);
  const extension = utf8.encode(after).length > EXTENSION_BYTES_MAX ? "" : after;
  let room = FILE_NAME_BYTES_MAX - utf8.encode(extension).length - 1;
  let stem = "";
  for (const character of name) {
    room -= utf8.encode(character).length;
    if (room < 0) break;
    stem += character;
  }
  stem = stem.replace(/[. ]+$/, "");
  return extension === "" ? stem : `${stem}.${extension}`;
}

/** The same with a number, for when there is a file of that name: `photo (1).jpg`. */
export function numberedFileName(name: string, number: number): string {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? `${name.slice(0, dot)} (${number})${name.slice(dot)}` : `${name} (${number})`;
}
