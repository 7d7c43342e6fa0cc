// The page: who is not logged in sees a form, who is sees the chat.

import { signal } from "@preact/signals";
import { render } from "preact";
import { useEffect } from "preact/hooks";

import { Chat } from "./chat.js";
import * as session from "./session.js";
import { startServiceWorker } from "./trusted.js";
import { ConversationView } from "./views/conversation.js";
import { List } from "./views/list.js";
import { Login } from "./views/login.js";
import { type Panel, PanelView, Problem } from "./views/panels.js";

const current = signal(session.load());
const panel = signal<Panel | undefined>(undefined);

function App() {
  const it = current.value;
  if (!it) {
    return <Login onLogin={(fresh) => {
      session.save(fresh);
      current.value = fresh;
    }} />;
  }
  return <Main chat={chatOf(it)} session={it} />;
}

let chat: Chat | undefined;

/** One for the life of the page: who logs out loads it anew. */
function chatOf(it: session.Session): Chat {
  return (chat ??= new Chat(it));
}

function Main({ chat, session: it }: { chat: Chat; session: session.Session }) {
  const unread = chat.unread.value;
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Godwit` : "Godwit";
  }, [unread]);
  return (
    <div class={`chat ${chat.place.value ? "has-open" : ""}`}>
      <List chat={chat} onPanel={(wanted) => (panel.value = wanted)} />
      <ConversationView chat={chat} onPanel={(wanted) => (panel.value = wanted)} />
      {panel.value ? (
        <PanelView
          panel={panel.value}
          chat={chat}
          session={it}
          onPanel={(wanted) => (panel.value = wanted)}
          onClose={() => {
            chat.problem.value = "";
            panel.value = undefined;
          }}
        />
      ) : <Problem chat={chat} />}
      <p class="hidden" role="status" aria-live="polite">{chat.announcement.value}</p>
    </div>
  );
}

session.onChange(() => location.reload());
startServiceWorker();
render(<App />, document.getElementById("app")!);
