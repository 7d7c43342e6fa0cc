//! Where files are kept: an S3 server elsewhere, or the embedded one, which is started here.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::http;
use godwit_bridge::media::MediaSettings;
use godwit_bridge::media::s3::{S3, S3Settings};
use godwit_objects::{Folder, Keys, Objects};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reachable;
use crate::settings::{Media, Settings, Storage};

/// The embedded object store.
pub(super) struct Embedded {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Embedded {
    /// Finishes what has begun, as far as there is time.
    pub(super) async fn stop(self, until: Instant) {
        self.stop.cancel();
        if tokio::time::timeout_at(until, self.task).await.is_err() {
            tracing::warn!("uploads or downloads were cut off by shutdown.deadline_s");
        }
    }
}

/// What the bridge is told, and the embedded store if it is to run.
pub(super) async fn start(settings: &Settings) -> anyhow::Result<(Option<MediaSettings>, Option<Embedded>)> {
    let media = &settings.media;
    let (s3, embedded) = match &media.storage {
        Storage::Nowhere => return Ok((None, None)),
        Storage::Elsewhere { endpoint, path_style } => {
            let public_url = media.public_url.clone().unwrap_or_else(|| endpoint.clone());
            (s3(media, endpoint.clone(), public_url, *path_style, None), None)
        }
        Storage::Embedded { listen, connections_max } => {
            let folder = settings.data_dir.join("media");
            let opened = Folder::open(&folder, settings.reserve_bytes)
                .await
                .with_context(|| format!("open {}", folder.display()))?;
            let file = settings.data_dir.join("media.keys");
            let keys = Keys::load_or_make(&file).with_context(|| format!("read {}", file.display()))?;
            let listener = TcpListener::bind(listen).await;
            let listener = listener.with_context(|| format!("media.listen: listen on {listen}"))?;
            let address = listener.local_addr().context("media.listen")?;
            let own_url = format!("http://{}", reachable(address));
            let public_url = media.public_url.clone().unwrap_or_else(|| own_url.clone());
            let pair = Some((keys.access.clone(), keys.secret.clone()));
            let s3 = s3(media, own_url, public_url, true, pair);
            let stop = CancellationToken::new();
            let objects = Objects::new(opened, media.bucket.clone(), keys, settings.doors.websocket_origins.clone());
            let converse = move |stream, stop| objects.clone().converse(stream, stop);
            let serving = http::accept("object store", listener, *connections_max, stop.clone(), converse);
            (s3, Some(Embedded { address, task: tokio::spawn(serving), stop }))
        }
    };
    let bridge = MediaSettings {
        objects: Arc::new(S3::connect(&s3).await),
        file_bytes_max: media.file_bytes_max,
        multipart_bytes: media.multipart_bytes,
        link_s: media.link_s,
        unused_s: media.unused_s,
        user_bytes_per_day: media.user_bytes_per_day,
        user_uploads_per_day: media.user_uploads_per_day,
        content_types: media.content_types.clone(),
    };
    Ok((Some(bridge), embedded))
}

fn s3(
    media: &Media,
    endpoint: String,
    public_url: String,
    path_style: bool,
    keys: Option<(String, String)>,
) -> S3Settings {
    S3Settings { endpoint, public_url, region: media.region.clone(), bucket: media.bucket.clone(), path_style, keys }
}
