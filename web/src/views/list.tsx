// The list of conversations: the one in which something happened last is the first.

import type { Conversation } from "@godwit/client";
import { useSignal } from "@preact/signals";

import type { Chat } from "../chat.js";
import { plain, shortTimeOf, textOf } from "../format.js";
import { Avatar, IconButton } from "../ui/parts.js";
import { Ticks } from "./ticks.js";
import type { Panel } from "./panels.js";

export function List({ chat, onPanel }: { chat: Chat; onPanel: (panel: Panel) => void }) {
  const filter = useSignal("");
  const all = chat.conversations.value;
  const wanted = filter.value.toLowerCase();
  const shown = (all ?? []).filter((it) => chat.titleOf(it).toLowerCase().includes(wanted));
  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("button")];
    buttons[buttons.indexOf(document.activeElement as HTMLElement) + step]?.focus();
  };
  return (
    <nav class="list" aria-label="Conversations">
      <header>
        <IconButton icon="menu" label="Account" onClick={() => onPanel("account")} />
        <h1>Godwit</h1>
        <IconButton icon="search" label="Search messages" onClick={() => onPanel("search")} />
        <IconButton icon="plus" label="New conversation" onClick={() => onPanel("new")} />
      </header>
      <Connection chat={chat} />
      {(all?.length ?? 0) > 8 && (
        <input
          class="filter"
          type="search"
          placeholder="Filter"
          aria-label="Filter conversations"
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
      )}
      <ul onKeyDown={move}>
        {shown.map((it) => (
          <Row key={it.id} chat={chat} conversation={it} />
        ))}
      </ul>
      {all?.length === 0 && (
        <div class="empty">
          <p>No conversations yet.</p>
          <button class="primary" onClick={() => onPanel("new")}>Write to somebody</button>
        </div>
      )}
    </nav>
  );
}

function Row({ chat, conversation }: { chat: Chat; conversation: Conversation }) {
  const { id, group, unread, last, activeAt, request } = conversation;
  const title = chat.titleOf(conversation);
  const types = chat.typing.value.get(id) ?? [];
  const online = !group && chat.online.value.get(chat.otherOf(conversation))?.online;
  const by = last && (last.mine ? "You: " : group ? `${chat.nameOf(last.user)}: ` : "");
  return (
    <li>
      <button
        type="button"
        aria-current={chat.open.value?.id === id ? "true" : undefined}
        onClick={() => chat.show({ conversation: id })}
      >
        <Avatar name={title} online={online === true} />
        <span class="what">
          <span class="line">
            <b dir="auto">{plain(title)}</b>
            {activeAt > 0 && <time>{shortTimeOf(activeAt)}</time>}
          </span>
          <span class="line">
            {types.length > 0 ? (
              <em>{group ? `${chat.nameOf(types[0])} is typing…` : "typing…"}</em>
            ) : (
              <span class="preview" dir="auto">
                {last?.state && <Ticks state={last.state} />}
                {last ? by + previewOf(last) : request ? "wants to write to you" : "no messages"}
              </span>
            )}
            {unread > 0 && (
              <span class="badge">
                {unread}
                <span class="hidden"> unread</span>
              </span>
            )}
          </span>
        </span>
      </button>
    </li>
  );
}

export function previewOf({ recalled, sealed, body, media }: { recalled?: boolean; sealed?: boolean; body: Uint8Array; media: readonly { name: string }[] }): string {
  if (recalled) return "deleted";
  if (sealed) return "encrypted";
  return plain(textOf(body)) || plain(media[0]?.name ?? "") || "…";
}

/** Why there is no connection, if there is none. */
function Connection({ chat }: { chat: Chat }) {
  const status = chat.status.value;
  const text =
    status.kind === "online" ? ""
    : status.kind === "connecting" ? "Connecting…"
    : status.kind === "refused" ? "The server does not let this device in. Log out, and log in again."
    : status.kind === "closed" ? "Logged out."
    : offlineText[status.cause.kind];
  const more = status.kind === "offline" && status.cause.kind === "store" ? ` (${status.cause.text})` : "";
  return (
    <p class={`connection ${text === "" ? "" : "shown"}`} role="status">
      {text}
      {more}
    </p>
  );
}

const offlineText = {
  unreachable: "No connection. Messages are sent as soon as there is one.",
  broken: "No connection. Messages are sent as soon as there is one.",
  busy: "The server is busy. Messages are sent a little later.",
  "not-mqtt": "What answers here is no Godwit server.",
  "other-server": "This is another server than the one that this browser knows. Log out, and log in again.",
  "taken-over": "This device is connected elsewhere.",
  store: "This browser cannot store messages.",
};
