//! What teams copy from `config/gitops`: that the application passes its own tests and builds for the
//! board, that the scripts are sound, and that the job which asks Drone for a rollout knows its answers.

pub(crate) mod container;
mod digest;
mod guide;
mod manifests;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use super::git::held;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("gitops_application", application),
    ("gitops_scripts", scripts),
    ("gitops_notify_drone", notify_drone),
    ("gitops_digest", digest::suite),
    ("gitops_container", container::suite),
    ("gitops_manifests", manifests::suite),
    ("gitops_guide", guide::suite),
];

const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gitops/application");

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The jobs `test` and `binary` of its pipeline, in a copy of it.
fn application(_: &Args) {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(APPLICATION).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let go = |arguments: &[&str]| {
        let done = Command::new("go")
            .args(arguments)
            .current_dir(folder.path())
            .envs([("CGO_ENABLED", "0"), ("GOOS", "linux")])
            .env("GOARCH", if arguments[0] == "build" { "arm64" } else { "" })
            .output()
            .unwrap();
        held(&format!("go {arguments:?}"), &done);
    };
    go(&["vet", "./..."]);
    go(&["test", "./..."]);
    let flags = format!("-s -w -X main.revision={COMMIT}");
    let build = ["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags];
    let mut built = Vec::new();
    for name in ["one", "two"] {
        go(&[&build[..], &["-o", name, "."]].concat());
        built.push(fs::read(folder.path().join(name)).unwrap());
    }
    assert_eq!(built[0], built[1], "two builds of one commit differ");
    // ELF, 64 bits; the machine is AArch64.
    assert_eq!((&built[0][..5], built[0][18]), (&b"\x7fELF\x02"[..], 183));
    let holds = |needle: &[u8]| built[0].windows(needle.len()).any(|bytes| bytes == needle);
    assert!(holds(COMMIT.as_bytes()), "it does not know its revision");
    figure("binary for arm64", format!("{} KiB", built[0].len() >> 10));
}

/// Every shell script that is shipped or that a team copies.
fn scripts(_: &Args) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let is_script = |path: &PathBuf| {
        let mut first = String::new();
        let file = fs::File::open(path).ok()?;
        BufReader::new(file).read_line(&mut first).ok()?;
        let shell = first.trim_end().rsplit(['/', ' ']).next();
        (first.starts_with("#!") && matches!(shell, Some("sh" | "bash"))).then_some(())
    };
    let scripts: Vec<PathBuf> = names
        .split_terminator('\0')
        .map(|name| root.join(name))
        .filter(|path| is_script(path).is_some())
        .collect();
    assert!(scripts.len() > 8, "{scripts:?}");
    let done = Command::new("shellcheck").args(&scripts).output().unwrap();
    held("shellcheck", &done);
    figure("scripts", scripts.len());
}

/// The job `notify-drone` against each answer that Drone is known to give.
fn notify_drone(_: &Args) {
    let drone = Drone::start();
    let created = r#"{"number": 7, "status": "pending"}"#;
    let build = |status: &str| format!(r#"{{"number": 7, "status": "{status}"}}"#);

    let begun = drone.run(&[(200, created), (200, &build("running"))], &[]);
    assert!(begun.status.success(), "{begun:?}");
    let asked = drone.asked();
    let query = format!(
        "?branch=main&commit={COMMIT}&IMAGE_DIGEST=sha256:{}",
        "a".repeat(64)
    );
    assert_eq!(
        asked[0],
        format!("POST /api/repos/acme/shop/builds{query} Bearer secret-token")
    );
    assert_eq!(
        asked[1],
        "GET /api/repos/acme/shop/builds/7 Bearer secret-token"
    );

    let refused = |answers: &[(u16, &str)], variables: &[(&str, &str)], says: &str| {
        let output = drone.run(answers, variables);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code().map(|code| code != 0),
            Some(true),
            "{output:?}"
        );
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("secret-token"), "{text}");
    };
    refused(&[(200, "null")], &[], "needs the event custom");
    refused(
        &[(401, r#"{"message":"Unauthorized"}"#)],
        &[],
        "Unauthorized",
    );
    refused(
        &[(200, created), (200, &build("error"))],
        &[],
        "build 7 is error",
    );
    let impatient = [("DRONE_PENDING_SECONDS", "0")];
    refused(
        &[(200, created), (200, created)],
        &impatient,
        "still pending",
    );
    refused(&[], &[("IMAGE_DIGEST", "sha256:short")], "no digest");
    refused(&[], &[("DRONE_TOKEN", "")], "DRONE_TOKEN");
    refused(&[], &[("DRONE_REPO", "acme/team/shop")], "subgroups");
    let away = [("DRONE_SERVER", "http://127.0.0.1:9")];
    refused(&[], &away, "Drone has refused: no answer");
}

/// A server that gives the answers that it was told, in order.
struct Drone {
    port: u16,
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Drone {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let drone = Self {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::default(),
            asked: Arc::default(),
        };
        let (answers, asked) = (Arc::clone(&drone.answers), Arc::clone(&drone.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let request = request(&stream);
                asked.lock().unwrap().push(request);
                let (code, body) = answers.lock().unwrap().remove(0);
                let head = format!("HTTP/1.1 {code} -\r\nConnection: close\r\nContent-Length: ");
                let _ = write!(&stream, "{head}{}\r\n\r\n{body}", body.len());
            }
        });
        drone
    }

    fn run(&self, answers: &[(u16, &str)], variables: &[(&str, &str)]) -> Output {
        let told = answers
            .iter()
            .map(|(code, body)| (*code, (*body).to_owned()));
        *self.answers.lock().unwrap() = told.collect();
        self.asked.lock().unwrap().clear();
        let digest = format!("sha256:{}", "a".repeat(64));
        Command::new(format!("{APPLICATION}/.ci/notify-drone"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("DRONE_SERVER", format!("http://127.0.0.1:{}", self.port))
            .envs([
                ("DRONE_TOKEN", "secret-token"),
                ("CI_PROJECT_PATH", "acme/shop"),
            ])
            .envs([("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_SHA", COMMIT)])
            .env("IMAGE_DIGEST", digest)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Method, path, and who asks.
fn request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let token = headers
        .iter()
        .find_map(|line| line.strip_prefix("Authorization: "));
    let target = first.trim_end_matches(" HTTP/1.1");
    format!("{target} {}", token.unwrap_or("nobody"))
}
