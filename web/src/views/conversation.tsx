// The conversation that is open: its heading, its messages, and where a new one is written.

import type { Message } from "@godwit/client";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import type { Chat } from "../chat.js";
import { dayOf, lastSeen, plain } from "../format.js";
import { Avatar, IconButton } from "../ui/parts.js";
import { Composer } from "./composer.js";
import { Bubble, Change, OnItsWay, Refused } from "./message.js";
import type { Panel } from "./panels.js";

/** So close to its end, in pixels, a list follows what comes. */
const NEAR_PX = 120;

export function ConversationView({ chat, onPanel }: { chat: Chat; onPanel: (panel: Panel) => void }) {
  const place = chat.place.value;
  const open = chat.open.value;
  if (!place) {
    return (
      <main class="conversation nothing">
        <p>Choose a conversation, or begin a new one.</p>
      </main>
    );
  }
  const title = open ? chat.titleOf(open) : "user" in place ? chat.nameOf(place.user) : "phone" in place ? place.phone : "…";
  return (
    <main class="conversation" aria-label={`Conversation with ${plain(title)}`}>
      <header>
        <IconButton icon="back" label="Back to the list" class="narrow-only" onClick={() => chat.show(undefined)} />
        <Avatar name={title} />
        <div class="who">
          <h1><bdi>{plain(title)}</bdi></h1>
          <p><Presence chat={chat} /></p>
        </div>
        {open && <IconButton icon="info" label="About this conversation" onClick={() => onPanel("conversation")} />}
      </header>
      <Messages chat={chat} key={JSON.stringify(place)} />
      {open?.request ? <Request chat={chat} /> : <Composer chat={chat} key={`composer ${JSON.stringify(place)}`} />}
    </main>
  );
}

/** Who types, who is there, or who is in the group. */
function Presence({ chat }: { chat: Chat }) {
  const open = chat.open.value;
  if (!open) return null;
  const types = chat.typing.value.get(open.id) ?? [];
  if (types.length > 0) {
    const names = types.map((user) => chat.nameOf(user)).join(", ");
    return <em>{open.group ? `${names} ${types.length > 1 ? "are" : "is"} typing…` : "typing…"}</em>;
  }
  if (open.group) {
    const present = open.members.filter((it) => it.present);
    return <span dir="auto">{plain(present.map((it) => (it.user === chat.me ? "you" : chat.nameOf(it.user))).join(", "))}</span>;
  }
  const presence = chat.online.value.get(chat.otherOf(open));
  return <span>{presence?.online ? "online" : lastSeen(presence?.lastSeenAgeMin)}</span>;
}

/** A stranger has opened the conversation. */
function Request({ chat }: { chat: Chat }) {
  const open = chat.open.value!;
  const { api } = chat.tab;
  const decline = async () => {
    const done = open.group ? api.groups.leave(open.id) : api.people.block(chat.otherOf(open));
    if (await chat.attempt(done)) chat.show(undefined);
  };
  return (
    <div class="request">
      <p>{open.group ? "Somebody who is none of your contacts has added you to this group." : "This person is none of your contacts."}</p>
      <button class="primary" onClick={() => void chat.attempt(api.accept(open.id))}>Accept</button>
      <button class="danger" onClick={() => void decline()}>{open.group ? "Leave" : "Block"}</button>
    </div>
  );
}

function Messages({ chat }: { chat: Chat }) {
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  /** The first message that is seen, and how far it is from the top: what is put before it moves nothing. */
  const anchor = useRef<{ id: string; top: number } | undefined>(undefined);
  const loading = useRef(false);
  const messages = chat.messages.value;
  const isLatest = chat.isLatest.value;
  const pending = isLatest ? chat.pending.value : [];
  const files = isLatest ? ofPlace(chat, chat.files.value) : [];
  const refused = isLatest ? ofPlace(chat, chat.refused.value) : [];
  const sought = chat.sought.value;
  const group = chat.open.value?.group ?? false;
  const me = chat.open.value?.members.find((it) => it.user === chat.me && it.present);
  const administers = group && (me?.role ?? 0) > 0;

  // Who is at the end follows what comes.
  useLayoutEffect(() => {
    const it = list.current;
    if (!it || sought !== undefined) return;
    const seen = anchor.current && document.getElementById(anchor.current.id);
    if (atEnd.current && isLatest) it.scrollTop = it.scrollHeight;
    else if (seen) it.scrollTop += seen.getBoundingClientRect().top - anchor.current!.top;
  }, [messages, isLatest, pending, files.length, refused.length]);
  useEffect(() => {
    const found = sought === undefined ? null : document.getElementById(`message-${sought}`);
    if (!found) return;
    atEnd.current = false;
    found.scrollIntoView({ block: "center" });
    found.focus();
    chat.sought.value = undefined;
  }, [messages, sought]);

  const onScroll = () => {
    const it = list.current;
    if (!it) return;
    anchor.current = firstSeen(it);
    atEnd.current = it.scrollHeight - it.scrollTop - it.clientHeight < NEAR_PX;
    if (loading.current) return;
    const more = it.scrollTop < NEAR_PX ? chat.showOlder() : atEnd.current && !isLatest ? chat.showNewer() : undefined;
    if (!more) return;
    loading.current = true;
    void more.then((changed) => {
      loading.current = false;
      // Who has scrolled on meanwhile is at the end already.
      if (changed) requestAnimationFrame(onScroll);
    });
  };
  useEffect(onScroll, [messages.length]);
  // A window that becomes smaller, or a keyboard that comes up, does not hide what was there.
  useEffect(() => {
    const it = list.current!;
    const watch = new ResizeObserver(() => atEnd.current && chat.isLatest.value && it.scrollTo(0, it.scrollHeight));
    watch.observe(it);
    return () => watch.disconnect();
  }, []);

  return (
    <div class="messages" ref={list} onScroll={onScroll} tabIndex={0} role="region" aria-label="Messages">
      <ol>
        {messages.map((message, at) => (
          <Row key={message.sequence} chat={chat} message={message} before={messages[at - 1]} group={group} administers={administers} />
        ))}
        {pending.map((send) => <OnItsWay key={`send ${send.id}`} chat={chat} body={send.body} media={send.media} state={send.state} />)}
        {files.map((file) => <OnItsWay key={`file ${file.id}`} chat={chat} body={file.caption} file={file} state={{ kind: "queued" }} />)}
        {refused.map((send) => <Refused key={`refused ${send.id}`} chat={chat} send={send} />)}
      </ol>
      {!isLatest && (
        <button
          type="button"
          class="latest primary"
          onClick={() => {
            atEnd.current = true;
            chat.showLatest();
          }}
        >
          To the newest messages
        </button>
      )}
    </div>
  );
}

/** The first message of a list that is seen at least in part. */
function firstSeen(list: HTMLElement): { id: string; top: number } | undefined {
  const from = list.getBoundingClientRect().top;
  for (const it of list.querySelectorAll<HTMLElement>(".message[id]")) {
    const { top, bottom } = it.getBoundingClientRect();
    if (bottom > from) return { id: it.id, top };
  }
  return undefined;
}

interface RowProps {
  chat: Chat;
  message: Message;
  before: Message | undefined;
  group: boolean;
  administers: boolean;
}

/** Messages of a member within so many seconds stand together. */
const TOGETHER_S = 600;

function Row({ chat, message, before, group, administers }: RowProps) {
  const day = dayOf(message.at);
  const newDay = !before || dayOf(before.at) !== day;
  const isFirst = newDay || before.user !== message.user || message.at - before.at > TOGETHER_S;
  return (
    <>
      {newDay && <Change text={day} />}
      <Bubble chat={chat} message={message} isFirst={isFirst} group={group} administers={administers} />
    </>
  );
}

/** Those that are for what is open. */
function ofPlace<T extends { to: object }>(chat: Chat, all: readonly T[]): T[] {
  const place = chat.place.value;
  const open = chat.open.value;
  return all.filter(({ to }) => {
    const it = to as { user?: string; phone?: string; conversation?: number };
    if (it.conversation !== undefined) return it.conversation === open?.id;
    if (it.user !== undefined) return open ? !open.group && chat.otherOf(open) === it.user : place && "user" in place && place.user === it.user;
    return place && "phone" in place && place.phone === it.phone;
  });
}
