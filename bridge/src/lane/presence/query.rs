//! What is asked about presence: by calls, and in the name of devices that begin to listen. Each lane answers for its
//! own users.

use std::collections::{BTreeMap, VecDeque};

use godwit_core::refusal::{self, Refusal};
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use tokio::time::Instant;

use super::queue::UniqueQueue;
use super::visibility::{audience_of, includes};
use super::{Presences, ROWS_PER_USER, bit, online};
use crate::lane::account::caller::CallContext;
use crate::lane::account::contacts::CONTACTS_MAX;
use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::state::State;
use crate::messages::{People, PresenceQuery, Requester};
use godwit_store::{Store, StoreError, Table, keys};

/// Most users in one call.
pub(crate) const ASKED_MAX: usize = 100;

/// Of whom lanes are asked in one slice, and what looking at one of them costs those lanes, in rows.
const ASKED_SLICE: usize = 25;
const ASKED_ROWS: u64 = 4;

/// A call that asks who is there, until all lanes of those are asked.
pub(in crate::lane) struct PresenceCall {
    users: Vec<String>,
    asked: usize,
    /// The question's number; `None`: no lane is asked yet.
    id: Option<u64>,
}

impl PresenceCall {
    pub(in crate::lane) fn new(call: client::GetPresence) -> Result<Self, Refusal> {
        if call.users.len() > ASKED_MAX {
            Err(refusal::TOO_MANY_USERS_AT_ONCE)
        } else {
            Ok(Self { users: call.users, asked: 0, id: None })
        }
    }
}

/// A question to lanes.
#[derive(Default)]
pub(super) struct PendingPresence {
    found: BTreeMap<String, client::Presence>,
    /// Answers that are still to come.
    waits_for: u32,
    /// All are asked: who is to be told, and of whom.
    all: Option<(CallContext, Vec<String>)>,
}

/// Devices that are to be told who is there, once each.
#[derive(Default)]
pub(super) struct PresenceLookups {
    now: UniqueQueue<DeviceId>,
    /// Attached again by their edge, after which they may have missed something: by time.
    later: VecDeque<(Instant, DeviceId)>,
}

impl PresenceLookups {
    pub(super) fn waiting(&self) -> usize {
        self.now.len() + self.later.len()
    }

    pub(super) fn push(&mut self, device: DeviceId, later: Option<Instant>) {
        match later {
            Some(when) => self.later.push_back((when, device)),
            None => self.now.push(device),
        }
    }

    /// The next, and whether it is to be told also who is not there.
    pub(in crate::lane) fn pop(&mut self, now: Instant) -> Option<(DeviceId, bool)> {
        if let Some(device) = self.now.pop() {
            return Some((device, false));
        }
        self.later.front().filter(|(due, _)| *due <= now)?;
        self.later.pop_front().map(|(_, device)| (device, true))
    }
}

impl Presences {
    /// A slice of a call: asks the lanes of some users. True when all are asked; [`Self::all_asked`] follows.
    pub(in crate::lane) fn ask_on<S: Store>(
        &mut self,
        context: &Context<S>,
        by: &UserId,
        asking: &mut PresenceCall,
    ) -> bool {
        let id = *asking.id.get_or_insert_with(|| {
            self.last_asked += 1;
            self.pending.insert(self.last_asked, PendingPresence::default());
            self.last_asked
        });
        let names = &asking.users[asking.asked..asking.users.len().min(asking.asked + ASKED_SLICE)];
        let users: Vec<_> = names.iter().filter_map(|name| UserId::new(name).ok()).collect();
        context.store.charge(ASKED_ROWS * users.len() as u64);
        asking.asked += names.len();
        let lanes = context.ask_lanes(by, Requester::Call(id), true, users).count_ones();
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.waits_for += lanes;
        }
        asking.asked == asking.users.len()
    }

    /// The caller is told when the last lane has answered.
    pub(in crate::lane) fn all_asked<S: Store>(
        &mut self,
        context: &Context<S>,
        caller: CallContext,
        asking: PresenceCall,
    ) {
        let Some(id) = asking.id else { return };
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.all = Some((caller, asking.users));
        }
        self.answer_if_all_are_seen(context, id);
    }

    /// Nobody waits for it any more.
    pub(in crate::lane) fn give_up_asking(&mut self, asking: &PresenceCall) {
        if let Some(id) = asking.id {
            self.pending.remove(&id);
        }
    }

    /// For devices that have begun to listen: who of their users' contacts is online? At the cost of about so many rows.
    pub(super) async fn look_around<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &Connections,
        now: Instant,
        rows_max: usize,
    ) -> Result<(), StoreError> {
        let mut rows = 0;
        while rows < rows_max
            && let Some((device, offline_too)) = self.lookups.pop(now)
        {
            let Some(session) = connections.sessions.get(&device) else { continue };
            let user = session.user.clone();
            if !self.listeners.contains_key(&(user.clone(), device)) {
                continue;
            }
            let (from, to) = keys::contacts_after(&user, None);
            let found = context.store.scan(Table::Directory, &from, &to, CONTACTS_MAX, usize::MAX).await?;
            rows += ROWS_PER_USER + found.len();
            let contacts = found.iter().filter_map(|(key, _)| keys::parse_second_user(key)).collect();
            let lanes = context.ask_lanes(&user, Requester::Device(device), offline_too, contacts);
            if let Some(silent) = self.listeners.get_mut(&(user, device)) {
                *silent &= lanes;
            }
        }
        Ok(())
    }

    /// Answers for users of this lane.
    pub(in crate::lane) async fn look<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        look: PresenceQuery,
        mut users: Vec<UserId>,
    ) -> Result<(), StoreError> {
        // Whose coming is not told yet is told to all who watch in a moment.
        let is_known = |it: &Presences, user: &UserId| it.shows_online(user) && !it.debounce.is_news(user);
        users.retain(|user| look.offline_too || is_known(self, user));
        state.read_users(context, users.iter()).await?;
        let keys =
            users.iter().flat_map(|user| [keys::profile(user), keys::contact(user, &look.by), keys::last_seen(user)]);
        let found = context.store.multi_get(&keys.collect::<Vec<_>>()).await?;
        let mut presences = Vec::with_capacity(users.len());
        for (user, found) in users.iter().zip(found.chunks(3)) {
            let [profile, contact, last_seen] = found else { continue };
            let Some(known) = state.cache.user(user) else { continue };
            let is_shown =
                !known.blocks(&look.by) && includes(audience_of(user, profile.as_deref()), contact.is_some());
            if !is_shown && *user != look.by {
                continue;
            }
            let presence = if self.shows_online(user) {
                online()
            } else {
                let minute = last_seen.as_deref().and_then(keys::parse_counter);
                minute.map(|minute| context.offline_since(minute)).unwrap_or_default()
            };
            presences.push(client::Presence { user: user.to_string(), ..presence });
        }
        context.send_to_lane(look.lane, People::Seen(context.number, look, presences));
        Ok(())
    }

    pub(in crate::lane) fn seen_for_call<S: Store>(
        &mut self,
        context: &Context<S>,
        id: u64,
        presences: Vec<client::Presence>,
    ) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.found.extend(presences.into_iter().map(|presence| (presence.user.clone(), presence)));
        pending.waits_for -= 1;
        self.answer_if_all_are_seen(context, id);
    }

    fn answer_if_all_are_seen<S: Store>(&mut self, context: &Context<S>, id: u64) {
        let is_ready = |pending: &PendingPresence| pending.waits_for == 0 && pending.all.is_some();
        if !self.pending.get(&id).is_some_and(is_ready) {
            return;
        }
        let Some(PendingPresence { found, all: Some((caller, users)), .. }) = self.pending.remove(&id) else {
            return;
        };
        let presence = |user: String| match found.get(&user) {
            Some(presence) => presence.clone(),
            None => client::Presence { user, ..Default::default() },
        };
        let presences = users.into_iter().map(presence).collect();
        context.answer_call(caller, client::Response { presences, ..Default::default() });
    }
}

impl<S: Store> Context<S> {
    /// Asks in the name of `by`; returns which lanes.
    fn ask_lanes(&self, by: &UserId, whom: Requester, offline_too: bool, users: Vec<UserId>) -> u64 {
        let look = PresenceQuery { by: by.clone(), lane: self.number, whom, offline_too };
        let mut by_lane = BTreeMap::<_, Vec<_>>::new();
        users.into_iter().for_each(|user| by_lane.entry(self.lane_of(&user)).or_default().push(user));
        let lanes = by_lane.keys().fold(0, |lanes, lane| lanes | bit(*lane));
        by_lane.into_iter().for_each(|(lane, users)| self.send_to_lane(lane, People::Look(look.clone(), users)));
        lanes
    }

    /// A user has a new contact: its devices that listen are told if that is online.
    pub(in crate::lane) fn look_at(&self, by: &UserId, contact: &UserId) {
        self.ask_lanes(by, Requester::Devices, false, vec![contact.clone()]);
    }
}
