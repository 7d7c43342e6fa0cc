//! The vectors of RFC 9420's working group, played through our provider: `GODWIT_TEST_MLS_VECTORS` names the folder
//! `test-vectors` of its repository `mlswg/mls-implementations`, which has no licence to copy them by. Without it these tests
//! say that they are skipped.

use std::path::PathBuf;

use mls_rs::group::ExportedTree;
use mls_rs::identity::basic::BasicIdentityProvider;
use mls_rs::mls_rs_codec::MlsEncode as _;
use mls_rs::psk::ExternalPskId;
use mls_rs::storage_provider::in_memory::InMemoryKeyPackageStorage;
use mls_rs::{Client, MlsMessage};
use mls_rs_core::crypto::{CipherSuiteProvider as _, HpkeCiphertext};
use mls_rs_core::key_package::KeyPackageData;
use serde_json::Value;

use super::provider::{Provider, SUITE, Suite};
use crate::wire::put_opaque;

/// The cases of our suite in a file of the folder.
fn cases(file: &str) -> Vec<Value> {
    let Some(folder) = std::env::var_os("GODWIT_TEST_MLS_VECTORS").map(PathBuf::from) else {
        println!("skipped: GODWIT_TEST_MLS_VECTORS is not set");
        return Vec::new();
    };
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let ours: Vec<_> = cases.into_iter().filter(|case| case["cipher_suite"] == 1).collect();
    assert!(!ours.is_empty(), "{file} has nothing of suite 1");
    ours
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// RFC 9420, section 5.1.2 and 5.1.3: `label` behind "MLS 1.0 ", then `content`.
fn labelled(label: &Value, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_opaque(&mut out, format!("MLS 1.0 {}", label.as_str().unwrap()).as_bytes());
    put_opaque(&mut out, content);
    out
}

/// RFC 9420, section 8.
fn expand_with_label(secret: &[u8], label: &Value, context: &[u8], length: u16) -> Vec<u8> {
    let info = [&length.to_be_bytes()[..], &labelled(label, context)].concat();
    Suite::new().kdf_expand(secret, &info, length.into()).unwrap().to_vec()
}

#[test]
fn primitives_are_those_of_the_suite() {
    let suite = Suite::new();
    for case in cases("crypto-basics.json") {
        let hash = &case["ref_hash"];
        let mut input = Vec::new();
        put_opaque(&mut input, hash["label"].as_str().unwrap().as_bytes());
        put_opaque(&mut input, &hex(&hash["value"]));
        assert_eq!(suite.hash(&input).unwrap(), hex(&hash["out"]));

        let expand = &case["expand_with_label"];
        let out = expand_with_label(&hex(&expand["secret"]), &expand["label"], &hex(&expand["context"]), 16);
        assert_eq!(out, hex(&expand["out"]));
        let derive = &case["derive_secret"];
        assert_eq!(expand_with_label(&hex(&derive["secret"]), &derive["label"], &[], 32), hex(&derive["out"]));
        let tree = &case["derive_tree_secret"];
        let generation = u32::try_from(tree["generation"].as_u64().unwrap()).unwrap().to_be_bytes();
        assert_eq!(expand_with_label(&hex(&tree["secret"]), &tree["label"], &generation, 32), hex(&tree["out"]));

        let sign = &case["sign_with_label"];
        let (secret, public) = (hex(&sign["priv"]).into(), hex(&sign["pub"]).into());
        let content = labelled(&sign["label"], &hex(&sign["content"]));
        assert_eq!(suite.signature_key_derive_public(&secret).unwrap(), public);
        assert_eq!(suite.sign(&secret, &content).unwrap(), hex(&sign["signature"]), "Ed25519 has one signature");
        suite.verify(&public, &hex(&sign["signature"]), &content).unwrap();

        let sealed = &case["encrypt_with_label"];
        let (secret, public) = (hex(&sealed["priv"]).into(), hex(&sealed["pub"]).into());
        let info = labelled(&sealed["label"], &hex(&sealed["context"]));
        let theirs = HpkeCiphertext { kem_output: hex(&sealed["kem_output"]), ciphertext: hex(&sealed["ciphertext"]) };
        let ours = suite.hpke_seal(&public, &info, None, &hex(&sealed["plaintext"])).unwrap();
        for ciphertext in [theirs, ours] {
            let opened = suite.hpke_open(&ciphertext, &secret, &public, &info, None).unwrap();
            assert_eq!(*opened, hex(&sealed["plaintext"]));
        }
    }
}

/// A member that joins by a Welcome and then processes what others send.
fn play(case: &Value) {
    let message = MlsMessage::from_bytes(&hex(&case["key_package"])).unwrap();
    let package = message.clone().into_key_package().unwrap();
    let reference = package.to_reference(&Suite::new()).unwrap().to_vec();
    let data = KeyPackageData::new(
        package.mls_encode_to_vec().unwrap(),
        hex(&case["init_priv"]).into(),
        hex(&case["encryption_priv"]).into(),
        u64::MAX,
    );
    let packages = InMemoryKeyPackageStorage::default();
    packages.insert(reference, data);

    let mut builder = Client::builder()
        .crypto_provider(Provider)
        .identity_provider(BasicIdentityProvider::new())
        .key_package_repo(packages);
    for psk in case["external_psks"].as_array().unwrap() {
        builder = builder.psk(ExternalPskId::new(hex(&psk["psk_id"])), hex(&psk["psk"]).into());
    }
    let client = builder
        .signing_identity(package.signing_identity().clone(), hex(&case["signature_priv"]).into(), SUITE)
        .build();

    let tree = case["ratchet_tree"].as_str().map(|_| hex(&case["ratchet_tree"]));
    let tree = tree.as_deref().map(|bytes| ExportedTree::from_bytes(bytes).unwrap());
    let welcome = MlsMessage::from_bytes(&hex(&case["welcome"])).unwrap();
    let (mut group, _) = client.join_group(tree, &welcome, None).unwrap();
    assert_eq!(group.epoch_authenticator().unwrap().as_bytes(), hex(&case["initial_epoch_authenticator"]));
    for epoch in case["epochs"].as_array().unwrap() {
        let proposals = epoch["proposals"].as_array().unwrap();
        for message in proposals.iter().chain([&epoch["commit"]]) {
            group.process_incoming_message(MlsMessage::from_bytes(&hex(message)).unwrap()).unwrap();
        }
        assert_eq!(group.epoch_authenticator().unwrap().as_bytes(), hex(&epoch["epoch_authenticator"]));
    }
}

#[test]
fn a_member_joins_as_the_vectors_have_it() {
    cases("passive-client-welcome.json").iter().for_each(play);
}

#[test]
fn a_member_processes_commits_as_the_vectors_have_it() {
    cases("passive-client-handling-commit.json").iter().for_each(play);
}

#[test]
fn a_member_goes_through_200_random_epochs_as_the_vectors_have_it() {
    cases("passive-client-random.json").iter().for_each(play);
}
