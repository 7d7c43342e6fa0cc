// What a tab may ask of the tab that has the connection: the methods of a client, with results that can be copied.

import type { Client, SendOptions } from "../client.js";
import type { Recipient } from "../ledger/record.js";

/** The methods of this client. What is sent must have a token: a tab that does not get its answer asks again. */
export function apiOf(client: Client) {
  return {
    send: async (to: Recipient, body: Uint8Array | string, options: SendOptions & { token: string }): Promise<number> =>
      (await client.send(to, body, options)).id,
    status: () => Promise.resolve(client.status),
    conversations: () => client.conversations(),
    conversation: (id: number) => client.conversation(id),
    direct: (user: string) => client.direct(user),
    openDirect: (user: string) => client.openDirect(user),
    messages: (id: number, range?: { before?: number; limit?: number }) => client.messages(id, range),
    search: (text: string, range?: { conversation?: number; limit?: number }) => client.search(text, range),
    pending: (to: Recipient) => client.pending(to),
    refused: () => client.refused(),
    dismiss: (id: number) => client.dismiss(id),
    markRead: (id: number, upTo: number) => client.markRead(id, upTo),
    loadOlder: (id: number) => client.loadOlder(id),
    accept: (id: number) => client.accept(id),
    recall: (id: number, sequence: number) => client.recall(id, sequence),
    edit: (id: number, sequence: number, body: string) => client.edit(id, sequence, body),
    react: (id: number, sequence: number, reaction: string) => client.react(id, sequence, reaction),
    deleteConversation: (id: number) => client.deleteConversation(id),
    typing: (id: number) => Promise.resolve(client.typing(id)),
    networkChanged: () => Promise.resolve(client.networkChanged()),
    renewPassword: () => client.renewPassword(),
    groups: client.groups,
    people: client.people,
    account: client.account,
    files: client.files,
  };
}

/** An object whose methods are carried out elsewhere. */
export type Remote<T> = {
  [Name in keyof T]: T[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : Remote<T[Name]>;
};

export type TabApi = Remote<ReturnType<typeof apiOf>>;

/** What would take effect twice if it were asked again. */
export const ONCE: ReadonlySet<string> = new Set(["groups.create", "groups.createInvite", "renewPassword"]);
