// Stored values. A field that is added later must be optional: stores of earlier versions do not have it. Times are whole
// seconds since 1970, by this device's clock.

import type { FileFailure } from "../errors.js";
import type { FileSource } from "../transfer/source.js";

/** A conversation as this device knows it. */
export interface ConversationRecord {
  /** Members and title are known. */
  known: boolean;
  group: boolean;
  title: string;
  members: MemberRecord[];
  /** See `SequenceTracker`. */
  order: OrderRecord;
  /** The highest place of a message of this device. */
  lastOwn: number;
  /** This user has read up to here. */
  read: number;
  /** Sends whose place is not known. */
  unplaced: UnplacedSend[];
  /** The last message or change of any kind, to sort by. */
  activeAt: number;
  /** The place of the newest message. */
  lastMessage: number;
  /** Receipts that came before the members were known. */
  early: { ordinal: number; delivered: number; read: number }[];
  /** Messages of others above `read` that are kept; absent: to be counted. */
  unread?: number | undefined;
  /** A page of history is asked for (`fill.ts`). */
  filling: boolean;
  /** Meanwhile a message was changed that is not here: it may be in the page, as it was before. */
  stale: boolean;
  /** A stranger has opened it, and this user has not accepted it. */
  request: boolean;
  settings: SettingsRecord | undefined;
  retention: RetentionRecord | undefined;
}

/** A member, also a former one. */
export interface MemberRecord {
  ordinal: number;
  user: string;
  /** 0 member, 1 admin, 2 owner. */
  role: number;
  /** Joined with this change. */
  since: number;
  /** Is no member any more. */
  gone: boolean;
  delivered: number;
  read: number;
}

/** What the members of a group may do: each from this role on. */
export interface SettingsRecord {
  maySend: number;
  mayAdd: number;
  mayRename: number;
  historyForNew: boolean;
}

/** How long the messages of a conversation are kept; 0: as the server does, and for ever. */
export interface RetentionRecord {
  historyDaysPlusOne: number;
  expiresInS: number;
}

export interface OrderRecord {
  next: number;
  seen: number[];
  missing: [first: number, last: number][];
  lastReceived: number;
}

/** A send that was accepted, nobody said at which place. */
export interface UnplacedSend {
  id: number;
  /** The place is above this one: that of an earlier send. */
  above: number;
  /** And below this one, of a later send; 0: there is none yet. */
  below: number;
}

/** Whom something is for. */
export type Recipient =
  /** The direct conversation with this user, which the first message opens. */
  | { user: string }
  /** The conversation of this number. */
  | { conversation: number }
  /** Whoever has this phone number, in E.164 with its plus sign, when the message is stored. */
  | { phone: string };

/** A file that a message refers to. */
export interface MediaRecord {
  id: string;
  name: string;
  thumbnail: Uint8Array;
  key: Uint8Array;
  size: number;
  contentType: string;
  sha256: Uint8Array;
}

/** A send that was not answered. */
export interface OutRecord {
  to: Recipient;
  body: Uint8Array;
  expiresInS: number;
  queuedAt: number;
  replyTo: number;
  media: MediaRecord[];
}

/** A send that was answered. */
export interface SentRecord {
  to: Recipient;
  /** 0: not known yet. */
  conversation: number;
  /** 0: not known yet. */
  sequence: number;
  queuedAt: number;
  /** Until the place is known. */
  body: Uint8Array;
  replyTo: number;
  media: MediaRecord[];
  /** The server does not take it. */
  refusal?: { reason: number; text: string };
}

/** A message at its place. */
export interface MessageRecord {
  sender: number;
  at: number;
  body: Uint8Array;
  /** It is encrypted, and `body` is empty; not there: it is not. */
  sealed?: boolean;
  /** Sent by this device, under this number; 0: not by this device. */
  send: number;
  /** The message that it answers; 0: none. */
  replyTo: number;
  edited: boolean;
  recalled: boolean;
  media: MediaRecord[];
  /** The place of the change that gave it its body; 0: of none, or not known. */
  editedAt: number;
  /** By member, the last of each. `at`: the place of the change; 0: not known. An empty reaction: no more. */
  reactions: { member: number; reaction: string; at: number }[];
}

/** A page of history that is to be asked for: see `fill.ts`. */
export interface FillRecord {
  /** Only what is below; 0: no bound. */
  before: number;
  /** Pages that were asked for. */
  pages: number;
}

/** Places of a conversation. */
export interface Gap {
  conversation: number;
  first: number;
  last: number;
}

/** What the app has not confirmed. */
export type InboxRecord =
  /** It is among the messages. */
  | { kind: "message"; conversation: number; sequence: number }
  /** `payload`: an encoded `Event`. */
  | { kind: "change"; payload: Uint8Array; checked: boolean }
  /** The watermarks are with the member, so that a newer one is told at once. */
  | { kind: "receipt"; conversation: number; member: number }
  | { kind: "missing"; gap: Gap }
  | { kind: "refused"; send: number }
  | { kind: "restored"; lost: number[] }
  | { kind: "file-failed"; file: number; to: Recipient; name: string; failure: FileFailure };

/** A file that is to be sent. */
export interface FileRecord {
  to: Recipient;
  source: FileSource;
  name: string;
  contentType: string;
  size: number;
  thumbnail: Uint8Array;
  caption: Uint8Array;
  replyTo: number;
  queuedAt: number;
  /** SHA-256, once it is known. */
  sha256?: Uint8Array;
  /** On the server, once it is known. */
  media?: string;
}
