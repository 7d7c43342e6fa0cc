//! The registrar: one task that owns all codes and what is counted about them. It answers when what it did is on disk, so
//! that neither a code nor a guess comes back with a restart.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::phone::PhoneNumber;
use godwit_store::record::decoded;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError, Table, Write, keys};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::code::{self, CodeRecord};
use super::courier::Sms;
use super::limits::RegistrationCounts;
use super::{RegistrationAsk, RegistrationRefusal, RegistrationSettings};
use crate::messages::{Commit, LaneHandle};
use crate::metrics::RegistrationMetrics;
use crate::phone;
use crate::writes;

/// How often it looks for codes that are too old.
const SWEEP: Duration = Duration::from_secs(60);
/// Codes that it looks at at once.
const ROWS: usize = 1_000;

/// What the registrar is made of.
pub(crate) struct RegistrarParts {
    pub(crate) settings: RegistrationSettings,
    pub(crate) time: Time,
    pub(crate) asks: mpsc::Receiver<RegistrationAsk>,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) lanes: Arc<[LaneHandle]>,
    /// What codes are hashed with.
    pub(crate) key: [u8; 32],
    pub(crate) metrics: Arc<RegistrationMetrics>,
}

/// The task that owns all registration codes.
pub(crate) struct Registrar<S> {
    parts: RegistrarParts,
    store: S,
    counts: RegistrationCounts,
    now_s: u32,
}

impl<S: Store> Registrar<S> {
    pub(crate) fn new(parts: RegistrarParts, store: S) -> Self {
        let RegistrationSettings { limits, tries, .. } = &parts.settings;
        let (counts, now_s) = (RegistrationCounts::new(*limits, *tries), parts.time.now_s());
        Self { parts, store, counts, now_s }
    }

    /// Runs until the lanes are gone, or the store fails.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lanes = self.parts.lanes.clone();
        loop {
            let ask = tokio::select! {
                () = lanes[0].closed() => return Ok(()),
                ask = self.parts.asks.recv() => ask,
                _ = sweep.tick() => {
                    self.sweep().await?;
                    continue;
                }
            };
            let Some(RegistrationAsk { number, from, code, reply }) = ask else { return Ok(()) };
            self.now_s = self.now_s.max(self.parts.time.now_s());
            let answer = match code {
                Some(code) => self.verify(number, &code, from).await?,
                None => self.send(number, from).await?,
            };
            if let Err(RegistrationRefusal::TooOften { .. }) = answer {
                self.parts.metrics.too_often.increment();
            }
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }

    /// Sends a new code; the one before is void. Nothing here knows whether anybody has the number.
    async fn send(
        &mut self,
        number: PhoneNumber,
        from: Option<IpAddr>,
    ) -> Result<Result<(), RegistrationRefusal>, StoreError> {
        let hash = phone::hash(number);
        if let Err(wait_s) = self.counts.ask(&hash, from, self.now_s) {
            return Ok(Err(RegistrationRefusal::TooOften { wait_s }));
        }
        let RegistrationSettings { code_digits, code_ttl_s, tries, .. } = self.parts.settings;
        let code = match code::draw(code_digits) {
            Ok(code) => code,
            Err(error) => return Ok(Err(RegistrationRefusal::NoRandomness(error.to_string()))),
        };
        let record = CodeRecord {
            hash: code::hash(&self.parts.key, &hash, &code).to_vec(),
            expires_at_s: self.now_s.saturating_add(code_ttl_s),
            tries_left: tries,
        };
        self.commit(vec![writes::put(keys::code(&hash), &record)]).await?;
        self.parts.settings.courier.send(Sms { number, code });
        self.parts.metrics.codes.increment();
        Ok(Ok(()))
    }

    /// Whether this is the code that was sent last. Each answer costs a read and a write, whatever there is to read.
    async fn verify(
        &mut self,
        number: PhoneNumber,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<Result<(), RegistrationRefusal>, StoreError> {
        if let Err(wait_s) = self.counts.guess(from, self.now_s) {
            return Ok(Err(RegistrationRefusal::TooOften { wait_s }));
        }
        let hash = phone::hash(number);
        let stored = self.store.multi_get(&[keys::code(&hash)]).await?.pop().flatten();
        let kept = stored.and_then(|value| decoded::<CodeRecord>("code", &"registration", &value));
        let (right, after) = code::judge(kept, &code::hash(&self.parts.key, &hash, code), self.now_s);
        let write = match after {
            Some(record) => writes::put(keys::code(&hash), &record),
            None => writes::set(keys::code(&hash), None),
        };
        self.commit(vec![write]).await?;
        let metrics = &self.parts.metrics;
        if right { &metrics.verified } else { &metrics.wrong_codes }.increment();
        Ok(if right { Ok(()) } else { Err(RegistrationRefusal::WrongCode) })
    }

    /// Removes codes that are too old.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        self.now_s = self.now_s.max(self.parts.time.now_s());
        self.counts.sweep(self.now_s);
        if !self.parts.time.may_delete() {
            return Ok(());
        }
        let store = self.store.clone();
        let mut pages = store.pages(Table::Directory, keys::codes(), ROWS);
        while let Some(rows) = pages.next().await? {
            let is_old = |value: &bytes::Bytes| {
                decoded::<CodeRecord>("code", &"registration", value).is_none_or(|it| it.expires_at_s <= self.now_s)
            };
            let old = rows.iter().filter(|(_, value)| is_old(value));
            let deletions: Vec<_> = old.map(|(key, _)| Write::Delete(Table::Directory, key.to_vec())).collect();
            if !deletions.is_empty() {
                self.commit(deletions).await?;
            }
        }
        Ok(())
    }

    /// Returns when it is on disk.
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        let then: crate::messages::Continuation = Box::new(move || {
            let _ = tell.send(());
        });
        let commit = Commit { writes, durable: true, then: Some(then), ..Commit::default() };
        let gone = || StoreError { doing: "commit", cause: "the committer has ended".to_owned() };
        self.parts.committer.send(commit).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())
    }
}
