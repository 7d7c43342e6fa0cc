//! Where a device is pushed: from a call to what is stored, and from there to what a push service is asked.

use godwit_core::stored::PushRecord;
use godwit_push::Target;
use godwit_push::seal::{BadDeviceKeys, DeviceKeys};
use godwit_schemas::client::{ApnsAddress, FcmAddress, WebAddress, set_push::To};
use sha2::{Digest as _, Sha256};

/// The record of a device that is to be pushed there.
pub(crate) fn record(to: To) -> PushRecord {
    match to {
        To::Apns(apns) => PushRecord { apns: Some(apns), ..PushRecord::default() },
        To::Fcm(fcm) => PushRecord { fcm: Some(fcm), ..PushRecord::default() },
        To::Web(web) => PushRecord { web: Some(web), ..PushRecord::default() },
    }
}

/// Where that is. `None`: the record has no address.
pub(crate) fn target(record: &PushRecord) -> Option<Target> {
    match record {
        PushRecord { apns: Some(ApnsAddress { token, topic, sandbox }), .. } => {
            Some(Target::Apns { token: token.to_vec(), topic: topic.clone(), sandbox: *sandbox })
        }
        PushRecord { fcm: Some(FcmAddress { token }), .. } => Some(Target::Fcm { token: token.clone() }),
        PushRecord { web: Some(WebAddress { endpoint }), .. } => Some(Target::Web { endpoint: endpoint.clone() }),
        _ => None,
    }
}

/// What payloads are encrypted to. `None`: there are none.
///
/// # Errors
/// They are no keys.
pub(crate) fn device_keys(record: &PushRecord) -> Result<Option<DeviceKeys>, BadDeviceKeys> {
    if record.p256dh.is_empty() && record.auth.is_empty() {
        return Ok(None);
    }
    DeviceKeys::new(&record.p256dh, &record.auth).map(Some)
}

/// Tells addresses apart: one address is one device's.
pub(crate) fn hash(target: &Target) -> [u8; 32] {
    let (kind, address): (&[u8], &[u8]) = match target {
        // Apple's tokens are different for each app.
        Target::Apns { token, .. } => (b"apns\0", token),
        Target::Fcm { token } => (b"fcm\0", token.as_bytes()),
        Target::Web { endpoint } => (b"web\0", endpoint.as_bytes()),
    };
    Sha256::new().chain_update(kind).chain_update(address).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_are_told_apart() {
        let apns = ApnsAddress { token: vec![1, 2].into(), topic: "org.example".to_owned(), sandbox: true };
        let fcm = FcmAddress { token: "\u{1}\u{2}".to_owned() };
        let web = WebAddress { endpoint: "https://example.org/x".to_owned() };
        let targets: Vec<_> =
            [To::Apns(apns), To::Fcm(fcm), To::Web(web)].map(|to| target(&record(to)).unwrap()).into();
        let mut hashes: Vec<_> = targets.iter().map(hash).collect();
        hashes.dedup();
        assert_eq!(hashes.len(), 3);
        assert_eq!(target(&PushRecord::default()), None);
        assert_eq!(device_keys(&PushRecord::default()), Ok(None));
        assert!(device_keys(&PushRecord { auth: vec![0; 16], ..PushRecord::default() }).is_err());
    }
}
