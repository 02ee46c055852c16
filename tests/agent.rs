//! The whole agent, as a process: what a person sees who starts it on a bare machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use edge_agent_core::wire::{LinkState, Snapshot};

use crate::support::port;

/// How long anything here may take before it counts as broken.
const LIMIT: Duration = Duration::from_secs(20);

/// A running `edge-agent run`; killed when it is dropped.
struct Agent {
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    command
        .env_clear()
        .env("HOME", directory)
        .env("STATE_DIRECTORY", directory.join("state"))
        .env("RUNTIME_DIRECTORY", directory.join("run"))
        .stdin(Stdio::null());
    command
}

impl Agent {
    /// Starts it with settings that name only where its page is and what is not there.
    fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = port::reserve();
        let settings = format!(
            "node = \"bare\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n[outbox]\nreserve_bytes = 0\n{more}",
            port::reserve()
        );
        let file = directory.path().join("agent.toml");
        std::fs::write(&file, settings).unwrap();
        let process = command(directory.path())
            .args(["run", "--config"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            process,
            port,
            directory,
        }
    }

    /// The body of a page, or nothing when the agent does not answer yet.
    fn get(&self, path: &str) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.set_read_timeout(Some(LIMIT)).ok()?;
        write!(
            connection,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.port
        )
        .ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Follows the page until what it says is as it should be.
    fn until(&self, what: &str, is: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) else {
                std::thread::yield_now();
                continue;
            };
            connection.set_read_timeout(Some(LIMIT)).unwrap();
            let request = format!(
                "GET /events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n",
                self.port
            );
            connection.write_all(request.as_bytes()).unwrap();
            for line in BufReader::new(connection).lines().map_while(Result::ok) {
                if let Some(json) = line.strip_prefix("data:")
                    && let Ok(snapshot) = serde_json::from_str(json)
                    && is(&snapshot)
                {
                    return snapshot;
                }
            }
        }
        panic!("never: {what}");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Reads its log up to a line.
    fn log_until(&mut self, part: &str) -> String {
        let log = self.process.stderr.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\n") || !String::from_utf8_lossy(&seen).contains(part) {
            let read = log.read(&mut byte).unwrap();
            assert!(
                read > 0,
                "never: {part}: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    /// Asks it to stop, as systemd does, and returns its exit code and what it logged.
    fn terminate(mut self) -> (Option<i32>, String, Duration) {
        let started = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        let mut log = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        let code = self.process.wait().unwrap().code();
        (code, log, started.elapsed())
    }
}

#[test]
fn on_a_bare_machine_it_stays_up_buffers_says_what_is_missing_and_stops() {
    let agent = Agent::start("");
    let page = agent.until("it has sampled, and its links are down", |page| {
        page.health.is_some()
            && page.links.len() == 2
            && page
                .links
                .values()
                .all(|link| link.state == LinkState::Down)
    });
    let reason = |link: &str| page.links[link].reason.clone().unwrap_or_default();
    assert!(
        reason("broker").contains("refuses connections"),
        "{}",
        reason("broker")
    );
    assert!(
        reason("cluster").contains("no cluster configured"),
        "{}",
        reason("cluster")
    );
    let page = agent.until("events wait", |page| page.outbox.records >= 2);
    assert!(page.faults.is_empty(), "{:?}", page.faults);
    assert_eq!(agent.get("/healthz").as_deref(), Some("ok\n"));
    assert!(agent.get("/").unwrap().contains("<html"));
    assert!(
        agent
            .get("/metrics")
            .unwrap()
            .contains("edge_agent_link_up")
    );

    let (state, run) = (
        agent.directory.path().join("state"),
        agent.directory.path().join("run"),
    );
    let file = run.join("status.json");
    let status = command(agent.directory.path())
        .args(["status", "--file"])
        .arg(&file)
        .output();
    let status = status.unwrap();
    assert!(status.status.success(), "{status:?}");
    let directory = agent.directory.path().to_owned();
    assert!(state.join("node.key").exists() && state.starts_with(directory));
    let (code, log, took) = agent.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn at_a_hang_up_it_takes_new_settings_up_and_leaves_bad_ones_alone() {
    let mut agent = Agent::start("[cluster]\nenabled = false\n");
    let first = agent.until("events wait", |page| page.outbox.records >= 1);
    let file = agent.directory.path().join("agent.toml");
    let old = std::fs::read_to_string(&file).unwrap();
    let keyring = agent.directory.path().join("keyring.toml");
    std::fs::write(&keyring, "version = \"one\"\n").unwrap();
    let with_keyring = format!("{old}[commands]\nkeyring = \"{}\"\n", keyring.display());
    for (bad, why) in [
        (old.replace("bare", "b/d"), "node"),
        (with_keyring.clone(), "version"),
    ] {
        std::fs::write(&file, bad).unwrap();
        agent.signal(rustix::process::Signal::HUP);
        let log = agent.log_until("not reloaded");
        assert!(log.lines().last().unwrap().contains(why), "{log}");
        assert_eq!(agent.get("/healthz").as_deref(), Some("ok\n"));
    }

    std::fs::write(&keyring, "version = 1\n").unwrap();
    let port = port::reserve();
    let new = with_keyring.replace(
        &format!("listen = \"127.0.0.1:{}\"", agent.port),
        &format!("listen = \"127.0.0.1:{port}\""),
    );
    assert_ne!(new, with_keyring);
    std::fs::write(&file, new).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    agent.log_until("stopping");
    agent.log_until("edge-agent runs");
    agent.port = port;
    let again = agent.until("events wait", |page| page.outbox.records >= 1);
    assert!(
        again.outbox.records > first.outbox.records,
        "nothing is lost"
    );
    assert!(
        agent.process.try_wait().unwrap().is_none(),
        "the same process"
    );
    let (code, log, _) = agent.terminate();
    assert_eq!(code, Some(0), "{log}");
}

/// Between its two lives nobody listens to signals, and the first does not end before that.
#[test]
fn hang_ups_without_a_pause_do_not_kill_it() {
    let mut agent = Agent::start("[cluster]\nenabled = false\n");
    agent.until("it runs", |_| true);
    let enough = std::sync::atomic::AtomicBool::new(false);
    let id = rustix::process::Pid::from_child(&agent.process);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(std::sync::atomic::Ordering::SeqCst) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::HUP);
                std::thread::yield_now();
            }
        });
        // Ends also when the log does.
        let lives = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                agent.log_until("stopping");
                agent.log_until("edge-agent runs");
            }
        }));
        enough.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(lives.is_ok(), "it was killed");
    });
    let (code, log, _) = agent.terminate();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_second_agent_on_the_same_state_is_told_so_and_does_not_run() {
    let agent = Agent::start("[cluster]\nenabled = false\n");
    agent.until("it runs", |_| true);
    let second = command(agent.directory.path())
        .args(["run", "--config"])
        .arg(agent.directory.path().join("agent.toml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(78), "{text}");
    assert!(
        text.contains("edge-agent") && text.contains("outbox"),
        "{text}"
    );
}

#[test]
fn settings_that_are_wrong_end_it_at_once_with_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, "nodee = \"x\"\n[mqtt]\nkeep_alive_seconds = 1\n").unwrap();
    let output = command(directory.path())
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(
        text.contains("nodee") && text.contains("keep_alive_seconds"),
        "{text}"
    );
}

#[test]
fn a_busy_page_or_a_missing_led_impairs_it_and_nothing_more() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(
        &file,
        format!(
            "node = \"bare\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n[cluster]\nenabled = false\n\
             [http]\nlisten = \"127.0.0.1:{busy}\"\n[led.deploy]\nkind = \"gpio\"\npin = 17\n",
            port::reserve()
        ),
    )
    .unwrap();
    let mut process = command(directory.path())
        .args(["run", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut seen = Vec::new();
    let runs = log
        .by_ref()
        .inspect(|line| seen.push(line.clone()))
        .any(|line| line.contains("edge-agent runs"));
    assert!(runs, "{seen:?}");
    let said = |part: &str| seen.iter().any(|line| line.contains(part));
    assert!(said("Set [http] listen to a free address"), "{seen:?}");
    assert!(said("deploy"), "{seen:?}");
    process.kill().unwrap();
    process.wait().unwrap();
}
