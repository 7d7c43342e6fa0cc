//! Where files are kept: an S3 server elsewhere, or the embedded one, which is started here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use godwit_bridge::media::MediaSettings;
use godwit_bridge::media::s3::{S3, S3Settings};
use godwit_broker::tls::Tls;
use godwit_http::{self as http, ClientAddress, ConnectionSlots, HeaderMap, HttpConnectionSlot, SlotHandle};
use godwit_objects::{Folder, Keys, ObjectServer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::web::{self, WebAddresses, WebListeners, proxies, reachable};
use crate::metrics::MetricSources;
use crate::private;
use crate::settings::{FileSettings, ServerSettings, Storage};

/// The embedded object store.
pub(super) struct EmbeddedStore {
    pub(super) addresses: WebAddresses,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl EmbeddedStore {
    /// Resolves when it has ended, without having been told to.
    pub(super) async fn ended(&mut self) {
        _ = (&mut self.task).await;
    }

    /// Finishes what has begun, as far as there is time.
    pub(super) async fn stop(self, until: Instant) {
        self.stop.cancel();
        if !self.task.is_finished() && tokio::time::timeout_at(until, self.task).await.is_err() {
            tracing::warn!("uploads or downloads were cut off by shutdown.deadline_s");
        }
    }
}

/// Where files are kept.
#[derive(Default)]
pub(super) struct FileService {
    /// What the bridge is told; `None`: there are no files.
    pub(super) files: Option<MediaSettings>,
    pub(super) embedded: Option<EmbeddedStore>,
    /// Where links lead, as an origin.
    pub(super) origin: Option<String>,
}

/// Starts the embedded store, if it is to run. `page_origins`: of the page that this process serves, which may use links as listed
/// ones may.
pub(super) async fn start(
    settings: &ServerSettings,
    tls: Option<&Tls>,
    page_origins: Vec<String>,
    metrics: &MetricSources,
) -> anyhow::Result<FileService> {
    let media = &settings.media;
    let (s3, embedded) = match &media.storage {
        Storage::Nowhere => return Ok(FileService::default()),
        Storage::Elsewhere { endpoint, path_style } => {
            let public_url = media.public_url.clone().unwrap_or_else(|| endpoint.clone());
            (s3(media, endpoint.clone(), public_url, *path_style, None), None)
        }
        Storage::Embedded { listen, tls_listen, connections_max } => {
            let folder = settings.data_dir.join("media");
            private::folder(&folder)?;
            let opened = Folder::open(&folder, settings.reserve_bytes)
                .await
                .with_context(|| format!("open {}", folder.display()))?;
            let file = settings.data_dir.join("media.keys");
            private::file(&file);
            let keys = Keys::load_or_make(&file).with_context(|| format!("read {}", file.display()))?;
            let secure = tls_listen.map(|listen| ("media.tls_listen", listen));
            let doors = WebListeners::open("object store", ("media.listen", *listen), secure, tls).await?;
            let addresses = doors.addresses;
            let own_url = format!("http://{}", reachable(addresses.plain));
            let public_url = media.public_url.clone().unwrap_or_else(|| own_url.clone());
            let pair = Some((keys.access.clone(), keys.secret.clone()));
            let s3 = s3(media, own_url, public_url, true, pair);
            let stop = CancellationToken::new();
            let origins = [settings.listeners.websocket_origins.clone(), page_origins].concat();
            let objects = ObjectServer::new(opened, media.bucket.clone(), keys, origins);
            let places = ConnectionSlots::new(*connections_max, proxies(settings));
            metrics.add_connections("media", places.clone());
            let plain = http::accept(doors.plain, places.clone(), stop.clone(), conversation(objects.clone()));
            let secure = doors.secure.map(|door| http::accept(door, places, stop.clone(), conversation(objects)));
            (s3, Some(EmbeddedStore { addresses, task: tokio::spawn(web::both(plain, secure)), stop }))
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
    let origin = origin(&s3.public_url, &s3.bucket, s3.path_style);
    Ok(FileService { files: Some(bridge), embedded, origin })
}

/// The origin of links that begin with this address. Without the path style the bucket is a part of the host's name.
fn origin(url: &str, bucket: &str, path_style: bool) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(if path_style { format!("{scheme}://{host}") } else { format!("{scheme}://{bucket}.{host}") })
}

/// What becomes of a connection to the embedded store.
fn conversation<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    objects: ObjectServer,
) -> impl Fn(S, HttpConnectionSlot, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + 'static
{
    move |stream, place, stop| {
        let objects = objects.clone();
        Box::pin(async move { objects.converse(stream, Arc::new(ObjectsCaller::of(&place)), stop).await })
    }
}

/// A connection to the embedded store, and whose request it has.
struct ObjectsCaller {
    visitor: SlotHandle,
    caller: Mutex<ClientAddress>,
}

impl ObjectsCaller {
    fn of(place: &HttpConnectionSlot) -> Self {
        Self { visitor: place.handle().clone(), caller: Mutex::default() }
    }
}

impl godwit_objects::Guest for ObjectsCaller {
    fn begins(&self, headers: &HeaderMap) -> bool {
        // Until it has shown a signature it waits for its client.
        self.visitor.waits_for_client();
        let Ok(caller) = self.visitor.begin_request(headers) else { return false };
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = caller;
        true
    }

    fn is_known(&self, bridge: bool) {
        if bridge {
            self.visitor.is_administrator();
            self.visitor.waits_for_server();
        } else {
            self.visitor.is_authorized(*self.caller.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn s3(
    media: &FileSettings,
    endpoint: String,
    public_url: String,
    path_style: bool,
    keys: Option<(String, String)>,
) -> S3Settings {
    S3Settings { endpoint, public_url, region: media.region.clone(), bucket: media.bucket.clone(), path_style, keys }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_links_is_the_host_that_browsers_ask() {
        let at = |url, path_style| origin(url, "files", path_style);
        assert_eq!(at("http://127.0.0.1:9000", true).as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(at("https://s3.example.org/a/b", true).as_deref(), Some("https://s3.example.org"));
        assert_eq!(at("https://s3.example.org", false).as_deref(), Some("https://files.s3.example.org"));
        assert_eq!(at("nothing", true), None);
    }
}
