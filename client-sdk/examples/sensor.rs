//! An IoT device that only sends: its store is in memory, nothing comes down but acknowledgements, and what was measured
//! while there was no network is sent when there is one. An hour later nobody wants to know.

#![expect(clippy::print_stdout, reason = "an example")]

mod account;

use std::error::Error;
use std::time::Duration;

use godwit_client::Draft;
use godwit_client::ids::UserId;
use tokio::time::interval;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (builder, rest) = account::from_arguments("sensor RECIPIENT")?;
    let to = UserId::new(rest.first().ok_or("whom does it tell?")?)?;
    let client = builder.send_only().archive(false).saver(true).open().await?;
    let mut clock = interval(Duration::from_secs(10));
    for reading in 0_u32.. {
        clock.tick().await;
        let celsius = 20.0 + f64::from(reading % 60) / 10.0;
        let draft = Draft::new(format!("{celsius:.1}")).expires_in(Duration::from_secs(3_600));
        client.send_draft(&to, draft).await?;
        let bytes = client.traffic().total();
        println!("{celsius:.1}; {} bytes sent, {} received", bytes.sent, bytes.received);
    }
    Ok(())
}
