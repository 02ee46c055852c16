//! The emulated Raspberry Pi: QEMU in a process of its own, its monitor, and a shell on it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::image::Mount;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hardware/emulated");

/// The levels of the pins 0 to 31, GPLEV0 of BCM2837.
const LEVELS: u64 = 0x3f20_0034;

/// Kernel, device tree, initramfs and card, made where the cache has none.
pub(super) fn parts() -> PathBuf {
    let mut build = Command::new(format!("{SCRIPTS}/build"));
    let made = build.stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "hardware/emulated/build failed");
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// A board. Dropping it pulls the plug.
pub(super) struct Machine {
    parts: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    monitor: Option<BufReader<UnixStream>>,
}

impl Machine {
    /// A board with a new card, and these files in the folder `/home/pi` of it.
    pub(super) fn new(parts: &Path, folder: &Path, files: &[PathBuf]) -> Self {
        let card = folder.join("card");
        let copied = Command::new("cp")
            .arg("--sparse=always")
            .args([&parts.join("card"), &card])
            .status();
        assert!(copied.unwrap().success());
        let mounted = Mount::image(&card, &folder.join("mounted"));
        let home = mounted.path.join("home/pi");
        fs::create_dir_all(&home).unwrap();
        for file in files {
            fs::copy(file, home.join(file.file_name().unwrap())).unwrap();
        }
        drop(mounted);
        Self {
            parts: parts.to_owned(),
            folder: folder.to_owned(),
            port: crate::support::port::reserve(),
            child: None,
            monitor: None,
        }
    }

    /// Boots it, until systemd says that it is up. Returns how long that took.
    pub(super) fn boot(&mut self) -> Duration {
        let begun = Instant::now();
        let log = File::create(self.folder.join("qemu.log")).unwrap();
        let child = Command::new(format!("{SCRIPTS}/boot"))
            .arg(&self.folder)
            .arg(self.port.to_string())
            .env("BOARD", &self.parts)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = begun + Duration::from_secs(300);
        loop {
            let up = self.ask(
                "systemctl is-system-running --wait",
                Duration::from_secs(60),
            );
            if let Some(said) = up
                && !said.is_empty()
            {
                assert!(said.contains("running"), "systemd is {said}");
                break;
            }
            if Instant::now() > deadline {
                let serial = fs::read_to_string(self.folder.join("serial")).unwrap_or_default();
                panic!("the board does not boot:\n{serial}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let mut monitor = BufReader::new(UnixStream::connect(self.folder.join("monitor")).unwrap());
        let mut greeting = String::new();
        monitor.read_line(&mut greeting).unwrap();
        self.monitor = Some(monitor);
        self.order("qmp_capabilities", &json!({}));
        begun.elapsed()
    }

    /// Pulls the plug: SIGKILL.
    pub(super) fn cut_power(&mut self) {
        self.monitor = None;
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// An order to QEMU's monitor, and its answer.
    fn order(&mut self, order: &str, arguments: &Value) -> Value {
        let monitor = self.monitor.as_mut().unwrap();
        let line = json!({"execute": order, "arguments": arguments});
        writeln!(monitor.get_mut(), "{line}").unwrap();
        loop {
            let mut answer = String::new();
            monitor.read_line(&mut answer).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            if let Some(result) = answer.get("return") {
                return result.clone();
            }
            // Others are events.
            assert!(answer.get("error").is_none(), "{order}: {answer}");
        }
    }

    /// The levels of the pins, read from outside.
    pub(super) fn levels(&mut self) -> u32 {
        self.register(LEVELS)
    }

    /// Whether a pin is an input.
    pub(super) fn is_input(&mut self, pin: u8) -> bool {
        let functions = self.register(0x3f20_0000 + 4 * u64::from(pin / 10));
        functions >> (3 * (pin % 10)) & 7 == 0
    }

    fn register(&mut self, address: u64) -> u32 {
        let line = json!({"command-line": format!("xp /1wx {address:#x}")});
        let answer = self.order("human-monitor-command", &line);
        let text = answer.as_str().unwrap();
        let (_, value) = text.split_once("0x").unwrap_or_else(|| panic!("{text}"));
        u32::from_str_radix(value.trim(), 16).unwrap()
    }

    /// Pulls the network cable, or plugs it in.
    pub(super) fn link(&mut self, up: bool) {
        self.order("set_link", &json!({"name": "net", "up": up}));
    }

    /// What commands print in a root shell on the board, and their errors.
    pub(super) fn shell(&self, commands: &str) -> String {
        let said = self.ask(commands, Duration::from_secs(120));
        said.unwrap_or_else(|| panic!("the board gave no answer to: {commands}"))
    }

    /// The same; the last of the commands must succeed.
    pub(super) fn must(&self, commands: &str) -> String {
        let said = self.shell(&format!("{commands}\necho \"exit=$?\""));
        match said.rsplit_once("exit=") {
            Some((said, "0\n")) => said.to_owned(),
            _ => panic!("{commands}: {said}"),
        }
    }

    fn ask(&self, commands: &str, limit: Duration) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        stream.write_all(commands.as_bytes()).ok()?;
        stream.write_all(b"\n").ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).ok()?;
        Some(String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut_power();
    }
}
