// A message: what it says, who has said it, how far it is, and what can be done with it.

import type { FileProgress, Media, Message, PendingSend, SendState } from "@godwit/client";
import { fileName } from "@godwit/client/text";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { Chat } from "../chat.js";
import { fullTimeOf, plain, sizeOf, textOf, timeOf, withLinks } from "../format.js";
import { isShown, thumbnailUrl } from "../image.js";
import { Icon } from "../ui/icons.js";
import { Dialog, IconButton } from "../ui/parts.js";
import { previewOf } from "./list.js";
import { Ticks } from "./ticks.js";

const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🙏"];

export function Change({ text }: { text: string }) {
  return <li class="change"><span>{text}</span></li>;
}

interface BubbleProps {
  chat: Chat;
  message: Message;
  /** The first of several by the same member. */
  isFirst: boolean;
  /** Of a group. */
  group: boolean;
  /** This user may take back what others have said. */
  administers: boolean;
}

export function Bubble({ chat, message, isFirst, group, administers }: BubbleProps) {
  const { mine, sequence, media, recalled, sealed, edited, at, state, replyTo, reactions } = message;
  const text = textOf(message.body);
  return (
    <li class={`message ${mine ? "mine" : ""} ${isFirst ? "first" : ""}`} id={`message-${sequence}`} tabIndex={-1}>
      <article class="bubble">
        {isFirst && !mine && group && <p class="sender" dir="auto">{plain(chat.nameOf(message.user))}</p>}
        {isFirst && (mine || !group) && <p class="hidden">{mine ? "You" : plain(chat.nameOf(message.user))}</p>}
        {replyTo !== undefined && <Quote chat={chat} sequence={replyTo} />}
        {media.map((it) => <Attachment key={it.id} chat={chat} conversation={message.conversation} media={it} />)}
        {recalled || sealed ? <p class="gone">{recalled ? "This message was deleted." : "Encrypted: this page cannot read it."}</p> : text !== "" && <Text text={text} />}
        <p class="meta">
          {edited && !recalled && <span>edited</span>}
          <time title={fullTimeOf(at)}>{timeOf(at)}</time>
          {state && <Ticks state={state} />}
        </p>
        {reactions.length > 0 && (
          <ul class="reactions" aria-label="Reactions">
            {[...new Set(reactions.map((it) => it.reaction))].map((reaction) => {
              const by = reactions.filter((it) => it.reaction === reaction).map((it) => chat.nameOf(it.user));
              return (
                <li key={reaction} title={by.join(", ")}>
                  {plain(reaction)}
                  {by.length > 1 && by.length}
                  <span class="hidden"> by {by.join(", ")}</span>
                </li>
              );
            })}
          </ul>
        )}
      </article>
      {!recalled && <Actions chat={chat} message={message} text={text} mayRecall={mine || administers} />}
    </li>
  );
}

function Text({ text }: { text: string }) {
  return (
    <p class="text" dir="auto">
      {withLinks(text).map((part, at) =>
        at % 2 === 1 ? <a key={at} href={part} target="_blank" rel="noreferrer noopener">{part}</a> : part,
      )}
    </p>
  );
}

/** The message that is answered. */
function Quote({ chat, sequence }: { chat: Chat; sequence: number }) {
  const quoted = chat.messages.value.find((it) => it.sequence === sequence);
  return (
    <button type="button" class="quote" onClick={() => chat.seek(sequence)}>
      <b dir="auto">{quoted ? (quoted.mine ? "You" : plain(chat.nameOf(quoted.user))) : "An earlier message"}</b>
      <span dir="auto">{quoted ? previewOf(quoted) : ""}</span>
    </button>
  );
}

function Actions(props: { chat: Chat; message: Message; text: string; mayRecall: boolean }) {
  const { chat, message, text, mayRecall } = props;
  const shown = useSignal(false);
  const { conversation, sequence, mine } = message;
  const { api } = chat.tab;
  const own = message.reactions.find((it) => it.user === chat.me)?.reaction;
  const act = (work: () => void) => () => {
    shown.value = false;
    work();
  };
  useEffect(() => {
    if (!shown.value) return;
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !(event.target as Element).closest(".actions")) shown.value = false;
    };
    document.addEventListener("keydown", close);
    document.addEventListener("pointerdown", close);
    return () => {
      document.removeEventListener("keydown", close);
      document.removeEventListener("pointerdown", close);
    };
  }, [shown.value]);
  return (
    <div class={`actions ${shown.value ? "shown" : ""}`}>
      <button
        type="button"
        class="icon-button"
        aria-label="What to do with this message"
        aria-expanded={shown.value}
        onClick={() => (shown.value = !shown.value)}
      >
        <Icon name="more" />
      </button>
      {shown.value && (
        <div class="menu">
          <div class="row" role="group" aria-label="React">
            {REACTIONS.map((it) => (
              <button
                type="button"
                key={it}
                aria-label={`React with ${it}`}
                aria-pressed={own === it}
                onClick={act(() => void chat.attempt(api.react(conversation, sequence, own === it ? "" : it)))}
              >
                {it}
              </button>
            ))}
          </div>
          <button type="button" onClick={act(() => {
            chat.editing.value = undefined;
            chat.replyTo.value = message;
          })}>Reply</button>
          {text !== "" && <button type="button" onClick={act(() => void navigator.clipboard?.writeText(text))}>Copy</button>}
          {mine && text !== "" && (
            <button type="button" onClick={act(() => {
              chat.replyTo.value = undefined;
              chat.editing.value = message;
            })}>Edit</button>
          )}
          {mayRecall && (
            <button type="button" class="danger" onClick={act(() => void chat.attempt(api.recall(conversation, sequence)))}>
              Delete for everybody
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** A file of a message. Photos are shown; everything else can be saved. */
function Attachment({ chat, conversation, media }: { chat: Chat; conversation: number; media: Media }) {
  const progress = useSignal<number | undefined>(undefined);
  const full = useSignal("");
  const url = thumbnailUrl(media.thumbnail);
  const name = fileName(media.name);
  const shown = isShown(media.contentType);
  const load = async () => {
    if (progress.value !== undefined) return;
    progress.value = 0;
    await chat.attempt(
      chat.fetch(conversation, media, (bytes) => (progress.value = bytes)).then((bytes) => {
        const type = shown ? media.contentType : "application/octet-stream";
        const address = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }));
        if (shown) full.value = address;
        else save(address, name);
      }),
    );
    progress.value = undefined;
  };
  const close = () => {
    URL.revokeObjectURL(full.value);
    full.value = "";
  };
  return (
    <>
      <button type="button" class={url && shown ? "photo" : "file"} onClick={() => void load()}>
        {url && shown ? <img src={url} alt={plain(media.name)} /> : <Icon name="file" />}
        {!(url && shown) && (
          <span class="what">
            <b dir="auto">{plain(media.name)}</b>
            <small>{sizeOf(media.size)}</small>
          </span>
        )}
        <span class="hidden">{shown ? "Open" : "Save"}</span>
        {progress.value !== undefined && <progress max={media.size} value={progress.value} aria-label="Loading" />}
      </button>
      {full.value !== "" && (
        <Dialog title={plain(media.name)} onClose={close}>
          <img class="full" src={full.value} alt={plain(media.name)} />
          <button type="button" class="primary" onClick={() => save(full.value, name)}>Save</button>
        </Dialog>
      )}
    </>
  );
}

function save(address: string, name: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

/** A message that has no place yet, or a file that is still uploaded. */
export function OnItsWay(props: { chat: Chat; body: Uint8Array; media?: readonly Media[]; file?: FileProgress; state: SendState }) {
  const { chat, body, media = [], file, state } = props;
  const text = textOf(body);
  const url = file && isShown(file.contentType) ? thumbnailUrl(file.thumbnail) : undefined;
  return (
    <li class="message mine first">
      <article class="bubble">
        {media.map((it) => <p class="file" key={it.id}><Icon name="file" /><span class="what"><b>{plain(it.name)}</b></span></p>)}
        {file && url && <span class="photo"><img src={url} alt={plain(file.name)} /></span>}
        {file && (
          <p class="file">
            {!url && <Icon name="file" />}
            <span class="what">
              <b dir="auto">{plain(file.name)}</b>
              <progress max={file.size} value={file.phase === "uploading" ? file.bytes : undefined} aria-label={`Sending ${plain(file.name)}`} />
            </span>
            <IconButton icon="close" label="Do not send" onClick={() => void chat.attempt(chat.tab.api.files.cancel(file.id))} />
          </p>
        )}
        {text !== "" && <Text text={text} />}
        <p class="meta"><Ticks state={state} /></p>
      </article>
    </li>
  );
}

/** A message that the server does not take. */
export function Refused({ chat, send }: { chat: Chat; send: PendingSend }) {
  const text = textOf(send.body);
  const why = send.state.kind === "refused" ? send.state.refusal.text : "";
  return (
    <li class="message mine first refused">
      <article class="bubble">
        {send.media.map((it) => <p class="file" key={it.id}><Icon name="file" /><b>{plain(it.name)}</b></p>)}
        {text !== "" && <Text text={text} />}
        <p class="why"><Ticks state={send.state} /> Not sent: {plain(why)}</p>
        <p class="buttons">
          <button type="button" onClick={() => void chat.retry(send)}>Try again</button>
          <button type="button" onClick={() => void chat.tab.api.dismiss(send.id)}>Remove</button>
        </p>
      </article>
    </li>
  );
}
