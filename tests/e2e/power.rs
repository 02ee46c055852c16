//! The power goes. A writer stores events, or admits commands, on an ext4 in an image file; it is frozen at a random
//! moment and the image is copied: what the medium had at that moment, and nothing that the kernel
//! had not written yet. The copy is mounted, which plays the journal back, and opened.
//!
//! The control: the same with the `fdatasync` taken out (strace answers it without doing it). That
//! must lose something, or the suite could not see a loss.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::image::Mount;
use super::ledger_writer::{self, Forgotten, LEDGER_WRITER};
use super::writer::{self, Said, Verdict, WRITER};
use super::{Args, Suite, figure, wait};

pub(crate) const SUITES: &[Suite] = &[
    ("power_cuts", cuts_lose_nothing),
    ("power_cuts_without_sync", cuts_without_sync_lose),
    ("power_cuts_ledger", cuts_forget_no_command),
    ("power_cuts_ledger_without_sync", cuts_without_sync_forget),
];

const IMAGE_MEGABYTES: u64 = 96;

fn cuts_lose_nothing(args: &Args) {
    let mut stored = 0;
    for cut in 0..args.cuts() {
        let (said, verdict) = cut_power(cut, false);
        assert_eq!(verdict.unopened, None, "cut {cut}: the store did not open");
        assert_eq!(verdict.lost, 0, "cut {cut}: {said:?}");
        stored += said.stored;
    }
    figure("cuts", args.cuts());
    figure("events stored before them", stored);
    figure("events lost", 0);
    figure("stores that did not open", 0);
}

fn cuts_without_sync_lose(args: &Args) {
    let (mut losing, mut lost, mut unopened) = (0, 0, 0);
    for cut in 0..args.cuts() {
        let (_, verdict) = cut_power(cut, true);
        losing += usize::from(verdict.lost > 0);
        lost += verdict.lost;
        unopened += usize::from(verdict.unopened.is_some());
        // One is enough to know that the suite sees it.
        if !args.long && losing >= 3 {
            break;
        }
    }
    figure("cuts that lost something", losing);
    figure("events lost", lost);
    figure("stores that did not open", unopened);
    assert!(
        losing > 0,
        "without the sync nothing was lost: this suite would not see a loss"
    );
}

fn cuts_forget_no_command(args: &Args) {
    let mut admitted = 0;
    for cut in 0..args.cuts() {
        let (said, forgotten) = cut_power_of_ledger(cut, false);
        assert_eq!(
            forgotten,
            Forgotten::default(),
            "cut {cut}, after {said} commands"
        );
        admitted += said;
    }
    figure("cuts", args.cuts());
    figure("commands admitted before them", admitted);
    figure("sequences that went back", 0);
}

fn cuts_without_sync_forget(args: &Args) {
    let (mut forgetting, mut unopened) = (0, 0);
    for cut in 0..args.cuts() {
        let (_, forgotten) = cut_power_of_ledger(cut, true);
        forgetting += usize::from(forgotten.sequence > 0);
        unopened += usize::from(forgotten.unopened.is_some());
        // One is enough to know that the suite sees it.
        if !args.long && forgetting >= 3 {
            break;
        }
    }
    figure("cuts after which the sequence went back", forgetting);
    figure("ledgers that did not open", unopened);
    assert!(
        forgetting > 0,
        "without the sync nothing was forgotten: this suite would not see it"
    );
}

/// One power cut while commands are admitted: the last that was said to be, and what was left.
fn cut_power_of_ledger(cut: usize, without_sync: bool) -> (u64, Forgotten) {
    let dir = tempfile::tempdir().unwrap();
    let (image, copy) = (dir.path().join("image"), dir.path().join("copy"));
    let mounted = Mount::make(&image, IMAGE_MEGABYTES, &dir.path().join("before"));
    let mut writer = Writer::begin(&[LEDGER_WRITER, path(&mounted.path)], without_sync);
    wait(Duration::from_secs(20), "the first command", || {
        (ledger_writer::admitted(&writer.text()) > 0).then_some(())
    });
    work_for(moment(cut));
    writer.freeze();
    // First the promise, then the medium, as above.
    let said = ledger_writer::admitted(&writer.text());
    fs::copy(&image, &copy).unwrap();
    writer.kill();
    drop(mounted);
    let after = Mount::image(&copy, &dir.path().join("after"));
    (said, ledger_writer::judge(&after.path, said))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Another moment of its work each time.
fn moment(cut: usize) -> Duration {
    Duration::from_millis(20 + (cut as u64 * 373) % 1500)
}

fn work_for(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One power cut, and what was left.
fn cut_power(cut: usize, without_sync: bool) -> (Said, Verdict) {
    let dir = tempfile::tempdir().unwrap();
    let (image, copy) = (dir.path().join("image"), dir.path().join("copy"));
    let mounted = Mount::make(&image, IMAGE_MEGABYTES, &dir.path().join("before"));
    let mut writer = Writer::start(&mounted.path.join("outbox"), without_sync);
    wait(Duration::from_secs(20), "the first events", || {
        (writer.said().stored > 0).then_some(())
    });
    work_for(moment(cut));
    writer.freeze();
    // First the promise, then the medium: nothing may be promised that the copy has not.
    let said = writer.said();
    fs::copy(&image, &copy).unwrap();
    writer.kill();
    drop(mounted);
    let after = Mount::image(&copy, &dir.path().join("after"));
    let verdict = writer::judge(&after.path.join("outbox"), said);
    (said, verdict)
}

/// A writer in a process of its own.
struct Writer {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Writer {
    fn start(store: &Path, without_sync: bool) -> Self {
        Self::begin(&[WRITER, path(store), "0"], without_sync)
    }

    fn begin(arguments: &[&str], without_sync: bool) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = if without_sync {
            let mut command = Command::new("strace");
            command.args(["-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync"]);
            command
                .args(["-e", "inject=fdatasync:retval=0"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..count]);
                kept.lock().unwrap().push_str(&text);
            }
        });
        Self { child, said }
    }

    fn text(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn said(&self) -> Said {
        Said::of(&self.said.lock().unwrap())
    }

    /// Stops every thread of it where it is.
    fn freeze(&self) {
        for pid in self.processes() {
            // One that has ended has nothing to be stopped.
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    fn kill(&mut self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The writer itself; under strace the process below it.
    fn processes(&self) -> Vec<Pid> {
        let own = self.child.id();
        let children = format!("/proc/{own}/task/{own}/children");
        let mut text = String::new();
        let _ = File::open(children).and_then(|mut file| file.read_to_string(&mut text));
        let mut pids: Vec<i32> = text
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        if pids.is_empty() {
            pids.extend(i32::try_from(own));
        }
        pids.into_iter().filter_map(Pid::from_raw).collect()
    }
}
