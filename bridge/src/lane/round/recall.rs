//! Commands are queued; those about a message that was sent before wait, and its copies are searched for.

use std::collections::VecDeque;

use godwit_core::call::{LookBack, MessageNeeds};
use godwit_core::command::Command;
use godwit_core::entry::Entry;
use godwit_core::keys::{MessageKey, Ticket};
use godwit_core::state_cache::{MessageCopies, MissingKey};
use godwit_core::stored::SessionRecord;
use godwit_schemas::ids::{DeviceId, Order};

use crate::lane::context::Context;
use crate::lane::query::slices::SliceJob;
use crate::lane::query::turns::{TurnOwner, Turns};
use crate::lane::round::Round;
use crate::lane::round::copy_search::{BYTES, Copies, CopySearch, ROWS, may_concern};
use crate::lane::state::State;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

impl Round {
    /// A command of this lane: for the next commit, unless it looks back.
    pub(in crate::lane) fn queue(&mut self, turns: &mut Turns<SliceJob>, command: Command) {
        self.due |= !command.can_wait();
        let Some(LookBack { message: place, .. }) = command.looks_back() else { return self.commands.push(command) };
        // What is gathered is committed, too, before it is looked for.
        let ticket = if self.commands.is_empty() { self.sealed } else { self.next_ticket() };
        let commands = self.deferred_recalls.commands.entry(place).or_default();
        commands.push_back(command);
        if commands.len() == 1 {
            self.look_back_at(turns, place, ticket);
        }
    }

    /// The first command about a message begins when this commit is on disk.
    fn look_back_at(&mut self, turns: &mut Turns<SliceJob>, place: MessageKey, ticket: Ticket) {
        if ticket > self.confirmed {
            self.deferred_recalls.waiting.insert((ticket, place));
            return;
        }
        let first = self.deferred_recalls.commands.get(&place).and_then(VecDeque::front);
        let Some(Command::Call { origin, call, .. }) = first else { return };
        let needs = call.spec().looks_back.map(|look_back| look_back.needs);
        let search = CopySearch::new(place, needs == Some(MessageNeeds::OneCopy));
        turns.push(TurnOwner::User(origin.user.clone()), SliceJob::Search(Box::new(search)));
    }

    /// A commit is on disk: what waited for it goes on.
    pub(in crate::lane) fn retry_deferred_recalls(&mut self, turns: &mut Turns<SliceJob>) {
        while let Some((ticket, place)) = self.deferred_recalls.waiting.first().copied()
            && ticket <= self.confirmed
        {
            self.deferred_recalls.waiting.pop_first();
            self.look_back_at(turns, place, ticket);
        }
    }

    /// A slice of a search. Returns what is left of it.
    pub(in crate::lane) async fn search_on<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        turns: &mut Turns<SliceJob>,
        mut search: Box<CopySearch>,
    ) -> Result<Option<SliceJob>, StoreError> {
        if search.devices.is_none() {
            self.begin_search(context, state, &mut search).await?;
        } else {
            context.look_into_inbox(&mut search).await?;
        }
        if !search.is_over() {
            return Ok(Some(SliceJob::Search(search)));
        }
        let CopySearch { place, found, .. } = *search;
        let Some(commands) = self.deferred_recalls.commands.get_mut(&place) else { return Ok(None) };
        self.commands.extend(commands.pop_front());
        self.due = true;
        if commands.is_empty() {
            self.deferred_recalls.commands.remove(&place);
        } else {
            // The next one finds what this one has made of the message.
            self.look_back_at(turns, place, self.next_ticket());
        }
        state.copies.insert(place, found);
        Ok(None)
    }

    /// Whose inboxes are to be looked into.
    async fn begin_search<S: Store>(
        &mut self,
        context: &Context<S>,
        state: &mut State,
        search: &mut CopySearch,
    ) -> Result<(), StoreError> {
        let place = search.place;
        search.devices = Some(Vec::new());
        let Some(command) = self.deferred_recalls.commands.get(&place).and_then(|it| it.front().cloned()) else {
            return Ok(());
        };
        let Command::Call { origin, call, .. } = &command else { return Ok(()) };
        if call.spec().looks_back.is_some_and(|look_back| look_back.needs == MessageNeeds::WhetherRecalled) {
            // It is enough to know whether the message was taken back.
            return Ok(());
        }
        state.read_but_for_traces(context, &command).await?;
        let rows = context.store.multi_get(&[keys::message(place.0, place.1), keys::last_order()]).await?;
        let [row, last] = &rows[..] else { return Ok(()) };
        let row = row.clone().and_then(|row| Entry::decode(row).ok());
        let Some(conversation) = state.cache.conversation(place.0) else { return Ok(()) };
        if !may_concern(conversation, &origin.user, place.1, row.as_ref()) || (search.one_will_do && row.is_some()) {
            return Ok(());
        }
        let users = conversation.members.iter().filter_map(|member| state.cache.user(&member.user));
        let devices: Vec<_> = users.flat_map(|user| user.devices.iter().map(|device| device.id)).collect();
        search.near = devices.len() as u64;
        search.end = Order::new(last.as_deref().and_then(keys::parse_counter).unwrap_or(0) + 1);
        search.devices = Some(match state.cache.holders(place) {
            // Kept apart: these have it, and nobody else.
            Some(holders) => holders.devices.iter().copied().map(DeviceId::new).collect(),
            None => devices,
        });
        Ok(())
    }
}

impl State {
    /// Reads what the command needs, but for what is searched for.
    async fn read_but_for_traces<S: Store>(
        &mut self,
        context: &Context<S>,
        command: &Command,
    ) -> Result<(), StoreError> {
        loop {
            let mut needs = Vec::new();
            self.cache.needs(command, &mut needs);
            needs.retain(|need| !matches!(need, MissingKey::Copies(_)));
            if needs.is_empty() {
                return Ok(());
            }
            self.read(context, &mut needs).await?;
        }
    }

    /// Reads what was left of a message, but for its copies: those were found.
    pub(in crate::lane) async fn read_traces<S: Store>(
        &mut self,
        context: &Context<S>,
        place: MessageKey,
    ) -> Result<(), StoreError> {
        let rows = [keys::message(place.0, place.1), keys::own_message(place.0, place.1)];
        let mut rows = context.store.multi_get(&rows).await?.into_iter();
        let mut next = || rows.next().flatten().and_then(|row| Entry::decode(row).ok());
        let (row, own) = (next(), next());
        let Copies { places, copy } = self.copies.remove(&place).unwrap_or_default();
        let mut traces = MessageCopies { row, own, copies: places, copy, ..MessageCopies::default() };
        let (from, to) = keys::media::references(place);
        for (key, value) in context.store.scan(Table::Media, &from, &to, ROWS, usize::MAX).await? {
            traces.references.extend(keys::media::parse_last(&key).zip(decoded("reference", &place.0, &value)));
        }
        self.cache.insert_copies(place, traces);
        Ok(())
    }
}

impl<S: Store> Context<S> {
    async fn look_into_inbox(&self, search: &mut CopySearch) -> Result<(), StoreError> {
        let Some(device) = search.devices.as_ref().and_then(|devices| devices.last().copied()) else { return Ok(()) };
        let part = match search.part {
            Some(part) => part,
            None => search.first_part(self.stored_low(device).await?),
        };
        let (_, from) = keys::entry(device, Order::new(part.next));
        let (_, to) = keys::entry(device, Order::new(part.end));
        let rows = self.store.scan(Table::Inbox, &from, &to, part.rows, BYTES).await?;
        search.have_read(device, part, rows);
        Ok(())
    }

    /// Where reading a device's inbox may begin, as far as is on disk: before that, all there was is gone.
    pub(in crate::lane) async fn stored_low(&self, device: DeviceId) -> Result<Order, StoreError> {
        let session = self.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
        let session = session.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
        Ok(Order::new(session.unwrap_or_default().low))
    }
}
