//! P7: what counts as unread is what others have said above the read mark, and is there still.

use godwit_core::recent::PLACES;

use super::Check;
use crate::event::{Event, Place};
use crate::facts::{Count, Facts};

pub(super) struct Unread;

impl Check for Unread {
    fn name(&self) -> &'static str {
        "P7, unread"
    }

    fn see(&mut self, _: &Facts, _: &Event) -> Result<(), String> {
        Ok(())
    }

    fn missing(&self, facts: &Facts) -> Result<(), String> {
        facts.left.counts.iter().try_for_each(|count| counted(facts, count))
    }
}

fn counted(facts: &Facts, count: &Count) -> Result<(), String> {
    let Count { conversation, by, read, last, unread } = *count;
    let place = |sequence| Place { conversation, sequence };
    let first = (read + 1).max((last + 1).saturating_sub(PLACES));
    if first > last {
        return Ok(());
    }
    let range = place(first)..=place(last);
    let there = facts.log.range(range.clone()).filter(|(_, slot)| {
        slot.message.as_ref().is_some_and(|(_, sender)| *sender != by) && slot.expires_at_s > facts.now_s
    });
    let least = there.count() as u64;
    // What no device was to get, since nobody else has any, stands in no inbox, and is not known here.
    let most = least + (last + 1 - first) - facts.log.range(range).count() as u64;
    if (least..=most).contains(&unread) {
        return Ok(());
    }
    Err(format!("{unread} messages count as unread, and {least} to {most} are: {count:?}"))
}
