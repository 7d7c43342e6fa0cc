// Parts that several views are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { Icon, type IconName } from "./icons.js";

export function IconButton(props: { icon: IconName; label: string; onClick: () => void; class?: string; disabled?: boolean }) {
  const { icon, label, onClick, disabled = false } = props;
  return (
    <button type="button" class={`icon-button ${props.class ?? ""}`} aria-label={label} title={label} disabled={disabled} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

/** The first letter of a name, in a colour that goes with the name. */
export function Avatar({ name, online = false }: { name: string; online?: boolean }) {
  const letter = [...name.replace(/^[^\p{L}\p{N}]+/u, "")][0] ?? "?";
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 8;
  return (
    <span class={`avatar avatar-${sum} ${online ? "online" : ""}`} aria-hidden="true">
      {letter.toUpperCase()}
    </span>
  );
}

/** A window in front of the page. Escape closes it; the focus stays within, and goes back to where it was. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <div class="dialog">
        <header>
          <h2>{title}</h2>
          <IconButton icon="close" label="Close" onClick={() => dialog.current?.close()} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** A labelled input of a form. */
export function Field(props: {
  label: string;
  name: string;
  value?: string;
  type?: "text" | "password" | "tel" | "search";
  hint?: string;
  required?: boolean;
  autocomplete?: string;
  autofocus?: boolean;
}) {
  const { label, name, value = "", type = "text", hint, required = false, autocomplete = "off", autofocus = false } = props;
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (autofocus) input.current?.focus();
  }, []);
  return (
    <div class="field">
      <label for={`field-${name}`}>{label}</label>
      <input
        ref={input}
        id={`field-${name}`}
        name={name}
        type={type as "text"}
        defaultValue={value}
        required={required}
        autocomplete={autocomplete}
        autocapitalize="none"
        spellcheck={false}
        aria-describedby={hint ? `hint-${name}` : undefined}
      />
      {hint && <small id={`hint-${name}`}>{hint}</small>}
    </div>
  );
}

/** What a form says, by name. */
export function fieldsOf(event: Event): Record<string, string> {
  event.preventDefault();
  const fields = [...new FormData(event.currentTarget as HTMLFormElement)];
  return Object.fromEntries(fields.map(([name, value]) => [name, String(value).trim()]));
}
