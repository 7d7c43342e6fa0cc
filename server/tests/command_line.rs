//! The program from outside, without a server: what scripts and operators rely on.

use std::process::{Command, Output};

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn godwit(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    command.args(arguments).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let Ended { code, stdout, .. } = godwit(&["--help"], &[]);
    assert_eq!(code, Some(0));
    for word in ["serve", "broker", "bridge", "user", "device", "check-config", "bench", "Examples:", "Exit codes:"] {
        assert!(stdout.contains(word), "{word} is not in\n{stdout}");
    }
    let version = godwit(&["--version"], &[]);
    assert_eq!((version.code, version.stdout.trim()), (Some(0), concat!("godwit ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_ends_with_64() {
    for arguments in [&[][..], &["fly"], &["user", "add", "alice"], &["serve", "--port", "1"]] {
        let Ended { code, stdout, stderr } = godwit(arguments, &[]);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(stderr.contains("Usage:"), "{stderr}");
    }
    let bad_name = godwit(&["user", "add", "a/b", "--device", "phone"], &[]);
    assert_eq!(bad_name.code, Some(64));
    assert!(bad_name.stderr.starts_with("godwit: user name \"a/b\": "), "{}", bad_name.stderr);
}

#[test]
fn wrong_settings_end_every_server_with_64_and_make_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    let variables = [("GODWIT__MQTT__LISTEN", "0.0.0.0:0"), ("GODWIT__LOG__COLOUR", "red")];
    for command in ["serve", "broker", "bridge", "check-config"] {
        let Ended { code, stdout, stderr } = godwit(&[command, "--data", data], &variables);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{command}");
        assert!(stderr.contains("mqtt.listen (GODWIT__MQTT__LISTEN): 0.0.0.0:0 is not loopback"), "{stderr}");
        assert!(stderr.contains("log.colour (GODWIT__LOG__COLOUR): unknown key"), "{stderr}");
        assert!(!folder.path().join("data").exists());
    }
}

#[test]
fn files_that_cannot_be_used_are_told_at_once_with_their_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (data, certificates, secret) = (at("data"), at("missing.pem"), at("missing.secret"));
    let private = at("missing.key");
    let (audit, key) = (at("missing/audit.jsonl"), at("key.pem"));
    std::fs::write(&key, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").expect("written");
    let variables = [
        ("GODWIT__MQTT__TLS_LISTEN", "127.0.0.1:0"),
        ("GODWIT__TLS__CERTIFICATES", &certificates[..]),
        ("GODWIT__TLS__KEY", &private),
        ("GODWIT__EVENTS__WEBHOOK_URL", "http://127.0.0.1:1/"),
        ("GODWIT__EVENTS__WEBHOOK_SECRET_FILE", &secret),
        ("GODWIT__AUDIT__FILE", &audit),
        ("GODWIT__JWT__KEY_FILE", &key),
    ];
    for command in ["serve", "check-config"] {
        let Ended { code, stdout, stderr } = godwit(&[command, "--data", &data], &variables);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{command}: {stderr}");
        for (key, file) in [
            ("tls.certificates", &certificates),
            ("events.webhook_secret_file", &secret),
            ("audit.file", &audit),
            ("jwt.key_file", &key),
        ] {
            let lines = stderr.lines().filter(|line| line.starts_with(&format!("  {key}: {file}: ")));
            assert_eq!(lines.count(), 1, "{key} in\n{stderr}");
        }
        assert_eq!(stderr.lines().count(), 5, "{stderr}");
    }
    let names = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["key.pem"], "nothing was made");
}

#[test]
fn a_level_that_is_none_is_refused() {
    for level in ["warning", "verbose", "info,godwit_broker", ""] {
        let Ended { code, stderr, .. } = godwit(&["check-config"], &[("GODWIT__LOG__LEVEL", level)]);
        assert_eq!(code, Some(64), "{level}");
        assert!(stderr.contains("log.level (GODWIT__LOG__LEVEL): "), "{stderr}");
    }
}

#[test]
fn check_config_prints_what_is_in_force() {
    let Ended { code, stdout, .. } =
        godwit(&["check-config", "--data", "here"], &[("GODWIT__HTTP__LISTEN", "[::1]:9")]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("[data]\ndir = \"here\"  # --data\n"), "{stdout}");
    assert!(stdout.contains("listen = \"[::1]:9\"  # GODWIT__HTTP__LISTEN\n"), "{stdout}");
    assert!(stdout.contains("body_bytes_max = 65536\n"), "{stdout}");
}

#[test]
fn without_a_server_commands_end_with_69() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let never = godwit(&["user", "list", "--data", data], &[]);
    assert_eq!(never.code, Some(69));
    assert!(never.stderr.starts_with("godwit: no server has run in "), "{}", never.stderr);
    // Port 1 of loopback: nobody is there.
    let notice = r#"{"url": "http://127.0.0.1:1", "token": "t"}"#;
    std::fs::write(folder.path().join("admin.json"), notice).expect("written");
    let gone = godwit(&["user", "list", "--data", data], &[]);
    assert_eq!(gone.code, Some(69));
    assert!(gone.stderr.starts_with("godwit: cannot reach the server at http://127.0.0.1:1: "), "{}", gone.stderr);
    assert_eq!(gone.stderr.lines().count(), 1);
}

#[test]
fn chat_and_bench_run_the_programs_beside_this_one() {
    for command in ["chat", "bench"] {
        let Ended { code, stdout, stderr } = godwit(&[command, "--help"], &[]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.contains(&format!("Usage: godwit {command} ")), "{stdout}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("godwit");
    std::fs::copy(env!("CARGO_BIN_EXE_godwit"), &alone).expect("copied");
    let output = Command::new(&alone).arg("chat").output().expect("the program starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("godwit: chat is the program godwit-chat, which is not installed beside "), "{stderr}");
}

#[test]
fn the_server_links_neither_the_chat_nor_the_load_generator() {
    let has = |program: &str, text: &str| {
        let grep = Command::new("grep").args(["-qaF", text, program]).status().expect("grep starts");
        grep.success()
    };
    let programs =
        [env!("CARGO_BIN_EXE_godwit"), env!("CARGO_BIN_EXE_godwit-chat"), env!("CARGO_BIN_EXE_godwit-bench")];
    assert_eq!(programs.map(|program| has(program, "SQLite format 3")), [false, true, false]);
    assert_eq!(programs.map(|program| has(program, "Senders, each with a receiver")), [false, false, true]);
}
