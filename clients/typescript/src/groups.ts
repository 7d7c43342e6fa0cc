// Groups: who is in them, what they may do, invites. Each call takes effect once, also if the connection breaks; all members, this
// device included, get what it changed as an event. All of them @throw GodwitError "refused", "offline", "no-answer",
// "not-admitted", "closed". client.proto says who may, and its limits.

import { create } from "./protobuf.js";

import * as pb from "./gen/messages.js";
import type { SettingsRecord } from "./ledger/record.js";
import { type Call, plain } from "./wire.js";

/** Carries out calls. */
export type Caller = (call: Call) => Promise<pb.Response>;

/** What lets people into a group. */
export interface Invite {
  /** What to hand to whoever shall join. */
  invite: string;
  /** The ordinal of who made it. */
  by: number;
  /** Seconds until it ends; `undefined`: never. */
  expiresInS: number | undefined;
}

export class Groups {
  constructor(private readonly call: Caller) {}

  /** A group of this user and these. Returns its number. */
  async create(title: string, users: readonly string[]): Promise<number> {
    const value = create(pb.CreateGroupSchema, { title, users: [...users] });
    return plain((await this.call({ case: "createGroup", value })).conversation);
  }

  async add(conversation: number, user: string): Promise<void> {
    const value = create(pb.AddMemberSchema, { conversation: BigInt(conversation), user });
    await this.call({ case: "addMember", value });
  }

  async remove(conversation: number, user: string): Promise<void> {
    const value = create(pb.RemoveMemberSchema, { conversation: BigInt(conversation), user });
    await this.call({ case: "removeMember", value });
  }

  async leave(conversation: number): Promise<void> {
    await this.call({ case: "leave", value: create(pb.LeaveSchema, { conversation: BigInt(conversation) }) });
  }

  async rename(conversation: number, title: string): Promise<void> {
    await this.call({ case: "rename", value: create(pb.RenameSchema, { conversation: BigInt(conversation), title }) });
  }

  /** 0 member, 1 admin, 2 owner (then this user becomes an admin). */
  async setRole(conversation: number, user: string, role: number): Promise<void> {
    const value = create(pb.SetRoleSchema, { conversation: BigInt(conversation), user, role });
    await this.call({ case: "setRole", value });
  }

  async changeSettings(conversation: number, settings: SettingsRecord): Promise<void> {
    const value = create(pb.ChangeSettingsSchema, {
      conversation: BigInt(conversation),
      settings: create(pb.GroupSettingsSchema, settings),
    });
    await this.call({ case: "changeSettings", value });
  }

  /** `expiresInS`: 0: until it is revoked. */
  async createInvite(conversation: number, expiresInS = 0): Promise<Invite> {
    const value = create(pb.CreateInviteSchema, { conversation: BigInt(conversation), expiresInS });
    const [invite] = (await this.call({ case: "createInvite", value })).invites;
    return inviteOf(invite ?? create(pb.InviteSchema));
  }

  async invites(conversation: number): Promise<Invite[]> {
    const value = create(pb.ListInvitesSchema, { conversation: BigInt(conversation) });
    return (await this.call({ case: "listInvites", value })).invites.map(inviteOf);
  }

  async revokeInvite(invite: string): Promise<void> {
    await this.call({ case: "revokeInvite", value: create(pb.RevokeInviteSchema, { invite }) });
  }

  /** Joins by an invite. Returns the group's number. */
  async join(invite: string): Promise<number> {
    return plain((await this.call({ case: "join", value: create(pb.JoinSchema, { invite }) })).conversation);
  }
}

function inviteOf({ invite, by, expiresInS }: pb.Invite): Invite {
  return { invite, by, expiresInS: expiresInS === undefined ? undefined : plain(expiresInS) };
}
