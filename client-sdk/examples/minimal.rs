//! The least that an app does: sends a message and receives one. `scripts/client-size` measures it.

use std::error::Error;

use godwit_client::Client;
use godwit_client::ids::{DeviceName, UserId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [server, user, device, password, to] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "?")?;
    let builder = Client::builder(&server, UserId::new(&user)?, DeviceName::new(&device)?, &password);
    #[cfg(feature = "sqlite")]
    let builder = builder.sqlite("minimal.sqlite");
    let client = builder.open().await?;
    client.send(UserId::new(&to)?, "hello").await?.delivered().await?;
    let mut events = client.events();
    let delivery = events.next().await?;
    events.confirm(&delivery).await?;
    client.close().await?;
    Ok(())
}
