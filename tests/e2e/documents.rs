//! What the documents say can be done is done: their commands and programs, in the order of the page.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::chat::web::base64;
use crate::clients::{Clone, Shell, Subscriber, publish};
use crate::server::{Server, without_settings};
use crate::tls::make_certificate;

/// A code block.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The code blocks of a page, or of a chapter of it.
pub(crate) fn blocks(page: &str, chapter: Option<&str>) -> Vec<Block> {
    let text = read(page);
    let text = match chapter {
        Some(title) => {
            let (_, chapter) = text.split_once(&format!("\n## {title}\n")).expect("the chapter");
            chapter.split("\n## ").next().expect("its text")
        }
        None => &text,
    };
    // Every second piece is inside of a block.
    let blocks = text.split("```").skip(1).step_by(2).map(|block| {
        let (language, text) = block.split_once('\n').expect("the language");
        Block { language: language.to_owned(), text: text.to_owned() }
    });
    blocks.collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page)).expect("a page")
}

#[test]
fn the_commands_of_the_page_about_http_run_in_its_order() {
    let server = Server::start();
    run_http_page(&server, &format!("http://{}", server.http()), "");
}

/// Runs them with the API at `url`, and with these arguments of curl.
pub(crate) fn run_http_page(server: &Server, url: &str, arguments: &str) {
    let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone").password);
    let commands = blocks("docs/users/http.md", None).into_iter().filter(|block| block.language == "sh");
    let commands: String = commands.map(|block| block.text).collect();
    assert!(commands.matches("http://127.0.0.1:8080").count() >= 2, "{commands}");
    let commands = commands.replace("http://127.0.0.1:8080", url);
    let curl = format!("curl() {{ command curl -sS --fail-with-body --noproxy '*' {arguments} \"$@\"; }}");
    let script = format!("set -eo pipefail\n{curl}\n{commands}");
    let folder = Clone::of(server);
    let output = folder.bash().args(["-c", &script]).env("ALICE", alice).env("BOB", bob).output().expect("bash starts");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    for wanted in ["\"unread\":1", "\"repeated\":true", "\"type\":\"end\""] {
        assert!(stdout.contains(wanted), "{wanted}: {stdout}");
    }
}

#[test]
fn the_recipes_for_clients_run() {
    let server = Server::start();
    for user in ["alice", "bob"] {
        server.add_user(user, "phone");
    }
    let mut shell = Shell::start(&server);
    shell.use_packages();
    let (host, port) = (server.mqtt().ip().to_string(), server.mqtt().port().to_string());
    let (mut commands, mut programs) = (Vec::new(), Vec::new());
    for Block { language, text } in blocks("docs/users/clients.md", Some("Recipes")) {
        if language == "sh" {
            commands.push(text);
        } else {
            // "// lab.c", "# app.py"
            let name = text.split_whitespace().nth(1).expect("its name").to_owned();
            fs::write(shell.path().join(&name), text.replace("127.0.0.1", &host).replace("1883", &port))
                .expect("written");
            programs.push(name);
        }
    }
    let [devices, mosquitto, app_devices, generate] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(programs, ["lab.c", "receive.py", "send.py", "lab.js", "app.py", "app.js"]);
    shell.run(devices);
    shell.run(app_devices);
    shell.run(generate);

    let (receive, send) = mosquitto
        .lines()
        .filter(|line| !line.starts_with('#'))
        .partition::<Vec<_>, _>(|it| it.starts_with("mosquitto_sub"));
    shell.run(&send.join("\n"));
    shell.background(receive[0]);
    for seq in [2, 3] {
        assert_eq!(after_topic(&shell.line()), format!("from:alice seq:{seq}: hello"));
    }
    shell.stop();

    shell.run("cc -o lab lab.c -lmosquitto");
    shell.background("./lab alice hi");
    assert_eq!(shell.line(), "stored");
    shell.run(send[0]);
    shell.background("./lab");
    assert_eq!(after_topic(&shell.line()), "from=alice seq=5: hello");
    shell.stop();

    shell.background("python3 send.py");
    assert!(shell.line().starts_with("Success {'at': '"));
    shell.background("python3 receive.py");
    assert_eq!(after_topic(&shell.line()), "alice 6 hello from paho");
    shell.stop();

    shell.background("node lab.js");
    let mut lines = [shell.line(), shell.line()];
    lines.sort();
    assert_eq!([after_topic(&lines[0]), &lines[1]], ["bob hi", "stored"]);
    shell.stop();

    shell.background("python3 app.py alice bob 'hello app'");
    assert!(shell.line().starts_with("Success {'at': '"));
    shell.background("python3 app.py bob");
    wait_for(&mut shell, &[" unread", " hello app"]);
    shell.stop();
    shell.background("node app.js alice bob 'hello again'");
    assert_eq!(shell.line(), "stored");
    shell.background("node app.js bob");
    wait_for(&mut shell, &[" unread", " hello again"]);
    shell.stop();
}

/// What stands behind the first word.
fn after_topic(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}

/// Lines with these ends come, in any order, among others.
fn wait_for(shell: &mut Shell, ends: &[&str]) {
    let mut ends = ends.to_vec();
    while !ends.is_empty() {
        let line = shell.line();
        ends.retain(|end| !line.ends_with(end));
    }
}

#[test]
fn systemd_takes_the_unit_with_and_without_a_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    // systemd looks whether the program is there.
    let unit = read("deploy/godwit.service").replace("/usr/bin/godwit", env!("CARGO_BIN_EXE_godwit"));
    let file = at.join("godwit.service");
    fs::write(&file, &unit).expect("written");
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).arg(&file).env("SYSTEMD_UNIT_PATH", format!("{}:", at.display())).output();
        let output = output.expect("systemd-analyze starts; `make test` installs it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stdout)
        );
    };
    analyze(&["verify", "--man=no"]);
    analyze(&["security", "--offline=true", "--threshold=15"]);
    let more = at.join("godwit.service.d");
    fs::create_dir(&more).expect("a folder");
    fs::write(more.join("tls.conf"), read("deploy/tls.conf")).expect("written");
    analyze(&["verify", "--man=no"]);
    // What the documents have the server write outside of its data folder is in the folder that it may write.
    assert!(unit.contains("\nLogsDirectory=godwit\n"));
    assert!(read("docs/operators/audit.md").contains("file = \"/var/log/godwit/audit.jsonl\""));
}

#[test]
fn systemd_takes_the_units_of_a_cluster() {
    for role in ["broker", "bridge"] {
        let unit = read(&format!("deploy/cluster/godwit-{role}.service"));
        assert!(unit.contains(&format!("\nExecStart=/usr/bin/godwit {role} --config /etc/godwit/godwit.toml\n")));
        // Confined as the one of a single server: only what is named after the role differs.
        let confined = |unit: &str| unit.split_once("\nCapabilityBoundingSet=").map(|(_, rest)| rest.to_owned());
        assert_eq!(confined(&unit), confined(&read("deploy/godwit.service")));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(format!("godwit-{role}.service"));
        fs::write(&file, unit.replace("/usr/bin/godwit", env!("CARGO_BIN_EXE_godwit"))).expect("written");
        let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
        let said = verified.expect("systemd-analyze starts; `make test` installs it").stderr;
        assert_eq!(String::from_utf8_lossy(&said), "");
    }
}

#[test]
fn the_files_of_a_cluster_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    make_certificate(&at("certificate.pem"), &at("key.pem"));
    fs::copy(at("certificate.pem"), at("ca.pem")).expect("copied");
    for secret in ["admin.token", "nats.password", "cassandra.password"] {
        fs::write(at(secret), "x".repeat(32)).expect("written");
    }
    let here = folder.path().to_str().expect("text");
    let guide = read("deploy/cluster/README.md");
    let settings = guide.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    let settings = settings.replace("/etc/godwit", here).replace("/run/credentials/godwit", here);
    fs::write(at("godwit.toml"), settings).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    let checked = without_settings(&mut command).arg("check-config").arg("--config").arg(at("godwit.toml")).output();
    let checked = checked.expect("godwit starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    fs::write(at("nats.conf"), read("deploy/cluster/nats.conf").replace("/etc/nats", here)).expect("written");
    let mut command = Command::new("nats-server");
    command.arg("-t").arg("-c").arg(at("nats.conf")).env("GODWIT_NATS_PASSWORD", "secret");
    // Debian has it where not every user looks.
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    let checked = command.output().expect("nats-server starts; `make test` installs it");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_containers_of_the_guide_have_settings_that_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("fullchain.pem"), folder.path().join("privkey.pem"));
    make_certificate(&certificate, &key);
    let commands: String =
        blocks("docs/operators/install.md", Some("Container")).into_iter().map(|block| block.text).collect();
    let commands = commands.replace("\\\n", " ").replace("/etc/godwit", folder.path().to_str().expect("text"));
    let runs: Vec<_> = commands.lines().filter(|line| line.starts_with("podman run ")).collect();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let words: Vec<_> = run.split_whitespace().collect();
        let after =
            |flag: &str| words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect::<Vec<_>>();
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
        without_settings(&mut command).arg("check-config").arg("--data").arg(folder.path());
        command.envs(after("-e").iter().map(|variable| variable.split_once('=').expect("a variable")));
        let output = command.output().expect("godwit starts");
        assert!(output.status.success(), "{run}: {}", String::from_utf8_lossy(&output.stderr));
        // Whoever listens is published, at the same port: links lead there.
        let settings = String::from_utf8_lossy(&output.stdout);
        let listeners = settings.lines().filter(|line| line.contains("listen = \"0.0.0.0:"));
        let ports: Vec<_> = listeners.filter_map(|line| line.split('"').nth(1)?.rsplit(':').next()).collect();
        assert_eq!(ports.len(), 3, "{settings}");
        for port in ports {
            assert!(after("-p").iter().any(|it| it.ends_with(&format!("{port}:{port}"))), "{port}: {run}");
        }
    }
}

#[test]
fn what_make_run_starts_shows_a_new_device_what_was_said_before() {
    let makefile = read("Makefile");
    let recipe = makefile.lines().find(|line| line.ends_with("dist/godwit serve")).expect("what `make run` starts");
    // As make hands it to the shell.
    let recipe = recipe.trim().replace("$$", "$").replace("dist/godwit serve", "env");
    let environment = Command::new("sh").args(["-c", &recipe]).output().expect("sh starts").stdout;
    let environment = String::from_utf8(environment).expect("text");
    let settings = environment.lines().filter(|line| line.starts_with("GODWIT__"));
    let settings: Vec<_> = settings.map(|line| line.split_once('=').expect("a variable")).collect();
    let server = Server::within(&settings, &[]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    publish(&server, &alice, "5", "to/bob", "hello from before");
    let mut inbox = Subscriber::start(&server, &bob, "5", 1);
    let (topic, body) = inbox.next();
    assert_eq!(body, "hello from before");
    inbox.end();
    let laptop = server.add_device("bob", "laptop");
    let conversation = topic.strip_prefix("inbox/").expect("inbox/<conversation>");
    let url = format!("http://{}/v1/users/bob/conversations/{conversation}/messages", server.http());
    let login = format!("bob/laptop:{}", laptop.password);
    let curl = Command::new("curl").args(["-sS", "--noproxy", "*", "-u", &login, &url]).output().expect("curl starts");
    let history = String::from_utf8(curl.stdout).expect("text");
    assert!(history.contains(&base64("hello from before")), "{history}");
}
