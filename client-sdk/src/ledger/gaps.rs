//! Places of a conversation that did not come: they are looked for in the server's history, and only what is not there is
//! told to the app as missing. A gap is kept until that is known, over connections and restarts.

use godwit_schemas::client::{self, Response};
use godwit_schemas::ids::{ConversationId, Seq};
use prost::Message as _;

use super::fill::past;
use super::inbound::Received;
use super::record::{MissingRecord, UnconfirmedEvent};
use super::{Ledger, decoded, keys, tracker_of};
use crate::store::{LocalStoreError, Scan};
use crate::wire;

/// Gaps that are looked for at a time.
const AT_ONCE: usize = 8;

/// The places from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) conversation: ConversationId,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

impl Ledger {
    /// These did not come.
    pub(super) fn look_for(&mut self, gap: Gap) -> Result<(), LocalStoreError> {
        let Gap { conversation, first, last } = gap;
        let record = MissingRecord { conversation: conversation.get(), first: first.get(), last: last.get() };
        self.put(&keys::gap(conversation, first), &record)?;
        self.has_new_gaps = true;
        Ok(())
    }

    /// What is to be looked for, the first of it.
    pub(crate) fn gaps(&mut self) -> Result<Vec<Gap>, LocalStoreError> {
        let (from, to) = keys::above(keys::GAPS, 0);
        let pairs = self.store.scan(&from, &to, Scan::Forward, AT_ONCE)?;
        let gaps = pairs.into_iter().map(|(_, value)| {
            let MissingRecord { conversation, first, last } = decoded(&value)?;
            let conversation = ConversationId::new(conversation);
            Ok(Gap { conversation, first: Seq::new(first), last: Seq::new(last) })
        });
        gaps.collect()
    }

    /// The same, if there is more than when it was asked last.
    pub(crate) fn new_gaps(&mut self) -> Result<Vec<Gap>, LocalStoreError> {
        if std::mem::take(&mut self.has_new_gaps) { self.gaps() } else { Ok(Vec::new()) }
    }

    /// What history has of a gap, or a refusal to say.
    pub(crate) fn fetched(
        &mut self,
        gap: Gap,
        response: Response,
        now_s: u64,
        received: &mut Received,
    ) -> Result<(), LocalStoreError> {
        if self.store.get(&keys::gap(gap.conversation, gap.first))?.is_none() {
            return Ok(());
        }
        self.store.delete(&keys::gap(gap.conversation, gap.first))?;
        // There may be others that wait for their turn.
        self.has_new_gaps = true;
        for event in response.history {
            self.found(gap, event, now_s, received)?;
        }
        // Pages come oldest first; `next` is the last place that was looked at.
        let mut looked_at = gap.last;
        if response.reason == 0 && response.next > 0 && response.next < gap.last.get() {
            looked_at = Seq::new(response.next.max(gap.first.get()));
            self.look_for(Gap { first: Seq::new(looked_at.get() + 1), ..gap })?;
        }
        let record = self.conversation_record(gap.conversation)?;
        for (first, last) in tracker_of(&record).missing {
            let (first, last) = (first.max(gap.first.get()), last.min(looked_at.get()));
            if first <= last {
                self.tell(UnconfirmedEvent::Missing(MissingRecord {
                    conversation: gap.conversation.get(),
                    first,
                    last,
                }))?;
                received.news = true;
            }
        }
        Ok(())
    }

    fn found(
        &mut self,
        gap: Gap,
        event: client::Event,
        now_s: u64,
        received: &mut Received,
    ) -> Result<(), LocalStoreError> {
        let is_of_gap = |at: Seq| (gap.first..=gap.last).contains(&at);
        let payload: bytes::Bytes = event.encode_to_vec().into();
        let mut record = self.conversation_record(gap.conversation)?;
        let found = past(gap.conversation, event, now_s, record.last_received);
        if let Some((sequence, message)) = found.filter(|(at, _)| is_of_gap(*at)) {
            if message.recalled {
                self.take(&mut record, sequence);
                return self.put(&keys::conversation(gap.conversation), &record);
            }
            return self.receive_message(gap.conversation, sequence, &message, received);
        }
        match wire::InboxEvent::parse(payload.clone()) {
            Ok(wire::InboxEvent::Changed { conversation, sequence, by, change })
                if conversation == gap.conversation && is_of_gap(sequence) =>
            {
                if self.take(&mut record, sequence) {
                    #[cfg(feature = "e2ee")]
                    let Some((change, payload)) =
                        self.incoming_change((conversation, sequence, by), change, &payload, &record, now_s)?
                    else {
                        return self.put(&keys::conversation(conversation), &record);
                    };
                    let belief = self.amend((conversation, sequence, by), &mut record, &change)?;
                    self.put(&keys::conversation(conversation), &record)?;
                    self.tell_change(payload, belief)?;
                    received.news = true;
                    // Later changes have been applied already: what is so now is asked for.
                    received.unknown.insert(conversation);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
