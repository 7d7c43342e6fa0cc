//! Prints what comes, and says that it was read. What was printed and confirmed is never printed again.

#![expect(clippy::print_stdout, reason = "an example")]

mod account;

use std::error::Error;

use godwit_client::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (builder, _) = account::from_arguments("receive")?;
    let client = builder.sqlite("receive.sqlite").open().await?;
    let mut events = client.events();
    loop {
        let delivery = events.next().await?;
        match &delivery.event {
            Event::Message(message) => {
                let from = message.user.as_ref().map_or("somebody", |user| user.as_str());
                println!("{from}: {}", String::from_utf8_lossy(&message.body));
                client.mark_read(message.conversation, message.sequence).await?;
            }
            other => println!("{other:?}"),
        }
        events.confirm(&delivery).await?;
    }
}
