//! Logging: to the journal with fields under systemd, and to standard error elsewhere.
//!
//! Our own crates log at the configured level; the libraries only what is worth a warning, because
//! their idea of information is chatter to who watches a node.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::Context;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::Level;

/// Our crates; a target is a module path that begins with one of these.
const OURS: [&str; 2] = ["edge_agent", "edge_agent_core"];

/// Sends the log where it belongs from now on; called once, early in `main`.
///
/// # Errors
/// When logging was set up before.
pub fn init(level: Level) -> anyhow::Result<()> {
    let (layer, fallback) = if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) {
        match tracing_journald::layer() {
            Ok(journal) => {
                let journal = journal.with_syslog_identifier("edge-agent".to_owned());
                (journal.boxed(), None)
            }
            Err(error) => (to_stderr(), Some(error)),
        }
    } else {
        (to_stderr(), None)
    };
    Registry::default()
        .with(layer.with_filter(filter(level)))
        .try_init()
        .context("logging is already set up")?;
    if let Some(error) = fallback {
        tracing::warn!(%error, "the journal cannot be reached; logging to standard error");
    }
    Ok(())
}

fn to_stderr() -> Box<dyn Layer<Registry> + Send + Sync> {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    human(
        std::io::stderr,
        std::io::stderr().is_terminal() && !no_colour,
    )
}

/// One line an event, for a person.
fn human<S, W>(writer: W, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(colour)
        .with_writer(writer)
        .boxed()
}

fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)))
}

/// Whether standard error is the stream to the journal that systemd names in `JOURNAL_STREAM`. The
/// variable alone does not tell: a child whose output was redirected inherits it too.
fn is_journal(stream: Option<&str>) -> bool {
    let Some(stream) = stream else {
        return false;
    };
    let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() else {
        return false;
    };
    std::fs::File::from(stderr)
        .metadata()
        .is_ok_and(|stderr| names(stream, stderr.dev(), stderr.ino()))
}

/// Whether `stream`, which is `<device>:<inode>` in decimal, names this file.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Level as Severity;

    use super::*;

    #[test]
    fn a_stream_names_the_file_with_its_device_and_inode() {
        assert!(names("9:4711", 9, 4711));
        for other in [
            "9:4712", "8:4711", "9", "9:", ":4711", "9:4711:1", "a:b", "",
        ] {
            assert!(!names(other, 9, 4711), "{other}");
        }
    }

    #[test]
    fn the_variable_alone_is_not_the_journal() {
        assert!(!is_journal(None));
        assert!(!is_journal(Some("0:0")));
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        let stderr = std::fs::File::from(stderr).metadata().unwrap();
        assert!(is_journal(Some(&format!(
            "{}:{}",
            stderr.dev(),
            stderr.ino()
        ))));
    }

    #[test]
    fn libraries_only_warn() {
        let info = filter(Level::Info);
        assert!(info.would_enable("edge_agent::mqtt", &Severity::INFO));
        assert!(info.would_enable("edge_agent_core", &Severity::INFO));
        assert!(!info.would_enable("edge_agent::mqtt", &Severity::DEBUG));
        for library in [
            "rumqttc::eventloop",
            "kube_client",
            "hyper",
            "sled::pagecache",
        ] {
            assert!(info.would_enable(library, &Severity::WARN), "{library}");
            assert!(
                !filter(Level::Trace).would_enable(library, &Severity::INFO),
                "{library}"
            );
        }
        assert!(!filter(Level::Error).would_enable("sled", &Severity::WARN));
        assert!(!filter(Level::Error).would_enable("edge_agent", &Severity::WARN));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(colour: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = human(move || writer.clone(), colour).with_filter(filter(Level::Info));
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_time_level_target_message_and_fields() {
        let text = logged(false, || {
            tracing::info!(target: "edge_agent::mqtt", broker = "b:1883", "connected");
            tracing::info!(target: "rumqttc", "noise");
        });
        let (time, rest) = text.trim_end().split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{text}");
        assert_eq!(
            rest.trim_start(),
            "INFO edge_agent::mqtt: connected broker=\"b:1883\""
        );
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let log = || tracing::warn!(target: "edge_agent", "hot");
        assert!(!logged(false, log).contains('\x1b'));
        assert!(logged(true, log).contains('\x1b'));
    }
}
