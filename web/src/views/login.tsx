// Logging in: with a device's password, with a token, or with a phone number.

import { useSignal } from "@preact/signals";

import { sentence } from "../chat.js";
import { type Session, askForCode, newDeviceName, readToken, register } from "../session.js";
import { Field, fieldsOf } from "../ui/parts.js";

const WAYS = ["Password", "Phone number", "Token"] as const;

export function Login({ onLogin }: { onLogin: (session: Session) => void }) {
  const way = useSignal<(typeof WAYS)[number]>("Password");
  const problem = useSignal("");
  const phone = useSignal("");
  const attempt = async (work: () => Promise<void>) => {
    problem.value = "";
    try {
      await work();
    } catch (error) {
      problem.value = sentence(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <main class="login">
      <h1>Godwit</h1>
      <div class="tabs" role="group" aria-label="How to log in">
        {WAYS.map((it) => (
          <button type="button" key={it} aria-pressed={way.value === it} onClick={() => (way.value = it)}>
            {it}
          </button>
        ))}
      </div>
      {way.value === "Password" && (
        <form onSubmit={(event) => {
          const { user = "", device = "", password = "" } = fieldsOf(event);
          onLogin({ user, device, password });
        }}>
          <Field label="User" name="user" required autocomplete="username" autofocus />
          <Field label="Device" name="device" required hint="The name that came with the password, such as “phone”." />
          <Field label="Password" name="password" type="password" required autocomplete="current-password" />
          <button class="primary">Log in</button>
        </form>
      )}
      {way.value === "Token" && (
        <form onSubmit={(event) => {
          const { token = "", user = "", device = "" } = fieldsOf(event);
          const told = readToken(token);
          const session = { user: user || told.user || "", device: device || told.device || newDeviceName(), password: token };
          if (session.user === "") problem.value = "The token does not say which user it is for.";
          else onLogin(session);
        }}>
          <Field label="Token" name="token" required hint="A JWT from your account system." autofocus />
          <Field label="User" name="user" hint="If the token does not name one." />
          <Field label="Device" name="device" hint="If the token does not name one." />
          <button class="primary">Log in</button>
        </form>
      )}
      {way.value === "Phone number" && phone.value === "" && (
        <form onSubmit={(event) => {
          const { number = "" } = fieldsOf(event);
          const plain = number.replace(/[\s()/-]/g, "");
          void attempt(async () => {
            await askForCode(plain);
            phone.value = plain;
          });
        }}>
          <Field label="Phone number" name="number" type="tel" required autocomplete="tel" hint="With country code, like +41 79 123 45 67." autofocus />
          <button class="primary">Send a code</button>
        </form>
      )}
      {way.value === "Phone number" && phone.value !== "" && (
        <form onSubmit={(event) => {
          const { code = "" } = fieldsOf(event);
          void attempt(async () => onLogin(await register(phone.value, code)));
        }}>
          <p>A code is on its way to {phone.value}.</p>
          <Field label="Code" name="code" required autocomplete="one-time-code" autofocus />
          <button class="primary">Log in</button>
          <button type="button" class="quiet" onClick={() => (phone.value = "")}>Another number</button>
        </form>
      )}
      <p class="problem" role="alert">{problem.value}</p>
      <p class="hint">
        This browser keeps your messages and what you log in with until you log out.
      </p>
    </main>
  );
}
