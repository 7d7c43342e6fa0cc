//! `godwit clients`, `godwit inbox`, `godwit conversation`: the operator's window. One JSON object a line, for scripts.

use serde_json::Value;

use crate::admin::{device_name, user_name};
use crate::cli::{ClientsCommand, ConversationCommand, DevicePlace, InboxCommand};
use crate::commands::{connect, print_json};
use crate::exit::CommandFailure;

/// `godwit clients ...`
pub(crate) fn clients(command: ClientsCommand) -> Result<(), CommandFailure> {
    match command {
        ClientsCommand::List { after, limit, place } => {
            let server = connect(&place)?;
            let mut after = after.map(|name| user_name(&name)).transpose()?.map(|name| name.to_string());
            print_pages(limit, "clients", || {
                let page = server.clients(after.as_deref())?;
                after = page["next"].as_str().map(str::to_owned);
                Ok((page, after.is_some()))
            })
        }
        ClientsCommand::Show(DevicePlace { user, device, place }) => {
            let (user, device) = (user_name(&user)?, device_name(&device)?);
            print_json(&connect(&place)?.device(&user, &device)?)
        }
        ClientsCommand::Kick(DevicePlace { user, device, place }) => {
            let (user, device) = (user_name(&user)?, device_name(&device)?);
            connect(&place)?.kick(&user, &device)
        }
    }
}

/// `godwit inbox ...`
pub(crate) fn inbox(command: InboxCommand) -> Result<(), CommandFailure> {
    let InboxCommand::Show { of: DevicePlace { user, device, place }, limit } = command;
    let (user, device) = (user_name(&user)?, device_name(&device)?);
    let server = connect(&place)?;
    let mut after = 0;
    print_pages(limit, "entries", || {
        let page = server.inbox(&user, &device, after)?;
        let next = page["next"].as_u64();
        after = next.unwrap_or(after);
        Ok((page, next.is_some()))
    })
}

/// `godwit conversation ...`
pub(crate) fn conversation(command: ConversationCommand) -> Result<(), CommandFailure> {
    let ConversationCommand::Show { conversation, place } = command;
    print_json(&connect(&place)?.conversation(conversation)?)
}

/// Prints what is in this field of pages, at most so many, until a page says that there are no more.
fn print_pages(
    limit: usize,
    field: &str,
    mut next: impl FnMut() -> Result<(Value, bool), CommandFailure>,
) -> Result<(), CommandFailure> {
    let mut left = limit;
    loop {
        let (page, more) = next()?;
        for item in page[field].as_array().into_iter().flatten().take(left) {
            print_json(item)?;
            left -= 1;
        }
        if !more || left == 0 {
            return Ok(());
        }
    }
}
