//! All push services that the operator has set up. Each service is behind a circuit of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tracing::warn;

use crate::apns::{Apns, ApnsSettings};
use crate::circuit::{Circuits, Ending};
use crate::fcm::{Fcm, FcmSettings};
use crate::guard::{Resolve, SystemResolver};
use crate::http::Http;
use crate::jwt::BadKey;
use crate::web::{Web, WebSettings};
use crate::{Gateway, NotAdmitted, Provider, Push, Service, Target, Verdict, WallClock};

/// What the operator has set up. What is absent is not used.
#[derive(Debug, Clone, Default)]
pub struct ProviderSettings {
    /// Apple.
    pub apns: Option<ApnsSettings>,
    /// Google.
    pub fcm: Option<FcmSettings>,
    /// Web Push.
    pub web: Option<WebSettings>,
}

/// A key file of the operator's is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", provider.name())]
pub struct BadProvider {
    /// Of which push service.
    pub provider: Provider,
    /// What is wrong with it.
    pub why: BadKey,
}

/// See the module.
#[derive(Debug)]
pub struct Providers {
    apns: Option<Apns>,
    fcm: Option<Fcm>,
    web: Option<Web>,
    circuits: Mutex<Circuits>,
}

impl Providers {
    /// Reads the keys. Connects to nothing.
    ///
    /// # Errors
    /// A key cannot be used.
    pub fn new(settings: ProviderSettings, wall: WallClock) -> Result<Self, BadProvider> {
        Self::resolving(settings, wall, Arc::new(SystemResolver))
    }

    /// The same, with another resolver of names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn resolving(
        settings: ProviderSettings,
        wall: WallClock,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, BadProvider> {
        let bad = |provider| move |why| BadProvider { provider, why };
        let ours = || Http::new(resolver.clone(), None, wall);
        Ok(Self {
            apns: settings.apns.map(|it| Apns::new(it, ours(), wall)).transpose().map_err(bad(Provider::Apns))?,
            fcm: settings.fcm.map(|it| Fcm::new(it, ours(), wall)).transpose().map_err(bad(Provider::Fcm))?,
            web: settings.web.map(|it| {
                let guarded = Http::new(resolver.clone(), Some(it.guard.clone()), wall);
                Web::new(it, guarded, wall)
            }),
            circuits: Mutex::default(),
        })
    }

    async fn push(&self, push: Push) -> Verdict {
        let under_way = self.begin(push.target.service());
        let sent = match (&push.target, &self.apns, &self.fcm, &self.web) {
            (Target::Apns { token, topic, sandbox }, Some(apns), ..) => {
                apns.send(&push, (token, topic, *sandbox)).await
            }
            (Target::Fcm { token }, _, Some(fcm), _) => fcm.send(&push, token).await,
            (Target::Web { endpoint }, .., Some(web)) => web.send(&push, endpoint).await,
            _ => {
                under_way.end(Ending::Answered);
                return Verdict::Refused("not set up".to_owned());
            }
        };
        let (ending, verdict) = match sent {
            Err(_) => (Ending::Failed, Verdict::Later { after: None }),
            Ok((answer, verdict)) => match (answer.status.as_u16(), &verdict) {
                (429 | 503, Verdict::Later { after }) => (Ending::Throttled(*after), verdict),
                (_, Verdict::Later { .. }) => (Ending::Failed, verdict),
                _ => (Ending::Answered, verdict),
            },
        };
        under_way.end(ending);
        verdict
    }

    fn circuits(&self) -> MutexGuard<'_, Circuits> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, service: Service) -> UnderWay<'_> {
        self.circuits().of(service).begin();
        UnderWay { providers: self, service, ending: Ending::Failed }
    }
}

/// A request that is under way; dropped before its end, it has failed.
struct UnderWay<'a> {
    providers: &'a Providers,
    service: Service,
    ending: Ending,
}

impl UnderWay<'_> {
    fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut circuits = self.providers.circuits();
        let circuit = circuits.of(self.service);
        let was_open = circuit.is_open();
        circuit.end(Instant::now(), self.ending);
        let is_open = circuit.is_open();
        drop(circuits);
        let provider = self.service.provider.name();
        match (was_open, is_open) {
            (false, true) => warn!(provider, "push: a service takes nothing for now, pushes wait"),
            (true, false) => warn!(provider, "push: the service takes pushes again"),
            _ => {}
        }
    }
}

impl Gateway for Providers {
    fn admits(&self, target: &Target) -> Result<(), NotAdmitted> {
        match (target, &self.apns, &self.fcm, &self.web) {
            (Target::Apns { token, topic, .. }, Some(apns), ..) => apns.admits(token, topic),
            (Target::Fcm { token }, _, Some(_), _) => Fcm::admits(token),
            (Target::Web { endpoint }, .., Some(web)) => web.admits(endpoint),
            _ => Err(NotAdmitted::NoProvider),
        }
    }

    fn pause(&self, service: Service) -> Option<Duration> {
        self.circuits().pause(service, Instant::now())
    }

    fn send(self: Arc<Self>, push: Push) -> BoxFuture<'static, Verdict> {
        Box::pin(async move { self.push(push).await })
    }

    fn use_key(&self, pkcs8: &[u8]) -> Result<(), BadKey> {
        self.web.as_ref().map_or(Ok(()), |web| web.use_key(pkcs8))
    }

    fn vapid(&self) -> Option<Vec<u8>> {
        self.web.as_ref().and_then(Web::vapid)
    }
}
