//! Connections and sessions of devices: who is connected, how it was let in, and when it is shown out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;
use godwit_core::event::DomainEvent;
use godwit_core::reply_to::ConnectionKey;
use godwit_core::stored::SessionRecord;
use godwit_schemas::bus;
use godwit_schemas::ids::DeviceId;
use godwit_schemas::ids::UserId;

use self::revocation::Revocations;
use self::session::Session;
use crate::lane::connection::session::SessionConnection;
use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Write, keys};

pub(in crate::lane) mod authenticate;
pub(in crate::lane) mod connect;
pub(in crate::lane) mod disconnect;
pub(in crate::lane) mod dismiss;
pub(in crate::lane) mod renew;
pub(in crate::lane) mod revocation;
pub(in crate::lane) mod session;
pub(in crate::lane) mod subscribe;
pub(in crate::lane) mod tokens;

/// Connections of this lane's devices, and the sessions that are in memory.
pub(in crate::lane) struct Connections {
    pub(in crate::lane) sessions: HashMap<DeviceId, Session, FixedState>,
    by_key: HashMap<ConnectionKey, DeviceId, FixedState>,
    /// When connections end whose token does.
    ends: BTreeSet<(u32, ConnectionKey)>,
    /// Connections that wait until all lanes know their device as it is.
    arriving: BTreeMap<ConnectionKey, bus::Connect>,
    /// Devices that may be forgotten once their record is on disk.
    leaving: Vec<DeviceId>,
    /// Devices whose session record is to be written.
    dirty: BTreeSet<DeviceId>,
    pub(in crate::lane) revocations: Revocations,
    /// Connections made before this start have a lower rank.
    first_rank: u64,
    last_rank: u64,
}

impl Connections {
    /// How many there are.
    pub(in crate::lane) fn count(&self) -> usize {
        self.by_key.len()
    }

    /// The device of a connection that is there.
    pub(in crate::lane) fn device_of(&self, key: ConnectionKey) -> Option<DeviceId> {
        self.by_key.get(&key).copied()
    }

    /// A connection of this rank was made before this start.
    pub(in crate::lane) fn is_from_before(&self, rank: u64) -> bool {
        rank < self.first_rank
    }

    /// The device's session record is written with the next commit.
    pub(in crate::lane) fn must_write(&mut self, device: DeviceId) {
        self.dirty.insert(device);
    }

    /// All changed session records are written with the next commit.
    pub(in crate::lane) fn write_all_changed(&mut self) {
        let changed = self.sessions.iter().filter(|(_, session)| session.is_changed()).map(|(device, _)| *device);
        self.dirty.extend(changed);
    }

    /// There are session records to write.
    pub(in crate::lane) fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// `first_rank`: the lowest that this start gives. `seed`: of hashing.
    pub(in crate::lane) fn new(first_rank: u64, seed: u64) -> Self {
        Self {
            sessions: HashMap::with_hasher(FixedState::with_seed(seed)),
            by_key: HashMap::with_hasher(FixedState::with_seed(seed)),
            ends: BTreeSet::new(),
            arriving: BTreeMap::new(),
            leaving: Vec::new(),
            dirty: BTreeSet::new(),
            revocations: Revocations::default(),
            first_rank,
            last_rank: first_rank,
        }
    }

    /// Brings the session into memory.
    pub(in crate::lane) async fn session<S: Store>(
        &mut self,
        context: &Context<S>,
        user: UserId,
        device: DeviceId,
    ) -> Result<(), StoreError> {
        if let Entry::Vacant(vacant) = self.sessions.entry(device) {
            let stored = context.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
            let record = stored.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
            vacant.insert(Session::new(user, device, record.unwrap_or_default()));
        }
        Ok(())
    }

    /// The rank of a connection. `None`: an edge attaches it again, and the client itself has connected since on another
    /// edge, of which the first has not heard yet.
    pub(in crate::lane) fn rank_of(&mut self, device: DeviceId, connect: &bus::Connect) -> Option<u64> {
        let known = self.sessions.get(&device).map_or(0, Session::rank);
        match &connect.resume {
            Some(resume) => Some(resume.rank).filter(|rank| *rank >= known),
            None => {
                // A store brought back from a copy may know fewer starts than there were.
                self.last_rank = (self.last_rank + 1).max(known + 1);
                Some(self.last_rank)
            }
        }
    }

    pub(in crate::lane) fn note_end(&mut self, round: &mut Round, user: UserId, ended: &SessionConnection) {
        if let Some(ends_at_s) = ended.ends_at_s {
            self.ends.remove(&(ends_at_s, ended.key));
        }
        let down = ended.name.clone().map(|device| DomainEvent::Session { user, device, up: false });
        round.note_all(down);
    }

    /// Forgets a session without a connection, now or when nothing of it is under way any more.
    pub(in crate::lane) fn settle_departure(&mut self, round: &Round, device: DeviceId) {
        self.note_change(device);
        match self.sessions.get(&device) {
            Some(session) if session.may_go(round.confirmed()) => {
                self.sessions.remove(&device);
            }
            Some(_) => self.leaving.push(device),
            None => {}
        }
    }

    /// Forgets sessions that had something under way and have no more.
    pub(in crate::lane) fn forget_the_departed(&mut self, round: &Round) {
        let (sessions, confirmed) = (&mut self.sessions, round.confirmed());
        self.leaving.retain(|device| match sessions.get(device) {
            Some(session) if session.may_go(confirmed) => {
                sessions.remove(device);
                false
            }
            Some(session) => session.connection.is_none(),
            None => false,
        });
    }

    /// Sees to it that a changed session is written.
    pub(in crate::lane) fn note_change(&mut self, device: DeviceId) {
        if self.sessions.get(&device).is_some_and(Session::is_changed) {
            self.dirty.insert(device);
        }
    }

    pub(in crate::lane) fn write_sessions(&mut self, round: &Round, out: &mut Vec<Write>) {
        let ticket = round.next_ticket();
        for device in std::mem::take(&mut self.dirty) {
            if let Some(session) = self.sessions.get_mut(&device) {
                out.push(writes::put(keys::session(device), session.write(ticket)));
            }
        }
    }
}
