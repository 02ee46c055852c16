//! The agent as a user runs it: the built binary in a process of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The name of the node in every suite with one.
pub(crate) const NODE: &str = "pi-01";

/// What an agent is to be like.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Holds its settings, its state and its log.
    pub(crate) directory: PathBuf,
    /// Where its state goes; in `directory` by default.
    pub(crate) state: PathBuf,
    /// The lines of `[mqtt]`.
    pub(crate) mqtt: String,
    pub(crate) kubeconfig: Option<PathBuf>,
    /// More lines of `[cluster]`.
    pub(crate) cluster: String,
    /// More tables.
    pub(crate) more: String,
    pub(crate) node: String,
    port: u16,
    /// The port of the metrics alone.
    metrics_port: Option<u16>,
}

impl Setup {
    /// An agent for a broker at a plain port, with the shortest keep-alive and no cluster.
    pub(crate) fn new(directory: &Path, port: u16) -> Self {
        Self {
            directory: directory.to_owned(),
            state: directory.join("state"),
            mqtt: format!("url = \"mqtt://127.0.0.1:{port}\"\nkeep_alive_seconds = 5\n"),
            kubeconfig: None,
            cluster: String::new(),
            more: "[outbox]\nreserve_bytes = 0\n".to_owned(),
            node: NODE.to_owned(),
            port: crate::support::port::reserve(),
            metrics_port: None,
        }
    }

    /// Serves the metrics on a port of their own.
    pub(crate) fn listen_metrics(&mut self, port: u16) {
        self.metrics_port = Some(port);
    }

    fn write(&self) -> PathBuf {
        let cluster = match &self.kubeconfig {
            Some(path) => format!("kubeconfig = {path:?}\n"),
            None => "enabled = false\n".to_owned(),
        };
        let metrics = self
            .metrics_port
            .map(|port| format!("metrics_listen = \"127.0.0.1:{port}\"\n"))
            .unwrap_or_default();
        let text = format!(
            "node = {:?}\nstate_directory = {:?}\n[mqtt]\n{}\n[cluster]\n{cluster}{}\n\
             [http]\nlisten = \"127.0.0.1:{}\"\n{metrics}[log]\nlevel = \"debug\"\n\
             [led.status]\nkind = \"simulated\"\n{}\n",
            self.node, self.state, self.mqtt, self.cluster, self.port, self.more,
        );
        let path = self.directory.join("agent.toml");
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.join("agent.log")
    }

    /// Everything that agents with this setup have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command.arg("run").arg("--config").arg(self.write());
        self.finish(command)
    }

    fn finish(&self, mut command: Command) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let runtime = self.directory.join("run");
        fs::create_dir_all(&runtime).unwrap();
        command
            .env("RUNTIME_DIRECTORY", runtime)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    pub(crate) fn start(&self) -> Agent {
        self.start_with(|_| ())
    }

    /// Starts it with something else than usual.
    pub(crate) fn start_with(&self, change: impl FnOnce(&mut Command)) -> Agent {
        let mut command = self.command();
        change(&mut command);
        Agent {
            child: command.spawn().unwrap(),
            setup: self.clone(),
        }
    }
}

/// An agent that runs. Dropping it kills it.
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) setup: Setup,
}

impl Agent {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        super::wait(limit, "the agent to end", || self.child.try_wait().unwrap())
    }

    /// SIGTERM; returns how it ended and how long that took.
    pub(crate) fn terminate(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait_exit(limit);
        (status, asked.elapsed())
    }

    /// What its page says, if it answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let body = self.get("/status.json")?;
        serde_json::from_str(&body).ok()
    }

    /// The body that its page has at a path.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        self.get_at(self.setup.port, path)
    }

    /// The same at another port of it.
    pub(crate) fn get_at(&self, port: u16, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            return Some(unchunk(body));
        }
        Some(body.to_owned())
    }

    /// Waits until the page says something of which `find` makes something.
    pub(crate) fn wait_status<T>(
        &mut self,
        limit: Duration,
        what: &str,
        find: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status().unwrap_or(Value::Null);
            if let Some(found) = find(&status) {
                return found;
            }
            if let Some(ended) = self.child.try_wait().unwrap() {
                panic!(
                    "the agent ended with {ended} instead of {what}: {}",
                    self.tail()
                );
            }
            assert!(
                Instant::now() < deadline,
                "waited {limit:?} for {what}; links {}, faults {}, outbox {}; {}",
                status["links"],
                status["faults"],
                status["outbox"],
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the link to the broker is up.
    pub(crate) fn wait_up(&mut self, limit: Duration) {
        self.wait_status(limit, "the broker link to be up", |status| {
            (status["links"]["broker"]["state"] == "up").then_some(())
        });
    }

    /// Waits until the link to the broker is down for a reason that says all of this.
    pub(crate) fn wait_down(&mut self, limit: Duration, words: &[&str]) -> String {
        let what = format!("the broker link to be down because of {words:?}");
        self.wait_status(limit, &what, |status| {
            let reason = status["links"]["broker"]["reason"].as_str()?;
            let says = words.iter().all(|word| reason.contains(word));
            says.then(|| reason.to_owned())
        })
    }

    /// Bytes of memory that are resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = self.proc("statm");
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// Seconds of a processor that it has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        // The name of the program is in parentheses, and may have spaces.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
        f64::from(ticks(11) + ticks(12)) / 100.0
    }

    /// How many files it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Bytes that it caused to be written to the medium.
    pub(crate) fn written_bytes(&self) -> u64 {
        let io = self.proc("io");
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "));
        line.unwrap().parse().unwrap()
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    fn tail(&self) -> String {
        let log = self.setup.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("DEBUG")).collect();
        let last = lines.len().saturating_sub(15);
        format!("log:\n{}", lines[last..].join("\n"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn unchunk(mut body: &str) -> String {
    let mut all = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        let Some(chunk) = rest.get(..size) else { break };
        all.push_str(chunk);
        if size == 0 {
            break;
        }
        body = rest.get(size + 2..).unwrap_or_default();
    }
    all
}
