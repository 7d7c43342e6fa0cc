//! Makes a group, writes to it, and says who has received and read what it wrote.

#![expect(clippy::print_stdout, reason = "an example")]

mod account;

use std::error::Error;
use std::time::Duration;

use godwit_client::ids::UserId;
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (builder, rest) = account::from_arguments("group TITLE MEMBER...")?;
    let (title, members) = rest.split_first().ok_or("what is it called?")?;
    let members = members.iter().map(|name| UserId::new(name)).collect::<Result<Vec<_>, _>>()?;
    let client = builder.sqlite("group.sqlite").open().await?;
    let group = match client.create_group(title, &members).await {
        Ok(group) => group,
        Err(error) if error.retry_helps() => return Err(format!("{error}: try again").into()),
        Err(error) => return Err(error.into()),
    };
    let sent = client.send(group, "welcome, everybody").await?;
    // Ticks are those of all: one phone that is off holds them up.
    _ = timeout(Duration::from_secs(10), sent.read()).await;
    let conversation = client.conversation(group).await?.ok_or("nothing is known of it")?;
    for member in conversation.members.iter().filter(|member| member.present) {
        println!("{}: received {}, read {}", member.user, member.delivered_up_to, member.read_up_to);
    }
    client.close().await?;
    Ok(())
}
