// People and this user's account: profiles, contacts, presence, blocked users, devices. All of them @throw as `Groups`.

import { create } from "./protobuf.js";

import * as pb from "./gen/messages.js";
import type { Caller } from "./groups.js";
import { phoneHash } from "./ledger/unplaced.js";
import { plain } from "./wire.js";

/** Who a user is for people. */
export interface Profile {
  user: string;
  name: string;
  about: string;
  /** Id of a file, or any other text. */
  picture: string;
  /** Only in one's own: who may see whether the user is online. 0 contacts, 1 nobody, 2 everybody. */
  presenceTo: number;
  /** Only in one's own: who may add the user to groups. 0 everybody, 1 contacts, 2 nobody. */
  groupsFrom: number;
}

export interface Contact {
  user: string;
  /** What this user calls it. */
  label: string;
  /** What it calls itself. */
  name: string;
}

export interface Presence {
  user: string;
  online: boolean;
  /** Minutes since it last was; `undefined`: it is online, or that is not known, or not shown. */
  lastSeenAgeMin: number | undefined;
}

/** One of this user's devices. */
export interface Device {
  device: string;
  label: string;
  connected: boolean;
  /** Messages are left out until it has fetched a quarter of its inbox. */
  inboxFull: boolean;
  /** Seconds since its inbox became full for the last time; `undefined`: it never was. */
  fullAgeS: number | undefined;
}

export class People {
  constructor(private readonly call: Caller) {}

  /** Without a user: one's own. */
  async profile(user = ""): Promise<Profile> {
    const { profile } = await this.call({ case: "getProfile", value: create(pb.GetProfileSchema, { user }) });
    return profileOf(profile ?? create(pb.ProfileSchema));
  }

  /** What is absent stays as it is. */
  async setProfile(change: Partial<Omit<Profile, "user">>): Promise<void> {
    await this.call({ case: "setProfile", value: create(pb.SetProfileSchema, change) });
  }

  /** All contacts, by user. */
  async contacts(): Promise<Contact[]> {
    const all: Contact[] = [];
    let after = "";
    do {
      const value = create(pb.ListContactsSchema, { after });
      const response = await this.call({ case: "listContacts", value });
      all.push(...response.contacts.map(({ user, label, name }) => ({ user, label, name })));
      // A server that does not come nearer to the end would be asked for ever.
      after = response.nextContact > after ? response.nextContact : "";
    } while (after !== "");
    return all;
  }

  /** One that is a contact already gets this label. */
  async addContact(user: string, label = ""): Promise<void> {
    await this.call({ case: "addContact", value: create(pb.AddContactSchema, { user, label }) });
  }

  async removeContact(user: string): Promise<void> {
    await this.call({ case: "removeContact", value: create(pb.RemoveContactSchema, { user }) });
  }

  /** Of up to 100 users, in their order. */
  async presence(users: readonly string[]): Promise<Presence[]> {
    const value = create(pb.GetPresenceSchema, { users: [...users] });
    const { presences } = await this.call({ case: "getPresence", value });
    return presences.map(({ user, online, lastSeenAgeMin }) => ({ user, online, lastSeenAgeMin }));
  }

  async block(user: string): Promise<void> {
    await this.call({ case: "block", value: create(pb.BlockSchema, { user }) });
  }

  async unblock(user: string): Promise<void> {
    await this.call({ case: "unblock", value: create(pb.UnblockSchema, { user }) });
  }

  async blocked(): Promise<string[]> {
    return (await this.call({ case: "listBlocked", value: create(pb.ListBlockedSchema) })).users;
  }

  /** Which of these phone numbers (E.164, with a plus sign; up to 1,000) are users'. */
  async lookUp(numbers: readonly string[]): Promise<Map<string, string>> {
    const hashes = new Map(numbers.map((number) => [String(phoneHash(number)), number]));
    const value = create(pb.LookUpPhonesSchema, { sha256: numbers.map(phoneHash) });
    const { found } = await this.call({ case: "lookUpPhones", value });
    const users = new Map<string, string>();
    for (const { sha256, user, waiting } of found) {
      const number = hashes.get(String(sha256));
      if (number !== undefined && !waiting) users.set(number, user);
    }
    return users;
  }
}

export class Account {
  constructor(private readonly call: Caller) {}

  /** This user's devices, in the order they were added. */
  async devices(): Promise<Device[]> {
    const { devices } = await this.call({ case: "listDevices", value: create(pb.ListDevicesSchema) });
    return devices.map(({ device, label, connected, inboxFull, fullAgeS }) => ({
      device,
      label,
      connected,
      inboxFull,
      fullAgeS: fullAgeS === undefined ? undefined : plain(fullAgeS),
    }));
  }

  async labelDevice(device: string, label: string): Promise<void> {
    await this.call({ case: "labelDevice", value: create(pb.LabelDeviceSchema, { device, label }) });
  }

  /** Its connection is cut, its inbox and password are gone. */
  async removeDevice(device: string): Promise<void> {
    await this.call({ case: "removeDevice", value: create(pb.RemoveDeviceSchema, { device }) });
  }
}

function profileOf({ user, name, about, picture, presenceTo, groupsFrom }: pb.Profile): Profile {
  return { user, name, about, picture, presenceTo, groupsFrom };
}
