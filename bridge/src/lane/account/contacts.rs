//! Whom users have as contacts. The user's own lane alone writes the pair, both ways round: its list, and who watches
//! whom. Also where calls wait that would read what an earlier call of the same user has not got to disk yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use godwit_core::call::ContactsCall;
use godwit_core::keys::Ticket;
use godwit_core::outbox::Link;
use godwit_core::refusal;
use godwit_core::stored::{ContactRecord, ProfileRecord, UserRecord};
use godwit_schemas::client;
use godwit_schemas::ids::UserId;

use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::lane::query::page::{AnswerRoom, PageBuilder, ReadAnswer, TooLarge};
use crate::lane::round::Round;
use crate::messages::{AfterCommit, Continuation};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

/// Most contacts of a user.
pub(in crate::lane) const CONTACTS_MAX: usize = 5_000;
/// Most contacts of a page.
pub(crate) const PAGE_MAX: usize = 100;
/// Longest label in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 128;
/// Contacts of a list that are read in one slice.
const CONTACTS: usize = 16;

/// What is under way.
#[derive(Default)]
pub(in crate::lane) struct Contacts {
    /// Users whose contacts or profile are changed by a commit that is not on disk yet.
    pub(super) on_their_way: BTreeMap<UserId, UncommittedContacts>,
    /// These, by commit.
    pub(super) by_ticket: BTreeSet<(Ticket, UserId)>,
}

#[derive(Default)]
pub(super) struct UncommittedContacts {
    pub(super) ticket: Ticket,
    /// What would read what is not there yet. Of each device so many calls as it may have under way.
    pub(super) waiting: VecDeque<WaitingContactCall>,
}

/// A page of a user's contacts, as far as it is read.
pub(in crate::lane) struct ContactList {
    after: Option<UserId>,
    left: usize,
    page: PageBuilder<client::Contact>,
}

impl ContactList {
    pub(in crate::lane) fn new(call: &client::ListContacts, room: AnswerRoom) -> Self {
        let left = if call.limit == 0 { PAGE_MAX } else { (call.limit as usize).min(PAGE_MAX) };
        Self { after: UserId::new(&call.after).ok(), left, page: PageBuilder::new(room) }
    }

    pub(in crate::lane) fn answer(&mut self, more: bool) -> ReadAnswer {
        let contacts = std::mem::replace(&mut self.page, PageBuilder::new(AnswerRoom::ANY)).into_items();
        let last = contacts.last().filter(|_| more).map(|last| last.user.clone());
        Some(Ok(client::Response { contacts, next_contact: last.unwrap_or_default(), ..Default::default() }))
    }
}

pub(in crate::lane) enum WaitingContactCall {
    Call(Box<(CallContext, ContactsCall)>),
    /// The user's contact is no more; told on this link, if on one.
    Gone(UserId, UserId, Option<Link>),
}

impl Contacts {
    /// What was written of a user's contacts or profile gets on disk; then.
    pub(in crate::lane) fn settle(&mut self, round: &mut Round, user: &UserId, then: Continuation) {
        let ticket = round.next_ticket();
        let Contacts { on_their_way, by_ticket } = self;
        let on_its_way = on_their_way.entry(user.clone()).or_default();
        let before = std::mem::replace(&mut on_its_way.ticket, ticket);
        by_ticket.remove(&(before, user.clone()));
        by_ticket.insert((ticket, user.clone()));
        round.when_durable(AfterCommit::Then(then));
    }
}

impl<S: Store> Context<S> {
    /// Whether the other is no contact, and how many there are.
    pub(in crate::lane) async fn contact_and_count(
        &self,
        user: &UserId,
        contact: &UserId,
    ) -> Result<(bool, u64), StoreError> {
        let found = self.store.multi_get(&[keys::contact(user, contact), keys::contact_count(user)]).await?;
        let count = found.last().and_then(|value| keys::parse_counter(value.as_deref()?)).unwrap_or(0);
        Ok((found.first().is_none_or(Option::is_none), count))
    }

    /// A slice of a page of contacts.
    pub(in crate::lane) async fn contacts_on(
        &self,
        user: &UserId,
        list: &mut ContactList,
    ) -> Result<ReadAnswer, StoreError> {
        let (from, to) = keys::contacts_after(user, list.after.as_ref());
        let rows_max = list.left.min(CONTACTS);
        let rows = self.store.scan(Table::Directory, &from, &to, rows_max, usize::MAX).await?;
        let is_last = rows.len() < rows_max;
        list.left -= rows.len();
        let rows = rows.into_iter().filter_map(|(key, value)| Some((keys::parse_second_user(&key)?, value)));
        let rows: Vec<_> = rows.collect();
        let keys: Vec<_> = rows.iter().flat_map(|(user, _)| [keys::user(user), keys::profile(user)]).collect();
        let found = self.store.multi_get(&keys).await?;
        for ((contact, value), found) in rows.iter().zip(found.chunks(2)) {
            let record = decoded::<ContactRecord>("contact", contact, value).unwrap_or_default();
            let name = name_for(user, contact, found).unwrap_or_default();
            match list.page.take(client::Contact { user: contact.to_string(), label: record.label, name }) {
                Ok(true) => list.after = Some(contact.clone()),
                Ok(false) => return Ok(list.answer(true)),
                Err(TooLarge) => return Ok(Some(Err(refusal::ITEM_TOO_LARGE))),
            }
        }
        let over = is_last || list.left == 0;
        Ok(if over { list.answer(!is_last) } else { None })
    }
}

/// What a contact calls itself, if it lets the user know.
fn name_for(user: &UserId, contact: &UserId, found: &[Option<bytes::Bytes>]) -> Option<String> {
    let [Some(record), Some(profile)] = found else { return None };
    let record = decoded::<UserRecord>("user", contact, record)?;
    let profile = decoded::<ProfileRecord>("profile", contact, profile).filter(|_| !record.has_blocked(user))?;
    Some(profile.name)
}
