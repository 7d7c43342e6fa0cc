//! What documents say of the code: tests that they name are there.

use std::fs;
use std::path::{Path, PathBuf};

/// A test's file, by the short form that docs/conformance.md explains.
fn file_of(path: &str) -> PathBuf {
    let (first, rest) = path.split_once("::").unwrap_or((path, ""));
    let below = |folder: &str| PathBuf::from(format!("{folder}/{}.rs", rest.replace("::", "/")));
    match first {
        "mqtt" => below("broker/src/mqtt"),
        "websocket" => below("broker/src/websocket"),
        "connection" => below("broker/src/connection"),
        "lane" => below("bridge/src/lane/tests"),
        "e2e" => below("tests/e2e"),
        "content" => "bridge/core/src/decide/tests/content.rs".into(),
        _ => format!("broker/src/tests/{first}.rs").into(),
    }
}

#[test]
fn tests_that_show_conformance_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("the table");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named: Vec<_> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|it| it.contains("::")).collect();
    assert!(named.len() > 100, "{}", named.len());
    for name in named {
        let (path, test) = name.rsplit_once("::").expect("a path");
        let file = file_of(path);
        let code = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(code.contains(&format!("fn {test}(")), "{name} is not in {}", file.display());
    }
}

#[test]
fn statements_stand_once_in_each_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("the table");
    for version in text.split("\n## MQTT ").skip(1) {
        let cells = version.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let mut statements: Vec<_> = cells.filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit())).collect();
        statements.sort_unstable();
        let all = statements.len();
        statements.dedup();
        assert_eq!(statements.len(), all);
    }
}
