//! Who is online, and who is told of it: users who have them as contacts, as far as each lets itself be seen.
//!
//! A user's own lane knows whether one of its devices is connected. What has changed is told once in a tick, in one message
//! for each lane, and that lane hands it to devices that listen. Nothing of it is promised; it costs a user who is
//! connected one entry in `connected`, and one whom nobody watches two keys that are read when it comes and when it goes.
//!
//! - `debounce`: who is back within seconds was never gone. `query`: what is asked, and told to devices that begin to
//!   listen. `visibility`: who may see whom.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use godwit_core::keys::Ticket;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::topic::Filters;
use prost::Message;
use tokio::time::Instant;

use self::debounce::Debounce;
use self::query::{PendingPresence, PresenceLookups};
use self::visibility::audience_of;
use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::lane::state::State;
use crate::messages::{LaneMessage, People, PresenceUpdate};
use crate::writes;
use godwit_store::{Store, StoreError, Table, keys};

mod debounce;
pub(in crate::lane) mod query;
mod queue;
pub(in crate::lane) mod tell;
mod visibility;

pub(crate) use query::ASKED_MAX;

/// Most users that are told when a user comes or goes.
const WATCHERS_MAX: usize = 5_000;
/// About how many rows a lane reads in a tick for all of this; the rest waits for the next.
pub(in crate::lane) const ROWS_PER_TICK: usize = 5_000;
/// What a user who has come or gone costs besides, in rows.
pub(in crate::lane) const ROWS_PER_USER: usize = 10;

/// Who of this lane's users is online, who listens, and what is still to be told.
pub(in crate::lane) struct Presences {
    debounce: Debounce,
    /// Connected devices of users who have some.
    connected: HashMap<UserId, u16, FixedState>,
    /// Devices that are connected and subscribed to presence, and the lanes (bits) that have not said yet which of their
    /// users are online: until then news from there are none.
    listeners: BTreeMap<(UserId, DeviceId), u64>,
    /// Users whom others (`None`: all) may see differently from before, when this commit is on disk.
    altered: BTreeMap<Altered, (Before, Ticket)>,
    /// Devices that have begun to listen.
    lookups: PresenceLookups,
    pending: BTreeMap<u64, PendingPresence>,
    last_asked: u64,
}

impl Presences {
    pub(in crate::lane) fn new(offline_after: Duration, seed: u64) -> Self {
        Self {
            debounce: Debounce::new(offline_after),
            connected: HashMap::with_hasher(FixedState::with_seed(seed)),
            listeners: BTreeMap::new(),
            altered: BTreeMap::new(),
            lookups: PresenceLookups::default(),
            pending: BTreeMap::new(),
            last_asked: 0,
        }
    }

    /// How much is to be looked up and told.
    pub(in crate::lane) fn waiting(&self) -> usize {
        self.debounce.waiting() + self.altered.len() + self.lookups.waiting() + self.pending.len()
    }

    /// Whether others are told that the user is online.
    pub(in crate::lane) fn shows_online(&self, user: &UserId) -> bool {
        self.connected.contains_key(user) || self.debounce.lingers(user)
    }
}

/// A user, and who may see it differently.
type Altered = (UserId, Option<UserId>);

/// How it was.
#[derive(Clone, Copy)]
enum Before {
    /// Whether it could be seen.
    Shown(bool),
    /// By whom it could.
    To(client::Audience),
}

/// News for other lanes, by lane.
pub(in crate::lane) type News = BTreeMap<u32, Vec<PresenceUpdate>>;

impl<S: Store> Context<S> {
    pub(in crate::lane) fn send_to_lane(&self, lane: u32, message: People) {
        // A lane that is gone: the server is ending.
        self.send(lane, LaneMessage::People(message));
    }

    pub(in crate::lane) fn minute(&self) -> u64 {
        u64::from(self.now_s) / 60
    }

    pub(in crate::lane) fn offline_since(&self, minute: u64) -> client::Presence {
        let age_min = u32::try_from(self.minute().saturating_sub(minute)).unwrap_or(u32::MAX);
        client::Presence { last_seen_age_min: Some(age_min), ..Default::default() }
    }

    fn gather(&self, user: &UserId, presence: &client::Presence, to: impl Iterator<Item = UserId>, news: &mut News) {
        let payload: Bytes = presence.encode_to_vec().into();
        let mut by_lane = BTreeMap::<_, Vec<_>>::new();
        to.for_each(|watcher| by_lane.entry(self.lane_of(&watcher)).or_default().push(watcher));
        for (lane, to) in by_lane {
            news.entry(lane).or_default().push(PresenceUpdate { user: user.clone(), payload: payload.clone(), to });
        }
    }

    /// Users who have this one as a contact.
    async fn watchers(&self, user: &UserId) -> Result<Vec<UserId>, StoreError> {
        let (from, to) = keys::watchers_after(user, None);
        let rows = self.store.scan(Table::Directory, &from, &to, WATCHERS_MAX, usize::MAX).await?;
        Ok(rows.iter().filter_map(|(key, _)| keys::parse_second_user(key)).collect())
    }
}

impl Presences {
    /// A device has a connection; `again`: in place of another one, which has ended just now.
    pub(in crate::lane) fn has_come(&mut self, user: &UserId, device: DeviceId, again: bool) {
        if again {
            self.listeners.remove(&(user.clone(), device));
            return;
        }
        let devices = self.connected.entry(user.clone()).or_default();
        *devices = devices.saturating_add(1);
        if *devices == 1 {
            self.debounce.came(user);
        }
    }

    /// A device's connection has ended.
    pub(in crate::lane) fn has_gone<S: Store>(
        &mut self,
        context: &Context<S>,
        round: &mut Round,
        user: &UserId,
        device: DeviceId,
    ) {
        self.listeners.remove(&(user.clone(), device));
        let Some(devices) = self.connected.get_mut(user) else { return };
        *devices -= 1;
        if *devices == 0 {
            self.connected.remove(user);
            let minute = context.minute();
            if self.debounce.went(user, Instant::now(), minute) {
                round.note_last_seen(user, minute);
            }
        }
    }

    /// The server is stopping.
    pub(in crate::lane) fn note_last_seen_of_all<S: Store>(&mut self, context: &Context<S>, round: &mut Round) {
        let minute = context.minute();
        let users: Vec<_> = self.connected.keys().cloned().collect();
        users.iter().for_each(|user| round.note_last_seen(user, minute));
    }

    /// Whom the user shows itself to changes in the commit under way; it was this audience.
    pub(in crate::lane) fn changes_audience(&mut self, round: &Round, user: &UserId, from: client::Audience) {
        // Otherwise nobody was told that it is there.
        if self.shows_online(user) {
            self.is_altered(round, user, None, Before::To(from));
        }
    }

    /// Whether this other one may see the user may change with what is written next.
    pub(in crate::lane) async fn changes_sight<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        round: &Round,
        user: &UserId,
        by: &UserId,
    ) -> Result<(), StoreError> {
        if self.shows_online(user) {
            let audience = context.audience(user).await?;
            let shown = state.may_see(context, user, audience, std::slice::from_ref(by)).await?.contains(&true);
            self.is_altered(round, user, Some(by.clone()), Before::Shown(shown));
        }
        Ok(())
    }

    fn is_altered(&mut self, round: &Round, user: &UserId, by: Option<UserId>, before: Before) {
        // What was before the first change counts, and the last must be on disk.
        let altered = self.altered.entry((user.clone(), by)).or_insert((before, 0));
        altered.1 = round.next_ticket();
    }

    /// Tells those who may see the user and could not before, and those who could and may not any more. Whoever never could
    /// hears nothing: not even that it is there.
    async fn tell_again<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        user: &UserId,
        by: Option<UserId>,
        before: Before,
        news: &mut News,
    ) -> Result<usize, StoreError> {
        if !self.shows_online(user) {
            return Ok(0);
        }
        let watchers = match by {
            None => context.watchers(user).await?,
            Some(by) => {
                let watches = context.store.multi_get(&[keys::watcher(user, &by)]).await?.pop().flatten();
                watches.map(|_| by).into_iter().collect()
            }
        };
        let audience = context.audience(user).await?;
        let may_see = state.may_see(context, user, audience, &watchers).await?;
        let could_see = match before {
            Before::Shown(shown) => vec![shown; watchers.len()],
            Before::To(audience) => state.may_see(context, user, audience, &watchers).await?,
        };
        let changed = |from: bool, to: bool| {
            let all = watchers.iter().zip(could_see.iter().zip(&may_see));
            all.filter(move |(_, (could, may))| (**could, **may) == (from, to)).map(|(watcher, _)| watcher.clone())
        };
        context.gather(user, &online(), changed(false, true), news);
        context.gather(user, &client::Presence::default(), changed(true, false), news);
        Ok(watchers.len())
    }

    /// A device is connected and has these filters now. `attached_again`: by its edge, without its client's doing.
    pub(in crate::lane) fn listens<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &Connections,
        device: DeviceId,
        attached_again: bool,
    ) {
        let Some(session) = connections.sessions.get(&device) else { return };
        let presences = self;
        if !session.filters.contains(Filters::PRESENCE) {
            presences.listeners.remove(&(session.user.clone(), device));
        } else if let Entry::Vacant(vacant) = presences.listeners.entry((session.user.clone(), device)) {
            vacant.insert(if attached_again { 0 } else { u64::MAX });
            // If its edge did it: by then its contacts are attached again too, or gone.
            let later = attached_again.then(|| Instant::now() + 2 * context.settings.offline_after);
            presences.lookups.push(device, later);
        }
    }
}

impl Round {
    /// Not worth an fsync.
    pub(in crate::lane) fn note_last_seen(&mut self, user: &UserId, minute: u64) {
        self.write(writes::set(keys::last_seen(user), Some(writes::counter(minute))));
    }
}

impl State {
    /// Tells those who watch the user and may see it. Returns how many watch.
    pub(in crate::lane) async fn tell<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        presence: &client::Presence,
        news: &mut News,
    ) -> Result<usize, StoreError> {
        // Most have no watchers: it takes two keys to know, and no scan.
        let found = context.store.multi_get(&[keys::profile(user), keys::watched(user)]).await?;
        let audience = audience_of(user, found.first().and_then(Option::as_deref));
        if audience == client::Audience::Nobody || found.last().is_none_or(Option::is_none) {
            return Ok(0);
        }
        let watchers = context.watchers(user).await?;
        let may_see = self.may_see(context, user, audience, &watchers).await?;
        let rows = watchers.len();
        let seeing = watchers.into_iter().zip(may_see).filter_map(|(watcher, sees)| sees.then_some(watcher));
        context.gather(user, presence, seeing, news);
        Ok(rows)
    }
}

impl Presences {
    fn next_altered(&mut self, confirmed: Ticket) -> Option<(Altered, Before)> {
        let next = self.altered.iter().find(|(_, (_, ticket))| *ticket <= confirmed).map(|(who, _)| who.clone())?;
        let (before, _) = self.altered.remove(&next)?;
        Some((next, before))
    }
}

/// To which of a watcher's devices.
#[derive(Clone, Copy)]
pub(in crate::lane) enum Showing {
    /// Those that have heard from this lane which of its users are online.
    News(u32),
    /// This one.
    To(DeviceId),
    /// All that listen.
    ToAll,
}

/// A lane, of which there are up to 64.
pub(in crate::lane) fn bit(lane: u32) -> u64 {
    1 << lane
}

pub(in crate::lane) fn online() -> client::Presence {
    client::Presence { online: true, ..Default::default() }
}
