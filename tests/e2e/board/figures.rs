//! What the agent takes on the board, and beside it on this machine, with the same cluster.
//!
//! On this machine it is the binary of the suite: only `cargo test --release --features e2e --test e2e --
//! board_story` compares like with like.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::super::agent::Setup;
use super::super::broker::Broker;
use super::stage::Stage;
use super::{LIMIT, figure};

/// For how long the use of the processor is counted.
const WHILE: Duration = Duration::from_secs(10);

pub(super) fn told(stage: &Stage) {
    of_the_board(stage);
    of_this_machine(stage);
}

fn of_the_board(stage: &Stage) {
    let said = stage.machine.must(&format!(
        "pid=$(systemctl show --property MainPID --value edge-agent)
         echo \"size: $(stat --format %s /usr/bin/edge-agent) bytes\"
         awk '/^(Rss|Pss|Private_Dirty|AnonHugePages):/ {{ print $1, $2, \"KiB\" }}' /proc/$pid/smaps_rollup
         begun=$(systemctl show --property ExecMainStartTimestampMonotonic --value edge-agent)
         ready=$(systemctl show --property ActiveEnterTimestampMonotonic --value edge-agent)
         echo \"start to ready: $(((ready - begun) / 1000)) ms\"
         before=$(systemctl show --property CPUUsageNSec --value edge-agent); sleep {seconds}
         after=$(systemctl show --property CPUUsageNSec --value edge-agent)
         echo \"CPU: $(((after - before) / {seconds}000000)) ms a second, emulated\"",
        seconds = WHILE.as_secs()
    ));
    for line in said.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        figure(&format!("board, {name}"), value.trim());
        // The stack of each thread would be one.
        assert!(name != "AnonHugePages" || value.trim() == "0 KiB", "{said}");
    }
}

fn of_this_machine(stage: &Stage) {
    let folder = tempfile::tempdir().unwrap();
    // A broker of its own: whose events are counted is the board's alone.
    let broker = Broker::plain(folder.path(), "");
    let mut setup = Setup::new(folder.path(), broker.port);
    setup.node = "beside".to_owned();
    setup.kubeconfig = Some(stage.kubeconfig());
    setup.more = "[health]\ninterval_seconds = 2\n".to_owned();
    let socket = folder.path().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(LIMIT)).unwrap();
    let begun = Instant::now();
    let agent = setup.start_with(|command| {
        command.env("NOTIFY_SOCKET", &socket);
    });
    let mut message = [0; 1024];
    loop {
        let length = notified.recv(&mut message).unwrap();
        if String::from_utf8_lossy(&message[..length]).contains("READY=1") {
            break;
        }
    }
    let ready = begun.elapsed();
    let before = agent.cpu_seconds();
    std::thread::sleep(WHILE);
    let spent = (agent.cpu_seconds() - before) / WHILE.as_secs_f64();
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let told = |name: &str, value: String| figure(&format!("here ({build}), {name}"), value);
    let size = fs::metadata(env!("CARGO_BIN_EXE_edge-agent")).unwrap();
    told("size", format!("{} bytes", size.len()));
    told("Rss", format!("{} KiB", agent.resident_bytes() / 1024));
    told("start to ready", format!("{} ms", ready.as_millis()));
    told("CPU", format!("{:.1} ms a second", spent * 1000.0));
}
