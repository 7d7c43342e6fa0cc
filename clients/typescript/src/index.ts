// The client library of Godwit: see README.md.

export { Client, type ConnectOptions, type SendOptions, TYPING, connect } from "./client.js";
export type { Signal } from "./engine/shared.js";
export { type ErrorKind, type FileFailure, GodwitError, type Refusal, fileRetryHelps, retryHelps } from "./errors.js";
export { Events } from "./events.js";
export type { Groups, Invite } from "./groups.js";
export type { Delivery, Event } from "./ledger/events.js";
export type { FileState } from "./ledger/files.js";
export type { SendState } from "./ledger/outbound.js";
export type { Conversation, Member, Message, PendingSend } from "./ledger/queries.js";
export type {
  MediaRecord as Media,
  Recipient,
  RetentionRecord as Retention,
  SettingsRecord as GroupSettings,
} from "./ledger/record.js";
export type { Account, Contact, Device, People, Presence, Profile } from "./people.js";
export { SendHandle, rank } from "./send.js";
export { type OfflineCause, type Status, waitingHelps } from "./status.js";
export { IndexedDbStore } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export type { Row, ScanOptions, Store, Write } from "./store/store.js";
export { fileName, isHidden, numberedFileName } from "./text.js";
export { type DownloadLink, type DownloadOptions, download } from "./transfer/download.js";
export type { FileDraft, FileProgress, Files } from "./transfer/files.js";
export type { ConversationUpdate, OpenedMember } from "./wire.js";
