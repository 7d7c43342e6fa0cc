//! `fill`: fills a server from within, as its clients would: groups whose members never come online, and messages to
//! them. All that is stored is so what a server stores.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::control::Control;
use crate::group;
use crate::packet::{self, Packet};
use crate::receiver::Expected;
use crate::sender::LoadSender;
use crate::stream::StreamClient;
use crate::target::Account;
use crate::wire::Clock;

/// Bytes that a stream holds in each direction; a client's buffer.
const BUFFER_BYTES: usize = 16 << 10;
/// Of every message.
const BODY_BYTES: usize = 100;
/// Groups that are filled at once.
const PARALLEL: usize = 64;
/// Unacknowledged messages of a group.
const WINDOW: usize = 100;

/// Puts all accounts into groups; the first of each group sends.
#[derive(Debug, Clone)]
pub struct Fill {
    /// At least two.
    pub group_members: usize,
    /// Inbox entries, at least so many.
    pub entries: u64,
}

/// What was filled.
#[derive(Debug, Clone, Serialize)]
pub struct FillReport {
    /// Users with one device each.
    pub users: usize,
    /// Groups they are in.
    pub groups: usize,
    /// Inbox entries of messages.
    pub entries: u64,
    /// How long it took, without making the accounts.
    pub seconds: f64,
}

struct FillShared {
    accounts: Vec<Account>,
    members: usize,
    messages: u64,
    clock: Clock,
    next_group: AtomicUsize,
    entries: AtomicU64,
}

impl Fill {
    /// `serve` takes the server's end of a stream. When this returns, everything is acknowledged.
    ///
    /// # Errors
    /// A client is refused or disconnected, or the run was stopped.
    pub async fn run(
        &self,
        accounts: Vec<Account>,
        serve: impl Fn(DuplexStream) + Clone + Send + Sync + 'static,
        control: &Control,
    ) -> Result<FillReport> {
        let (users, members) = (accounts.len(), self.group_members);
        let groups = users / members;
        ensure!(members >= 2 && groups >= 1, "needs a group of at least two");
        let messages = self.entries.div_ceil((groups * (members - 1)) as u64);
        let start = Instant::now();
        let (clock, next_group, entries) = (Clock::start(), AtomicUsize::new(0), AtomicU64::new(0));
        let shared = Arc::new(FillShared { accounts, members, messages, clock, next_group, entries });
        let mut fillers = JoinSet::new();
        for _ in 0..PARALLEL.min(groups) {
            fillers.spawn(filler(shared.clone(), groups, serve.clone()));
        }
        while !fillers.is_empty() {
            if let Ok(Some(ended)) = timeout(Duration::from_secs(1), fillers.join_next()).await {
                ended.context("a client has panicked")??;
            } else {
                control.say(&format!("fill: {} of {} entries", shared.entries.load(Relaxed), self.entries));
            }
            ensure!(!control.is_stopped(), "stopped while filling");
        }
        let entries = shared.entries.load(Relaxed);
        Ok(FillReport { users, groups, entries, seconds: start.elapsed().as_secs_f64() })
    }
}

/// Fills one group after the other.
async fn filler(shared: Arc<FillShared>, groups: usize, serve: impl Fn(DuplexStream)) -> Result<()> {
    loop {
        let group = shared.next_group.fetch_add(1, Relaxed);
        if group >= groups {
            return Ok(());
        }
        let (ours, servers) = duplex(BUFFER_BYTES);
        serve(servers);
        let first = group * shared.members;
        let members = &shared.accounts[first..first + shared.members];
        fill_group(&shared, members, ours).await.with_context(|| format!("fill the group of {}", members[0].user))?;
    }
}

async fn fill_group(shared: &FillShared, members: &[Account], stream: DuplexStream) -> Result<()> {
    let mut client = StreamClient::new(stream, BUFFER_BYTES);
    client.connect(&members[0], group::TOPIC).await?;
    group::create(&mut client.out, 1, &members[1..]);
    let (mut conversation, mut stored) = (None, false);
    while conversation.is_none() || !stored {
        client.flush().await?;
        client.wait().await?;
        client.take(|out, packet| {
            stored |= matches!(packet, Packet::Puback(_));
            if let Packet::Publish(publish) = packet {
                publish.packet_id.into_iter().for_each(|packet_id| packet::puback(out, packet_id));
                conversation = conversation.or(group::created(publish.payload, 1)?);
            }
            Ok(())
        })?;
    }
    let topic = format!("send/{}", conversation.unwrap_or_default());
    let mut sender = LoadSender::new(Expected::new(BODY_BYTES).run, 0, &topic, BODY_BYTES);
    let mut acknowledged = 0;
    while acknowledged < shared.messages {
        while sender.next() < shared.messages && sender.has_room(WINDOW) {
            sender.publish(&mut client.out, shared.clock.now());
        }
        client.flush().await?;
        client.wait().await?;
        let before = acknowledged;
        client.take(|_, packet| {
            if let Packet::Puback(identifier) = packet {
                sender.acknowledge(identifier)?;
                acknowledged += 1;
            }
            Ok(())
        })?;
        shared.entries.fetch_add((acknowledged - before) * (members.len() as u64 - 1), Relaxed);
    }
    packet::disconnect(&mut client.out);
    client.flush().await
}

impl fmt::Display for FillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, groups, entries, seconds } = self;
        write!(f, "fill: {entries} inbox entries of {users} users in {groups} groups, in {seconds:.0} s")
    }
}
