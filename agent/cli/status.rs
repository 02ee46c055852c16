//! `edge-agent status`: what the running agent knows, for a person at a terminal or a script.

mod fetch;
mod text;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use edge_agent_core::wire::{Snapshot, Status};
use jiff::Timestamp;

use super::Exit;

/// Where the service writes its status.
const DEFAULT_FILE: &str = "/run/edge-agent/status.json";
const DEFAULT_URL: &str = "http://127.0.0.1:9750/status.json";
/// The agent renews its status every few seconds; one that is older than this many is from an
/// agent that hangs or is gone.
const STALE_SECONDS: i64 = 60;

/// The arguments of `edge-agent status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(
    about = "Show what the running agent knows",
    after_help = "\
Exit code: 0 the node is well; 1 its health is critical, the agent is impaired, or the status is
older than a minute; 2 there is no status to read.

Example:
  edge-agent status
  edge-agent status --json | jq .indication"
)]
pub(super) struct Args {
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
    /// Read this status file only [default: /run/edge-agent/status.json, then the local page]
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    file: Option<PathBuf>,
    /// Ask this local page only, such as http://127.0.0.1:9750/status.json
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Reads the status and prints it. The exit code says how the node is, as `--help` tells.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = out.is_terminal() && !no_colour;
    report(args, now, colour, &mut out, &mut io::stderr().lock())
}

fn report(
    args: &Args,
    now: Timestamp,
    colour: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<Exit> {
    let (json, snapshot) = match read(args) {
        Ok(status) => status,
        Err(error) => {
            print(err, &format!("edge-agent: {error:#}\n"))?;
            return Ok(Exit::Usage);
        }
    };
    if args.json {
        print(out, &format!("{}\n", json.trim_end()))?;
    } else {
        print(out, &text::render(&snapshot, now, colour))?;
    }
    Ok(if is_well(&snapshot, now) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Writes all; a reader that has seen enough, such as `head`, is no fault.
fn print(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the status")
        }
        _ => Ok(()),
    }
}

fn is_well(snapshot: &Snapshot, now: Timestamp) -> bool {
    let critical = snapshot
        .health
        .as_ref()
        .is_some_and(|health| health.status == Status::Critical);
    !critical && snapshot.faults.is_empty() && !is_stale(snapshot, now)
}

fn is_stale(snapshot: &Snapshot, now: Timestamp) -> bool {
    now.as_second().saturating_sub(snapshot.at.as_second()) > STALE_SECONDS
}

/// The status as it was read, and what it says.
fn read(args: &Args) -> anyhow::Result<(String, Snapshot)> {
    if let Some(url) = &args.url {
        return parse(fetch::page(url)?, url);
    }
    if let Some(file) = &args.file {
        return parse(fetch::file(file)?, &file.display().to_string());
    }
    first_of(Path::new(DEFAULT_FILE), DEFAULT_URL)
}

/// The file, or else the page.
fn first_of(file: &Path, url: &str) -> anyhow::Result<(String, Snapshot)> {
    let from_file = match fetch::file(file) {
        Ok(json) => return parse(json, &file.display().to_string()),
        Err(error) => error,
    };
    match fetch::page(url) {
        Ok(json) => parse(json, url),
        Err(from_page) => anyhow::bail!(
            "the status of the agent cannot be read:\n  {from_file:#}\n  {from_page:#}\n\
             Is it running? See: systemctl status edge-agent. If it keeps its status elsewhere, \
             name the place with --file or --url."
        ),
    }
}

fn parse(json: String, from: &str) -> anyhow::Result<(String, Snapshot)> {
    let snapshot = serde_json::from_str(&json).with_context(|| {
        format!("{from} is not the status of an edge-agent of this version (or one near it)")
    })?;
    Ok((json, snapshot))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::http::fixture;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn after(seconds: i64) -> Timestamp {
        fixture::at() + jiff::SignedDuration::from_secs(seconds)
    }

    fn code(args: &Args, now: Timestamp) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = report(args, now, false, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(err))
    }

    #[test]
    fn a_file_and_a_page_exclude_each_other() {
        assert!(Line::try_parse_from(["status", "--file", "a", "--url", "b"]).is_err());
        let line = Line::try_parse_from(["status", "--json", "--file", "a"]).unwrap();
        assert!(line.args.json);
        assert_eq!(line.args.file.as_deref(), Some(Path::new("a")));
    }

    #[test]
    fn a_node_is_well_unless_critical_impaired_or_silent() {
        let well = fixture::snapshot();
        assert!(is_well(&well, after(60)));
        assert!(is_well(&well, after(-5)), "a clock that is a bit behind");
        assert!(!is_well(&well, after(61)));
        let mut impaired = well.clone();
        impaired.faults = BTreeMap::from([("outbox".to_owned(), "the disk is full".to_owned())]);
        assert!(!is_well(&impaired, after(0)));
        let mut critical = well.clone();
        let mut health = (**well.health.as_ref().unwrap()).clone();
        health.status = Status::Critical;
        critical.health = Some(Arc::new(health));
        assert!(!is_well(&critical, after(0)));
        let mut young = well;
        young.health = None;
        assert!(is_well(&young, after(0)));
    }

    #[test]
    fn the_exit_code_tells_well_ill_and_unreadable_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("status.json");
        let args = Args {
            json: true,
            file: Some(file.clone()),
            url: None,
        };
        let (missing, out, err) = code(&args, after(0));
        assert_eq!(missing, Exit::Usage);
        assert_eq!(out, "");
        assert!(err.contains("cannot read"), "{err}");
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(code(&args, after(0)).0, Exit::Usage);
        let json = serde_json::to_string(&fixture::snapshot()).unwrap();
        std::fs::write(&file, &json).unwrap();
        let printed = format!("{json}\n");
        assert_eq!(
            code(&args, after(1)),
            (Exit::Done, printed.clone(), String::new())
        );
        assert_eq!(
            code(&args, after(90)),
            (Exit::Failed, printed, String::new())
        );
    }

    /// Answers one request with these bytes and tells what was asked.
    fn answer_once(answer: String) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/status.json", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (url, answering)
    }

    #[test]
    fn the_page_is_asked_when_there_is_no_file() {
        let json = serde_json::to_string(&fixture::snapshot()).unwrap();
        let (url, answering) = answer_once(format!("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{json}"));
        let (raw, snapshot) = first_of(Path::new("/nowhere/status.json"), &url).unwrap();
        assert_eq!(raw, json);
        assert_eq!(snapshot, fixture::snapshot());
        let request = answering.join().unwrap();
        assert!(
            request.starts_with("GET /status.json HTTP/1.0\r\nHost: 127.0.0.1:"),
            "{request}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_both_places_and_what_to_do() {
        let (url, answering) = answer_once("HTTP/1.1 503 Busy\r\n\r\nno".to_owned());
        let error = first_of(Path::new("/nowhere/status.json"), &url).unwrap_err();
        answering.join().unwrap();
        let message = format!("{error:#}");
        assert!(message.contains("/nowhere/status.json"), "{message}");
        assert!(message.contains("503 Busy"), "{message}");
        assert!(message.contains("systemctl status edge-agent"), "{message}");
    }

    #[test]
    fn other_schemes_and_nonsense_are_refused() {
        for url in [
            "https://127.0.0.1/",
            "127.0.0.1:9750",
            "http:///x",
            "file:///etc/passwd",
            "",
        ] {
            let error = format!("{:#}", fetch::page(url).unwrap_err());
            assert!(
                error.contains("http://127.0.0.1:9750/status.json"),
                "{error}"
            );
        }
    }
}
