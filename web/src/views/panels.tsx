// Windows in front of the page: a new conversation, what there is about the one that is open, search, and this user's own things.

import type { Device, Message, Profile } from "@godwit/client";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { Chat } from "../chat.js";
import { fullTimeOf, plain, shortTimeOf } from "../format.js";
import type { Session } from "../session.js";
import { Avatar, Dialog, Field, IconButton, fieldsOf } from "../ui/parts.js";
import { previewOf } from "./list.js";

export type Panel = "account" | "new" | "search" | "conversation" | "profile" | "contacts" | "devices";

interface Props {
  chat: Chat;
  session: Session;
  onPanel: (panel: Panel) => void;
  onClose: () => void;
}

const VIEWS: Record<Panel, [title: string, view: (props: Props) => preact.JSX.Element]> = {
  account: ["Account", AccountPanel],
  new: ["New conversation", NewPanel],
  search: ["Search messages", SearchPanel],
  conversation: ["About this conversation", ConversationPanel],
  profile: ["Profile", ProfilePanel],
  contacts: ["Contacts", ContactsPanel],
  devices: ["Devices", DevicesPanel],
};

export function PanelView({ panel, ...props }: Props & { panel: Panel }) {
  const [title, View] = VIEWS[panel];
  return (
    <Dialog title={title} onClose={props.onClose} key={panel}>
      <Problem chat={props.chat} />
      <View {...props} />
    </Dialog>
  );
}

/** What went wrong. It stands in the window that is in front. */
export function Problem({ chat }: { chat: Chat }) {
  return chat.problem.value === "" ? null : (
    <div class="toast" role="alert">
      <p>{chat.problem.value}</p>
      <IconButton icon="close" label="Dismiss" onClick={() => (chat.problem.value = "")} />
    </div>
  );
}

function AccountPanel({ chat, session, onPanel }: Props) {
  const leaving = useSignal(false);
  return (
    <>
      <p class="me"><Avatar name={chat.nameOf(chat.me)} /><span class="what"><b>{plain(chat.nameOf(chat.me))}</b><small>{chat.me} on {session.device}</small></span></p>
      <div class="stack">
        <button type="button" onClick={() => onPanel("profile")}>Profile</button>
        <button type="button" onClick={() => onPanel("contacts")}>Contacts</button>
        <button type="button" onClick={() => onPanel("devices")}>Devices</button>
        {!leaving.value && <button type="button" class="danger" onClick={() => (leaving.value = true)}>Log out</button>}
      </div>
      {leaving.value && (
        <div class="stack" role="group" aria-label="Log out">
          <p>The messages that this browser keeps are removed from it. What was not sent yet is lost.</p>
          <button type="button" class="danger" onClick={() => void chat.logOut(false, session.device)}>Log out, keep the device</button>
          <button type="button" class="danger" onClick={() => void chat.logOut(true, session.device)}>Log out, remove the device</button>
        </div>
      )}
    </>
  );
}

function NewPanel({ chat, onClose }: Props) {
  const way = useSignal<"person" | "group" | "invite">("person");
  const { api } = chat.tab;
  const show = (conversation: number) => {
    chat.show({ conversation });
    onClose();
  };
  const toSomebody = (event: Event) => {
    const { to = "" } = fieldsOf(event);
    const number = to.replace(/[\s()/-]/g, "");
    if (/^\+\d+$/.test(number)) {
      chat.show({ phone: number });
      return onClose();
    }
    // A name that nobody has is told here, not by a message that is refused later.
    const known = chat.conversations.value?.find((it) => !it.group && chat.otherOf(it) === to);
    if (known) return show(known.id);
    if (chat.status.value.kind !== "online") {
      chat.show({ user: to });
      return onClose();
    }
    void chat.attempt(api.openDirect(to).then(show));
  };
  const toGroup = (event: Event) => {
    const { title = "", users = "" } = fieldsOf(event);
    void chat.attempt(api.groups.create(title, users.split(/[\s,;]+/).filter((it) => it !== "")).then(show));
  };
  const byInvite = (event: Event) => {
    const { invite = "" } = fieldsOf(event);
    void chat.attempt(api.groups.join(invite).then(show));
  };
  const contacts = chat.contacts.value ?? [];
  return (
    <>
      <div class="tabs" role="group" aria-label="Kind of conversation">
        <button type="button" aria-pressed={way.value === "person"} onClick={() => (way.value = "person")}>Person</button>
        <button type="button" aria-pressed={way.value === "group"} onClick={() => (way.value = "group")}>Group</button>
        <button type="button" aria-pressed={way.value === "invite"} onClick={() => (way.value = "invite")}>Invite</button>
      </div>
      {way.value === "person" && (
        <form onSubmit={toSomebody}>
          <Field label="User or phone number" name="to" required autofocus />
          <button class="primary">Write</button>
          {contacts.length > 0 && (
            <ul class="rows" aria-label="Contacts">
              {contacts.map(({ user }) => (
                <li key={user}>
                  <button type="button" onClick={() => void chat.attempt(api.openDirect(user).then(show))}>
                    <Avatar name={chat.nameOf(user)} /><span dir="auto">{plain(chat.nameOf(user))}</span>
                  </button>
                </li>
              ))}
            </ul>
          )}
        </form>
      )}
      {way.value === "group" && (
        <form onSubmit={toGroup}>
          <Field label="Title" name="title" required autofocus />
          <Field label="Members" name="users" required hint="Users, separated by spaces." />
          <button class="primary">Make a group</button>
        </form>
      )}
      {way.value === "invite" && (
        <form onSubmit={byInvite}>
          <Field label="Invite" name="invite" required hint="What a member of the group has given you." autofocus />
          <button class="primary">Join</button>
        </form>
      )}
    </>
  );
}

function SearchPanel({ chat, onClose }: Props) {
  const found = useSignal<Message[] | undefined>(undefined);
  const search = (event: Event) => {
    const { text = "" } = fieldsOf(event);
    void chat.attempt(chat.tab.api.search(text).then((messages) => (found.value = messages)));
  };
  return (
    <>
      <form class="inline" onSubmit={search}>
        <Field label="Text" name="text" type="search" required autofocus />
        <button class="primary">Search</button>
      </form>
      <p class="hint" role="status">
        {found.value === undefined ? "In the messages that this browser keeps." : `${found.value.length} found`}
      </p>
      <ul class="rows">
        {found.value?.map((it) => {
          const conversation = chat.conversations.value?.find(({ id }) => id === it.conversation);
          return (
            <li key={`${it.conversation}/${it.sequence}`}>
              <button type="button" onClick={() => {
                chat.show({ conversation: it.conversation }, it.sequence);
                onClose();
              }}>
                <span class="what">
                  <span class="line"><b dir="auto">{conversation ? plain(chat.titleOf(conversation)) : ""}</b><time title={fullTimeOf(it.at)}>{shortTimeOf(it.at)}</time></span>
                  <span dir="auto">{it.mine ? "You: " : ""}{previewOf(it)}</span>
                </span>
              </button>
            </li>
          );
        })}
      </ul>
    </>
  );
}

const ROLES = ["member", "admin", "owner"];

function ConversationPanel({ chat, onClose }: Props) {
  const open = chat.open.value;
  const invite = useSignal("");
  const blocked = useSignal<boolean | undefined>(undefined);
  const { api } = chat.tab;
  const other = open && !open.group ? chat.otherOf(open) : undefined;
  useEffect(() => {
    if (other) void api.people.blocked().then((users) => (blocked.value = users.includes(other)), () => undefined);
  }, [other]);
  if (!open) return <p>It is gone.</p>;
  const { id, settings } = open;
  const members = open.members.filter((it) => it.present);
  const me = members.find((it) => it.user === chat.me);
  const may = (from: number | undefined, otherwise: number) => me !== undefined && me.role >= (from ?? otherwise);
  const close = (done: Promise<unknown>) =>
    void chat.attempt(done).then((good) => {
      if (!good) return;
      chat.show(undefined);
      onClose();
    });
  return (
    <>
      {open.group ? (
        may(settings?.mayRename, 1) ? (
          <form class="inline" onSubmit={(event) => void chat.attempt(api.groups.rename(id, fieldsOf(event).title ?? ""))}>
            <Field label="Title" name="title" value={open.title} />
            <button>Rename</button>
          </form>
        ) : <h3 dir="auto">{plain(open.title)}</h3>
      ) : (
        <p class="me"><Avatar name={chat.nameOf(other)} /><span class="what"><b dir="auto">{plain(chat.nameOf(other))}</b><small>{other}</small><small dir="auto">{plain(chat.people.value.get(other!)?.about ?? "")}</small></span></p>
      )}
      {open.group && (
        <>
          <ul class="rows" aria-label="Members">
            {members.map(({ user, role }) => (
              <li key={user}>
                <Avatar name={chat.nameOf(user)} online={chat.online.value.get(user)?.online === true} />
                <span class="what"><span dir="auto">{user === chat.me ? "You" : plain(chat.nameOf(user))}</span><small>{role > 0 ? ROLES[role] : ""}</small></span>
                {me?.role === 2 && user !== chat.me && (
                  <button type="button" onClick={() => void chat.attempt(api.groups.setRole(id, user, role === 1 ? 0 : 1))}>
                    {role === 1 ? "Make a member" : "Make an admin"}
                  </button>
                )}
                {(me?.role ?? 0) > 0 && user !== chat.me && role < 2 && (
                  <IconButton icon="close" label={`Remove ${plain(chat.nameOf(user))}`} onClick={() => void chat.attempt(api.groups.remove(id, user))} />
                )}
              </li>
            ))}
          </ul>
          {may(settings?.mayAdd, 1) && (
            <>
              <form class="inline" onSubmit={(event) => {
                const form = event.currentTarget;
                void chat.attempt(api.groups.add(id, fieldsOf(event).user ?? "").then(() => form.reset()));
              }}>
                <Field label="Add a user" name="user" required />
                <button>Add</button>
              </form>
              <div class="stack">
                {invite.value !== "" && <p>Whoever has this invite may join: <code>{invite.value}</code></p>}
                <button type="button" onClick={() => void chat.attempt(api.groups.createInvite(id).then((it) => (invite.value = it.invite)))}>
                  Make an invite
                </button>
              </div>
            </>
          )}
        </>
      )}
      <div class="stack">
        {other && !chat.contacts.value?.some((it) => it.user === other) && other !== chat.me && (
          <button type="button" onClick={() => void chat.attempt(api.people.addContact(other).then(() => chat.refreshContacts()))}>Add to contacts</button>
        )}
        {other && other !== chat.me && blocked.value !== undefined && (
          <button type="button" class="danger" onClick={() => {
            const done = blocked.value ? api.people.unblock(other) : api.people.block(other);
            void chat.attempt(done.then(() => (blocked.value = !blocked.value)));
          }}>
            {blocked.value ? "Unblock" : "Block"}
          </button>
        )}
        {open.group && me && <button type="button" class="danger" onClick={() => close(api.groups.leave(id))}>Leave the group</button>}
        <button type="button" class="danger" onClick={() => close(api.deleteConversation(id))}>Delete the messages for me</button>
      </div>
    </>
  );
}

function ProfilePanel({ chat, onClose }: Props) {
  const profile = useSignal<Profile | undefined>(undefined);
  const { people } = chat.tab.api;
  useEffect(() => void chat.attempt(people.profile().then((it) => (profile.value = it))), []);
  const it = profile.value;
  if (!it) return <p role="status">Loading…</p>;
  const save = (event: Event) => {
    const { name = "", about = "", presenceTo = "0", groupsFrom = "0" } = fieldsOf(event);
    const change = { name, about, presenceTo: Number(presenceTo), groupsFrom: Number(groupsFrom) };
    void chat.attempt(people.setProfile(change)).then((good) => {
      if (!good) return;
      chat.forgetPerson(chat.me);
      onClose();
    });
  };
  return (
    <form onSubmit={save}>
      <Field label="Name" name="name" value={it.name} autocomplete="name" autofocus />
      <Field label="About" name="about" value={it.about} />
      <Choice label="Who sees whether you are online" name="presenceTo" value={it.presenceTo} choices={["Contacts", "Nobody", "Everybody"]} />
      <Choice label="Who may add you to groups" name="groupsFrom" value={it.groupsFrom} choices={["Everybody", "Contacts", "Nobody"]} />
      <button class="primary">Save</button>
    </form>
  );
}

function Choice({ label, name, value, choices }: { label: string; name: string; value: number; choices: string[] }) {
  return (
    <label class="field">
      <span>{label}</span>
      <select name={name}>
        {choices.map((it, at) => <option key={it} value={at} selected={at === value}>{it}</option>)}
      </select>
    </label>
  );
}

function ContactsPanel({ chat, onClose }: Props) {
  const { people, openDirect } = chat.tab.api;
  useEffect(() => void chat.attempt(chat.refreshContacts()), []);
  const add = (event: Event) => {
    const form = event.currentTarget as HTMLFormElement;
    const { user = "", label = "" } = fieldsOf(event);
    void chat.attempt(people.addContact(user, label).then(() => {
      form.reset();
      return chat.refreshContacts();
    }));
  };
  const write = (user: string) => void chat.attempt(openDirect(user).then((conversation) => {
    chat.show({ conversation });
    onClose();
  }));
  return (
    <>
      <form onSubmit={add}>
        <Field label="User" name="user" required autofocus />
        <Field label="Called" name="label" hint="Only you see this." />
        <button class="primary">Add</button>
      </form>
      <ul class="rows" aria-label="Contacts">
        {chat.contacts.value?.map(({ user }) => (
          <li key={user}>
            <button type="button" onClick={() => write(user)}>
              <Avatar name={chat.nameOf(user)} online={chat.online.value.get(user)?.online === true} />
              <span class="what"><span dir="auto">{plain(chat.nameOf(user))}</span><small>{user}</small></span>
            </button>
            <IconButton icon="close" label={`Remove ${plain(chat.nameOf(user))}`} onClick={() => void chat.attempt(people.removeContact(user).then(() => chat.refreshContacts()))} />
          </li>
        ))}
      </ul>
    </>
  );
}

function DevicesPanel({ chat, session }: Props) {
  const devices = useSignal<Device[]>([]);
  const { account } = chat.tab.api;
  const load = () => account.devices().then((it) => (devices.value = it));
  useEffect(() => void chat.attempt(load()), []);
  return (
    <ul class="rows">
      {devices.value.map((it) => (
        <li key={it.device} class="device">
          <form class="inline" onSubmit={(event) => void chat.attempt(account.labelDevice(it.device, fieldsOf(event).label ?? "").then(load))}>
            <Field label={it.device + (it.device === session.device ? " (this browser)" : "")} name="label" value={it.label} />
            <button>Save</button>
          </form>
          <small>{it.connected ? "connected" : "not connected"}{it.inboxFull ? ", its inbox is full" : ""}</small>
          {it.device !== session.device && (
            <button type="button" class="danger" onClick={() => void chat.attempt(account.removeDevice(it.device).then(load))}>Remove</button>
          )}
        </li>
      ))}
    </ul>
  );
}
