//! Sends a message and waits for its ticks. Kill it at any moment and start it again: what it had sent is sent once.

#![expect(clippy::print_stdout, reason = "an example")]

mod account;

use std::error::Error;

use godwit_client::SendState;
use godwit_client::ids::UserId;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (builder, rest) = account::from_arguments("send RECIPIENT WORDS")?;
    let [to, words] = &rest[..] else { return Err("to whom, and what?".into()) };
    let client = builder.sqlite("send.sqlite").open().await?;
    let mut states = client.send(UserId::new(to)?, words.clone()).await?.watch();
    loop {
        let state = states.borrow_and_update().clone();
        println!("{state:?}");
        if matches!(state, SendState::Read { .. } | SendState::Refused(_)) {
            break;
        }
        states.changed().await?;
    }
    client.close().await?;
    Ok(())
}
