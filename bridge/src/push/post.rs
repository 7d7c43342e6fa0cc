//! How lanes tell the pusher that it should look at a device. A lane never waits, and a device that is pushed nowhere costs it
//! one load: all registered devices are in a filter of fixed size. What the filter takes for registered and is not, the pusher
//! finds out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use godwit_schemas::ids::{DeviceId, Order};
use tokio::sync::mpsc;

/// Bits of the filter: 1 MiB. With a million registered devices it is wrong about one in eight of the others.
const BITS: u64 = 1 << 23;

/// What a lane tells the pusher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushMail {
    /// Something may wait for a device that is not connected.
    Waits(DeviceId),
    /// A connected device was handed this entry: look whether it acknowledges it.
    HandedOut(DeviceId, Order),
    /// It has just been set where the device is pushed.
    Set(DeviceId),
    /// An entry was recalled that the device had not fetched.
    TakenBack(DeviceId, Order),
}

/// What lanes and pusher share.
#[derive(Debug)]
pub(super) struct Known {
    registered: Box<[AtomicU64]>,
    /// A mail found the pusher's queue full.
    lost: AtomicBool,
}

impl Known {
    fn new() -> Self {
        let words = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { registered: words, lost: AtomicBool::new(false) }
    }

    /// The device may be registered from now on. Whoever reads its inbox after that finds all that no lane has told of: hence
    /// the strict order, here and in [`Self::may_be_registered`].
    pub(super) fn register(&self, device: DeviceId) {
        let (word, bit) = Self::place(device);
        self.registered[word].fetch_or(bit, Ordering::SeqCst);
    }

    fn may_be_registered(&self, device: DeviceId) -> bool {
        let (word, bit) = Self::place(device);
        self.registered[word].load(Ordering::SeqCst) & bit != 0
    }

    fn place(device: DeviceId) -> (usize, u64) {
        let spread = device.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let bit = spread % BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    /// Mails were lost since this was asked last.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }
}

/// A lane's way to the pusher. Cheap to clone. The default: nobody is pushed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PushPost(Option<(mpsc::Sender<PushMail>, Arc<Known>)>);

/// The way there, and its end.
pub(super) fn open(queue: usize) -> (PushPost, mpsc::Receiver<PushMail>, Arc<Known>) {
    let (sender, mail) = mpsc::channel(queue);
    let known = Arc::new(Known::new());
    (PushPost(Some((sender, known.clone()))), mail, known)
}

impl PushPost {
    /// Something may wait for a device that is not connected.
    pub(crate) fn waits(&self, device: DeviceId) {
        self.post(device, PushMail::Waits(device));
    }

    /// A connected device was handed an entry. True: the pusher will ask what has become of it.
    pub(crate) fn handed_out(&self, device: DeviceId, order: Order) -> bool {
        self.post(device, PushMail::HandedOut(device, order))
    }

    /// An entry was recalled.
    pub(crate) fn taken_back(&self, device: DeviceId, order: Order) {
        self.post(device, PushMail::TakenBack(device, order));
    }

    /// It is on disk where the device is pushed.
    pub(crate) fn set(&self, device: DeviceId) {
        if let Some((_, known)) = &self.0 {
            known.register(device);
        }
        self.post(device, PushMail::Set(device));
    }

    /// The pusher's queue, if anybody is pushed.
    pub(crate) fn queue(&self) -> Option<mpsc::WeakSender<PushMail>> {
        self.0.as_ref().map(|(sender, _)| sender.downgrade())
    }

    fn post(&self, device: DeviceId, mail: PushMail) -> bool {
        let Some((sender, known)) = &self.0 else { return false };
        if !known.may_be_registered(device) {
            return false;
        }
        let sent = sender.try_send(mail);
        if matches!(sent, Err(mpsc::error::TrySendError::Full(_))) {
            known.lost.store(true, Ordering::Relaxed);
        }
        sent.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_devices_cost_a_mail_and_a_full_queue_is_remembered() {
        let (post, mut mail, known) = open(1);
        let (phone, other) = (DeviceId::new(65), DeviceId::new(129));
        post.waits(phone);
        assert!(mail.try_recv().is_err(), "not registered");
        post.set(phone);
        assert_eq!(mail.try_recv(), Ok(PushMail::Set(phone)));
        assert!(post.handed_out(phone, Order::new(7)) && !post.handed_out(other, Order::new(7)));
        assert!(!known.take_lost());
        post.waits(phone);
        assert!(known.take_lost() && !known.take_lost());
        PushPost::default().waits(phone);
    }
}
