// Where a message is written. Enter sends, Shift and Enter begins a line. Files come by the button, by dropping or pasting them.

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import type { Chat } from "../chat.js";
import { plain, sizeOf, textOf } from "../format.js";
import { Dialog, IconButton } from "../ui/parts.js";
import { previewOf } from "./list.js";

export function Composer({ chat }: { chat: Chat }) {
  const place = chat.place.value!;
  const open = chat.open.value;
  const input = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const text = useSignal(chat.draftOf(place));
  const files = useSignal<readonly File[]>([]);
  const editing = chat.editing.value;
  const replyTo = chat.replyTo.value;

  useEffect(() => {
    if (editing) text.value = textOf(editing.body);
    input.current?.focus();
  }, [editing, replyTo]);
  useLayoutEffect(() => {
    const it = input.current;
    if (!it) return;
    it.style.height = "auto";
    it.style.height = `${Math.min(it.scrollHeight, 200)}px`;
  }, [text.value]);

  const write = (value: string) => {
    text.value = value;
    if (!chat.editing.value) chat.keepDraft(place, value);
    if (value !== "") chat.types();
  };
  const send = () => {
    const said = text.value.trim();
    write("");
    if (said !== "") void chat.send(said);
    else chat.editing.value = undefined;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter may end a word of an input method.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && (editing || replyTo)) cancel();
  };
  const cancel = () => {
    if (editing) write("");
    chat.editing.value = undefined;
    chat.replyTo.value = undefined;
  };
  const me = open?.members.find((it) => it.user === chat.me);
  const silent =
    me && !me.present ? "You are no member of this group any more."
    : open?.group && me && (open.settings?.maySend ?? 0) > me.role ? "Only admins may write here."
    : "";
  if (silent !== "") return <p class="composer silent">{silent}</p>;
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        files.value = [...(event.dataTransfer?.files ?? [])];
      }}
      onPaste={(event) => {
        const pasted = [...(event.clipboardData?.files ?? [])];
        if (pasted.length === 0) return;
        event.preventDefault();
        files.value = pasted;
      }}
    >
      {(editing ?? replyTo) && (
        <div class="banner">
          <p>
            <b>{editing ? "Edit" : `Reply to ${replyTo!.mine ? "yourself" : plain(chat.nameOf(replyTo!.user))}`}</b>
            <span dir="auto">{previewOf((editing ?? replyTo)!)}</span>
          </p>
          <IconButton icon="close" label="Cancel" onClick={cancel} />
        </div>
      )}
      <IconButton icon="attach" label="Send files" onClick={() => picker.current?.click()} />
      <input
        ref={picker}
        type="file"
        multiple
        hidden
        onChange={(event) => {
          files.value = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
        }}
      />
      <textarea
        ref={input}
        rows={1}
        dir="auto"
        aria-label="Message"
        placeholder="Message"
        value={text.value}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <button class="icon-button send" aria-label="Send" title="Send" disabled={text.value.trim() === "" && !editing}>
        <SendIcon />
      </button>
      {files.value.length > 0 && <FilesDialog chat={chat} files={files.value} onClose={() => (files.value = [])} />}
    </form>
  );
}

function SendIcon() {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M4 12l16-8-6 16-3-7z" />
    </svg>
  );
}

/** Files before they are sent. */
function FilesDialog({ chat, files, onClose }: { chat: Chat; files: readonly File[]; onClose: () => void }) {
  const caption = useRef<HTMLInputElement>(null);
  const original = useRef<HTMLInputElement>(null);
  const hasPhotos = files.some((it) => it.type.startsWith("image/"));
  const send = (event: Event) => {
    event.preventDefault();
    void chat.sendFiles(files, caption.current?.value.trim() ?? "", original.current?.checked ?? false);
    onClose();
  };
  return (
    <Dialog title={files.length === 1 ? "Send a file" : `Send ${files.length} files`} onClose={onClose}>
      <ul class="rows">
        {files.map((it, at) => <li key={at}><span dir="auto">{plain(it.name)}</span><small>{sizeOf(it.size)}</small></li>)}
      </ul>
      <label class="field"><span>Caption</span><input ref={caption} dir="auto" onKeyDown={(event) => event.key === "Enter" && send(event)} /></label>
      {hasPhotos && <label class="check"><input ref={original} type="checkbox" /> Send photos in their original size</label>}
      <button type="button" class="primary" onClick={send}>Send</button>
    </Dialog>
  );
}
