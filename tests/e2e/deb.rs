//! The Debian package that `scripts/deb` makes: what is in it, and that it keeps what is the operator's.

use std::path::Path;
use std::process::Command;

/// Runs a command in the folder of the source: what it prints.
fn printed(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let ended = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ended.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("text")
}

#[test]
fn a_package_has_the_program_its_unit_and_its_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    // Any file will do for the program, which is large.
    let (program, out) = (folder.path().join("program"), folder.path().join("out"));
    std::fs::write(&program, "#!/bin/sh\n").expect("written");
    let package = printed("scripts/deb", &[program.to_str().expect("text"), out.to_str().expect("text")]);
    let package = package.trim_end();
    let field = |name: &str| printed("dpkg-deb", &["--field", package, name]);
    assert_eq!(field("Package").trim_end(), "godwit");
    assert_eq!(field("Version").trim_end(), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));
    let contents = printed("dpkg-deb", &["--contents", package]);
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/godwit"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/godwit.service"),
        ("-rw-r--r-- root/root", "./etc/godwit/godwit.toml"),
        // Where the unit says that it is.
        ("-rw-r--r-- root/root", "./usr/share/doc/godwit/operators/README.md"),
        ("-rw-r--r-- root/root", "./usr/share/doc/godwit/examples/monitoring/alerts.yml"),
    ] {
        assert!(contents.lines().any(|line| line.starts_with(mode) && line.ends_with(path)), "{path}\n{contents}");
    }
    assert_eq!(printed("dpkg-deb", &["--info", package, "conffiles"]).trim_end(), "/etc/godwit/godwit.toml");
    for script in ["postinst", "prerm"] {
        let text = printed("dpkg-deb", &["--info", package, script]);
        assert!(text.starts_with("#!/bin/sh\nset -e\n") && !text.contains("/var/lib"), "{text}");
    }
}
