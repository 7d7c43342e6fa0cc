use std::fs;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Option<Map<String, String>> {
    Some(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn check(file: &str, variables: &[(&str, &str)], data: Option<&str>) -> Result<ServerSettings, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("godwit.toml");
    fs::write(&path, file).expect("written");
    let loaded = load_with(Some(&path), environment(variables), data.map(Path::new));
    loaded.map(|(settings, _)| settings).map_err(|refused| refused.0.iter().map(SettingProblem::to_string).collect())
}

fn defaults() -> ServerSettings {
    load_with(None, environment(&[]), None).expect("the defaults are good").0
}

#[test]
fn the_example_is_exactly_the_defaults() {
    let example = include_str!("../../../deploy/godwit.toml");
    assert_eq!(check(example, &[], None).expect("good"), defaults());
    let as_promised = defaults();
    assert_eq!(as_promised.listeners.listen[0].1.addr.to_string(), "127.0.0.1:1883");
    assert_eq!(as_promised.http_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(as_promised.data_dir, Path::new("./godwit-data"));
    assert_eq!(as_promised.undelivered_s, 30 * 86_400);
}

#[test]
fn every_key_stands_in_the_example() {
    let example: toml::Table = include_str!("../../../deploy/godwit.toml").parse().expect("TOML");
    let (_, effective) = load_with(None, environment(&[]), None).expect("good");
    for Effective { key, value, .. } in &effective {
        let (section, name) = key.split_once('.').expect("a section");
        assert_eq!(example.get(section).and_then(|section| section.get(name)), Some(value), "{key}");
    }
    let keys: usize = example.values().filter_map(toml::Value::as_table).map(toml::Table::len).sum();
    assert_eq!(keys, effective.len(), "and no other");
}

#[test]
fn flag_beats_environment_beats_file_beats_defaults() {
    let file = "data.dir = 'file'\n[log]\nlevel = 'debug'\n[limits]\nwindow_messages = 7\nbody_bytes_max = 100";
    let variables = [("GODWIT__DATA__DIR", "environment"), ("GODWIT__LIMITS__WINDOW_MESSAGES", "8")];
    let settings = check(file, &variables, Some("flag")).expect("good");
    assert_eq!(settings.data_dir, Path::new("flag"));
    assert_eq!(settings.limits.window_messages, 8);
    assert_eq!(settings.limits.body_bytes_max, 100);
    assert_eq!(settings.log.level, "debug");
    assert_eq!(settings.limits.window_bytes, defaults().limits.window_bytes);
    assert_eq!(check(file, &variables, None).expect("good").data_dir, Path::new("environment"));
    assert_eq!(check(file, &[], None).expect("good").data_dir, Path::new("file"));
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let file = "
        nonsense = 1
        [mqtt]
        listen = '0.0.0.0:1883'
        [limits]
        body_bytes_max = 131072
        window_messages = '5'
        [log]
        format = 'xml'
        level = 'a=b=c'
        [store]
        cache_mib = 0
        [nowhere]";
    let variables = [
        ("GODWIT__HTTP__LISTEN", "here"),
        ("GODWIT__BRIDGE__LANES", "65"),
        ("GODWIT__HTTP__PORT", "80"),
        ("GODWIT__MQTT__ALLOW_PLAINTEXT", "yes"),
        ("GODWIT_TARGET", "not ours"),
    ];
    let problems = check(file, &variables, Some("")).expect_err("much is wrong");
    let expected = [
        "mqtt.allow_plaintext (GODWIT__MQTT__ALLOW_PLAINTEXT): \"yes\" is neither true nor false",
        "mqtt.listen: 0.0.0.0:1883 is not loopback, and nothing would be encrypted: put TLS in front, or set \
         mqtt.allow_plaintext = true",
        "http.listen (GODWIT__HTTP__LISTEN): \"here\" is not an address like 127.0.0.1:1883 or [::1]:1883",
        "limits.packet_bytes_max: 131072 must exceed limits.body_bytes_max (131072) by more than 1024",
        "limits.window_messages: \"5\" is not a whole number",
        "data.dir (--data): names no folder",
        "bridge.lanes (GODWIT__BRIDGE__LANES): 65 is not within 0 and 64",
        "store.cache_mib: 0 is not within 1 and 1048576",
        "log.format: \"xml\" is neither \"text\" nor \"json\"",
        "http.port (GODWIT__HTTP__PORT): unknown key",
        "nonsense: unknown key",
        "nowhere: unknown key",
    ];
    for text in expected {
        assert!(problems.iter().any(|problem| problem == text), "{text}\nis not in\n{}", problems.join("\n"));
    }
    assert!(problems.iter().any(|problem| problem.starts_with("log.level: \"a=b=c\": ")));
    assert_eq!(problems.len(), expected.len() + 1, "{problems:#?}");
}

#[test]
fn a_broken_file_hides_nothing_else() {
    let problems = check("[mqtt\n", &[("GODWIT__BRIDGE__LANES", "x")], None).expect_err("wrong");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("--config: "), "{problems:#?}");
    let missing = load_with(Some(Path::new("/no/such/file")), environment(&[]), None).expect_err("no file");
    assert!(missing.to_string().contains("/no/such/file"), "{missing}");
}

#[test]
fn listeners_do_not_share_an_address_except_any_free_port() {
    let problems = check("http.listen = '127.0.0.1:1883'", &[], None).expect_err("a conflict");
    assert_eq!(problems, ["http.listen: 127.0.0.1:1883 is already mqtt.listen"]);
    assert!(check("http.listen = '127.0.0.1:0'\nmqtt.listen = '127.0.0.1:0'", &[], None).is_ok());
}

#[test]
fn the_service_listener_needs_a_login_beyond_loopback() {
    let open = "service.listen = '10.0.0.1:1884'\nservice.allow_plaintext = true";
    let problems = check(open, &[], None).expect_err("a conflict");
    assert_eq!(problems, ["service.user: needed because service.listen (10.0.0.1:1884) is not loopback"]);
    let half = check("service.user = 'bridge'", &[], None).expect_err("a conflict");
    assert_eq!(half, ["service.password_file: needed with service.user"]);
    let login = format!("{open}\nservice.user = 'bridge'\nservice.password_file = '/run/secret'");
    assert!(check(&login, &[], None).is_ok());
}

#[test]
fn events_are_told_where_and_to_whom_that_is_safe() {
    assert!(!defaults().events.are_told() && defaults().events.kinds.len() == 6);
    let wrong = "
        [events]
        kinds = 'message, typing'
        user = 'reader'
        password_file = '/run/reader'
        webhook_url = 'http://example.com/hook'";
    let problems = check(wrong, &[], None).expect_err("much is wrong");
    let expected = [
        "events.kinds: \"typing\" is none of message, delivered, read, conversation, session, account",
        "events.user: needs service.user: who leaves both out would be taken for a bridge",
        "events.webhook_url: http://example.com/hook would not be encrypted: use https, or set \
         events.allow_plaintext = true",
    ];
    assert_eq!(problems, expected);
    for (url, good) in [
        ("https://example.com/hook", true),
        ("http://127.0.0.1:9/hook", true),
        ("http://[::1]/", true),
        ("ftp://example.com", false),
        ("/hook", false),
        ("https://", false),
    ] {
        let file = format!("[events]\nwebhook_url = '{url}'\nwebhook_secret_file = 'secret'\nkinds = ' read,session '");
        let events = check(&file, &[], None).map(|settings| settings.events);
        assert_eq!(events.is_ok(), good, "{url}: {events:?}");
    }
    let unsigned = check("events.webhook_url = 'https://example.com'", &[], None).expect_err("no secret");
    assert_eq!(unsigned, ["events.webhook_secret_file: needed with events.webhook_url"]);
}

#[test]
fn tls_needs_a_certificate() {
    let problems = check("mqtt.tls_listen = '0.0.0.0:8883'\ntls.key = 'k'", &[], None).expect_err("a conflict");
    assert_eq!(problems, ["tls.certificates: needed with mqtt.tls_listen"]);
    let whole = "mqtt.tls_listen = '0.0.0.0:8883'\ntls.key = 'k'\ntls.certificates = 'c'";
    assert!(check(whole, &[], None).expect("good").listeners.tls.is_some());
    let problems =
        check("mqtt.websocket_tls_listen = '0.0.0.0:8443'\ntls.key = 'k'", &[], None).expect_err("a conflict");
    assert_eq!(problems, ["tls.certificates: needed with mqtt.websocket_tls_listen"]);
}

#[test]
fn websocket_listeners_are_as_careful_as_the_others() {
    let problems = check("mqtt.websocket_listen = '0.0.0.0:8083'", &[], None).expect_err("plaintext");
    let expected = "mqtt.websocket_listen: 0.0.0.0:8083 is not loopback, and nothing would be encrypted: put TLS in front, \
                    or set mqtt.websocket_allow_plaintext = true";
    assert_eq!(problems, [expected]);
    let origins = |list: &str| check(&format!("mqtt.websocket_origins = {list}"), &[], None);
    let good = origins("['https://chat.example.org', 'http://localhost:3000', '*']").expect("good");
    let given = [("GODWIT__MQTT__WEBSOCKET_ORIGINS", "https://chat.example.org, http://localhost:3000,*")];
    assert_eq!(check("", &given, None).expect("good"), good);
    for bad in ["['chat.example.org']", "['https://']", "['https://x/']", "['https://*.example.org']", "[1]", "'*'"] {
        assert_eq!(origins(bad).expect_err("wrong").len(), 1, "{bad}");
    }
}

#[test]
fn certificates_of_clients_need_a_root() {
    let tls = "mqtt.tls_listen = '0.0.0.0:8883'\ntls.key = 'k'\ntls.certificates = 'c'\n";
    let wanted = |more: &str| check(&format!("{tls}{more}"), &[], None);
    assert_eq!(wanted("").expect("good").listeners.tls.expect("TLS").clients, None);
    let problems = wanted("tls.client_certificates = 'optional'").expect_err("no root");
    assert_eq!(problems, ["tls.client_ca: needed with tls.client_certificates"]);
    let clients = wanted("tls.client_certificates = 'required'\ntls.client_ca = 'r'").expect("good").listeners.tls;
    assert!(clients.and_then(|tls| tls.clients).expect("wanted").required);
    assert_eq!(wanted("tls.client_certificates = 'yes'").expect_err("wrong").len(), 1);
}

#[test]
fn proxies_are_named() {
    let problems = check("mqtt.proxy_protocol = true", &[], None).expect_err("whom to believe?");
    assert_eq!(problems, ["mqtt.proxy_from: needed with mqtt.proxy_protocol"]);
    let problems = check("mqtt.proxy_from = ['10.0.0.0/8']", &[], None).expect_err("to no effect");
    assert_eq!(problems, ["mqtt.proxy_from: means nothing without mqtt.proxy_protocol = true"]);
    let problems = check("mqtt.proxy_protocol = true\nmqtt.proxy_from = ['10.0.0.0/40']", &[], None);
    assert!(problems.expect_err("no network")[0].contains("not a network like 10.0.0.0/8"));
    let good = check("mqtt.proxy_protocol = true\nmqtt.proxy_from = ['10.0.0.0/8', '::1']", &[], None).expect("good");
    assert_eq!(good.listeners.proxies.expect("proxies").len(), 2);
}

#[test]
fn a_ceiling_of_memory_has_room_for_the_store() {
    let problems = check("limits.memory_mib = 511", &[], None).expect_err("too little");
    assert!(
        problems[0].starts_with("limits.memory_mib: ") && problems[0].ends_with("take 512 already"),
        "{problems:?}"
    );
    assert_eq!(check("limits.memory_mib = 512", &[], None).expect("good").limits.memory_bytes_max, 512 << 20);
    check("limits.memory_mib = 80\n[store]\nmemtable_mib = 2\ncache_mib = 4", &[], None).expect("good");
}

#[test]
fn what_is_printed_has_the_same_effect() {
    let variables = [("GODWIT__LOG__LEVEL", "warn"), ("GODWIT__LIMITS__WINDOW_MESSAGES", "9")];
    let (settings, effective) = load_with(None, environment(&variables), Some(Path::new("a \"b\""))).expect("good");
    let text = render(&effective);
    assert!(text.contains("window_messages = 9  # GODWIT__LIMITS__WINDOW_MESSAGES\n"), "{text}");
    assert_eq!(check(&text, &[], None).expect("good"), settings);
}

#[test]
fn a_public_server_logs_codes_only_if_told_to() {
    let file = "registration.enabled = true\n[mqtt]\ntls_listen = '0.0.0.0:8883'\n[tls]\ncertificates = 'c'\nkey = 'k'";
    let problems = check(file, &[], None).expect_err("in public");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("registration.provider: \"console\" is for development, and mqtt.tls_listen"));
    let allowed = [("GODWIT__REGISTRATION__CONSOLE_IN_PUBLIC", "true")];
    let settings = check(file, &allowed, None).expect("it is said");
    assert_eq!(settings.registration.expect("enabled").provider, Provider::Console);
    assert_eq!(check("registration.enabled = false", &[], None).expect("good").registration, None);
}

#[test]
fn a_gateway_needs_its_secret_and_encryption() {
    let file = "[registration]\nenabled = true\nprovider = 'webhook'\nwebhook_url = ";
    let problems = |url: &str| check(&format!("{file}'{url}'"), &[], None).expect_err("something is missing");
    assert_eq!(problems(""), ["registration.webhook_url: needed with registration.provider = \"webhook\""]);
    let no_secret = "registration.webhook_secret_file: needed with registration.provider = \"webhook\"";
    assert_eq!(problems("https://sms.example.org/"), [no_secret]);
    assert!(problems("http://sms.example.org/")[0].ends_with("would not be encrypted: use https"));
}

#[test]
fn a_cluster_is_checked_as_a_whole() {
    assert_eq!(defaults().cluster, None);
    let open = "cluster.nats = ['nats://nats-1:4222', 'tls://nats-2:4222']\ncluster.cassandra = ['cassandra-1:9042']";
    let problems = check(open, &[], None).expect_err("much is open");
    let expected = [
        "cluster.nats: nats://nats-1:4222 is not loopback, and nothing would be encrypted: use tls://, or set \
         cluster.nats_allow_plaintext = true",
        "cluster.cassandra: cassandra-1:9042 is not loopback, and nothing is encrypted: use a private network, and set \
         cluster.cassandra_allow_plaintext = true",
        "media.listen: would have the files on one machine, and another bridge may lead: empty it, and set \
         media.endpoint to an S3 server if there are to be files",
    ];
    assert_eq!(problems, expected);
    let without_bus = "cluster.cassandra = ['127.0.0.1:9042']\nmedia.listen = ''";
    let problems = check(without_bus, &[], None).expect_err("no bus");
    assert_eq!(problems, ["cluster.nats: needed with cluster.cassandra: brokers find the bridge that leads by it"]);
    let near = [("GODWIT__CLUSTER__NATS", "nats://127.0.0.1:4222, tls://nats-2:4222")];
    let cluster = check("", &near, None).expect("good").cluster.expect("a cluster");
    assert_eq!((cluster.nats.len(), cluster.cassandra), (2, None), "the embedded object store may stay");
    let whole = check(without_bus, &near, None).expect("good").cluster.and_then(|cluster| cluster.cassandra);
    assert_eq!(whole.expect("a store").replication, 3);
    let secret = check("cluster.nats = ['nats://a:hush@127.0.0.1:4222']", &[], None).expect_err("a password");
    assert!(secret[0].contains("name it in a file") && !secret[0].contains("hush"), "{secret:?}");
}

#[test]
fn the_page_is_not_served_unencrypted_to_others() {
    let page = |settings: &str| check(settings, &[], None).map(|settings| settings.page);
    assert_eq!(page("").expect("good").listen.map(|listen| listen.port()), Some(8088));
    assert_eq!(page("web.listen = ''").expect("good").listen, None);
    assert!(page("web.listen = '0.0.0.0:8088'\nweb.allow_plaintext = true").is_ok());
    for (settings, problem) in [
        ("web.listen = '0.0.0.0:8088'", "web.listen"),
        ("web.listen = '127.0.0.1:8080'", "web.listen"),
        ("web.listen = ''\nweb.tls_listen = '0.0.0.0:443'", "web.tls_listen"),
        ("web.tls_listen = '0.0.0.0:443'", "tls.certificates"),
        ("web.connections_max = 0", "web.connections_max"),
    ] {
        let problems = page(settings).expect_err(settings);
        assert!(problems.iter().any(|it| it.contains(problem)), "{settings}: {problems:?}");
    }
}
