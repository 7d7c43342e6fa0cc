//! What everybody in a run shares.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::plan::{Plan, Turmoil};
use crate::record::Record;
use crate::server::Server;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Arc<Plan>,
    pub(crate) turmoil: Turmoil,
    pub(crate) record: Record,
    pub(crate) server: Server,
    /// Names of all users.
    pub(crate) users: Arc<Mutex<Vec<String>>>,
    /// Groups that anybody has heard of: those who are not in them may try.
    pub(crate) groups: Arc<Mutex<BTreeSet<u64>>>,
    pub(crate) tasks: Arc<Mutex<Vec<AbortOnDropHandle<()>>>>,
}

impl World {
    /// Runs a task for as long as the run lasts.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(AbortOnDropHandle::new(tokio::spawn(task)));
    }
}
