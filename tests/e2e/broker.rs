//! Debian's mosquitto in a process of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::mqtt::Login;

/// Where Debian puts it; not in the path of every user.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// The files of `config/mosquitto`.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/mosquitto");

/// A broker. Dropping it kills it.
pub(crate) struct Broker {
    pub(crate) port: u16,
    directory: PathBuf,
    child: Option<Child>,
    secure: bool,
}

impl Broker {
    /// A broker without TLS that lets everyone do everything, with these lines in its configuration
    /// besides. What it keeps lies in `directory`.
    pub(crate) fn plain(directory: &Path, more: &str) -> Self {
        let port = crate::support::port::reserve();
        let text =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_type all\n{more}\n");
        Self::with(directory, port, &text, false)
    }

    /// A broker as the project recommends it: `config/mosquitto/mosquitto.conf` with other paths and
    /// another port, its access list, and certificates made by its script.
    pub(crate) fn recommended(directory: &Path) -> Self {
        Self::recommended_for(directory, &[super::agent::NODE, "dashboard", "drone"])
    }

    /// The same, with certificates for these clients.
    pub(crate) fn recommended_for(directory: &Path, clients: &[&str]) -> Self {
        let port = crate::support::port::reserve();
        make_certificate(directory, &["ca"]);
        make_certificate(directory, &["server", "localhost", "127.0.0.1"]);
        for client in clients {
            make_certificate(directory, &["client", client]);
        }
        fs::copy(format!("{CONFIG}/acl"), directory.join("acl")).unwrap();
        let here = directory.display().to_string();
        let text = fs::read_to_string(format!("{CONFIG}/mosquitto.conf")).unwrap();
        for path in [
            "/etc/mosquitto/edge-agent",
            "/var/lib/mosquitto/",
            "listener 8883",
        ] {
            assert!(
                text.contains(path),
                "mosquitto.conf has no {path:?} any more"
            );
        }
        let text = text
            .replace("/etc/mosquitto/edge-agent", &here)
            .replace("/var/lib/mosquitto/", &format!("{here}/"))
            .replace("listener 8883", &format!("listener {port} 127.0.0.1"));
        Self::with(directory, port, &text, true)
    }

    fn with(directory: &Path, port: u16, text: &str, secure: bool) -> Self {
        // Its own user would not be able to read what root has put there.
        fs::write(
            directory.join("mosquitto.conf"),
            format!("{text}\nuser root\n"),
        )
        .unwrap();
        let mut broker = Self {
            port,
            directory: directory.to_owned(),
            child: None,
            secure,
        };
        broker.start();
        broker
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("mosquitto.log"))
            .unwrap();
        let child = Command::new(PROGRAM)
            .arg("-c")
            .arg(self.directory.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM} cannot be started: {error}"));
        self.child = Some(child);
        super::wait(Duration::from_secs(10), "mosquitto to listen", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, so that it writes down what it keeps.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            super::wait(Duration::from_secs(10), "mosquitto to end", || {
                child.try_wait().unwrap()
            });
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("mosquitto.log")).unwrap_or_default()
    }

    /// How to log in as `name`.
    pub(crate) fn login(&self, name: &str) -> Login {
        let mut login = Login::plain(self.port, name);
        if self.secure {
            login.tls = Some((
                self.file("ca.crt"),
                self.file(&format!("{name}.crt")),
                self.file(&format!("{name}.key")),
            ));
        }
        login
    }

    /// The lines of `[mqtt]` for a node that connects through `port`.
    pub(crate) fn settings(&self, port: u16) -> String {
        self.settings_of(super::agent::NODE, port)
    }

    /// The same for a node of another name.
    pub(crate) fn settings_of(&self, node: &str, port: u16) -> String {
        let keep_alive = "keep_alive_seconds = 5\n";
        if !self.secure {
            return format!("url = \"mqtt://127.0.0.1:{port}\"\n{keep_alive}");
        }
        format!(
            "url = \"mqtts://localhost:{port}\"\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}\n{keep_alive}",
            self.file("ca.crt"),
            self.file(&format!("{node}.crt")),
            self.file(&format!("{node}.key")),
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `config/mosquitto/make-certificates` for files in `directory`.
pub(crate) fn make_certificate(directory: &Path, arguments: &[&str]) {
    make_certificate_for(directory, "825", arguments);
}

/// The same for a number of days.
pub(crate) fn make_certificate_for(directory: &Path, days: &str, arguments: &[&str]) {
    let made = Command::new(format!("{CONFIG}/make-certificates"))
        .args(arguments)
        .env("DIRECTORY", directory)
        .env("DAYS", days)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "make-certificates {arguments:?}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
}
