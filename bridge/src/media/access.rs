//! Who may have a file: whoever may see a message that refers to it. Asked by lanes, when a user wants to share it, and by the
//! keeper, for a link. Reads what is on disk. Keeps P5.

use godwit_core::conversation::Conversation;
use godwit_core::record::{ConversationRecord, ReferenceRecord, StateRecord};
use godwit_core::world::Place;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};
use godwit_schemas::media::MediaId;
use prost::Message as _;

use super::record::MediaRecord;
use crate::lane::decoded;
use crate::store::keys::media::{self as keys, Holder};
use crate::store::keys::{conversation, membership, state};
use crate::store::{Store, StoreError, Table};

/// References that are looked at for one question.
const LOOKED_AT: usize = 1_000;

/// A file.
pub(crate) async fn record<S: Store>(store: &S, id: MediaId) -> Result<Option<MediaRecord>, StoreError> {
    let value = store.multi_get(&[keys::media(id)]).await?.pop().flatten();
    Ok(value.and_then(|value| decoded("media", &id, &value)))
}

/// What a message that refers to a file says of it, if the user may share it: it is complete, and the user has uploaded
/// it or may see it where it was shared.
pub(crate) async fn shareable<S: Store>(
    store: &S,
    id: MediaId,
    user: &UserId,
    now_s: u32,
) -> Result<Option<client::Media>, StoreError> {
    let Some(record) = record(store, id).await?.filter(MediaRecord::is_ready) else { return Ok(None) };
    if record.owner != user.as_str() && !may_have(store, id, user, None, now_s).await? {
        return Ok(None);
    }
    let MediaRecord { size, content_type, sha256, .. } = record;
    Ok(Some(client::Media { size, content_type, sha256: sha256.into(), ..Default::default() }))
}

/// Whether the user may see a message (`within` a conversation, or any) that refers to the file, or a profile that does.
pub(crate) async fn may_have<S: Store>(
    store: &S,
    id: MediaId,
    user: &UserId,
    within: Option<ConversationId>,
    now_s: u32,
) -> Result<bool, StoreError> {
    let (from, to) = within.map_or_else(|| keys::holders(id), |conversation| keys::holders_in(id, conversation));
    let rows = store.scan(Table::Media, &from, &to, LOOKED_AT, usize::MAX).await?;
    let mut places: Vec<Place> = Vec::new();
    for (key, _) in rows {
        match keys::parse_holder(&key) {
            // Whoever was told the id may see the profile.
            Some(Holder::Profile(_)) => return Ok(true),
            Some(Holder::Message(place)) => places.push(place),
            None => {}
        }
    }
    let memberships: Vec<_> = places.iter().map(|place| membership(user, place.0)).collect();
    let memberships = store.multi_get(&memberships).await?;
    let own = places.into_iter().zip(memberships).filter_map(|(place, membership)| membership.map(|_| place));
    for place in own {
        if sees(store, place, id, user, now_s).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the user may see this message, and it refers to the file.
async fn sees<S: Store>(store: &S, place: Place, id: MediaId, user: &UserId, now_s: u32) -> Result<bool, StoreError> {
    let wanted = [keys::reference(place, id), conversation(place.0), state(place.0)];
    let found = store.multi_get(&wanted).await?;
    let [Some(reference), Some(record), Some(state)] = &found[..] else { return Ok(false) };
    let reference = decoded::<ReferenceRecord>("reference", &id, reference);
    let record = decoded::<ConversationRecord>("conversation", &place.0, record);
    let state = decoded::<StateRecord>("state", &place.0, state);
    let (Some(reference), Some(record), Some(state)) = (reference, record, state) else { return Ok(false) };
    let Some(conversation) = Conversation::from_records(place.0, &record, &state) else { return Ok(false) };
    Ok(conversation.member(user).is_some_and(|member| {
        reference.expires_at_s > now_s
            && place.1 > conversation.floor(member)
            && (!reference.unseen || member.ordinal == Ordinal::new(reference.sender))
    }))
}

/// Whether the user is a member of the conversation; `None`: there is none.
pub(crate) async fn is_member<S: Store>(
    store: &S,
    id: ConversationId,
    user: &UserId,
) -> Result<Option<bool>, StoreError> {
    let found = store.multi_get(&[conversation(id), membership(user, id)]).await?;
    Ok(found[0].as_ref().map(|_| found[1].is_some()))
}

/// Whether something refers to the file; what does so no more is returned to be deleted. Stops at the first that does.
pub(crate) async fn find_reference<S: Store>(
    store: &S,
    id: MediaId,
    now_s: u32,
    gone: &mut Vec<crate::store::keys::Key>,
) -> Result<bool, StoreError> {
    let (mut from, to) = keys::holders(id);
    loop {
        let rows = store.scan(Table::Media, &from, &to, LOOKED_AT, usize::MAX).await?;
        for (key, _) in &rows {
            let Some(holder) = keys::parse_holder(key) else { continue };
            let Holder::Message(place) = holder else { return Ok(true) };
            let wanted = keys::reference(place, id);
            let reference = store.multi_get(std::slice::from_ref(&wanted)).await?.pop().flatten();
            let reference = reference.and_then(|value| ReferenceRecord::decode(value).ok());
            if reference.is_some_and(|reference| reference.expires_at_s > now_s) {
                return Ok(true);
            }
            gone.extend([wanted, keys::holder(id, &Holder::Message(place))]);
        }
        let Some((last, _)) = rows.last().filter(|_| rows.len() == LOOKED_AT) else { return Ok(false) };
        from = crate::store::keys::behind(last);
    }
}
