// Every key of the store. A letter says what it is; numbers follow in 14 hexadecimal digits, so that they sort.

/** Whose store this is: user, a slash, device. */
export const OWNER = "M/owner";
/** Which server it is of, and its epoch. */
export const SERVER = "M/server";
/** The last number that a send was given. */
export const LAST_SEND = "M/send";
/** The name of the count that these numbers are of. */
export const COUNTER = "M/counter";
/** Of numbers up to here the server has counted some that this store did not give. */
export const STRANGE = "M/strange";
/** The last number that an event for the app was given. */
export const LAST_EVENT = "M/event";
/** The last number that a file was given. */
export const LAST_FILE = "M/file";
/** The server's session was told what this device wants. */
export const SUBSCRIBED = "M/subscribed";
/** What the device is let in with, if that is not what the app brings. */
export const PASSWORDS = "M/passwords";
/** The conversation behind which those of this user are to be listed; absent: all were. */
export const LISTED = "M/listed";
/** How many sends to phone numbers were not answered. */
export const UNANSWERED_PHONES = "M/phones";

/** Sends that were not answered. */
export const OUTBOX = "O";
/** Sends that were answered. */
export const SENT = "S";
/** Conversations that this device knows, by number. */
export const CONVERSATIONS = "C";
/** Messages at their places. */
export const MESSAGES = "A";
/** Events that the app has not confirmed. */
export const INBOX = "I";
/** What did not come and is looked for. */
export const GAPS = "G";
/** Pages of history that are to be asked for. */
export const FILLS = "B";
/** What was read and not told to the server. */
export const READ = "R";
/** Files that are to be sent. */
export const FILES = "F";
/** What became of files. */
export const FILES_OVER = "E";
/** Sends that were refused, until the app dismisses them. */
export const REFUSED = "X";

/** More than any number: digits and `/` are below it. */
const END = "~";
const DIGITS = 14;
/** Numbers are below this one, so that they can be turned around. */
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;

function digits(number: number): string {
  return number.toString(16).padStart(DIGITS, "0");
}

/** The key of a number in one of the above. */
export function numbered(kind: string, number: number): string {
  return `${kind}/${digits(number)}`;
}

/** The number in a key of `numbered`. */
export function numberOf(key: string): number {
  return Number.parseInt(key.slice(2, 2 + DIGITS), 16);
}

/** Everything of a kind above a number: the bounds of a scan. */
export function above(kind: string, number: number): [from: string, to: string] {
  return [`${numbered(kind, number)}!`, `${kind}/${END}`];
}

export const outbox = (id: number) => numbered(OUTBOX, id);
export const sent = (id: number) => numbered(SENT, id);
export const conversation = (id: number) => numbered(CONVERSATIONS, id);
export const read = (id: number) => numbered(READ, id);
export const file = (id: number) => numbered(FILES, id);
/** What did not come from this place on. */
export const gap = (id: number, first: number) => `${numbered(GAPS, id)}/${digits(first)}`;
export const message = (id: number, sequence: number) => `${numbered(MESSAGES, id)}/${digits(sequence)}`;
/** The event that waits for the app with a receipt of this member. */
export const receipt = (id: number, member: number) => `${numbered("U", id)}/${digits(member)}`;
/** How many sends to this recipient were not answered. */
export const unansweredOf = (id: number) => numbered("Q", id);
export const unansweredOfUser = (user: string) => `N/${user}`;
/** Sends to a user that were stored in a conversation which this device does not know yet. */
export const unrouted = (user: string) => `H/${user}`;
/** The same of a phone number. */
export const unroutedPhone = (number: string) => `T/${number}`;
export const UNROUTED_PHONES: [from: string, to: string] = ["T/", "T/~"];
/** The direct conversation with a user. */
export const direct = (user: string) => `D/${user}`;
/** The send that an app has named by this token. */
export const token = (name: string) => `K/${name}`;

/** The second number in a key: of a message its sequence, of a page of history its conversation. */
export function secondOf(key: string): number {
  return Number.parseInt(key.slice(3 + DIGITS), 16);
}

/** All messages of a conversation from this place up to that one, excluded: the bounds of a scan. */
export function messages(id: number, from = 0, to?: number): [from: string, to: string] {
  return [message(id, from), to === undefined ? `${numbered(MESSAGES, id)}/${END}` : message(id, to)];
}

/** A page of history of a conversation in which something happened then: the one of most recently is the first. */
export function fill(activeAt: number, id: number): string {
  return `${numbered(FILLS, NUMBER_MAX - activeAt)}/${digits(id)}`;
}
