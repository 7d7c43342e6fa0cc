//! The MLS group of a conversation, for a device that joins it by itself or has to commit: a page of its tree at a time, read from
//! the store by any lane.

use std::collections::BTreeMap;

use godwit_core::floor::Floor;
use godwit_core::mls::MlsState;
use godwit_core::refusal::{self, Refusal};
use godwit_core::stored::{ConversationRecord, MlsGroupRecord, MlsLeafRecord, UserRecord};
use godwit_schemas::client::{self, MlsGroup, MlsLeaf};
use godwit_schemas::ids::{ConversationId, UserId};

use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

/// Bytes of the tree in a page.
const PAGE_BYTES: usize = 48 << 10;

impl<S: Store> Context<S> {
    pub(super) async fn get_group(&self, caller: CallContext, call: &client::GetGroup) -> Result<(), StoreError> {
        let id = ConversationId::new(call.conversation);
        let found = self.store.multi_get(&[keys::conversation(id), keys::mls_group(id)]).await?;
        let [conversation, group] = &found[..] else { return Ok(()) };
        let conversation = conversation.as_deref().and_then(|it| decoded("conversation", &id, it));
        let group = group.as_deref().and_then(|it| decoded::<MlsGroupRecord>("MLS group", &id, it));
        match self.page_of(&caller, call, conversation, group) {
            Ok((conversation, group)) => {
                let answer = self.shown(call, &conversation, group).await?;
                self.answer_call(caller, answer);
            }
            Err((refused, mls_epoch)) => {
                self.answer_call(caller, client::Response { mls_epoch, ..refused.to_response() });
            }
        }
        Ok(())
    }

    /// Whether it may be shown, or why not, and the epoch.
    fn page_of(
        &self,
        caller: &CallContext,
        call: &client::GetGroup,
        conversation: Option<ConversationRecord>,
        group: Option<MlsGroupRecord>,
    ) -> Result<(ConversationRecord, MlsGroupRecord), (Refusal, u64)> {
        let conversation = conversation.ok_or((refusal::NO_CONVERSATION, 0))?;
        let is_member = conversation.members.iter().any(|member| member.user == caller.origin.user.as_str());
        if !is_member {
            return Err((refusal::NOT_IN_CONVERSATION, 0));
        }
        let group = group.ok_or((refusal::NOT_ENCRYPTED, 0))?;
        if call.epoch != 0 && call.epoch != group.epoch {
            return Err((refusal::ANOTHER_MLS_EPOCH, group.epoch));
        }
        Ok((conversation, group))
    }

    async fn shown(
        &self,
        call: &client::GetGroup,
        conversation: &ConversationRecord,
        group: MlsGroupRecord,
    ) -> Result<client::Response, StoreError> {
        let MlsGroupRecord { epoch, tree, group_info, leaves, .. } = group;
        let from = usize::try_from(call.tree_offset).unwrap_or(usize::MAX).min(tree.len());
        let page = tree.slice(from..tree.len().min(from + PAGE_BYTES));
        let mut shown = MlsGroup { epoch, tree: page, tree_bytes: tree.len() as u64, ..MlsGroup::default() };
        if from == 0 {
            let floor = self.floor_of(ConversationId::new(call.conversation));
            let state = conversation.mls.as_deref().and_then(MlsState::from_record);
            shown.reset_generation = state.as_ref().map_or(0, |state| state.next_generation(floor, self.now_s));
            shown.outdated = state.is_some_and(|state| state.is_outdated(floor));
            shown.owed = self.owed(conversation, leaves).await?;
            shown.group_info = group_info;
        }
        Ok(client::Response { mls_group: Some(Box::new(shown)), ..Default::default() })
    }

    /// How far the store went back since the conversation was made.
    fn floor_of(&self, id: ConversationId) -> Floor {
        let (partitions, floor) = (self.origin.partitions, self.origin.floor);
        if partitions.counter(id.get()) <= floor.in_partition(partitions) { floor } else { Floor::default() }
    }

    /// Leaves of devices that are no certified ones of members.
    async fn owed(
        &self,
        conversation: &ConversationRecord,
        leaves: Vec<MlsLeafRecord>,
    ) -> Result<Vec<MlsLeaf>, StoreError> {
        let names: Vec<_> = conversation.members.iter().filter_map(|it| UserId::new(&it.user).ok()).collect();
        let rows = self.store.multi_get(&names.iter().map(keys::user).collect::<Vec<_>>()).await?;
        let records = names.into_iter().zip(rows).filter_map(|(user, row)| {
            let record = decoded::<UserRecord>("user", &user, row.as_deref()?)?;
            Some((user.to_string(), record))
        });
        let records: BTreeMap<_, _> = records.collect();
        let is_good = |leaf: &MlsLeafRecord| {
            let devices = records.get(&leaf.user).map_or(&[][..], |record| &record.devices);
            devices.iter().any(|device| device.id == leaf.device && device.certificate == leaf.certificate)
        };
        let owed = leaves.into_iter().filter(|leaf| !is_good(leaf));
        Ok(owed.map(|leaf| MlsLeaf { user: leaf.user, device: leaf.name }).collect())
    }
}
