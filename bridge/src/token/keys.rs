//! The issuer's keys: one from a file, or a set at a URL (RFC 7517), fetched at the start, every hour, and when a token names
//! one that is not there; the last at most every ten seconds, whoever names what. A task fetches them, and verifying a token
//! reads what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::crypto;
use crate::webhook::agent;

const REFRESH: Duration = Duration::from_secs(3_600);
/// Between two fetches.
const PAUSE: Duration = Duration::from_secs(10);
/// Largest set.
const BYTES_MAX: u64 = 256 << 10;

/// Where keys come from.
#[derive(Debug, Clone)]
pub struct KeySource(From);

#[derive(Debug, Clone)]
enum From {
    File(VerificationKey),
    Url(String),
}

impl KeySource {
    /// A public key in PEM: RSA, P-256 or Ed25519, for one of these algorithms.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn pem(pem: &[u8], algorithms: &[Algorithm]) -> Result<Self, BadKey> {
        let key = of_pem(pem)?;
        if !algorithms.iter().any(|algorithm| algorithm.family() == key.key.family()) {
            return Err(BadKey::OtherAlgorithm);
        }
        Ok(Self(From::File(key)))
    }

    /// A set of keys at this URL, which is fetched once it is used.
    pub fn url(url: String) -> Self {
        Self(From::Url(url))
    }
}

/// What can verify nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is something else.
    #[error("not a public key in PEM (RSA, P-256 or Ed25519)")]
    NotAKey,
    /// Another curve, or an RSA key of another length.
    #[error("a key that verifies nothing here: take RSA of 2,048 to 8,192 bits, P-256 or Ed25519")]
    Unsupported,
    /// `jwt.algorithms` does not have its kind.
    #[error("a key of a kind that jwt.algorithms does not have")]
    OtherAlgorithm,
}

/// A key, with the name that tokens call it by.
#[derive(Debug, Clone)]
pub(super) struct VerificationKey {
    name: Option<String>,
    key: DecodingKey,
}

/// Those that are known now.
pub(super) struct VerificationKeys {
    known: watch::Receiver<Vec<VerificationKey>>,
    /// Absent: there are no others to be fetched.
    fetching: Option<Arc<Fetching>>,
}

#[derive(Default)]
struct Fetching {
    wanted: Notify,
    /// What was fetched is younger than a pause.
    fresh: AtomicBool,
}

impl VerificationKeys {
    pub(super) fn start(source: KeySource) -> Self {
        match source.0 {
            From::File(key) => Self::fixed(vec![key]),
            From::Url(url) => {
                let agent = agent(&url);
                let fetch = move || {
                    let (agent, url) = (agent.clone(), url.clone());
                    async move {
                        let fetched = tokio::task::spawn_blocking(move || fetch(&agent, &url)).await;
                        fetched.unwrap_or_else(|error| Err(error.to_string()))
                    }
                };
                Self::fetched_by(fetch)
            }
        }
    }

    fn fixed(keys: Vec<VerificationKey>) -> Self {
        Self { known: watch::channel(keys).1, fetching: None }
    }

    #[cfg(test)]
    pub(super) fn of_set(json: &Value) -> Self {
        Self::fixed(of_set(json.to_string().as_bytes()).unwrap())
    }

    fn fetched_by<F>(fetch: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<VerificationKey>, String>> + Send + 'static,
    {
        let (tell, known) = watch::channel(Vec::new());
        let fetching = Arc::<Fetching>::default();
        tokio::spawn(keep_fetching(fetch, tell, fetching.clone()));
        Self { known, fetching: Some(fetching) }
    }

    /// The key of this name and kind. A token that names none means the only one of its kind; a key that has no name is
    /// meant by every name.
    pub(super) fn find(&self, name: Option<&str>, family: AlgorithmFamily) -> Option<DecodingKey> {
        let known = self.known.borrow();
        let mut fitting = known.iter().filter(|key| {
            let named = name.is_none() || key.name.is_none() || key.name.as_deref() == name;
            named && key.key.family() == family
        });
        let found = fitting.next()?;
        fitting.next().is_none().then(|| found.key.clone())
    }

    /// A token names another key. Whether it is worth waiting for: they are about to be fetched.
    pub(super) fn fetch_others(&self) -> bool {
        let Some(fetching) = &self.fetching else { return false };
        fetching.wanted.notify_one();
        !fetching.fresh.load(Ordering::Relaxed)
    }
}

/// Ends when nobody needs keys any more.
async fn keep_fetching<F>(
    fetch: impl Fn() -> F + Send + Sync,
    tell: watch::Sender<Vec<VerificationKey>>,
    fetching: Arc<Fetching>,
) where
    F: Future<Output = Result<Vec<VerificationKey>, String>>,
{
    let mut failed = false;
    let work = async {
        loop {
            match fetch().await {
                Ok(keys) => {
                    if failed || tell.borrow().is_empty() {
                        info!(keys = keys.len(), "jwt: fetched the issuer's keys");
                    }
                    failed = false;
                    fetching.fresh.store(true, Ordering::Relaxed);
                    tell.send_replace(keys);
                }
                Err(error) => {
                    warn!(error, "jwt: cannot fetch the issuer's keys (jwt.jwks_url): those before stay in force");
                    failed = true;
                }
            }
            sleep(PAUSE).await;
            fetching.fresh.store(false, Ordering::Relaxed);
            if !failed {
                // Wanted, or an hour old.
                _ = timeout(REFRESH - PAUSE, fetching.wanted.notified()).await;
            }
        }
    };
    tokio::select! {
        () = tell.closed() => {}
        () = work => {}
    }
}

fn fetch(agent: &ureq::Agent, url: &str) -> Result<Vec<VerificationKey>, String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("the issuer says {}", answer.status()));
    }
    let bytes = answer.body_mut().with_config().limit(BYTES_MAX).read_to_vec().map_err(|error| error.to_string())?;
    of_set(&bytes)
}

fn of_pem(pem: &[u8]) -> Result<VerificationKey, BadKey> {
    let any = [DecodingKey::from_ec_pem, DecodingKey::from_ed_pem, DecodingKey::from_rsa_pem];
    // A private key would do as well, and has no business here.
    let is_private = pem.windows(12).any(|text| text == b"PRIVATE KEY-");
    let key = any.into_iter().find_map(|read| read(pem).ok()).filter(|_| !is_private).ok_or(BadKey::NotAKey)?;
    if crypto::can_verify(&key) { Ok(VerificationKey { name: None, key }) } else { Err(BadKey::Unsupported) }
}

/// Keys of other kinds, for other uses, are passed over: a set may have any. So are shared secrets.
fn of_set(json: &[u8]) -> Result<Vec<VerificationKey>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|error| format!("no set of keys: {error}"))?;
    let key = |value: Value| {
        let signs = value.get("use").is_none_or(|it| it == "sig");
        let jwk: Jwk = serde_json::from_value(value).ok().filter(|_| signs)?;
        let key = DecodingKey::from_jwk(&jwk).ok().filter(crypto::can_verify)?;
        Some(VerificationKey { name: jwk.common.key_id, key })
    };
    Ok(set.keys.into_iter().filter_map(key).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// 32 bytes.
    const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn set(names: &[&str]) -> Vec<VerificationKey> {
        let keys = names.iter().map(|name| serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": name }));
        of_set(serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_set_may_have_what_is_of_no_use_here() {
        let keys = serde_json::json!({ "keys": [
            { "kty": "oct", "k": "c2VjcmV0", "kid": "shared" },
            { "kty": "OKP", "crv": "X25519", "x": X, "use": "enc", "kid": "encrypts" },
            { "kty": "strange" },
            { "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "signs", "use": "sig" },
        ] });
        let keys = of_set(keys.to_string().as_bytes()).unwrap();
        assert_eq!(keys.iter().map(|key| key.name.as_deref()).collect::<Vec<_>>(), [Some("signs")]);
        assert!(of_set(b"[]").is_err());
    }

    #[test]
    fn a_key_is_found_by_its_name_or_because_it_is_the_only_one() {
        let keys = |names: &[&str]| VerificationKeys::fixed(set(names));
        let has = |names: &[&str], name| keys(names).find(name, AlgorithmFamily::Ed).is_some();
        assert!(has(&["a", "b"], Some("b")) && !has(&["a", "b"], Some("c")));
        assert!(has(&["a"], None) && !has(&["a", "b"], None));
        assert!(keys(&["a"]).find(Some("a"), AlgorithmFamily::Rsa).is_none());
        assert!(!keys(&["a"]).fetch_others());
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_key_is_fetched_at_a_bounded_rate() {
        let fetches = Arc::<AtomicUsize>::default();
        let counted = fetches.clone();
        let keys = VerificationKeys::fetched_by(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => Err("down".to_owned()),
                    1 => Ok(set(&["a"])),
                    _ => Ok(set(&["a", "b"])),
                }
            }
        });
        let has = |name| keys.find(Some(name), AlgorithmFamily::Ed).is_some();
        sleep(Duration::from_secs(1)).await;
        assert!(!has("a") && keys.fetch_others(), "the issuer is down: it will be asked again");
        sleep(PAUSE).await;
        assert!(has("a") && !has("b"));
        // Whatever is asked for now, they have just been fetched.
        assert!((0..100).all(|_| !keys.fetch_others()));
        assert_eq!(fetches.load(Ordering::Relaxed), 2);
        sleep(PAUSE).await;
        assert!(has("b"), "it was wanted");
        sleep(REFRESH).await;
        assert_eq!(fetches.load(Ordering::Relaxed), 4);
    }
}
