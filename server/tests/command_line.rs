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
fn wrong_settings_end_every_server_with_64_before_it_makes_anything() {
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
