//! Who is online, and who is told of it: users who have them as contacts, as far as each lets itself be seen.
//!
//! A user's own lane knows whether one of its devices is connected. What has changed is told once in a tick, in one mail
//! for each lane, and that lane hands it to devices that listen. Nothing of it is promised; it costs a user who is
//! connected one entry in `here`, and one whom nobody watches two keys that are read when it comes and when it goes.
//!
//! - `damping`: who is back within seconds was never gone. `look`: what is asked, and told to devices that begin to
//!   listen. `sight`: who may see whom.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use godwit_core::world::Ticket;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::topic::Filters;
use prost::Message;
use tokio::time::Instant;

use self::damping::Damping;
use self::look::{Asked, Looking};
use self::sight::audience_of;
use super::Lane;
use crate::mail::{Mail, People, Told};
use crate::store::{Store, StoreError, Table, keys};
use crate::writes;

mod damping;
mod look;
mod queue;
mod sight;

/// Most users that are told when a user comes or goes.
const WATCHERS_MAX: usize = 5_000;
/// About how many rows a lane reads in a tick for all of this; the rest waits for the next.
const ROWS_PER_TICK: usize = 5_000;
/// What a user who has come or gone costs besides, in rows.
const ROWS_PER_USER: usize = 10;

/// See the module.
pub(super) struct Presences {
    damping: Damping,
    /// Connected devices of users who have some.
    here: HashMap<UserId, u16, FixedState>,
    /// Devices that are connected and subscribed to presence, and the lanes (bits) that have not said yet which of their
    /// users are online: until then news from there are none.
    listeners: BTreeMap<(UserId, DeviceId), u64>,
    /// Users whom others (`None`: all) may see differently from before, when this commit is on disk.
    altered: BTreeMap<Altered, (Before, Ticket)>,
    /// Devices that have begun to listen.
    looking: Looking,
    asked: BTreeMap<u64, Asked>,
    last_asked: u64,
}

impl Presences {
    pub(super) fn new(offline_after: Duration, seed: u64) -> Self {
        Self {
            damping: Damping::new(offline_after),
            here: HashMap::with_hasher(FixedState::with_seed(seed)),
            listeners: BTreeMap::new(),
            altered: BTreeMap::new(),
            looking: Looking::default(),
            asked: BTreeMap::new(),
            last_asked: 0,
        }
    }

    /// Whether others are told that the user is online.
    fn shows_online(&self, user: &UserId) -> bool {
        self.here.contains_key(user) || self.damping.lingers(user)
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
type News = BTreeMap<u32, Vec<Told>>;

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) fn send_to_lane(&self, lane: u32, mail: People) {
        // A lane that is gone: the server is ending.
        let _ = self.lanes[lane as usize].send(Mail::People(mail));
    }

    fn minute(&self) -> u64 {
        u64::from(self.now_s) / 60
    }

    /// A device has a connection; `again`: in place of another one, which has ended just now.
    pub(super) fn has_come(&mut self, user: &UserId, device: DeviceId, again: bool) {
        if again {
            self.presences.listeners.remove(&(user.clone(), device));
            return;
        }
        let devices = self.presences.here.entry(user.clone()).or_default();
        *devices = devices.saturating_add(1);
        if *devices == 1 {
            self.presences.damping.came(user);
        }
    }

    /// A device's connection has ended.
    pub(super) fn has_gone(&mut self, user: &UserId, device: DeviceId) {
        self.presences.listeners.remove(&(user.clone(), device));
        let Some(devices) = self.presences.here.get_mut(user) else { return };
        *devices -= 1;
        if *devices == 0 {
            self.presences.here.remove(user);
            let minute = self.minute();
            if self.presences.damping.went(user, Instant::now(), minute) {
                self.note_last_seen(user, minute);
            }
        }
    }

    /// Not worth an fsync.
    fn note_last_seen(&mut self, user: &UserId, minute: u64) {
        self.next.writes.push(writes::set(keys::last_seen(user), Some(writes::counter(minute))));
    }

    /// The server is stopping.
    pub(super) fn note_last_seen_of_all(&mut self) {
        let minute = self.minute();
        let users: Vec<_> = self.presences.here.keys().cloned().collect();
        users.iter().for_each(|user| self.note_last_seen(user, minute));
    }

    /// Whom the user shows itself to changes in the commit under way; it was this audience.
    pub(super) fn changes_audience(&mut self, user: &UserId, from: client::Audience) {
        // Otherwise nobody was told that it is there.
        if self.presences.shows_online(user) {
            self.is_altered(user, None, Before::To(from));
        }
    }

    /// Whether this other one may see the user may change with what is written next.
    pub(super) async fn changes_sight(&mut self, user: &UserId, by: &UserId) -> Result<(), StoreError> {
        if self.presences.shows_online(user) {
            let audience = self.audience(user).await?;
            let shown = self.may_see(user, audience, std::slice::from_ref(by)).await?.contains(&true);
            self.is_altered(user, Some(by.clone()), Before::Shown(shown));
        }
        Ok(())
    }

    fn is_altered(&mut self, user: &UserId, by: Option<UserId>, before: Before) {
        // What was before the first change counts, and the last must be on disk.
        let altered = self.presences.altered.entry((user.clone(), by)).or_insert((before, 0));
        altered.1 = self.sealed + 1;
    }

    /// Tells what has changed since the last tick.
    pub(super) async fn tell_presence(&mut self) -> Result<(), StoreError> {
        let (now, mut rows) = (Instant::now(), 0);
        let mut news = News::new();
        while rows < ROWS_PER_TICK
            && let Some((user, minute)) = self.presences.damping.next_gone(now)
        {
            if !self.presences.here.contains_key(&user) {
                let presence = self.offline_since(minute);
                rows += ROWS_PER_USER + self.tell(&user, &presence, &mut news).await?;
            }
        }
        while rows < ROWS_PER_TICK
            && let Some(user) = self.presences.damping.next_came()
        {
            if self.presences.here.contains_key(&user) {
                // A crash must not make it look as if it had not been there.
                self.note_last_seen(&user, self.minute());
                rows += ROWS_PER_USER + self.tell(&user, &online(), &mut news).await?;
            }
        }
        let confirmed = self.confirmed;
        while rows < ROWS_PER_TICK
            && let Some(((user, by), before)) = self.presences.next_altered(confirmed)
        {
            rows += ROWS_PER_USER + self.tell_again(&user, by, before, &mut news).await?;
        }
        for (lane, told) in news {
            self.send_to_lane(lane, People::Told(self.number, told));
        }
        self.look_around(now, ROWS_PER_TICK).await
    }

    fn offline_since(&self, minute: u64) -> client::Presence {
        let minutes = self.minute().saturating_sub(minute) + 1;
        client::Presence { last_seen_plus_one_min: u32::try_from(minutes).unwrap_or(u32::MAX), ..Default::default() }
    }

    /// Tells those who watch the user and may see it. Returns how many watch.
    async fn tell(&mut self, user: &UserId, presence: &client::Presence, news: &mut News) -> Result<usize, StoreError> {
        // Most have no watchers: it takes two keys to know, and no scan.
        let found = self.store.multi_get(&[keys::profile(user), keys::watched(user)]).await?;
        let audience = audience_of(user, found.first().and_then(Option::as_deref));
        if audience == client::Audience::Nobody || found.last().is_none_or(Option::is_none) {
            return Ok(0);
        }
        let watchers = self.watchers(user).await?;
        let may_see = self.may_see(user, audience, &watchers).await?;
        let rows = watchers.len();
        let seeing = watchers.into_iter().zip(may_see).filter_map(|(watcher, sees)| sees.then_some(watcher));
        self.gather(user, presence, seeing, news);
        Ok(rows)
    }

    /// Tells those who may see the user and could not before, and those who could and may not any more. Whoever never could
    /// hears nothing: not even that it is there.
    async fn tell_again(
        &mut self,
        user: &UserId,
        by: Option<UserId>,
        before: Before,
        news: &mut News,
    ) -> Result<usize, StoreError> {
        if !self.presences.shows_online(user) {
            return Ok(0);
        }
        let watchers = match by {
            None => self.watchers(user).await?,
            Some(by) => {
                let watches = self.store.multi_get(&[keys::watcher(user, &by)]).await?.pop().flatten();
                watches.map(|_| by).into_iter().collect()
            }
        };
        let audience = self.audience(user).await?;
        let may_see = self.may_see(user, audience, &watchers).await?;
        let could_see = match before {
            Before::Shown(shown) => vec![shown; watchers.len()],
            Before::To(audience) => self.may_see(user, audience, &watchers).await?,
        };
        let changed = |from: bool, to: bool| {
            let all = watchers.iter().zip(could_see.iter().zip(&may_see));
            all.filter(move |(_, (could, may))| (**could, **may) == (from, to)).map(|(watcher, _)| watcher.clone())
        };
        self.gather(user, &online(), changed(false, true), news);
        self.gather(user, &client::Presence::default(), changed(true, false), news);
        Ok(watchers.len())
    }

    fn gather(&self, user: &UserId, presence: &client::Presence, to: impl Iterator<Item = UserId>, news: &mut News) {
        let payload: Bytes = presence.encode_to_vec().into();
        let mut by_lane = BTreeMap::<_, Vec<_>>::new();
        to.for_each(|watcher| by_lane.entry(self.lane_of(&watcher)).or_default().push(watcher));
        for (lane, to) in by_lane {
            news.entry(lane).or_default().push(Told { user: user.clone(), payload: payload.clone(), to });
        }
    }

    /// Users who have this one as a contact.
    async fn watchers(&mut self, user: &UserId) -> Result<Vec<UserId>, StoreError> {
        let (from, to) = keys::watchers_after(user, None);
        let rows = self.store.scan(Table::Directory, &from, &to, WATCHERS_MAX, usize::MAX).await?;
        Ok(rows.iter().filter_map(|(key, _)| keys::parse_second_user(key)).collect())
    }

    /// News of users of a lane.
    pub(super) fn hear(&mut self, lane: u32, told: Vec<Told>) {
        for Told { user, payload, to } in told {
            to.iter().for_each(|watcher| self.show(watcher, Showing::News(lane), &user, &payload));
        }
    }

    /// Hands what is known of a user to devices of a watcher that listen.
    fn show(&mut self, to: &UserId, showing: Showing, of: &UserId, payload: &Bytes) {
        let bound = |device| (to.clone(), DeviceId::new(device));
        for ((_, device), silent) in self.presences.listeners.range(bound(0)..=bound(u64::MAX)) {
            let concerned = match showing {
                Showing::News(lane) => silent & bit(lane) == 0,
                Showing::To(only) => only == *device,
                Showing::ToAll => true,
            };
            if !concerned {
                continue;
            }
            let session = self.sessions.get(device);
            let Some(connection) = session.and_then(|session| session.connection.as_ref()) else { continue };
            let deliver = bus::Deliver {
                shape: bus::Shape::Presence.into(),
                payload: payload.clone(),
                sender: of.to_string(),
                ..Default::default()
            };
            self.edges.push(connection.key, Frame::Deliver(deliver));
        }
    }

    /// A contact of a user of this lane is not shown to it any more.
    pub(super) fn is_not_shown(&mut self, to: &UserId, contact: &UserId) {
        self.show(to, Showing::ToAll, contact, &client::Presence::default().encode_to_vec().into());
    }

    /// A device is connected and has these filters now. `attached_again`: by its edge, without its client's doing.
    pub(super) fn listens(&mut self, device: DeviceId, attached_again: bool) {
        let Some(session) = self.sessions.get(&device) else { return };
        let presences = &mut self.presences;
        if !session.filters.contains(Filters::PRESENCE) {
            presences.listeners.remove(&(session.user.clone(), device));
        } else if let Entry::Vacant(vacant) = presences.listeners.entry((session.user.clone(), device)) {
            vacant.insert(if attached_again { 0 } else { u64::MAX });
            // If its edge did it: by then its contacts are attached again too, or gone.
            let later = attached_again.then(|| Instant::now() + 2 * self.settings.offline_after);
            presences.looking.push(device, later);
        }
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
enum Showing {
    /// Those that have heard from this lane which of its users are online.
    News(u32),
    /// This one.
    To(DeviceId),
    /// All that listen.
    ToAll,
}

/// A lane, of which there are up to 64.
fn bit(lane: u32) -> u64 {
    1 << lane
}

fn online() -> client::Presence {
    client::Presence { online: true, ..Default::default() }
}
