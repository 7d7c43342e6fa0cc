//! The connection slots of an HTTP listener: how many connections there may be at once, and which one is evicted when there
//! is no free slot.
//!
//! A connection waits either for its client (for a head, for a body, or until an answer is taken) or for the server. A client
//! can make the first wait as long as it likes, so it gives no right to the slot: of the connections that wait for their
//! clients, the one that has waited longest is evicted when another connection needs its slot.
//!
//! Unauthenticated connections are evicted first. They have at most half of the slots, and those of one network at most a
//! quarter. A connection that has shown good credentials counts as authenticated, up to an eighth of the slots for each user.
//! So unauthenticated connections cannot keep each other out for long, and cannot evict authenticated ones.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use godwit_schemas::ids::UserId;
use godwit_schemas::network;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::caller::{ClientAddress, Proxies};

/// No connection is evicted before it has waited this long: the first bytes of a client need some time to arrive.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// Divisors of the number of slots, for the share of each group: at least one slot.
const UNAUTHENTICATED_SHARE: usize = 2;
const NETWORK_SHARE: usize = 4;
const USER_SHARE: usize = 8;

/// Whom an authenticated connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SlotOwner {
    /// Without a limit.
    Administrator,
    User(UserId),
    /// Somebody of this network (by its number) who may do what it does without saying who it is.
    Network(u64),
}

/// Why a connection gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// All slots are taken, and no connection has waited long enough to be evicted.
    Full,
    /// The network has its share already.
    NetworkFull,
}

/// A network has as many requests under way as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The slots of a listener, shared by its connections.
#[derive(Debug)]
pub struct ConnectionSlots {
    max: usize,
    proxies: Proxies,
    table: Mutex<SlotTable>,
    room: Notify,
}

#[derive(Debug, Default)]
struct SlotTable {
    last: u64,
    connections: HashMap<u64, SlotState>,
    unauthenticated: SlotGroup,
    authenticated: SlotGroup,
    /// Unauthenticated connections, by network.
    networks: HashMap<u64, SlotGroup>,
    owners: HashMap<SlotOwner, usize>,
    /// Requests under way that proxies have forwarded, by network of the client.
    requests: HashMap<u64, usize>,
}

#[derive(Debug, Default)]
struct SlotGroup {
    count: usize,
    /// Connections that wait for their clients, with the time since when.
    waiting: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct SlotState {
    network: Option<u64>,
    owner: Option<SlotOwner>,
    /// Since when it waits for its client; `None`: it waits for the server.
    waits_since: Option<Instant>,
    /// Network of the client whose request a proxy has forwarded.
    request_of: Option<u64>,
    evicted: CancellationToken,
}

/// Tells the slots what its connection does. Cheap to clone; does not keep the slot.
#[derive(Debug, Clone)]
pub struct SlotHandle {
    slots: Arc<ConnectionSlots>,
    id: u64,
    peer: Option<IpAddr>,
    by_proxy: bool,
    evicted: CancellationToken,
}

/// A connection's slot, released when it is dropped.
#[derive(Debug)]
pub struct HttpConnectionSlot(SlotHandle);

impl ConnectionSlots {
    /// `max` slots. Of requests that come from `proxies`, the header says who the client is.
    pub fn new(max: usize, proxies: Proxies) -> Arc<Self> {
        Arc::new(Self { max, proxies, table: Mutex::default(), room: Notify::new() })
    }

    /// How many connections there are.
    pub fn taken(&self) -> usize {
        self.table().connections.len()
    }

    /// Takes a slot for a connection from `peer`, evicting another connection if it must.
    pub(super) fn acquire(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<HttpConnectionSlot, NoSlot> {
        let by_proxy = peer.is_some_and(|peer| self.proxies.are(peer));
        let network = peer.filter(|_| !by_proxy).and_then(network::number);
        let now = Instant::now();
        let mut table = self.table();
        if let Some(freed) = self.slot_to_free(&table, network, now)?
            && let Some(mut state) = table.remove(freed)
        {
            table.end_request(&mut state);
            state.evicted.cancel();
        }
        table.last += 1;
        let (id, evicted) = (table.last, CancellationToken::new());
        let state =
            SlotState { network, owner: None, waits_since: Some(now), request_of: None, evicted: evicted.clone() };
        table.insert(id, state);
        Ok(HttpConnectionSlot(SlotHandle { slots: self.clone(), id, peer, by_proxy, evicted }))
    }

    /// Which connection is to be evicted, if none is free.
    fn slot_to_free(&self, table: &SlotTable, network: Option<u64>, now: Instant) -> Result<Option<u64>, NoSlot> {
        let longest = |of: &SlotGroup| of.waiting.first().filter(|(since, _)| *since + GRACE <= now).map(|(_, id)| *id);
        if let Some(same_network) = network.and_then(|network| table.networks.get(&network))
            && same_network.count >= self.share(NETWORK_SHARE)
        {
            return longest(same_network).map(Some).ok_or(NoSlot::NetworkFull);
        }
        if table.unauthenticated.count >= self.share(UNAUTHENTICATED_SHARE) {
            return longest(&table.unauthenticated).map(Some).ok_or(NoSlot::Full);
        }
        if table.connections.len() >= self.max {
            return longest(&table.unauthenticated)
                .or_else(|| longest(&table.authenticated))
                .map(Some)
                .ok_or(NoSlot::Full);
        }
        Ok(None)
    }

    fn share(&self, part: usize) -> usize {
        (self.max / part).max(1)
    }

    /// Returns when another attempt to take a slot may succeed.
    pub(super) async fn room(&self) {
        _ = tokio::time::timeout(GRACE, self.room.notified()).await;
    }

    fn table(&self) -> MutexGuard<'_, SlotTable> {
        // Nothing in here can panic half way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    fn insert(&mut self, id: u64, state: SlotState) {
        let waits = state.waits_since.map(|since| (since, id));
        let enter = |group: &mut SlotGroup| {
            group.count += 1;
            group.waiting.extend(waits);
        };
        match &state.owner {
            Some(owner) => {
                enter(&mut self.authenticated);
                *self.owners.entry(owner.clone()).or_default() += 1;
            }
            None => {
                enter(&mut self.unauthenticated);
                state.network.into_iter().for_each(|network| enter(self.networks.entry(network).or_default()));
            }
        }
        self.connections.insert(id, state);
    }

    fn remove(&mut self, id: u64) -> Option<SlotState> {
        let state = self.connections.remove(&id)?;
        let waits = state.waits_since.map(|since| (since, id));
        let leave = |group: &mut SlotGroup| {
            group.count -= 1;
            waits.iter().for_each(|it| _ = group.waiting.remove(it));
            group.count == 0
        };
        match &state.owner {
            Some(owner) => {
                leave(&mut self.authenticated);
                decrement(&mut self.owners, owner);
            }
            None => {
                leave(&mut self.unauthenticated);
                if let Some(network) = state.network
                    && self.networks.get_mut(&network).is_some_and(leave)
                {
                    self.networks.remove(&network);
                }
            }
        }
        Some(state)
    }

    /// The request that a proxy has forwarded, if there was one, is over.
    fn end_request(&mut self, state: &mut SlotState) {
        state.request_of.take().iter().for_each(|network| decrement(&mut self.requests, network));
    }
}

fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl SlotHandle {
    /// The head of a request has come. Returns where it is from. Requests of a proxy are of different clients: the connection
    /// counts as unauthenticated again.
    ///
    /// # Errors
    /// Proxies have forwarded as many requests of this network as it may have slots.
    pub fn begin_request(&self, headers: &HeaderMap) -> Result<ClientAddress, TooMany> {
        let caller = self.slots.proxies.caller(self.peer, headers);
        let Some(network) = caller.0.filter(|_| self.by_proxy).and_then(network::number) else { return Ok(caller) };
        let most = self.slots.share(NETWORK_SHARE);
        let mut admitted = true;
        self.change(|table, state| {
            state.owner = None;
            table.end_request(state);
            let under_way = table.requests.entry(network).or_default();
            admitted = *under_way < most;
            if admitted {
                *under_way += 1;
                state.request_of = Some(network);
            }
        });
        if admitted { Ok(caller) } else { Err(TooMany) }
    }

    /// From now on the connection waits for the server, and is not evicted.
    pub fn waits_for_server(&self) {
        self.change(|_, state| state.waits_since = None);
    }

    /// From now on the connection waits for its client.
    pub fn waits_for_client(&self) {
        self.change(|_, state| state.waits_since = Some(Instant::now()));
    }

    /// The answer is ready: from now on the connection waits for its client to take it.
    pub(super) fn is_answered(&self) {
        self.change(|table, state| {
            table.end_request(state);
            state.waits_since = Some(Instant::now());
        });
    }

    /// The request has shown the administrator's token.
    pub fn is_administrator(&self) {
        self.authenticate(SlotOwner::Administrator);
    }

    /// The request has shown good credentials of this user.
    pub(super) fn is_user(&self, user: &UserId) {
        self.authenticate(SlotOwner::User(user.clone()));
    }

    /// The request has proved that it may do what it does (by a signed link), without saying whose it is. Connections from this
    /// machine have no limit.
    pub fn is_authorized(&self, caller: ClientAddress) {
        self.authenticate(caller.0.and_then(network::number).map_or(SlotOwner::Administrator, SlotOwner::Network));
    }

    /// Beyond the share of its owner the connection stays unauthenticated.
    fn authenticate(&self, owner: SlotOwner) {
        self.change(|table, state| {
            let others = table.owners.get(&owner).copied().unwrap_or(0);
            let has_room = match &owner {
                SlotOwner::Administrator => true,
                SlotOwner::User(_) => others < self.slots.share(USER_SHARE),
                SlotOwner::Network(_) => others < self.slots.share(NETWORK_SHARE),
            };
            state.owner = has_room.then_some(owner);
        });
        self.slots.room.notify_one();
    }

    /// Changes the state of the connection, unless it was evicted.
    fn change(&self, how: impl FnOnce(&mut SlotTable, &mut SlotState)) {
        let mut table = self.slots.table();
        let Some(mut state) = table.remove(self.id) else { return };
        how(&mut table, &mut state);
        table.insert(self.id, state);
    }

    /// Returns when the connection is evicted: it must end.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl HttpConnectionSlot {
    /// Tells the slots what the connection does.
    pub fn handle(&self) -> &SlotHandle {
        &self.0
    }
}

impl Drop for HttpConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.0.slots.table();
        if let Some(mut state) = table.remove(self.0.id) {
            table.end_request(&mut state);
        }
        drop(table);
        self.0.slots.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::super::caller::ProxyHeader;
    use super::*;

    fn slots(max: usize) -> Arc<ConnectionSlots> {
        ConnectionSlots::new(max, Proxies::new(ProxyHeader::XForwardedFor, |addr| addr.to_string() == "10.0.0.1"))
    }

    fn at(addr: &str) -> Option<IpAddr> {
        Some(addr.parse().unwrap())
    }

    fn said(addr: &str) -> HeaderMap {
        [("x-forwarded-for".parse().unwrap(), addr.parse().unwrap())].into_iter().collect()
    }

    fn has_gone(slot: &HttpConnectionSlot) -> bool {
        slot.0.evicted.is_cancelled()
    }

    async fn pass() {
        tokio::time::advance(GRACE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_waited_longest_is_evicted_first() {
        let slots = slots(8);
        let acquire = |last: u8| slots.acquire(at(&format!("192.0.2.{last}")));
        let mut there = Vec::new();
        for last in 1..=4 {
            there.push(acquire(last).unwrap());
            tokio::time::advance(GRACE / 10).await;
        }
        assert_eq!(acquire(5).unwrap_err(), NoSlot::Full, "they have just come");
        pass().await;
        there[0].handle().waits_for_server();
        there.push(acquire(5).unwrap());
        assert_eq!(there.iter().map(has_gone).collect::<Vec<_>>(), [false, true, false, false, false]);
        // What it was told of comes too late.
        there[1].handle().is_administrator();
        there.remove(1);
        there[0].handle().waits_for_client();
        pass().await;
        there.push(acquire(6).unwrap());
        assert_eq!(there.iter().map(has_gone).collect::<Vec<_>>(), [false, true, false, false, false]);
        drop(there);
        let table = slots.table();
        assert!(table.connections.is_empty() && table.networks.is_empty() && table.unauthenticated.waiting.is_empty());
        assert_eq!((table.unauthenticated.count, table.authenticated.count), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn authenticated_connections_are_evicted_last() {
        let slots = slots(8);
        let acquire = |last: u8| slots.acquire(at(&format!("192.0.2.{last}")));
        let mut authenticated = Vec::new();
        for (last, name) in (1..).zip(["alice", "bob", "carol", "dave", "eve", "frank"]) {
            let slot = acquire(last).unwrap();
            slot.handle().is_user(&UserId::new(name).unwrap());
            authenticated.push(slot);
        }
        let unauthenticated = [acquire(11).unwrap(), acquire(12).unwrap()];
        pass().await;
        let more = [acquire(13).unwrap(), acquire(14).unwrap()];
        assert!(unauthenticated.iter().all(has_gone) && !authenticated.iter().chain(&more).any(has_gone));
        pass().await;
        more.iter().for_each(|it| it.handle().waits_for_server());
        authenticated[0].handle().waits_for_server();
        let last = acquire(15).unwrap();
        assert_eq!(authenticated.iter().map(has_gone).collect::<Vec<_>>(), [false, true, false, false, false, false]);
        drop((last, authenticated, unauthenticated, more));
        assert!(slots.table().owners.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_and_a_user_have_their_share() {
        let slots = slots(16);
        let same_network: Vec<_> = (0..4).map(|_| slots.acquire(at("2001:db8::1")).unwrap()).collect();
        assert_eq!(slots.acquire(at("2001:db8::2")).unwrap_err(), NoSlot::NetworkFull, "the same /64");
        let others: Vec<_> = (0..4).map(|_| slots.acquire(at("2001:db8:0:1::1")).unwrap()).collect();
        pass().await;
        let another = slots.acquire(at("2001:db8::2")).unwrap();
        assert!(has_gone(&same_network[0]) && !others.iter().any(has_gone), "one of its own");
        let alice = UserId::new("alice").unwrap();
        same_network[1..].iter().for_each(|it| it.handle().is_user(&alice));
        let counts = |table: MutexGuard<'_, SlotTable>| (table.authenticated.count, table.unauthenticated.count);
        assert_eq!(counts(slots.table()), (2, 6), "an eighth is 2");
        others.iter().for_each(|it| it.handle().is_administrator());
        assert_eq!(slots.table().authenticated.count, 6, "the operator has no limit");
        drop(another);
        let local: Vec<_> = (0..8).map(|_| slots.acquire(at("127.0.0.1")).unwrap()).collect();
        assert_eq!(local.len(), 8, "this machine has none by address");
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_requests_are_counted_and_nobody_stays_known() {
        let slots = slots(8);
        let there: Vec<_> = (0..4).map(|_| slots.acquire(at("10.0.0.1")).unwrap()).collect();
        let begin_request =
            |at: usize, addr: &str| there[at].handle().begin_request(&said(addr)).map(|caller| caller.0);
        assert_eq!(begin_request(0, "192.0.2.1"), Ok(at("192.0.2.1")));
        assert_eq!(begin_request(1, "192.0.2.1"), Ok(at("192.0.2.1")));
        assert_eq!(begin_request(2, "192.0.2.1"), Err(TooMany), "two of eight");
        assert_eq!(begin_request(2, "192.0.2.2"), Ok(at("192.0.2.2")));
        there[0].handle().is_administrator();
        assert_eq!(slots.table().authenticated.count, 1);
        there[0].handle().is_answered();
        assert_eq!(begin_request(3, "192.0.2.1"), Ok(at("192.0.2.1")));
        assert_eq!(begin_request(0, "192.0.2.3"), Ok(at("192.0.2.3")));
        assert_eq!(slots.table().authenticated.count, 0, "somebody else by the same connection");
        drop(there);
        assert!(slots.table().requests.is_empty());
    }
}
