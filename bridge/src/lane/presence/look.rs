//! What is asked about presence: by calls, and in the name of devices that begin to listen. Each lane answers for its
//! own users.

use std::collections::{BTreeMap, VecDeque};

use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::reason::Reason;
use prost::Message;
use tokio::time::Instant;

use super::queue::Queue;
use super::sight::{audience_of, includes};
use super::{Presences, ROWS_PER_USER, Showing, bit, online};
use crate::lane::Lane;
use crate::lane::account::{Caller, Refused};
use crate::lane::contacts::CONTACTS_MAX;
use crate::mail::{Look, People, Whom};
use crate::store::{Store, StoreError, Table, keys};

/// Most users in one call.
const ASKED_MAX: usize = 100;

const TOO_MANY: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "up to 100 users at once");

/// A call that waits for the lanes of those it asks about.
pub(super) struct Asked {
    caller: Caller,
    users: Vec<String>,
    found: BTreeMap<String, client::Presence>,
    waits_for: u32,
}

/// Devices that are to be told who is there, once each.
#[derive(Default)]
pub(super) struct Looking {
    now: Queue<DeviceId>,
    /// Attached again by their edge, after which they may have missed something: by time.
    later: VecDeque<(Instant, DeviceId)>,
}

impl Looking {
    pub(super) fn push(&mut self, device: DeviceId, later: Option<Instant>) {
        match later {
            Some(when) => self.later.push_back((when, device)),
            None => self.now.push(device),
        }
    }

    /// The next, and whether it is to be told also who is not there.
    fn pop(&mut self, now: Instant) -> Option<(DeviceId, bool)> {
        if let Some(device) = self.now.pop() {
            return Some((device, false));
        }
        self.later.front().filter(|(due, _)| *due <= now)?;
        self.later.pop_front().map(|(_, device)| (device, true))
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) fn get_presence(&mut self, caller: Caller, call: client::GetPresence) {
        if call.users.len() > ASKED_MAX {
            return self.refuse(caller, TOO_MANY);
        }
        let by = caller.origin.user.clone();
        let users: Vec<_> = call.users.iter().filter_map(|name| UserId::new(name).ok()).collect();
        self.presences.last_asked += 1;
        let id = self.presences.last_asked;
        let waits_for = self.ask_lanes(&by, Whom::Call(id), true, users).count_ones();
        let asked = Asked { caller, users: call.users, found: BTreeMap::new(), waits_for };
        match waits_for {
            0 => self.answer_asked(asked),
            _ => _ = self.presences.asked.insert(id, asked),
        }
    }

    /// Asks in the name of `by`; returns which lanes.
    fn ask_lanes(&self, by: &UserId, whom: Whom, offline_too: bool, users: Vec<UserId>) -> u64 {
        let look = Look { by: by.clone(), lane: self.number, whom, offline_too };
        let mut by_lane = BTreeMap::<_, Vec<_>>::new();
        users.into_iter().for_each(|user| by_lane.entry(self.lane_of(&user)).or_default().push(user));
        let lanes = by_lane.keys().fold(0, |lanes, lane| lanes | bit(*lane));
        by_lane.into_iter().for_each(|(lane, users)| self.send_to_lane(lane, People::Look(look.clone(), users)));
        lanes
    }

    /// A user has a new contact: its devices that listen are told if that is online.
    pub(in crate::lane) fn look_at(&mut self, by: &UserId, contact: &UserId) {
        self.ask_lanes(by, Whom::Devices, false, vec![contact.clone()]);
    }

    /// For devices that have begun to listen: who of their users' contacts is online? At the cost of about so many rows.
    pub(super) async fn look_around(&mut self, now: Instant, rows_max: usize) -> Result<(), StoreError> {
        let mut rows = 0;
        while rows < rows_max
            && let Some((device, offline_too)) = self.presences.looking.pop(now)
        {
            let Some(session) = self.sessions.get(&device) else { continue };
            let user = session.user.clone();
            if !self.presences.listeners.contains_key(&(user.clone(), device)) {
                continue;
            }
            let (from, to) = keys::contacts_after(&user, None);
            let found = self.store.scan(Table::Directory, &from, &to, CONTACTS_MAX, usize::MAX).await?;
            rows += ROWS_PER_USER + found.len();
            let contacts = found.iter().filter_map(|(key, _)| keys::parse_second_user(key)).collect();
            let lanes = self.ask_lanes(&user, Whom::Device(device), offline_too, contacts);
            if let Some(silent) = self.presences.listeners.get_mut(&(user, device)) {
                *silent &= lanes;
            }
        }
        Ok(())
    }

    /// Answers for users of this lane.
    pub(in crate::lane) async fn look(&mut self, look: Look, mut users: Vec<UserId>) -> Result<(), StoreError> {
        // Whose coming is not told yet is told to all who watch in a moment.
        let is_known = |it: &Presences, user: &UserId| it.shows_online(user) && !it.damping.is_news(user);
        users.retain(|user| look.offline_too || is_known(&self.presences, user));
        self.read_users(users.iter()).await?;
        let keys =
            users.iter().flat_map(|user| [keys::profile(user), keys::contact(user, &look.by), keys::last_seen(user)]);
        let found = self.store.multi_get(&keys.collect::<Vec<_>>()).await?;
        let mut presences = Vec::with_capacity(users.len());
        for (user, found) in users.iter().zip(found.chunks(3)) {
            let [profile, contact, last_seen] = found else { continue };
            let Some(known) = self.world.user(user) else { continue };
            let is_shown =
                !known.blocks(&look.by) && includes(audience_of(user, profile.as_deref()), contact.is_some());
            if !is_shown && *user != look.by {
                continue;
            }
            let presence = if self.presences.shows_online(user) {
                online()
            } else {
                let minute = last_seen.as_deref().and_then(keys::parse_counter);
                minute.map(|minute| self.offline_since(minute)).unwrap_or_default()
            };
            presences.push(client::Presence { user: user.to_string(), ..presence });
        }
        self.send_to_lane(look.lane, People::Seen(self.number, look, presences));
        Ok(())
    }

    /// What another lane has answered.
    pub(in crate::lane) fn seen(&mut self, lane: u32, look: &Look, presences: Vec<client::Presence>) {
        let showing = match look.whom {
            Whom::Call(id) => return self.seen_for_call(id, presences),
            Whom::Device(device) => {
                if let Some(silent) = self.presences.listeners.get_mut(&(look.by.clone(), device)) {
                    *silent &= !bit(lane);
                }
                Showing::To(device)
            }
            Whom::Devices => Showing::ToAll,
        };
        for mut presence in presences {
            let Ok(user) = UserId::new(&std::mem::take(&mut presence.user)) else { continue };
            self.show(&look.by, showing, &user, &presence.encode_to_vec().into());
        }
    }

    fn seen_for_call(&mut self, id: u64, presences: Vec<client::Presence>) {
        let Some(asked) = self.presences.asked.get_mut(&id) else { return };
        asked.found.extend(presences.into_iter().map(|presence| (presence.user.clone(), presence)));
        asked.waits_for -= 1;
        if asked.waits_for == 0
            && let Some(asked) = self.presences.asked.remove(&id)
        {
            self.answer_asked(asked);
        }
    }

    fn answer_asked(&self, asked: Asked) {
        let Asked { caller, users, found, .. } = asked;
        let presence = |user: String| match found.get(&user) {
            Some(presence) => presence.clone(),
            None => client::Presence { user, ..Default::default() },
        };
        let presences = users.into_iter().map(presence).collect();
        self.answer_call(caller, client::Response { presences, ..Default::default() });
    }
}
