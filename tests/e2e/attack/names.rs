//! Topics and filters that might be another's, if somebody read them carelessly.

use super::{Bystanders, lets_in};
use crate::mqtt::{CLEAN, Client, VERSIONS, Version};
use crate::outsiders::{FILTERS, TOPICS};
use crate::server::Server;

/// No strings as MQTT has them: NUL, an overlong slash, half a surrogate pair, a character without its end.
const NO_STRINGS: [&[u8]; 5] =
    [b"to/bob\0", b"inbox\0/#", b"to\xC0\xAFbob", b"to/\xED\xA0\x80bob", b"to/bob\xF0\x9F\x92"];

/// PUBLISH to, and SUBSCRIBE for, such a name, of less than 100 bytes.
fn packets(version: Version, name: &[u8]) -> [Vec<u8>; 2] {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let name = [&[0, name.len() as u8][..], name].concat();
    let publish = [&name[..], &[0, 1], properties, b"x"].concat();
    let subscribe = [&[0, 1][..], properties, &name, &[1]].concat();
    [[&[0x32, publish.len() as u8][..], &publish].concat(), [&[0x82, subscribe.len() as u8][..], &subscribe].concat()]
}

#[test]
fn no_name_reaches_anybody_else() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let longest = "inbox/".repeat(10_923)[..65_535].to_owned();
    // Whatever of this came to Bob, he would see it in place of what Alice says.
    others.go_on_during(|| {
        for version in VERSIONS {
            let mut client = Client::connect(server.mqtt(), &mallory, version, CLEAN);
            let filters = FILTERS.iter().map(|(filter, _)| *filter).chain([&longest[..]]);
            filters.for_each(|filter| assert!(client.subscribe(filter) >= 0x80, "{filter:.100}"));
            client.settle();
            assert!(client.is_idle(), "nothing of the others' came");
            for topic in TOPICS.iter().map(|(topic, _)| *topic).chain([&longest[..]]) {
                let mut client = Client::connect(server.mqtt(), &mallory, version, CLEAN);
                client.send(&client.publish_bytes(5, false, topic, b"forged"));
                match version {
                    Version::V5 => assert!(client.puback(5).0 >= 0x80, "{topic:.100}"),
                    Version::V4 => assert_eq!(client.closed(), None, "{topic:.100}"),
                }
            }
            for packet in NO_STRINGS.iter().flat_map(|name| packets(version, name)) {
                let mut client = Client::connect(server.mqtt(), &mallory, version, CLEAN);
                client.send(&packet);
                assert_eq!(client.closed(), (version == Version::V5).then_some(0x81), "{packet:02X?}");
            }
        }
    });
    lets_in(&server, &mallory);
}
