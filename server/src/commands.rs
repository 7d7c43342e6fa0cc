//! Operators' commands: `godwit user`, `godwit device`, `godwit clock`, `godwit check-config`. Results go to stdout, for scripts.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::admin::{AdminClient, device_name, user_name};
use crate::cli::{ClockCommand, DeviceCommand, SettingsArgs, UserCommand};
use crate::exit::CommandFailure;
use crate::runtime_files::AdminNotice;
use crate::serve::{Preflight, ProcessRole, origin};
use crate::settings;

/// Most users that are asked for at once.
const PAGE: usize = 1_000;

/// `godwit user ...`
pub(crate) fn user(command: UserCommand) -> Result<(), CommandFailure> {
    match command {
        UserCommand::Add { name, device, phone, place } => {
            let (user, device) = (name.as_deref().map(user_name).transpose()?, device_name(&device)?);
            print_json(&connect(&place)?.add_user(user.as_ref(), &device, phone.as_deref())?)
        }
        UserCommand::Phone { name, number, place } => {
            let user = user_name(&name)?;
            connect(&place)?.set_phone(&user, number.as_deref())
        }
        UserCommand::List { after, limit, place } => list_users(after, limit, &place),
        UserCommand::Export { name, place } => {
            let user = user_name(&name)?;
            connect(&place)?.export_user(&user, print)
        }
        UserCommand::Suspend { name, place } => {
            let user = user_name(&name)?;
            connect(&place)?.set_suspended(&user, true)
        }
        UserCommand::Resume { name, place } => {
            let user = user_name(&name)?;
            connect(&place)?.set_suspended(&user, false)
        }
        UserCommand::Remove { name, place } => {
            let user = user_name(&name)?;
            connect(&place)?.remove_user(&user)
        }
    }
}

/// `godwit device ...`
pub(crate) fn device(command: DeviceCommand) -> Result<(), CommandFailure> {
    match command {
        DeviceCommand::Add { user, name, place } => {
            let (user, device) = (user_name(&user)?, device_name(&name)?);
            print_json(&connect(&place)?.add_device(&user, &device)?)
        }
        DeviceCommand::Password { user, name, place } => {
            let (user, device) = (user_name(&user)?, device_name(&name)?);
            print_json(&connect(&place)?.renew_password(&user, &device)?)
        }
        DeviceCommand::List { user, place } => {
            let user = user_name(&user)?;
            connect(&place)?.user(&user)?.devices.iter().try_for_each(|name| print(name))
        }
        DeviceCommand::Remove { user, name, place } => {
            let (user, device) = (user_name(&user)?, device_name(&name)?);
            connect(&place)?.remove_device(&user, &device)
        }
    }
}

/// `godwit clock ...`
pub(crate) fn clock(command: ClockCommand) -> Result<(), CommandFailure> {
    match command {
        ClockCommand::Show(place) => print_json(&connect(&place)?.clock()?),
        ClockCommand::Follow(place) => print_json(&connect(&place)?.follow_clock()?),
    }
}

/// `godwit settings reload`
pub(crate) fn reload_settings(place: &SettingsArgs) -> Result<(), CommandFailure> {
    print_json(&connect(place)?.reload_settings()?)
}

/// `godwit check-config`
pub(crate) fn check_config(place: &SettingsArgs) -> Result<(), CommandFailure> {
    let (settings, effective) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    for role in ProcessRole::of(&settings) {
        Preflight::read(*role, &settings)?;
    }
    print(settings::render(&effective).trim_end())
}

/// `godwit restored`
pub(crate) fn restored(place: &SettingsArgs) -> Result<(), CommandFailure> {
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    if settings.cluster.is_some_and(|cluster| cluster.cassandra.is_some()) {
        origin::forget_shared(&settings.data_dir)?;
        return print("when this bridge leads next, that counts as the start after a restore");
    }
    origin::forget(&settings.data_dir)?;
    print("the next start counts as the one after a restore")
}

fn list_users(after: Option<String>, limit: usize, place: &SettingsArgs) -> Result<(), CommandFailure> {
    let mut after = after.map(|name| user_name(&name)).transpose()?;
    let server = connect(place)?;
    let mut left = limit;
    while left > 0 {
        let (users, next) = server.users(after.as_ref(), left.min(PAGE))?;
        users.iter().try_for_each(print_json)?;
        left = left.saturating_sub(users.len());
        let Some(next) = next else { break };
        after = Some(user_name(&next)?);
    }
    Ok(())
}

pub(crate) fn connect(place: &SettingsArgs) -> Result<AdminClient, CommandFailure> {
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    Ok(AdminClient::new(AdminNotice::read(&settings.data_dir)?, 1))
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CommandFailure> {
    print(&serde_json::to_string(value).map_err(anyhow::Error::from)?)
}

/// One line. A reader that has gone away, as `head` does, has had enough.
pub(crate) fn print(line: &str) -> Result<(), CommandFailure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written.map_err(anyhow::Error::from)?),
    }
}
