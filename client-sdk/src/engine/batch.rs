//! What came on a connection at once and goes into the ledger in one commit.

use bytes::Bytes;
use godwit_schemas::client::{FoundPhone, Opened, Response};
use godwit_schemas::ids::{ConversationId, Seq};
use godwit_schemas::reason::Reason;

use crate::ledger::{Gap, HistoryFill, Ledger, Received, Subscribed};
use crate::network::traffic::Purpose;
use crate::send::{SendId, SendState};
use crate::store::LocalStoreError;
use crate::wire::InboxEvent;

const STRANGE: &str =
    "another copy of this device's store has sent under this number: whether this message was stored is not known";

/// A send that the server has stored.
pub(super) struct AcknowledgedSend {
    pub(super) id: SendId,
    /// Where, if it says so.
    pub(super) at: Option<(ConversationId, Seq)>,
    /// It had stored it before, and all of its count up to this number.
    pub(super) repeated: Option<u64>,
}

/// Packets that were read together, sorted by what the ledger does with them.
#[derive(Default)]
pub(super) struct InboundBatch {
    /// Sends that the server has stored.
    pub(super) stored: Vec<AcknowledgedSend>,
    /// Sends that it does not take, and why.
    pub(super) refused: Vec<(SendId, u8, String)>,
    /// Sends that were sealed in another epoch than this one, which the conversation is in by now, or in one that has to end.
    #[cfg(feature = "e2ee")]
    pub(super) stale: Vec<(SendId, u64)>,
    /// What it knows to be read.
    pub(super) told: Vec<(ConversationId, Seq)>,
    /// What it delivered, parsed and as it came.
    pub(super) deliveries: Vec<(InboxEvent, Bytes)>,
    /// Conversations that it described.
    pub(super) described: Vec<(ConversationId, Opened)>,
    /// The server holds these subscriptions of this device.
    pub(super) subscribed: Option<Subscribed>,
    /// Places that did not come, looked for in history.
    pub(super) fetched: Vec<(Gap, Response)>,
    /// What was before this device.
    pub(super) filled: Vec<(HistoryFill, Response)>,
    /// Who has phone numbers: hashes that were asked for, and whose they are.
    pub(super) phones: Vec<(Vec<Bytes>, Vec<FoundPhone>)>,
    /// To be acknowledged after the commit.
    pub(super) acks: Vec<(u16, Purpose)>,
}

impl InboundBatch {
    /// Nothing of it needs a commit.
    pub(super) fn is_empty(&self) -> bool {
        let nothing = self.stored.is_empty() && self.refused.is_empty() && self.told.is_empty();
        let nothing = nothing && self.deliveries.is_empty() && self.described.is_empty();
        #[cfg(feature = "e2ee")]
        let nothing = nothing && self.stale.is_empty();
        nothing
            && self.fetched.is_empty()
            && self.filled.is_empty()
            && self.phones.is_empty()
            && self.subscribed.is_none()
    }

    /// Returns what changed, and how far those of the `followed` sends are that it concerns.
    pub(super) fn apply(
        self,
        ledger: &mut Ledger,
        now_s: u64,
        followed: &[SendId],
    ) -> Result<(Received, Vec<(SendId, SendState)>), LocalStoreError> {
        let mut concerned: Vec<SendId> = Vec::new();
        let mut news = !self.refused.is_empty() || !self.described.is_empty();
        let mut all = !self.described.is_empty() || !self.filled.is_empty();
        for AcknowledgedSend { id, at, repeated } in self.stored {
            concerned.push(id);
            if let Some(last) = repeated
                && !ledger.is_own_repetition(id, last)?
            {
                concerned.extend(ledger.refused(id, Reason::PACKET_IDENTIFIER_IN_USE.into(), STRANGE)?);
                news = true;
            } else {
                concerned.extend(ledger.stored(id, at)?);
            }
        }
        for (id, reason, text) in self.refused {
            concerned.push(id);
            concerned.extend(ledger.refused(id, reason.into(), &text)?);
        }
        #[cfg(feature = "e2ee")]
        for (id, current) in self.stale {
            ledger.stale(id, current)?;
        }
        for (conversation, up_to) in self.told {
            ledger.read_told(conversation, up_to)?;
        }
        for (conversation, opened) in self.described {
            ledger.described(conversation, opened)?;
        }
        if let Some(subscribed) = self.subscribed {
            ledger.set_subscribed(subscribed)?;
        }
        let mut received = ledger.receive(self.deliveries, now_s)?;
        for (gap, response) in self.fetched {
            ledger.fetched(gap, response, now_s, &mut received)?;
        }
        for (fill, response) in self.filled {
            ledger.filled(fill, response, now_s)?;
        }
        for (asked, found) in self.phones {
            concerned.extend(ledger.phones_found(&asked, &found)?);
        }
        #[cfg(feature = "e2ee")]
        if ledger.new_epochs() {
            received.epochs = true;
            ledger.open_held(&mut received)?;
        }
        received.gaps = ledger.new_gaps()?;
        received.fills = ledger.new_fills()?;
        received.phones = ledger.new_phones()?;
        received.news |= news;
        concerned.extend(&received.placed);
        all |= received.ticked;
        let wanted: Vec<_> = followed.iter().copied().filter(|id| all || concerned.contains(id)).collect();
        let states = ledger.states(&wanted)?;
        Ok((received, states))
    }
}
