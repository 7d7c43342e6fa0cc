//! Sends a file, and says how it goes; without one, saves the files that come, in this folder. Kill it at any moment and
//! start it again: what it was to send goes on where it was, and is sent once.

#![expect(clippy::print_stdout, reason = "an example")]

mod account;

use std::error::Error;
use std::path::Path;

use godwit_client::ids::UserId;
use godwit_client::text::file_name;
use godwit_client::{Client, Event, FileDraft, FileFailure, FileState, SendState};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (builder, rest) = account::from_arguments("media [RECIPIENT FILE]")?;
    let client = builder.sqlite("media.sqlite").open().await?;
    match &rest[..] {
        [to, path] => send(&client, UserId::new(to)?, path).await,
        _ => receive(&client).await,
    }
}

async fn send(client: &Client, to: UserId, path: &str) -> Result<(), Box<dyn Error>> {
    let unfinished = client.files().await?;
    let file = match unfinished.iter().find(|it| Path::new(path).ends_with(&it.name)) {
        Some(it) => client.follow_file(it.id).await?.ok_or("it has just ended")?,
        None => client.send_file(to, FileDraft::new(path).caption("look")).await?,
    };
    let mut states = file.watch();
    loop {
        let state = states.borrow_and_update().clone();
        println!("{state:?}");
        if matches!(state, FileState::Failed(_) | FileState::Message(_, SendState::Delivered { .. })) {
            break;
        }
        states.changed().await?;
    }
    client.close().await?;
    Ok(())
}

async fn receive(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut events = client.events();
    loop {
        let delivery = events.next().await?;
        if let Event::Message(message) = &delivery.event {
            for media in &message.media {
                // A name from elsewhere is made safe, and nothing is replaced by it.
                let name = format!("{}-{}-{}", message.conversation, message.sequence, file_name(&media.name));
                match client.save_file(message.conversation, media, &name).saved().await {
                    // Of a run that was killed before it had confirmed the message.
                    Err(godwit_client::Error::File(FileFailure::Exists)) => {}
                    saved => saved?,
                }
                println!("{name} ({}, {} bytes)", media.content_type, media.size);
            }
        }
        events.confirm(&delivery).await?;
    }
}
