//! The state of a client's subscriptions.

use std::collections::VecDeque;

use bytes::BytesMut;
use godwit_schemas::bus;
use godwit_schemas::topic::Filters;

/// Most unanswered SUBSCRIBEs and UNSUBSCRIBEs. When there are so many, nothing more is read from the client.
const UNANSWERED_MAX: usize = 16;

/// The filters that a client is subscribed to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What the client asked for, whether or not the lane has it.
    filters: Filters,
    /// Numbers the changes of the filters.
    last_token: u32,
    /// SUBACKs and UNSUBACKs that wait for the lane, by token, in order.
    unanswered: VecDeque<(u32, Box<[u8]>)>,
}

impl Subscriptions {
    /// The filters that the device's session had already.
    pub(super) fn begin(&mut self, filters: Filters) {
        self.filters = filters;
    }

    pub(super) fn filters(&self) -> Filters {
        self.filters
    }

    /// No answer to the client waits for the lane.
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// So many answers wait for the lane that nothing more may be read.
    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED_MAX
    }

    /// Changes the set of filters. `answer` is kept until the lane has the set. Returns the token of the change.
    pub(super) fn change(&mut self, filters: Filters, answer: Vec<u8>) -> u32 {
        self.last_token = self.last_token.wrapping_add(1);
        self.filters = filters;
        self.unanswered.push_back((self.last_token, answer.into()));
        self.last_token
    }

    /// The lane has the set of filters of this token, which supersedes all earlier ones. Appends the answers to `out`.
    pub(super) fn answered(&mut self, token: u32, out: &mut BytesMut) {
        while let Some((waiting, packet)) = self.unanswered.front()
            && *waiting <= token
        {
            out.extend_from_slice(packet);
            self.unanswered.pop_front();
        }
        if self.unanswered.is_empty() {
            self.unanswered = VecDeque::new();
        }
    }

    /// The last change, if the lane has not answered it.
    pub(super) fn unanswered(&self) -> Option<bus::Subscribe> {
        let (token, _) = self.unanswered.back()?;
        Some(bus::Subscribe { filters: self.filters.bits(), token: *token })
    }
}
