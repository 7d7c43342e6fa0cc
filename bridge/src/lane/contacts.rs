//! Whom users have as contacts. The user's own lane alone writes the pair, both ways round: its list, and who watches
//! whom. Also where calls wait that would read what an earlier call of the same user has not got to disk yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use godwit_core::outcome::Effect;
use godwit_core::record::{ContactRecord, ProfileRecord, UserRecord};
use godwit_core::world::Ticket;
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::{Caller, NO_USER, Refused, YOURSELF};
use super::profile::has_blocked;
use super::read::decoded;
use crate::mail::{Done, Mail, People, Then, WhenAll};
use crate::store::{Store, StoreError, Table, keys};
use crate::writes;

/// Most contacts of a user.
pub(super) const CONTACTS_MAX: usize = 5_000;
/// Most contacts of a page.
const PAGE_MAX: usize = 100;
/// Longest label in bytes.
const LABEL_BYTES_MAX: usize = 128;
/// Rows read at once of a user that is removed.
const ROWS: usize = 1_000;

const BAD_LABEL: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "label over 128 bytes");
const TOO_MANY: Refused = (Reason::QUOTA_EXCEEDED, "you have 5,000 contacts");

/// What is under way.
#[derive(Default)]
pub(super) struct Contacts {
    /// Users whose contacts or profile are changed by this commit, which is not on disk yet.
    on_their_way: BTreeMap<UserId, Ticket>,
    waiting: Vec<Waiting>,
}

enum Waiting {
    Call(Box<(Caller, Call)>),
    Gone(UserId, UserId, Arc<WhenAll>),
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A call about the caller's profile or contacts.
    pub(super) async fn people(&mut self, caller: Caller, call: Call) -> Result<(), StoreError> {
        if self.contacts.on_their_way.contains_key(&caller.origin.user) {
            self.contacts.waiting.push(Waiting::Call(Box::new((caller, call))));
            return Ok(());
        }
        match call {
            Call::GetProfile(call) => self.get_profile(caller, &call).await,
            Call::SetProfile(call) => self.set_profile(caller, call).await,
            Call::AddContact(call) => self.add_contact(caller, call).await,
            Call::RemoveContact(call) => self.remove_contact(caller, &call.user).await,
            Call::ListContacts(call) => self.list_contacts(caller, &call).await,
            Call::GetPresence(call) => {
                self.get_presence(caller, call);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn people_mail(&mut self, mail: People) -> Result<(), StoreError> {
        match mail {
            People::Told(lane, told) => self.hear(lane, told),
            People::Look(look, users) => self.look(look, users).await?,
            People::Seen(lane, look, presences) => self.seen(lane, &look, presences),
            People::ContactAdded(user, contact, answer) => self.contact_added(user, contact, answer).await?,
            People::Forget(user, then) => self.forget_people(user, then).await?,
            People::ContactGone(contact, users, all) => {
                for user in users {
                    self.contact_gone(user, contact.clone(), all.clone()).await?;
                }
            }
        }
        Ok(())
    }

    /// What was written of a user's contacts or profile gets on disk; then.
    pub(super) fn settle(&mut self, user: &UserId, then: Then) {
        self.contacts.on_their_way.insert(user.clone(), self.sealed + 1);
        self.when_durable(Done::Then(then));
    }

    /// A commit is on disk: what waited for it goes on.
    pub(super) async fn go_on_with_contacts(&mut self) -> Result<(), StoreError> {
        let confirmed = self.confirmed;
        self.contacts.on_their_way.retain(|_, ticket| *ticket > confirmed);
        for waiting in std::mem::take(&mut self.contacts.waiting) {
            match waiting {
                Waiting::Call(waited) => {
                    let (caller, call) = *waited;
                    self.account(caller, call).await?;
                }
                Waiting::Gone(user, contact, all) => self.contact_gone(user, contact, all).await?,
            }
        }
        Ok(())
    }

    async fn add_contact(&mut self, caller: Caller, call: client::AddContact) -> Result<(), StoreError> {
        let user = caller.origin.user.clone();
        let refused = match UserId::new(&call.user) {
            Err(_) => Some(NO_USER),
            Ok(contact) if contact == user => Some(YOURSELF),
            Ok(_) if call.label.len() > LABEL_BYTES_MAX => Some(BAD_LABEL),
            Ok(contact) if self.user_record(&contact).await?.is_none() => Some(NO_USER),
            Ok(_) => None,
        };
        let (None, Ok(contact)) = (refused, UserId::new(&call.user)) else {
            self.refuse(caller, refused.unwrap_or(NO_USER));
            return Ok(());
        };
        let (is_new, count) = self.contact_and_count(&user, &contact).await?;
        if is_new && count >= CONTACTS_MAX as u64 {
            self.refuse(caller, TOO_MANY);
            return Ok(());
        }
        if is_new {
            self.changes_sight(&user, &contact).await?;
        }
        let writes = &mut self.next.writes;
        writes.push(writes::put(keys::contact(&user, &contact), &ContactRecord { label: call.label }));
        if is_new {
            writes.push(writes::set(keys::watcher(&contact, &user), Some(Default::default())));
            writes.push(writes::set(keys::watched(&contact), Some(Default::default())));
            writes.push(writes::set(keys::contact_count(&user), Some(writes::counter(count + 1))));
        }
        let (of, answer) = (user.clone(), caller.answer(client::Response::default()));
        let then = self.then_mail(move || Mail::People(People::ContactAdded(of, contact, answer)));
        self.settle(&user, then);
        Ok(())
    }

    /// On disk. Who is removed from now on finds it there; who was removed meanwhile did not.
    async fn contact_added(&mut self, user: UserId, contact: UserId, answer: Vec<Effect>) -> Result<(), StoreError> {
        if self.user_record(&contact).await?.is_none() {
            self.contact_gone(user, contact, WhenAll::new(Box::new(|| ()))).await?;
        } else {
            self.look_at(&user, &contact);
        }
        for effect in answer {
            self.effect(effect).await?;
        }
        Ok(())
    }

    async fn remove_contact(&mut self, caller: Caller, name: &str) -> Result<(), StoreError> {
        let user = caller.origin.user.clone();
        let Ok(contact) = UserId::new(name) else {
            self.refuse(caller, NO_USER);
            return Ok(());
        };
        if self.take_out(&user, &contact).await? {
            let done = self.then_respond(caller, client::Response::default());
            self.settle(&user, done);
        } else {
            self.answer_call(caller, client::Response::default());
        }
        Ok(())
    }

    /// False: it is no contact.
    async fn take_out(&mut self, user: &UserId, contact: &UserId) -> Result<bool, StoreError> {
        let (is_none, count) = self.contact_and_count(user, contact).await?;
        if is_none {
            return Ok(false);
        }
        self.changes_sight(user, contact).await?;
        let writes = &mut self.next.writes;
        writes.push(writes::set(keys::contact(user, contact), None));
        writes.push(writes::set(keys::watcher(contact, user), None));
        writes.push(writes::set(keys::contact_count(user), Some(writes::counter(count.saturating_sub(1)))));
        Ok(true)
    }

    /// Whether the other is no contact, and how many there are.
    async fn contact_and_count(&mut self, user: &UserId, contact: &UserId) -> Result<(bool, u64), StoreError> {
        let found = self.store.multi_get(&[keys::contact(user, contact), keys::contact_count(user)]).await?;
        let count = found.last().and_then(|value| keys::parse_counter(value.as_deref()?)).unwrap_or(0);
        Ok((found.first().is_none_or(Option::is_none), count))
    }

    async fn list_contacts(&mut self, caller: Caller, call: &client::ListContacts) -> Result<(), StoreError> {
        let user = &caller.origin.user;
        let after = UserId::new(&call.after).ok();
        let limit = if call.limit == 0 { PAGE_MAX } else { (call.limit as usize).min(PAGE_MAX) };
        let (from, to) = keys::contacts_after(user, after.as_ref());
        let rows = self.store.scan(Table::Directory, &from, &to, limit, usize::MAX).await?;
        let is_last = rows.len() < limit;
        let rows = rows.into_iter().filter_map(|(key, value)| Some((keys::parse_second_user(&key)?, value)));
        let rows: Vec<_> = rows.collect();
        let keys: Vec<_> = rows.iter().flat_map(|(user, _)| [keys::user(user), keys::profile(user)]).collect();
        let found = self.store.multi_get(&keys).await?;
        let contacts = rows.iter().zip(found.chunks(2)).map(|((contact, value), found)| {
            let record = decoded::<ContactRecord>("contact", contact, value).unwrap_or_default();
            let name = name_for(user, contact, found).unwrap_or_default();
            client::Contact { user: contact.to_string(), label: record.label, name }
        });
        let contacts: Vec<_> = contacts.collect();
        let next_contact = contacts.last().filter(|_| !is_last).map(|last| last.user.clone()).unwrap_or_default();
        self.answer_call(caller, client::Response { contacts, next_contact, ..Default::default() });
        Ok(())
    }

    /// Forgets the contacts and the profile of a user that is no more, and that others had it as a contact.
    pub(super) async fn forget_people(&mut self, user: UserId, then: Then) -> Result<(), StoreError> {
        let all = WhenAll::new(then);
        for contact in self.second_users(keys::contacts_after(&user, None)).await? {
            self.next.writes.push(writes::set(keys::watcher(&contact, &user), None));
        }
        let profile = self.store.multi_get(&[keys::profile(&user)]).await?.pop().flatten();
        let profile = profile.and_then(|value| decoded::<ProfileRecord>("profile", &user, &value));
        self.forget_files(&user, &profile.unwrap_or_default().picture).await?;
        let writes = &mut self.next.writes;
        writes.push(writes::delete_range(Table::Directory, keys::contacts_after(&user, None)));
        let mark = keys::mark(&keys::Marked::User(user.clone()));
        let rows = [
            keys::contact_count(&user),
            keys::profile(&user),
            keys::last_seen(&user),
            keys::watched(&user),
            mark,
            keys::membership_count(&user),
        ];
        writes.extend(rows.map(|key| writes::set(key, None)));
        let mut by_lane = BTreeMap::<_, Vec<_>>::new();
        for watcher in self.second_users(keys::watchers_after(&user, None)).await? {
            by_lane.entry(self.lane_of(&watcher)).or_default().push(watcher);
        }
        for (lane, watchers) in by_lane {
            self.send_to_lane(lane, People::ContactGone(user.clone(), watchers, all.clone()));
        }
        self.when_durable(Done::Then(Box::new(move || drop(all))));
        Ok(())
    }

    async fn second_users(&mut self, (mut from, to): (Vec<u8>, Vec<u8>)) -> Result<Vec<UserId>, StoreError> {
        let mut users = Vec::new();
        loop {
            let rows = self.store.scan(Table::Directory, &from, &to, ROWS, usize::MAX).await?;
            users.extend(rows.iter().filter_map(|(key, _)| keys::parse_second_user(key)));
            let Some((last, _)) = rows.last().filter(|_| rows.len() == ROWS) else { return Ok(users) };
            from = keys::behind(last);
        }
    }

    /// A contact of a user of this lane is no more. `all` is let go of when nothing is left of it on disk.
    async fn contact_gone(&mut self, user: UserId, contact: UserId, all: Arc<WhenAll>) -> Result<(), StoreError> {
        if self.contacts.on_their_way.contains_key(&user) {
            self.contacts.waiting.push(Waiting::Gone(user, contact, all));
        } else if self.take_out(&user, &contact).await? {
            self.is_not_shown(&user, &contact);
            self.settle(&user, Box::new(move || drop(all)));
        }
        Ok(())
    }
}

/// What a contact calls itself, if it lets the user know.
fn name_for(user: &UserId, contact: &UserId, found: &[Option<bytes::Bytes>]) -> Option<String> {
    let [Some(record), Some(profile)] = found else { return None };
    let record = decoded::<UserRecord>("user", contact, record)?;
    let profile = decoded::<ProfileRecord>("profile", contact, profile).filter(|_| !has_blocked(&record, user))?;
    Some(profile.name)
}
