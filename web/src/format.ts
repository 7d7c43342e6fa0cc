// How times, sizes and names are shown. All in the language that the browser is set to, except for words of the page itself.

import { isHidden } from "@godwit/client/text";

const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const DAY_MS = 86_400_000;

function midnight(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

function daysAgo(at: number): number {
  return Math.round((midnight(Date.now()) - midnight(at * 1_000)) / DAY_MS);
}

/** `at`: seconds since 1970. */
export function timeOf(at: number): string {
  return time.format(at * 1_000);
}

export function fullTimeOf(at: number): string {
  return full.format(at * 1_000);
}

/** The day, as a heading between messages. */
export function dayOf(at: number): string {
  const days = daysAgo(at);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? weekday.format(at * 1_000) : date.format(at * 1_000);
}

/** In a list: the time of today, the day of earlier. */
export function shortTimeOf(at: number): string {
  return daysAgo(at) === 0 ? timeOf(at) : dayOf(at);
}

export function lastSeen(minutes: number | undefined): string {
  if (minutes === undefined) return "";
  if (minutes < 1) return "last seen just now";
  return `last seen ${shortTimeOf(Date.now() / 1_000 - minutes * 60)}`;
}

export function sizeOf(bytes: number): string {
  const units = ["bytes", "KB", "MB", "GB"];
  let [size, unit] = [bytes, 0];
  while (size >= 1_000 && unit < units.length - 1) {
    size /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || size >= 10 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Text of others in one line, without what is not seen. */
export function plain(text: string): string {
  return [...text].filter((it) => it === "\n" || isJoiner(it) || !isHidden(it)).join("").replace(/\s+/g, " ");
}

/** Joiners and variation selectors have a meaning in scripts and emoji. */
function isJoiner(character: string): boolean {
  return /[\u200c\u200d\ufe0e\ufe0f]/.test(character);
}

const utf8 = new TextDecoder();

/** A message's body as text; what is not seen is shown as a box. Line ends stay. */
export function textOf(body: Uint8Array): string {
  return [...utf8.decode(body)].map((it) => (it === "\n" || it === "\t" || isJoiner(it) || !isHidden(it) ? it : "\u25af")).join("");
}

/** A text in parts: those that are addresses of web pages stand at odd places. */
export function withLinks(text: string): string[] {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]])/);
}
