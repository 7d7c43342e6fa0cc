//! The thread that owns the ledger. Jobs that have gathered while a disk was busy are committed together: many sends
//! share one fsync. Nobody is answered before the commit.

use std::iter;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::Ledger;
use crate::error::Error;
use crate::store::LocalStoreError;

/// Jobs in one commit.
const BATCH: usize = 256;
/// Jobs that wait; callers wait behind a full queue, inside their call.
const QUEUE: usize = 1_024;

/// What is to be done, and then, after the commit, who is to be told.
type LedgerJob = Box<dyn FnOnce(&mut Ledger) -> Result<JobReply, LocalStoreError> + Send>;
type JobReply = Box<dyn FnOnce(Result<(), LocalStoreError>) + Send>;

/// The thread that owns the ledger, and the way to give it jobs. It ends when this is dropped, after the jobs it was given.
#[derive(Debug)]
pub(crate) struct LedgerThread {
    jobs: Mutex<Option<mpsc::Sender<LedgerJob>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl LedgerThread {
    pub(crate) fn start(ledger: Ledger) -> Result<Arc<Self>, LocalStoreError> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("godwit-ledger".to_owned()).spawn(move || run(ledger, jobs));
        let thread = thread.map_err(|error| LocalStoreError::new("start the store's thread", error))?;
        Ok(Arc::new(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) }))
    }

    /// Does something and waits until it is committed. If the caller goes away, it is done all the same.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Ledger) -> Result<R, LocalStoreError> + Send + 'static,
    ) -> Result<R, Error> {
        let (sender, answer) = oneshot::channel();
        let job: LedgerJob = Box::new(move |ledger| {
            let done = match job(ledger) {
                Ok(done) => done,
                Err(error) => {
                    // Whoever went away needs no answer.
                    _ = sender.send(Err(error.clone()));
                    return Err(error);
                }
            };
            Ok(Box::new(move |committed| _ = sender.send(committed.map(|()| done))))
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)?;
        jobs.send(job).await.map_err(|_| Error::Closed)?;
        Ok(answer.await.map_err(|_| Error::Closed)??)
    }

    /// No more jobs; returns when the store is closed. Blocks for as long as a commit takes.
    pub(crate) fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of a store is one of the app's, and was shown.
            _ = thread.join();
        }
    }
}

fn run(mut ledger: Ledger, mut jobs: mpsc::Receiver<LedgerJob>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut told = Vec::new();
        let mut failed = None;
        let more = iter::from_fn(|| jobs.try_recv().ok());
        for job in iter::once(first).chain(more).take(BATCH) {
            match job(&mut ledger) {
                Ok(tell) => told.push(tell),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let committed = match failed {
            None => ledger.commit(),
            Some(error) => Err(error),
        };
        if let Err(error) = &committed {
            tracing::warn!(%error, "the client's store failed");
            if let Err(error) = ledger.rollback() {
                tracing::error!(%error, "the client's store is of no use any more");
                return;
            }
        }
        for tell in told {
            tell(committed.clone());
        }
    }
}
