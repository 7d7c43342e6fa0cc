//! Who may have a file: whoever may see a message that refers to it. Asked by lanes, when a user wants to share it, and by the
//! media service, for a link. Reads what is on disk. Keeps P5.

use godwit_core::conversation::Conversation;
use godwit_core::keys::MessageKey;
use godwit_core::stored::{ConversationRecord, ReferenceRecord, StateRecord, UserRecord};
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};
use godwit_schemas::media::MediaId;
use godwit_store::keys::media::{self as keys, Holder};
use godwit_store::keys::{conversation, membership, state, user as user_key};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table};
use prost::Message as _;

use super::record::MediaRecord;

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
    let (mut places, mut profiles) = (Vec::<MessageKey>::new(), Vec::new());
    for (key, _) in rows {
        match keys::parse_holder(&key) {
            Some(Holder::Profile(owner)) => profiles.push(owner),
            Some(Holder::Message(place)) => places.push(place),
            None => {}
        }
    }
    if shows_itself(store, &profiles, user).await? {
        return Ok(true);
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

/// Whether one of these users shows its profile to the user: to whoever was told the picture's id, and is not blocked.
async fn shows_itself<S: Store>(store: &S, owners: &[UserId], user: &UserId) -> Result<bool, StoreError> {
    let records = store.multi_get(&owners.iter().map(user_key).collect::<Vec<_>>()).await?;
    let shows = |(owner, record): (&UserId, Option<bytes::Bytes>)| {
        let record = record.and_then(|value| decoded::<UserRecord>("user", owner, &value));
        record.is_some_and(|record| !record.has_blocked(user))
    };
    Ok(owners.iter().zip(records).any(shows))
}

/// Whether the user may see this message, and it refers to the file.
async fn sees<S: Store>(
    store: &S,
    place: MessageKey,
    id: MediaId,
    user: &UserId,
    now_s: u32,
) -> Result<bool, StoreError> {
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
    gone: &mut Vec<godwit_store::keys::StoreKey>,
) -> Result<bool, StoreError> {
    let mut pages = store.pages(Table::Media, keys::holders(id), LOOKED_AT);
    while let Some(rows) = pages.next().await? {
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
    }
    Ok(false)
}
