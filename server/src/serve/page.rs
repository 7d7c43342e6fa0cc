//! The page in which people chat in a browser, on a listener of its own: its files, MQTT over WebSocket at `/mqtt`, and what users
//! do over HTTP. One origin for all of it, so a browser asks nobody else, but for files. There is no route of operators.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST,
    IF_NONE_MATCH, REFERRER_POLICY, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use godwit_broker::WebSocketDoor;
use godwit_broker::tls::Tls;
use godwit_broker::websocket::{SUBPROTOCOL, check_headers};
use godwit_http::{self as http, ClientAddress, ConnectionSlots, Router};
use godwit_schemas::origin::is_listed;
use godwit_web::{IMMUTABLE, INDEX, PageFile};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::web::{self, WebAddresses, WebListeners, proxies};
use crate::metrics::MetricSources;
use crate::settings::ServerSettings;

/// What the program serves if it was built without the page.
const NO_PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Godwit</title>\
    <p>This program was built without the page. <code>make run</code> builds it, and needs Node 18 or newer and npm.</p>";
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Listeners that are bound. Whoever connects waits.
pub(super) struct BoundPage {
    listeners: WebListeners,
    tls: Option<Tls>,
}

impl BoundPage {
    /// `None`: there is to be no page.
    pub(super) async fn bind(settings: &ServerSettings) -> anyhow::Result<Option<Self>> {
        let Some(listen) = settings.page.listen else { return Ok(None) };
        let secure = settings.page.tls_listen.map(|listen| ("web.tls_listen", listen));
        let files = settings.listeners.web_certificate.as_ref().filter(|_| secure.is_some());
        let tls = web::open_tls(files)?;
        let listeners = WebListeners::open("the page", ("web.listen", listen), secure, tls.as_ref()).await?;
        Ok(Some(Self { listeners, tls }))
    }

    /// Under which a browser on this machine may have the page. Those under which others have it are listed in
    /// `mqtt.websocket_origins`.
    pub(super) fn origins(&self) -> Vec<String> {
        let listen = web::reachable(self.listeners.addresses.plain);
        if !listen.ip().is_loopback() {
            return Vec::new();
        }
        vec![format!("http://{listen}"), format!("http://localhost:{}", listen.port())]
    }

    /// Serves. `of_users`: what users do over HTTP. `file_origin`: where links to files lead.
    pub(super) fn open(
        self,
        settings: &ServerSettings,
        of_users: Router,
        file_origin: Option<&str>,
        door: WebSocketDoor,
        metrics: &MetricSources,
    ) -> PageService {
        let Self { listeners, tls } = self;
        let addresses = listeners.addresses;
        let stop = CancellationToken::new();
        let origins: Arc<[String]> = settings.listeners.websocket_origins.clone().into();
        let router = router(of_users, file_origin, MqttRoute { door, origins });
        let slots = ConnectionSlots::new(settings.page.connections_max, proxies(settings));
        metrics.add_connections("web", slots.clone());
        let drain = settings.limits.drain_deadline;
        let secure = listeners
            .secure
            .map(|listener| http::serve_upgradable(listener, router.clone(), slots.clone(), drain, stop.clone()));
        let plain = http::serve_upgradable(listeners.plain, router, slots, drain, stop.clone());
        let certificates = web::watch(tls.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = web::both(plain, secure) => {}
                () = certificates => {}
            }
        });
        PageService { addresses, tls, task, stop }
    }
}

/// The listeners of the page.
pub(super) struct PageService {
    pub(super) addresses: WebAddresses,
    tls: Option<Tls>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl PageService {
    /// Resolves when they serve no more, without having been told so.
    pub(super) async fn ended(&mut self) {
        _ = (&mut self.task).await;
    }

    /// Has the certificate read at once.
    pub(super) fn reload_certificates(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Ends it at once.
    pub(super) fn abort(self) {
        self.task.abort();
    }

    /// Finishes the requests that have begun, as far as there is time.
    pub(super) async fn stop(self, until: Instant) {
        self.stop.cancel();
        if !self.task.is_finished() && tokio::time::timeout_at(until, self.task).await.is_err() {
            tracing::warn!("requests of pages were cut off by shutdown.deadline_s");
        }
    }
}

/// Everything on the page's origin.
fn router(of_users: Router, file_origin: Option<&str>, mqtt: MqttRoute) -> Router {
    let mut page = Router::new();
    for file in godwit_web::files() {
        let path = if file.path == INDEX { "/" } else { file.path };
        page = page.route(path, get(move |headers: HeaderMap| std::future::ready(answer(file, &headers))));
    }
    if godwit_web::files().is_empty() {
        let told = ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")], NO_PAGE);
        page = page.route("/", get(move || std::future::ready(told)));
    }
    let policy = Policy::new(file_origin);
    let page = page.layer(map_response_with_state(policy, guarded));
    of_users.merge(page).merge(Router::new().route("/mqtt", get(upgrade)).with_state(mqtt))
}

/// A file, in the form that the browser takes.
fn answer(file: &'static PageFile, request: &HeaderMap) -> Response {
    let cache = if file.path.starts_with(IMMUTABLE) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(CACHE_CONTROL, cache), (ETAG, file.etag), (VARY, "accept-encoding")];
    let known = request.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|etag| etag.trim().trim_start_matches("W/") == file.etag)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let (encoding, bytes) = if takes(request, "br") {
        (Some("br"), file.brotli)
    } else if takes(request, "gzip") {
        (Some("gzip"), file.gzip)
    } else if !file.plain.is_empty() {
        (None, file.plain)
    } else if !request.contains_key(ACCEPT_ENCODING) {
        // Who says nothing takes everything (RFC 9110, section 12.5.3).
        (Some("gzip"), file.gzip)
    } else {
        return (StatusCode::NOT_ACCEPTABLE, headers, "this file is sent with gzip or br only").into_response();
    };
    let mut response = (headers, [(CONTENT_TYPE, file.content_type())], bytes).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether the client takes this encoding (RFC 9110, section 12.5.3).
fn takes(request: &HeaderMap, encoding: &str) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight: String = weight.chars().filter(|c| !c.is_whitespace()).collect();
        let is_refused = weight.strip_prefix("q=").is_some_and(|it| it.parse::<f32>().is_ok_and(|q| q <= 0.0));
        name.trim().eq_ignore_ascii_case(encoding) && !is_refused
    })
}

/// What a browser may do with the page (Content Security Policy): run its own scripts and no others, and ask its own server and
/// the object store.
#[derive(Debug, Clone)]
struct Policy(HeaderValue);

impl Policy {
    fn new(file_origin: Option<&str>) -> Self {
        let files = file_origin.map(|origin| format!(" {origin}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{files}; img-src 'self' blob:; \
             worker-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types godwit"
        );
        let without_files = || HeaderValue::from_static("default-src 'none'");
        Self(HeaderValue::try_from(policy).unwrap_or_else(|_| without_files()))
    }
}

async fn guarded(State(Policy(policy)): State<Policy>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}

/// Where MQTT begins.
#[derive(Clone)]
struct MqttRoute {
    door: WebSocketDoor,
    /// Pages of these may come too, besides those of the page's own origin.
    origins: Arc<[String]>,
}

async fn upgrade(State(MqttRoute { door, origins }): State<MqttRoute>, mut request: Request) -> Response {
    let from = request.extensions().get::<ClientAddress>().and_then(|caller| caller.ip());
    let headers = request.headers();
    let named = |name: &'static str| headers.get_all(name).into_iter().map(|value| value.as_bytes().trim_ascii());
    let own = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let checked = check_headers(named, |origin| is_own(origin, own) || is_listed(&origins, origin));
    let accept = match checked {
        Ok(accept) => accept,
        Err(error) => {
            door.refused(from, &error);
            let (status, text) = error.told();
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            return (status, [(CONNECTION, "close")], format!("{text}\n")).into_response();
        }
    };
    let Some(place) = door.place(from) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(CONNECTION, "close")]).into_response();
    };
    let stream = http::upgraded(&mut request);
    tokio::spawn(async move {
        if let Some(stream) = stream.await {
            place.take(stream);
        }
    });
    let upgraded = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, upgraded, [(SEC_WEBSOCKET_ACCEPT, accept)], Body::empty()).into_response()
}

/// Whether a page's origin is that of the server it asks, over TLS or not: a proxy may have taken TLS off.
fn is_own(origin: &[u8], host: &[u8]) -> bool {
    let named = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    !host.is_empty() && named.is_some_and(|named| named.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(HeaderName, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    const FILE: &PageFile = &PageFile {
        path: "/assets/app-0123456789.js",
        plain: b"plain",
        gzip: b"gzip",
        brotli: b"brotli",
        etag: "\"0123456789abcdef\"",
    };

    const LARGE: &PageFile = &PageFile { plain: b"", ..*FILE };

    #[test]
    fn a_browser_gets_the_form_that_it_takes() {
        for (accepted, given) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip;q=1.0, br;q=0", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("identity", None),
            ("brave, gzipped", None),
        ] {
            let response = answer(FILE, &request(&[(ACCEPT_ENCODING, accepted)]));
            let encoding = response.headers().get(CONTENT_ENCODING).map(|it| it.to_str().expect("text"));
            assert_eq!((response.status(), encoding), (StatusCode::OK, given), "{accepted}");
        }
        assert_eq!(answer(LARGE, &HeaderMap::new()).headers()[CONTENT_ENCODING], "gzip");
        let identity = request(&[(ACCEPT_ENCODING, "identity")]);
        assert_eq!(answer(LARGE, &identity).status(), StatusCode::NOT_ACCEPTABLE);
        let response = answer(FILE, &HeaderMap::new());
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
    }

    #[test]
    fn who_knows_a_file_is_not_sent_it_again() {
        for known in ["\"0123456789abcdef\"", "W/\"0123456789abcdef\"", "\"x\", \"0123456789abcdef\""] {
            assert_eq!(answer(FILE, &request(&[(IF_NONE_MATCH, known)])).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(answer(FILE, &request(&[(IF_NONE_MATCH, "\"x\"")])).status(), StatusCode::OK);
    }

    #[test]
    fn the_own_origin_is_that_of_the_host() {
        for (origin, host, is) in [
            ("http://127.0.0.1:8088", "127.0.0.1:8088", true),
            ("https://chat.example.org", "Chat.example.org", true),
            ("https://evil.example.org", "chat.example.org", false),
            ("https://chat.example.org:444", "chat.example.org", false),
            ("null", "null", false),
            ("https://", "", false),
        ] {
            assert_eq!(is_own(origin.as_bytes(), host.as_bytes()), is, "{origin} {host}");
        }
    }

    #[test]
    fn files_are_asked_for_where_they_are() {
        let Policy(policy) = Policy::new(Some("http://127.0.0.1:9000"));
        assert!(policy.to_str().expect("text").contains("connect-src 'self' http://127.0.0.1:9000;"));
        let Policy(strange) = Policy::new(Some("http://\n"));
        assert_eq!(strange, "default-src 'none'");
    }
}
