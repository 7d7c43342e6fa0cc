//! What all examples are told: user, device and server on the command line, the device's password in GODWIT_PASSWORD.

use std::env;
use std::error::Error;

use godwit_client::ids::{DeviceName, UserId};
use godwit_client::{Builder, Client};

/// A client of the account in the first two arguments, and the arguments behind them.
pub(crate) fn from_arguments(usage: &str) -> Result<(Builder, Vec<String>), Box<dyn Error>> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let password = env::var("GODWIT_PASSWORD");
    let (2.., Ok(password)) = (arguments.len(), password) else {
        return Err(format!("GODWIT_PASSWORD=... USER DEVICE {usage}; GODWIT_SERVER=mqtt://127.0.0.1:1883").into());
    };
    let rest = arguments.split_off(2);
    let server = env::var("GODWIT_SERVER").unwrap_or_else(|_| "mqtt://127.0.0.1:1883".to_owned());
    let (user, device) = (UserId::new(&arguments[0])?, DeviceName::new(&arguments[1])?);
    Ok((Client::builder(&server, user, device, &password), rest))
}
