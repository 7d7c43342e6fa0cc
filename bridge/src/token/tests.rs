//! Good tokens, and every way to make a bad one.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use sha2::Sha256;

use super::*;

const NOW_S: u32 = 1_000_000;

fn settings() -> TokenSettings {
    TokenSettings {
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        issuer: "https://id.example.org".to_owned(),
        audience: "chat".to_owned(),
        user_claim: "sub".to_owned(),
        device_claim: "device".to_owned(),
        leeway_s: 30,
        lifetime_max_s: 3_600,
        create_users: false,
    }
}

fn tokens(settings: TokenSettings, pem: &str) -> Arc<Tokens> {
    let source = KeySource::pem(pem.as_bytes(), &settings.algorithms).unwrap();
    Tokens::new(settings, source, Arc::new(|| NOW_S))
}

/// A public key (RFC 5280, SubjectPublicKeyInfo), from the hexadecimal digits of what stands before it.
fn pem(before: &str, key: &[u8]) -> String {
    let byte = |at| u8::from_str_radix(&before[at..at + 2], 16).unwrap();
    let before: Vec<u8> = (0..before.len()).step_by(2).map(byte).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode([&before, key].concat()))
}

struct Ed(Ed25519KeyPair);

impl Ed {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn pem(&self) -> String {
        pem("302a300506032b6570032100", self.0.public_key().as_ref())
    }

    fn token(&self, claims: &Value) -> Vec<u8> {
        token("EdDSA", claims, |message| self.0.sign(message).as_ref().to_vec())
    }
}

fn token(algorithm: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let header = json!({ "alg": algorithm, "typ": "JWT" });
    let message = [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(message.as_bytes()))).into_bytes()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.org", "aud": ["mail", "chat"], "sub": "alice", "device": "phone", "exp": NOW_S + 600,
    })
}

fn with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[claim] = value.into();
    claims
}

fn good(user: &str, device: Option<&str>, ends_at_s: u32) -> Result<Claims, TokenRefusal> {
    let device = device.map(|device| DeviceName::new(device).unwrap());
    Ok(Claims { user: UserId::new(user).unwrap(), device, ends_at_s })
}

#[test]
fn a_good_token_says_who_it_is_and_until_when() {
    let key = Ed::new();
    let tokens = tokens(settings(), &key.pem());
    assert_eq!(tokens.verify(&key.token(&claims())), good("alice", Some("phone"), NOW_S + 630));
    assert_eq!(tokens.verify(&key.token(&with("aud", "chat"))), good("alice", Some("phone"), NOW_S + 630));
    let fraction = f64::from(NOW_S) + 600.5;
    assert_eq!(tokens.verify(&key.token(&with("exp", fraction))), good("alice", Some("phone"), NOW_S + 630));
    assert_eq!(tokens.verify(&key.token(&with("exp", NOW_S - 29))), good("alice", Some("phone"), NOW_S + 1));
    assert!(tokens.verify(&key.token(&with("nbf", NOW_S + 30))).is_ok());
    let of_any_device = TokenSettings { device_claim: String::new(), ..settings() };
    assert_eq!(self::tokens(of_any_device, &key.pem()).verify(&key.token(&claims())), good("alice", None, NOW_S + 630));
}

#[test]
fn what_is_wrong_with_a_token_is_seen() {
    let key = Ed::new();
    let tokens = tokens(settings(), &key.pem());
    let cases = [
        (with("exp", NOW_S - 30), "expired"),
        (with("exp", 0), "expired"),
        (with("exp", NOW_S + 3_631), "lifetime"),
        (with("exp", u64::MAX), "lifetime"),
        (with("exp", (NOW_S + 600).to_string()), "claims"),
        (with("exp", Value::Null), "claims"),
        (with("nbf", NOW_S + 31), "not yet good"),
        (with("nbf", "tomorrow"), "claims"),
        (with("iss", "https://evil.example.org"), "issuer"),
        (with("iss", Value::Null), "claims"),
        (with("iss", json!(["https://id.example.org"])), "claims"),
        (with("iss", json!({ "https://id.example.org": 1 })), "claims"),
        (with("aud", "mail"), "audience"),
        (with("aud", Value::Null), "claims"),
        (with("aud", json!({ "chat": 1 })), "claims"),
        (with("aud", json!(["chat", 7])), "claims"),
        (with("aud", json!([])), "audience"),
        (with("sub", Value::Null), "claims"),
        (with("sub", 7), "claims"),
        (with("sub", "a/b"), "user"),
        (with("device", Value::Null), "claims"),
        (with("device", json!(["phone"])), "claims"),
        (with("device", "+"), "device"),
    ];
    for (claims, why) in cases {
        assert_eq!(tokens.verify(&key.token(&claims)), Err(TokenRefusal::Bad(why)), "{claims}");
    }
    // The library says of some that they are malformed.
    for claims in [with("sub", json!(["alice"])), with("exp", json!([NOW_S + 600])), with("nbf", json!([0]))] {
        assert!(
            matches!(tokens.verify(&key.token(&claims)), Err(TokenRefusal::Bad("claims" | "malformed"))),
            "{claims}"
        );
    }
    for text in ["", "..", "a.b.c", "a.b", "e30.e30.e30", "x.y.z.w"] {
        assert_eq!(tokens.verify(text.as_bytes()), Err(TokenRefusal::Bad("malformed")), "{text}");
    }
}

#[test]
fn who_has_no_name_takes_no_token_that_is_for_somebody() {
    let key = Ed::new();
    let tokens = tokens(TokenSettings { audience: String::new(), ..settings() }, &key.pem());
    let verify = |aud: Option<Value>| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("aud");
        aud.into_iter().for_each(|aud| claims["aud"] = aud);
        tokens.verify(&key.token(&claims))
    };
    assert!(verify(None).is_ok());
    for (aud, why) in
        [(json!("chat"), "audience"), (json!([]), "audience"), (json!(7), "claims"), (json!([7]), "claims")]
    {
        assert_eq!(verify(Some(aud.clone())), Err(TokenRefusal::Bad(why)), "{aud}");
    }
}

#[test]
fn only_the_issuer_s_signature_counts() {
    let key = Ed::new();
    let tokens = tokens(settings(), &key.pem());
    let forged = Err(TokenRefusal::Bad("signature"));
    assert_eq!(tokens.verify(&Ed::new().token(&claims())), forged, "another key");
    let mut changed = key.token(&claims());
    let other = key.token(&with("sub", "bob"));
    let signature = changed.iter().rposition(|byte| *byte == b'.').unwrap();
    let body = other.iter().rposition(|byte| *byte == b'.').unwrap();
    changed = [&other[..body], &changed[signature..]].concat();
    assert_eq!(tokens.verify(&changed), forged, "another's signature");
    let unsigned = token("EdDSA", &claims(), |_| Vec::new());
    assert_eq!(tokens.verify(&unsigned), forged);
    for none in ["none", "None", "nOnE", ""] {
        assert_eq!(
            tokens.verify(&token(none, &claims(), |_| Vec::new())),
            Err(TokenRefusal::Bad("malformed")),
            "{none}"
        );
    }
}

#[test]
fn a_public_key_is_no_shared_secret_and_no_other_kind_of_key() {
    let key = Ed::new();
    let tokens = tokens(settings(), &key.pem());
    for secret in [key.pem().into_bytes(), key.0.public_key().as_ref().to_vec()] {
        let by_hmac = token("HS256", &claims(), |message| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        });
        assert_eq!(tokens.verify(&by_hmac), Err(TokenRefusal::Bad("algorithm")));
    }
    for algorithm in ["RS256", "ES256"] {
        let mislabelled = token(algorithm, &claims(), |message| key.0.sign(message).as_ref().to_vec());
        assert_eq!(tokens.verify(&mislabelled), Err(TokenRefusal::Bad("key")), "{algorithm}");
    }
    // Of another algorithm than the key's.
    let (_, p256) = elliptic();
    let others = TokenSettings { algorithms: vec![Algorithm::ES256], ..settings() };
    assert_eq!(self::tokens(others, &p256).verify(&key.token(&claims())), Err(TokenRefusal::Bad("algorithm")));
}

/// A key for ES256, and its public half.
fn elliptic() -> (EcdsaKeyPair, String) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let pem = pem("3059301306072a8648ce3d020106082a8648ce3d030107034200", key.public_key().as_ref());
    (key, pem)
}

#[test]
fn elliptic_curves_sign_too() {
    let random = SystemRandom::new();
    let (key, pem) = elliptic();
    let tokens = tokens(settings(), &pem);
    let signed = token("ES256", &claims(), |message| key.sign(&random, message).unwrap().as_ref().to_vec());
    assert_eq!(tokens.verify(&signed), good("alice", Some("phone"), NOW_S + 630));
}

#[tokio::test(start_paused = true)]
async fn rsa_signs_as_in_the_rfc() {
    // RFC 7515, appendix A.2: key and token.
    let key = json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    });
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let (of_rfc, now_s) = (1_300_819_380, Arc::new(AtomicU32::new(1_300_819_000)));
    let clock = now_s.clone();
    let settings = TokenSettings {
        issuer: "joe".to_owned(),
        audience: String::new(),
        user_claim: "iss".to_owned(),
        device_claim: String::new(),
        leeway_s: 0,
        ..settings()
    };
    let keys = keys::VerificationKeys::of_set(&json!({ "keys": [key] }));
    crypto::install();
    let tokens = Tokens { settings, keys, clock: Arc::new(move || clock.load(Ordering::Relaxed)) };
    assert_eq!(tokens.verify(token.as_bytes()), good("joe", None, of_rfc));
    now_s.store(of_rfc, Ordering::Relaxed);
    assert_eq!(tokens.verify(token.as_bytes()), Err(TokenRefusal::Bad("expired")));
    let last = token.len() - 2;
    let mut forged = token.as_bytes().to_vec();
    forged[last] = if forged[last] == b'R' { b'S' } else { b'R' };
    now_s.store(1_300_819_000, Ordering::Relaxed);
    assert_eq!(tokens.verify(&forged), Err(TokenRefusal::Bad("signature")));
}

#[test]
fn only_a_public_key_is_a_key() {
    let read = |text: &str, algorithms: &[Algorithm]| KeySource::pem(text.as_bytes(), algorithms).map(|_| ());
    for text in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert_eq!(read(text, &settings().algorithms), Err(BadKey::NotAKey));
    }
    // The points are of the right length; what ring would say of them shows with the first token.
    let p256 = pem("3059301306072a8648ce3d020106082a8648ce3d030107034200", &[&[4][..], &[7; 64]].concat());
    assert_eq!(read(&p256, &[Algorithm::ES256]), Ok(()));
    assert_eq!(read(&p256, &[Algorithm::RS256, Algorithm::EdDSA]), Err(BadKey::OtherAlgorithm));
    let p384 = pem("3076301006072a8648ce3d020106052b81040022036200", &[&[4][..], &[7; 96]].concat());
    assert_eq!(read(&p384, &settings().algorithms), Err(BadKey::Unsupported));
    let rsa_1024 = "30819f300d06092a864886f70d010101050003818d0030818902818100";
    let rsa_1024 = pem(rsa_1024, &[&[0xC7; 128][..], &[2, 3, 1, 0, 1]].concat());
    assert_eq!(read(&rsa_1024, &settings().algorithms), Err(BadKey::Unsupported));
}

#[test]
fn tokens_are_told_from_passwords() {
    assert!(looks_like_one(b"a.b.c"));
    assert!(!looks_like_one(b"abc") && !looks_like_one(b"a.b") && !looks_like_one(b"a.b.c.d"));
    assert!(!looks_like_one(crate::password::generate().unwrap().as_bytes()));
}
