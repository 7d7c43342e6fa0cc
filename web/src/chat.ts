// What the page knows: signals that the views draw. It asks the tab that has the connection, and asks again when something has
// changed.

import { batch, computed, signal } from "@preact/signals";
import type { Contact, Conversation, FileProgress, Media, Message, PendingSend, Recipient, Status } from "@godwit/client";
import { GodwitError, download } from "@godwit/client/download";
import { Tab } from "@godwit/client/tabs";

import { textOf } from "./format.js";
import { prepare } from "./image.js";
import * as session from "./session.js";
import { startWorker } from "./trusted.js";

/** Messages that are shown at first, and more with each step back. */
const PAGE = 60;
/** Most messages that are shown at a time: then those at the other end go. */
const SHOWN_MAX = 300;
/** How long somebody types after the last signal, and how often this user says that it does, in milliseconds. */
const [TYPING_MS, TYPING_AGAIN_MS] = [6_000, 3_000];

/** What is open beside the list. */
export type Place = { conversation: number } | { user: string } | { phone: string };

/** What this browser knows of a user. */
export interface Person {
  name: string;
  label: string;
  about: string;
}

const utf8 = new TextDecoder();

export class Chat {
  readonly me: string;
  readonly tab: Tab;
  readonly status = signal<Status>({ kind: "connecting" });
  readonly conversations = signal<Conversation[] | undefined>(undefined);
  readonly place = signal<Place | undefined>(undefined);
  readonly messages = signal<Message[]>([]);
  readonly pending = signal<PendingSend[]>([]);
  readonly refused = signal<PendingSend[]>([]);
  readonly files = signal<FileProgress[]>([]);
  readonly people = signal<ReadonlyMap<string, Person>>(new Map());
  readonly contacts = signal<Contact[] | undefined>(undefined);
  readonly online = signal<ReadonlyMap<string, { online: boolean; lastSeenAgeMin: number | undefined }>>(new Map());
  /** By conversation: who types. */
  readonly typing = signal<ReadonlyMap<number, readonly string[]>>(new Map());
  /** Said once to who cannot see the page. */
  readonly announcement = signal("");
  /** What went wrong, until it is dismissed. */
  readonly problem = signal("");
  /** The message that is answered, or edited. */
  readonly replyTo = signal<Message | undefined>(undefined);
  readonly editing = signal<Message | undefined>(undefined);
  /** The newest messages are among those that are shown. */
  readonly isLatest = signal(true);
  /** The message to be brought into view. */
  readonly sought = signal<number | undefined>(undefined);

  /** The conversation that is open, if there is one already. */
  readonly open = computed(() => {
    const place = this.place.value;
    const all = this.conversations.value ?? [];
    if (!place) return undefined;
    if ("conversation" in place) return all.find((it) => it.id === place.conversation);
    return "user" in place ? all.find((it) => !it.group && this.otherOf(it) === place.user) : undefined;
  });
  readonly unread = computed(() => (this.conversations.value ?? []).reduce((sum, it) => sum + it.unread, 0));

  /** The server may have older messages of what is open than this device has. */
  private mayHaveOlder = true;
  /** What this device has of it was read. */
  private isLoaded = false;
  private shown = PAGE;
  /** Only messages before this one are shown; `undefined`: the newest are. */
  private until: number | undefined;
  private refreshing: Promise<void> | undefined;
  private refreshAgain = false;
  /** When it is said again that this user types, by `performance.now()`. */
  private typingDueAt = 0;
  private readonly asked = new Set<string>();
  private readonly drafts = new Map<string, string>();

  constructor({ user, device, password }: session.Session) {
    this.me = user;
    const worker = startWorker();
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/mqtt`;
    worker.postMessage({ url, user, device, password });
    this.tab = new Tab(user, device);
    this.tab.onChange.add(() => void this.refresh());
    this.tab.onStatus.add((status) => this.handleStatus(status));
    this.tab.onProgress.add(() => void this.refreshFiles());
    this.tab.onSignal.add((it) => {
      if (it.kind === "presence") this.notePresence(it.user, it);
      else this.noteTyping(it.conversation, it.member);
    });
    this.tab.onEvent.add((event) => {
      if (event.kind === "file-failed" && event.failure.kind !== "cancelled") {
        const { failure } = event;
        const why = failure.kind === "refused" ? failure.refusal.text : failure.kind === "unreadable" ? failure.text : failure.kind;
        this.problem.value = `${event.name} was not sent: ${why}.`;
      }
      if (event.kind !== "message" || event.message.mine) return;
      const { message } = event;
      if (message.user) this.setTyping(message.conversation, message.user, false);
      this.announcement.value = `${this.nameOf(message.user)}: ${textOf(message.body) || "a file"}`;
    });
    addEventListener("online", () => this.tab.api.networkChanged().catch(() => undefined));
    addEventListener("focus", () => void this.markRead());
    document.addEventListener("visibilitychange", () => void this.markRead());
    this.loadPeople();
    this.tab.api.status().then((status) => this.handleStatus(status), () => undefined);
    void this.refresh();
  }

  // What is shown

  /** Asks for all that is shown. A call while that is under way is one more round, and resolves when it is over. */
  refresh(): Promise<void> {
    this.refreshAgain = true;
    this.refreshing ??= this.refreshWhileAsked().finally(() => (this.refreshing = undefined));
    return this.refreshing;
  }

  private async refreshWhileAsked(): Promise<void> {
    try {
      while (this.refreshAgain) {
        this.refreshAgain = false;
        await this.refreshOnce();
      }
    } catch (error) {
      // Of a page that is closed nothing is to be shown; what else fails is seen by the status.
      if (!(error instanceof GodwitError)) throw error;
    }
  }

  private async refreshOnce(): Promise<void> {
    const { api } = this.tab;
    const [conversations, refused, files] = await Promise.all([api.conversations(), api.refused(), api.files.list()]);
    this.conversations.value = conversations;
    const place = this.place.value;
    const id = this.open.value?.id;
    const [messages, pending] = await Promise.all([
      id === undefined ? [] : api.messages(id, { limit: this.shown, ...(this.until !== undefined && { before: this.until }) }),
      place ? api.pending(id === undefined ? place : { conversation: id }) : [],
    ]);
    if (place !== this.place.value) {
      this.refreshAgain = true;
      return;
    }
    this.isLoaded = true;
    batch(() => {
      this.isLatest.value = this.until === undefined;
      this.messages.value = kept(this.messages.value, messages);
      this.pending.value = pending;
      this.refused.value = refused;
      this.files.value = files;
    });
    for (const conversation of conversations) for (const member of conversation.members) this.meet(member.user);
    await this.markRead();
  }

  private async refreshFiles(): Promise<void> {
    this.files.value = await this.tab.api.files.list().catch(() => this.files.value);
  }

  /** Opens a conversation, or nothing. */
  show(place: Place | undefined, seek?: number): void {
    batch(() => {
      this.place.value = place;
      this.messages.value = [];
      this.pending.value = [];
      this.replyTo.value = undefined;
      this.editing.value = undefined;
      this.sought.value = undefined;
      this.until = undefined;
      this.mayHaveOlder = true;
      this.isLoaded = false;
      this.shown = PAGE;
    });
    if (seek !== undefined) this.seek(seek);
    const other = this.open.value && !this.open.value.group ? this.otherOf(this.open.value) : undefined;
    if (other) void this.askPresence([other]);
    void this.refresh();
  }

  /** Shows older messages: those of this device, and then those that the server keeps. Whether there are any. */
  async showOlder(): Promise<boolean> {
    const id = this.open.value?.id;
    const { value: before } = this.messages;
    if (id === undefined || !this.isLoaded) return false;
    if (before.length < this.shown) {
      // All that this device has are shown.
      if (!this.mayHaveOlder) return false;
      const more = await this.tab.api.loadOlder(id).catch(() => undefined);
      if (more === undefined) return false;
      this.mayHaveOlder = more;
    }
    if (this.shown < SHOWN_MAX) this.shown += PAGE;
    else this.until = before[before.length - PAGE]?.sequence;
    await this.refresh();
    return this.messages.value[0]?.sequence !== before[0]?.sequence;
  }

  /** Shows newer messages, if the newest are not among those that are shown. */
  async showNewer(): Promise<void> {
    if (this.until === undefined) return;
    // Nearly every place is a message.
    this.until = this.within(this.until + PAGE);
    await this.refresh();
  }

  /** Shows the newest messages. */
  showLatest(): void {
    if (this.until === undefined && this.shown === PAGE) return;
    this.until = undefined;
    this.shown = PAGE;
    void this.refresh();
  }

  /** Brings a message of the conversation that is open into view. */
  seek(sequence: number): void {
    this.sought.value = sequence;
    if (this.messages.value.some((it) => it.sequence === sequence)) return;
    this.until = this.within(sequence + SHOWN_MAX / 2);
    this.shown = SHOWN_MAX;
    void this.refresh();
  }

  /** A place, unless it is behind the newest message. */
  private within(place: number): number | undefined {
    return place > (this.open.value?.lastMessage ?? 0) ? undefined : place;
  }

  private async markRead(): Promise<void> {
    const open = this.open.value;
    if (!open || open.unread === 0 || open.request || !this.isLatest.value || document.visibilityState !== "visible" || !document.hasFocus()) return;
    await this.tab.api.markRead(open.id, open.lastMessage).catch(() => undefined);
  }

  // What this user does

  async send(text: string): Promise<void> {
    const to = this.recipient();
    const edited = this.editing.value;
    const replyTo = this.replyTo.value?.sequence;
    batch(() => {
      this.editing.value = undefined;
      this.replyTo.value = undefined;
    });
    if (!to || text === "") return;
    this.typingDueAt = 0;
    this.showLatest();
    if (edited) await this.attempt(this.tab.api.edit(edited.conversation, edited.sequence, text));
    else await this.attempt(this.tab.api.send(to, text, { token: token(), ...(replyTo && { replyTo }) }));
  }

  async sendFiles(files: readonly File[], caption: string, original: boolean): Promise<void> {
    const to = this.recipient();
    if (!to) return;
    for (const [at, file] of files.entries()) {
      const prepared = await prepare(file, original);
      const draft = { ...prepared, token: token(), ...(at === 0 && caption !== "" && { caption }) };
      await this.attempt(this.tab.api.files.send(to, draft));
    }
  }

  /** Sends again what was refused. */
  async retry(send: PendingSend): Promise<void> {
    const { to, body, media, replyTo } = send;
    await this.attempt(this.tab.api.send(to, body, { token: token(), media, ...(replyTo && { replyTo }) }));
    await this.tab.api.dismiss(send.id);
  }

  private recipient(): Recipient | undefined {
    const open = this.open.value;
    return open ? { conversation: open.id } : this.place.value;
  }

  /** This user types. */
  types(): void {
    const open = this.open.value;
    const now = performance.now();
    if (!open || now < this.typingDueAt) return;
    this.typingDueAt = now + TYPING_AGAIN_MS;
    this.tab.api.typing(open.id).catch(() => undefined);
  }

  /** Shows what went wrong. Returns whether nothing did. */
  async attempt(done: Promise<unknown>): Promise<boolean> {
    try {
      await done;
      return true;
    } catch (error) {
      this.problem.value = error instanceof Error ? sentence(error.message) : String(error);
      return false;
    }
  }

  async fetch(conversation: number, media: Media, progress: (bytes: number) => void): Promise<Uint8Array> {
    const link = await this.tab.api.files.link(conversation, media.id);
    return await download(link, media, { progress });
  }

  draftOf(place: Place): string {
    return this.drafts.get(JSON.stringify(place)) ?? "";
  }

  keepDraft(place: Place, text: string): void {
    this.drafts.set(JSON.stringify(place), text);
  }

  /** Ends the connection, and removes what this browser keeps of this user. */
  async logOut(removeDevice: boolean, device: string): Promise<void> {
    if (removeDevice) await this.tab.api.account.removeDevice(device).catch(() => undefined);
    // Other tabs let go when they hear that nobody is logged in.
    session.forget();
    await Promise.race([this.tab.closeAll(), new Promise((resolve) => setTimeout(resolve, 3_000))]);
    localStorage.removeItem(this.peopleKey);
    indexedDB.deleteDatabase(`godwit:${this.me}/${device}`);
    location.reload();
  }

  // Who is who

  otherOf(conversation: Conversation): string {
    const { members } = conversation;
    return (members.find((it) => it.user !== this.me) ?? members[0])?.user ?? "";
  }

  titleOf(conversation: Conversation): string {
    if (!conversation.group) return this.nameOf(this.otherOf(conversation)) || "…";
    return conversation.title || conversation.members.filter((it) => it.present).map((it) => this.nameOf(it.user)).join(", ");
  }

  nameOf(user: string | undefined): string {
    if (user === undefined) return "somebody";
    const known = this.people.value.get(user);
    return known?.label || known?.name || user;
  }

  private get peopleKey(): string {
    return `godwit.people:${this.me}`;
  }

  private loadPeople(): void {
    try {
      const kept = JSON.parse(localStorage.getItem(this.peopleKey) ?? "[]") as [string, Person][];
      this.people.value = new Map(kept);
    } catch {
      // They are asked for again.
    }
  }

  private learn(user: string, person: Partial<Person>): void {
    const people = new Map(this.people.value);
    people.set(user, { name: "", label: "", about: "", ...people.get(user), ...person });
    this.people.value = people;
    localStorage.setItem(this.peopleKey, JSON.stringify([...people].slice(-1_000)));
  }

  /** Asks once who a user is. */
  meet(user: string): void {
    if (this.asked.has(user) || this.status.value.kind !== "online") return;
    this.asked.add(user);
    const answer = this.tab.api.people.profile(user === this.me ? "" : user);
    answer.then(({ name, about }) => this.learn(user, { name, about }), () => undefined);
  }

  async refreshContacts(): Promise<void> {
    const contacts = await this.tab.api.people.contacts();
    this.contacts.value = contacts;
    for (const { user, label, name } of contacts) this.learn(user, { label, name });
  }

  /** This user has changed its own profile, or a contact. */
  forgetPerson(user: string): void {
    this.asked.delete(user);
    this.learn(user, { label: "" });
    this.meet(user);
  }

  private async askPresence(users: string[]): Promise<void> {
    const found = await this.tab.api.people.presence(users).catch(() => []);
    for (const presence of found) this.notePresence(presence.user, presence);
  }

  private notePresence(user: string, it: { online: boolean; lastSeenAgeMin: number | undefined }): void {
    this.online.value = new Map(this.online.value).set(user, { online: it.online, lastSeenAgeMin: it.lastSeenAgeMin });
  }

  private noteTyping(conversation: number, ordinal: number): void {
    const member = this.conversations.value?.find((it) => it.id === conversation)?.members.find((it) => it.ordinal === ordinal);
    if (!member) return;
    this.setTyping(conversation, member.user, true);
    const key = `${conversation}/${member.user}`;
    clearTimeout(this.typingEnds.get(key));
    this.typingEnds.set(key, setTimeout(() => this.setTyping(conversation, member.user, false), TYPING_MS));
  }

  private setTyping(conversation: number, user: string, types: boolean): void {
    const others = (this.typing.value.get(conversation) ?? []).filter((it) => it !== user);
    this.typing.value = new Map(this.typing.value).set(conversation, types ? [...others, user] : others);
  }

  private readonly typingEnds = new Map<string, ReturnType<typeof setTimeout>>();

  private handleStatus(status: Status): void {
    const before = this.status.value;
    this.status.value = status;
    if (status.kind !== "online" || before.kind === "online") return;
    void this.refreshContacts().catch(() => undefined);
    void this.refresh();
  }
}

/** The same messages as objects that are the same, so that only what has changed is drawn. */
function kept(before: readonly Message[], now: readonly Message[]): Message[] {
  const known = new Map(before.map((it) => [it.sequence, it]));
  return now.map((it) => {
    const old = known.get(it.sequence);
    return old && sameMessage(old, it) ? old : it;
  });
}

function sameMessage(a: Message, b: Message): boolean {
  const reactions = (it: Message) => it.reactions.map(({ user, reaction }) => `${user} ${reaction}`).join();
  return (
    a.conversation === b.conversation &&
    a.state?.kind === b.state?.kind &&
    a.edited === b.edited &&
    a.recalled === b.recalled &&
    a.user === b.user &&
    reactions(a) === reactions(b) &&
    utf8.decode(a.body) === utf8.decode(b.body)
  );
}

function token(): string {
  return crypto.getRandomValues(new Uint32Array(3)).join("-");
}

/** Texts of the library and the server begin with a small letter and have no end. */
export function sentence(text: string): string {
  return text === "" ? text : `${text[0]!.toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
