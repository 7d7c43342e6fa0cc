// Written by scripts/generate.mjs from schemas/proto, which has what each message and field means. Do not edit.

import { type Schema, message } from "../protobuf.js";

export interface Media {
  id: string;
  name: string;
  thumbnail: Uint8Array;
  key: Uint8Array;
  size: bigint;
  contentType: string;
  sha256: Uint8Array;
}

export const MediaSchema: Schema<Media> = message("Media", "id 1 s|name 2 s|thumbnail 3 b|key 4 b|size 5 U|contentType 6 s|sha256 7 b");


export interface CreateUpload {
  sha256: Uint8Array;
  size: bigint;
  contentType: string;
  conversation: bigint;
}

export const CreateUploadSchema: Schema<CreateUpload> = message("CreateUpload", "sha256 1 b|size 2 U|contentType 3 s|conversation 4 U");


export interface GetUpload {
  media: string;
  after: number;
}

export const GetUploadSchema: Schema<GetUpload> = message("GetUpload", "media 1 s|after 2 u");


export interface CompleteUpload {
  media: string;
}

export const CompleteUploadSchema: Schema<CompleteUpload> = message("CompleteUpload", "media 1 s");


export interface DiscardUpload {
  media: string;
}

export const DiscardUploadSchema: Schema<DiscardUpload> = message("DiscardUpload", "media 1 s");


export interface DownloadLink {
  media: string;
  conversation: bigint;
}

export const DownloadLinkSchema: Schema<DownloadLink> = message("DownloadLink", "media 1 s|conversation 2 U");


export interface Upload {
  media: string;
  complete: boolean;
  link?: Link | undefined;
  partBytes: bigint;
  stored: number[];
  parts: PartLink[];
}

export const UploadSchema: Schema<Upload> = message("Upload", "media 1 s|complete 2 o|link 3 Link|partBytes 4 U|stored 5 *u|parts 6 *PartLink");


export interface PartLink {
  part: number;
  link?: Link | undefined;
}

export const PartLinkSchema: Schema<PartLink> = message("PartLink", "part 1 u|link 2 Link");


export interface Link {
  method: string;
  url: string;
  headers: Header[];
  expiresInS: number;
}

export const LinkSchema: Schema<Link> = message("Link", "method 1 s|url 2 s|headers 3 *Header|expiresInS 4 u");


export interface Header {
  name: string;
  value: string;
}

export const HeaderSchema: Schema<Header> = message("Header", "name 1 s|value 2 s");


export interface Send {
  to:
    | { case: "conversation"; value: bigint }
    | { case: "user"; value: string }
    | { case: "phone"; value: string }
    | { case: undefined; value?: undefined };
  clientSequence: bigint;
  body: Uint8Array;
  expiresInS: number;
  replyTo: bigint;
  media: Media[];
  counter: bigint;
  epoch: bigint;
  properties?: Properties | undefined;
  silent: boolean;
  mentions: number[];
  mlsEpoch: bigint;
}

export const SendSchema: Schema<Send> = message("Send", "to.conversation 1 U|to.user 2 s|to.phone 7 s|clientSequence 3 U|body 4 b|expiresInS 5 u|replyTo 6 U|media 8 *Media|counter 9 U|epoch 10 F|properties 11 Properties|silent 12 o|mentions 13 *u|mlsEpoch 14 U");


export interface Properties {
  payloadFormat?: number | undefined;
  contentType?: string | undefined;
  responseTopic?: string | undefined;
  correlationData?: Uint8Array | undefined;
  userProperties: UserProperty[];
}

export const PropertiesSchema: Schema<Properties> = message("Properties", "payloadFormat 1 ?u|contentType 2 ?s|responseTopic 3 ?s|correlationData 4 ?b|userProperties 5 *UserProperty");


export interface UserProperty {
  name: string;
  value: string;
}

export const UserPropertySchema: Schema<UserProperty> = message("UserProperty", "name 1 s|value 2 s");


export interface ReadReceipt {
  conversation: bigint;
  readUpTo: bigint;
}

export const ReadReceiptSchema: Schema<ReadReceipt> = message("ReadReceipt", "conversation 1 U|readUpTo 2 U");


export interface Live {
  member: number;
  body: Uint8Array;
}

export const LiveSchema: Schema<Live> = message("Live", "member 1 u|body 2 b");


export interface Event {
  event:
    | { case: "message"; value: Message }
    | { case: "receipt"; value: Receipt }
    | { case: "change"; value: Change }
    | { case: "refusal"; value: Refusal }
    | { case: undefined; value?: undefined };
}

export const EventSchema: Schema<Event> = message("Event", "event.message 1 Message|event.receipt 2 Receipt|event.change 3 Change|event.refusal 4 Refusal");


export interface Message {
  conversation: bigint;
  sequence: bigint;
  sender: number;
  ageS: bigint;
  body: Uint8Array;
  replyTo: bigint;
  edited: boolean;
  recalled: boolean;
  reactions: Reaction[];
  media: Media[];
  omittedBytes: bigint;
  properties?: Properties | undefined;
  silent: boolean;
  mentions: number[];
  mlsEpoch: bigint;
}

export const MessageSchema: Schema<Message> = message("Message", "conversation 1 U|sequence 2 U|sender 3 u|ageS 4 U|body 5 b|replyTo 6 U|edited 7 o|recalled 8 o|reactions 9 *Reaction|media 10 *Media|omittedBytes 11 U|properties 12 Properties|silent 13 o|mentions 14 *u|mlsEpoch 15 U");


export interface Reaction {
  member: number;
  reaction: string;
  sealed: Uint8Array;
  mlsEpoch: bigint;
}

export const ReactionSchema: Schema<Reaction> = message("Reaction", "member 1 u|reaction 2 s|sealed 3 b|mlsEpoch 4 U");


export interface Receipt {
  conversation: bigint;
  member: number;
  deliveredUpTo: bigint;
  readUpTo: bigint;
}

export const ReceiptSchema: Schema<Receipt> = message("Receipt", "conversation 1 U|member 2 u|deliveredUpTo 3 U|readUpTo 4 U");


export interface Member {
  ordinal: number;
  user: string;
  role: number;
}

export const MemberSchema: Schema<Member> = message("Member", "ordinal 1 u|user 2 s|role 3 e");


export interface Change {
  conversation: bigint;
  sequence: bigint;
  by: number;
  change:
    | { case: "opened"; value: Opened }
    | { case: "added"; value: Member }
    | { case: "removed"; value: number }
    | { case: "renamed"; value: string }
    | { case: "role"; value: Member }
    | { case: "settings"; value: GroupSettings }
    | { case: "recalled"; value: bigint }
    | { case: "edited"; value: Edited }
    | { case: "reacted"; value: Reacted }
    | { case: "retention"; value: Retention }
    | { case: undefined; value?: undefined };
  omittedBytes: bigint;
}

export const ChangeSchema: Schema<Change> = message("Change", "conversation 1 U|sequence 2 U|by 3 u|change.opened 4 Opened|change.added 5 Member|change.removed 6 u|change.renamed 7 s|change.role 8 Member|change.settings 9 GroupSettings|change.recalled 10 U|change.edited 11 Edited|change.reacted 12 Reacted|change.retention 13 Retention|omittedBytes 14 U");


export interface Edited {
  sequence: bigint;
  body: Uint8Array;
  mlsEpoch: bigint;
}

export const EditedSchema: Schema<Edited> = message("Edited", "sequence 1 U|body 2 b|mlsEpoch 3 U");


export interface Reacted {
  sequence: bigint;
  reaction: string;
  sealed: Uint8Array;
  mlsEpoch: bigint;
}

export const ReactedSchema: Schema<Reacted> = message("Reacted", "sequence 1 U|reaction 2 s|sealed 3 b|mlsEpoch 4 U");


export interface Retention {
  historyDaysPlusOne: number;
  expiresInS: number;
}

export const RetentionSchema: Schema<Retention> = message("Retention", "historyDaysPlusOne 1 u|expiresInS 2 u");


export interface Opened {
  group: boolean;
  title: string;
  members: Member[];
  settings?: GroupSettings | undefined;
  retention?: Retention | undefined;
  request: boolean;
  mlsEpoch: bigint;
}

export const OpenedSchema: Schema<Opened> = message("Opened", "group 1 o|title 2 s|members 3 *Member|settings 4 GroupSettings|retention 5 Retention|request 6 o|mlsEpoch 7 U");


export interface GroupSettings {
  maySend: number;
  mayAdd: number;
  mayRename: number;
  historyForNew: boolean;
}

export const GroupSettingsSchema: Schema<GroupSettings> = message("GroupSettings", "maySend 1 e|mayAdd 2 e|mayRename 3 e|historyForNew 4 o");


export interface Refusal {
  packetId: number;
  reason: number;
  text: string;
  mlsEpoch: bigint;
}

export const RefusalSchema: Schema<Refusal> = message("Refusal", "packetId 1 u|reason 2 u|text 3 s|mlsEpoch 4 U");


export interface Request {
  id: bigint;
  call:
    | { case: "createGroup"; value: CreateGroup }
    | { case: "addMember"; value: AddMember }
    | { case: "removeMember"; value: RemoveMember }
    | { case: "leave"; value: Leave }
    | { case: "rename"; value: Rename }
    | { case: "describe"; value: Describe }
    | { case: "setRole"; value: SetRole }
    | { case: "changeSettings"; value: ChangeSettings }
    | { case: "createInvite"; value: CreateInvite }
    | { case: "revokeInvite"; value: RevokeInvite }
    | { case: "listInvites"; value: ListInvites }
    | { case: "join"; value: Join }
    | { case: "openDirect"; value: OpenDirect }
    | { case: "block"; value: Block }
    | { case: "unblock"; value: Unblock }
    | { case: "listBlocked"; value: ListBlocked }
    | { case: "listDevices"; value: ListDevices }
    | { case: "labelDevice"; value: LabelDevice }
    | { case: "removeDevice"; value: RemoveDevice }
    | { case: "listConversations"; value: ListConversations }
    | { case: "getHistory"; value: GetHistory }
    | { case: "deleteConversation"; value: DeleteConversation }
    | { case: "setRetention"; value: SetRetention }
    | { case: "recall"; value: Recall }
    | { case: "edit"; value: Edit }
    | { case: "react"; value: React }
    | { case: "getProfile"; value: GetProfile }
    | { case: "setProfile"; value: SetProfile }
    | { case: "addContact"; value: AddContact }
    | { case: "removeContact"; value: RemoveContact }
    | { case: "listContacts"; value: ListContacts }
    | { case: "getPresence"; value: GetPresence }
    | { case: "accept"; value: Accept }
    | { case: "lookUpPhones"; value: LookUpPhones }
    | { case: "eraseAccount"; value: EraseAccount }
    | { case: "renewPassword"; value: RenewPassword }
    | { case: "createUpload"; value: CreateUpload }
    | { case: "getUpload"; value: GetUpload }
    | { case: "completeUpload"; value: CompleteUpload }
    | { case: "discardUpload"; value: DiscardUpload }
    | { case: "downloadLink"; value: DownloadLink }
    | { case: "getServer"; value: GetServer }
    | { case: "setPush"; value: SetPush }
    | { case: "getPush"; value: GetPush }
    | { case: "setMute"; value: SetMute }
    | { case: "listMutes"; value: ListMutes }
    | { case: "peekInbox"; value: PeekInbox }
    | { case: undefined; value?: undefined };
}

export const RequestSchema: Schema<Request> = message("Request", "id 1 U|call.createGroup 2 CreateGroup|call.addMember 3 AddMember|call.removeMember 4 RemoveMember|call.leave 5 Leave|call.rename 6 Rename|call.describe 7 Describe|call.setRole 8 SetRole|call.changeSettings 9 ChangeSettings|call.createInvite 10 CreateInvite|call.revokeInvite 11 RevokeInvite|call.listInvites 12 ListInvites|call.join 13 Join|call.openDirect 14 OpenDirect|call.block 15 Block|call.unblock 16 Unblock|call.listBlocked 17 ListBlocked|call.listDevices 18 ListDevices|call.labelDevice 19 LabelDevice|call.removeDevice 20 RemoveDevice|call.listConversations 21 ListConversations|call.getHistory 22 GetHistory|call.deleteConversation 23 DeleteConversation|call.setRetention 24 SetRetention|call.recall 25 Recall|call.edit 26 Edit|call.react 27 React|call.getProfile 28 GetProfile|call.setProfile 29 SetProfile|call.addContact 30 AddContact|call.removeContact 31 RemoveContact|call.listContacts 32 ListContacts|call.getPresence 33 GetPresence|call.accept 34 Accept|call.lookUpPhones 40 LookUpPhones|call.eraseAccount 46 EraseAccount|call.renewPassword 47 RenewPassword|call.createUpload 52 CreateUpload|call.getUpload 53 GetUpload|call.completeUpload 54 CompleteUpload|call.discardUpload 55 DiscardUpload|call.downloadLink 56 DownloadLink|call.getServer 57 GetServer|call.setPush 58 SetPush|call.getPush 59 GetPush|call.setMute 60 SetMute|call.listMutes 61 ListMutes|call.peekInbox 62 PeekInbox");


export interface CreateGroup {
  title: string;
  users: string[];
}

export const CreateGroupSchema: Schema<CreateGroup> = message("CreateGroup", "title 1 s|users 2 *s");


export interface AddMember {
  conversation: bigint;
  user: string;
}

export const AddMemberSchema: Schema<AddMember> = message("AddMember", "conversation 1 U|user 2 s");


export interface RemoveMember {
  conversation: bigint;
  user: string;
}

export const RemoveMemberSchema: Schema<RemoveMember> = message("RemoveMember", "conversation 1 U|user 2 s");


export interface Leave {
  conversation: bigint;
}

export const LeaveSchema: Schema<Leave> = message("Leave", "conversation 1 U");


export interface Rename {
  conversation: bigint;
  title: string;
}

export const RenameSchema: Schema<Rename> = message("Rename", "conversation 1 U|title 2 s");


export interface Describe {
  conversation: bigint;
  counter: bigint;
}

export const DescribeSchema: Schema<Describe> = message("Describe", "conversation 1 U|counter 2 U");


export interface SetRole {
  conversation: bigint;
  user: string;
  role: number;
}

export const SetRoleSchema: Schema<SetRole> = message("SetRole", "conversation 1 U|user 2 s|role 3 e");


export interface ChangeSettings {
  conversation: bigint;
  settings?: GroupSettings | undefined;
}

export const ChangeSettingsSchema: Schema<ChangeSettings> = message("ChangeSettings", "conversation 1 U|settings 2 GroupSettings");


export interface CreateInvite {
  conversation: bigint;
  expiresInS: number;
}

export const CreateInviteSchema: Schema<CreateInvite> = message("CreateInvite", "conversation 1 U|expiresInS 2 u");


export interface RevokeInvite {
  invite: string;
}

export const RevokeInviteSchema: Schema<RevokeInvite> = message("RevokeInvite", "invite 1 s");


export interface ListInvites {
  conversation: bigint;
}

export const ListInvitesSchema: Schema<ListInvites> = message("ListInvites", "conversation 1 U");


export interface Join {
  invite: string;
}

export const JoinSchema: Schema<Join> = message("Join", "invite 1 s");


export interface Invite {
  invite: string;
  by: number;
  expiresInS?: bigint | undefined;
}

export const InviteSchema: Schema<Invite> = message("Invite", "invite 1 s|by 2 u|expiresInS 4 ?U");


export interface OpenDirect {
  user: string;
}

export const OpenDirectSchema: Schema<OpenDirect> = message("OpenDirect", "user 1 s");


export interface Block {
  user: string;
}

export const BlockSchema: Schema<Block> = message("Block", "user 1 s");


export interface Unblock {
  user: string;
}

export const UnblockSchema: Schema<Unblock> = message("Unblock", "user 1 s");


export type ListBlocked = object;

export const ListBlockedSchema: Schema<ListBlocked> = message("ListBlocked", "");


export type ListDevices = object;

export const ListDevicesSchema: Schema<ListDevices> = message("ListDevices", "");


export interface LabelDevice {
  device: string;
  label: string;
}

export const LabelDeviceSchema: Schema<LabelDevice> = message("LabelDevice", "device 1 s|label 2 s");


export interface RemoveDevice {
  device: string;
}

export const RemoveDeviceSchema: Schema<RemoveDevice> = message("RemoveDevice", "device 1 s");


export interface RenewPassword {
  device: string;
}

export const RenewPasswordSchema: Schema<RenewPassword> = message("RenewPassword", "device 1 s");


export interface ListConversations {
  after: bigint;
  limit: number;
}

export const ListConversationsSchema: Schema<ListConversations> = message("ListConversations", "after 1 U|limit 2 u");


export interface GetHistory {
  conversation: bigint;
  before: bigint;
  after: bigint;
  oldestFirst: boolean;
  limit: number;
}

export const GetHistorySchema: Schema<GetHistory> = message("GetHistory", "conversation 1 U|before 2 U|after 3 U|oldestFirst 4 o|limit 5 u");


export interface DeleteConversation {
  conversation: bigint;
}

export const DeleteConversationSchema: Schema<DeleteConversation> = message("DeleteConversation", "conversation 1 U");


export interface Accept {
  conversation: bigint;
}

export const AcceptSchema: Schema<Accept> = message("Accept", "conversation 1 U");


export interface SetRetention {
  conversation: bigint;
  retention?: Retention | undefined;
}

export const SetRetentionSchema: Schema<SetRetention> = message("SetRetention", "conversation 1 U|retention 2 Retention");


export interface Recall {
  conversation: bigint;
  sequence: bigint;
}

export const RecallSchema: Schema<Recall> = message("Recall", "conversation 1 U|sequence 2 U");


export interface Edit {
  conversation: bigint;
  sequence: bigint;
  body: Uint8Array;
  mlsEpoch: bigint;
}

export const EditSchema: Schema<Edit> = message("Edit", "conversation 1 U|sequence 2 U|body 3 b|mlsEpoch 4 U");


export interface React {
  conversation: bigint;
  sequence: bigint;
  reaction: string;
  sealed: Uint8Array;
  mlsEpoch: bigint;
}

export const ReactSchema: Schema<React> = message("React", "conversation 1 U|sequence 2 U|reaction 3 s|sealed 4 b|mlsEpoch 5 U");


export interface LookUpPhones {
  sha256: Uint8Array[];
}

export const LookUpPhonesSchema: Schema<LookUpPhones> = message("LookUpPhones", "sha256 1 *b");


export interface FoundPhone {
  sha256: Uint8Array;
  user: string;
  waiting: boolean;
}

export const FoundPhoneSchema: Schema<FoundPhone> = message("FoundPhone", "sha256 1 b|user 2 s|waiting 3 o");


export interface Profile {
  user: string;
  name: string;
  about: string;
  picture: string;
  presenceTo: number;
  groupsFrom: number;
}

export const ProfileSchema: Schema<Profile> = message("Profile", "user 1 s|name 2 s|about 3 s|picture 4 s|presenceTo 5 e|groupsFrom 6 e");


export interface GetProfile {
  user: string;
}

export const GetProfileSchema: Schema<GetProfile> = message("GetProfile", "user 1 s");


export interface SetProfile {
  name?: string | undefined;
  about?: string | undefined;
  picture?: string | undefined;
  presenceTo?: number | undefined;
  groupsFrom?: number | undefined;
}

export const SetProfileSchema: Schema<SetProfile> = message("SetProfile", "name 1 ?s|about 2 ?s|picture 3 ?s|presenceTo 4 ?e|groupsFrom 5 ?e");


export interface Contact {
  user: string;
  label: string;
  name: string;
}

export const ContactSchema: Schema<Contact> = message("Contact", "user 1 s|label 2 s|name 3 s");


export interface AddContact {
  user: string;
  label: string;
}

export const AddContactSchema: Schema<AddContact> = message("AddContact", "user 1 s|label 2 s");


export interface RemoveContact {
  user: string;
}

export const RemoveContactSchema: Schema<RemoveContact> = message("RemoveContact", "user 1 s");


export interface ListContacts {
  after: string;
  limit: number;
}

export const ListContactsSchema: Schema<ListContacts> = message("ListContacts", "after 1 s|limit 2 u");


export interface GetPresence {
  users: string[];
}

export const GetPresenceSchema: Schema<GetPresence> = message("GetPresence", "users 1 *s");


export interface Presence {
  online: boolean;
  lastSeenAgeMin?: number | undefined;
  user: string;
}

export const PresenceSchema: Schema<Presence> = message("Presence", "online 1 o|lastSeenAgeMin 4 ?u|user 3 s");


export type EraseAccount = object;

export const EraseAccountSchema: Schema<EraseAccount> = message("EraseAccount", "");


export type GetServer = object;

export const GetServerSchema: Schema<GetServer> = message("GetServer", "");


export interface SetPush {
  to:
    | { case: "apns"; value: ApnsAddress }
    | { case: "fcm"; value: FcmAddress }
    | { case: "web"; value: WebAddress }
    | { case: undefined; value?: undefined };
  p256dh: Uint8Array;
  auth: Uint8Array;
  preview: number;
  unread: number;
  device: string;
}

export const SetPushSchema: Schema<SetPush> = message("SetPush", "to.apns 1 ApnsAddress|to.fcm 2 FcmAddress|to.web 3 WebAddress|p256dh 4 b|auth 5 b|preview 6 e|unread 7 u|device 8 s");


export interface ApnsAddress {
  token: Uint8Array;
  topic: string;
  sandbox: boolean;
}

export const ApnsAddressSchema: Schema<ApnsAddress> = message("ApnsAddress", "token 1 b|topic 2 s|sandbox 3 o");


export interface FcmAddress {
  token: string;
}

export const FcmAddressSchema: Schema<FcmAddress> = message("FcmAddress", "token 1 s");


export interface WebAddress {
  endpoint: string;
}

export const WebAddressSchema: Schema<WebAddress> = message("WebAddress", "endpoint 1 s");


export interface GetPush {
  device: string;
}

export const GetPushSchema: Schema<GetPush> = message("GetPush", "device 1 s");


export interface Push {
  vapid: Uint8Array;
  provider: string;
  preview: number;
  unread: number;
}

export const PushSchema: Schema<Push> = message("Push", "vapid 1 b|provider 2 s|preview 3 e|unread 4 u");


export interface SetMute {
  conversation: bigint;
  forS: number;
  mentionsOnly: boolean;
}

export const SetMuteSchema: Schema<SetMute> = message("SetMute", "conversation 1 U|forS 2 u|mentionsOnly 3 o");


export interface ListMutes {
  after: bigint;
}

export const ListMutesSchema: Schema<ListMutes> = message("ListMutes", "after 1 U");


export interface Mute {
  conversation: bigint;
  forS: number;
  mentionsOnly: boolean;
}

export const MuteSchema: Schema<Mute> = message("Mute", "conversation 1 U|forS 2 u|mentionsOnly 3 o");


export interface PeekInbox {
  device: string;
  after: bigint;
}

export const PeekInboxSchema: Schema<PeekInbox> = message("PeekInbox", "device 1 s|after 2 U");


export interface PushPayload {
  conversation: bigint;
  sequence: bigint;
  unread: number;
  event?: Event | undefined;
  recalled: boolean;
  sender: string;
  mention: boolean;
}

export const PushPayloadSchema: Schema<PushPayload> = message("PushPayload", "conversation 1 U|sequence 2 U|unread 3 u|event 4 Event|recalled 5 o|sender 6 s|mention 7 o");


export interface Server {
  server: bigint;
  epoch: bigint;
  numbersAbove: bigint;
  encryption: number;
}

export const ServerSchema: Schema<Server> = message("Server", "server 1 F|epoch 2 F|numbersAbove 3 U|encryption 4 e");


export interface Summary {
  conversation: bigint;
  description?: Opened | undefined;
  lastSequence: bigint;
  last?: Event | undefined;
  unread: bigint;
  readUpTo: bigint;
}

export const SummarySchema: Schema<Summary> = message("Summary", "conversation 1 U|description 2 Opened|lastSequence 3 U|last 4 Event|unread 5 U|readUpTo 6 U");


export interface Device {
  device: string;
  label: string;
  connected: boolean;
  inboxFull: boolean;
  fullAgeS?: bigint | undefined;
}

export const DeviceSchema: Schema<Device> = message("Device", "device 1 s|label 2 s|connected 3 o|inboxFull 4 o|fullAgeS 6 ?U");


export interface Response {
  id: bigint;
  reason: number;
  text: string;
  conversation: bigint;
  description?: Opened | undefined;
  invites: Invite[];
  users: string[];
  devices: Device[];
  sequence: bigint;
  conversations: Summary[];
  history: Event[];
  next: bigint;
  upload?: Upload | undefined;
  download?: Link | undefined;
  found: FoundPhone[];
  profile?: Profile | undefined;
  contacts: Contact[];
  presences: Presence[];
  nextContact: string;
  password: string;
  lastClientSequence: bigint;
  repeated: boolean;
  server?: Server | undefined;
  push?: Push | undefined;
  mutes: Mute[];
  keysLeft: number;
  mlsEpoch: bigint;
  sealed: Uint8Array;
}

export const ResponseSchema: Schema<Response> = message("Response", "id 1 U|reason 2 u|text 3 s|conversation 4 U|description 5 Opened|invites 6 *Invite|users 7 *s|devices 8 *Device|sequence 9 U|conversations 10 *Summary|history 11 *Event|next 12 U|upload 23 Upload|download 24 Link|found 28 *FoundPhone|profile 13 Profile|contacts 14 *Contact|presences 15 *Presence|nextContact 16 s|password 47 s|lastClientSequence 49 U|repeated 50 o|server 51 Server|push 52 Push|mutes 53 *Mute|keysLeft 54 u|mlsEpoch 58 U|sealed 60 b");
