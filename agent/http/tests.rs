//! The page over real sockets, and what must hold of the page itself.

mod alone;
mod limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::metrics_tests::check_exposition;
use super::*;

/// A page that is served until it is dropped or stopped.
struct Served {
    address: SocketAddr,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve_with(limits: Limits, stale_after: Duration) -> Served {
    serve_as(limits, stale_after, false).await
}

async fn serve_as(limits: Limits, stale_after: Duration, only_metrics: bool) -> Served {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (snapshots, receiver) = watch::channel(Arc::new(fixture::snapshot()));
    let settings = Settings {
        hostnames: vec!["pi-01".to_owned()],
        stale_after,
        only_metrics,
    };
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    let serving = serve_within(limits, listener, settings, receiver, metrics, stop.clone());
    Served {
        address,
        snapshots,
        stop,
        task: tokio::spawn(serving),
    }
}

async fn served() -> Served {
    serve_with(Limits::default(), Duration::from_secs(60)).await
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads all that comes until the connection is closed.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn ask(&self, method: &str, path: &str, more: &str) -> Answer {
        let answer = self
            .raw(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost:9750\r\nConnection: close\r\n{more}\r\n"
            ))
            .await;
        Answer::of(&answer)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// Opens the event stream.
    async fn follow(&self) -> Events {
        let mut stream = self.connect().await;
        let request = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        Events {
            stream,
            read: String::new(),
        }
    }

    /// Publishes a snapshot that tells itself from others by its dropped events.
    fn publish(&self, dropped: u64) {
        let mut snapshot = fixture::snapshot();
        snapshot.outbox.dropped = dropped;
        self.snapshots.send(Arc::new(snapshot)).unwrap();
    }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Self {
            status: status.parse().unwrap(),
            headers: lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }
}

struct Events {
    stream: TcpStream,
    read: String,
}

impl Events {
    /// The next piece that ends with this, and all before it.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await.ok()? {
                0 => return None,
                read => self
                    .read
                    .push_str(std::str::from_utf8(&bytes[..read]).unwrap()),
            }
        }
    }

    async fn snapshot(&mut self) -> Option<Snapshot> {
        loop {
            let piece = self.until("\n\n").await?;
            if let Some(data) = piece.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_busy_port_is_told() {
    let served = served().await;
    let error = bind(served.address).await.unwrap_err().to_string();
    assert!(error.contains(&served.address.to_string()), "{error}");
    assert!(error.contains("another edge-agent"), "{error}");
}

#[tokio::test]
async fn the_status_is_the_snapshot() {
    let served = served().await;
    let answer = served.get("/status.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    let snapshot: Snapshot = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(snapshot, fixture::snapshot());
}

#[tokio::test]
async fn every_answer_is_protected() {
    let served = served().await;
    for path in ["/", "/status.json", "/metrics", "/healthz", "/nothing"] {
        let answer = served.get(path).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{path}"
        );
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none';"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn only_reading_is_possible() {
    let served = served().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = served
            .ask(method, "/status.json", "Content-Length: 0\r\n")
            .await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
    }
    for path in ["/", "/events", "/status.json", "/metrics", "/healthz"] {
        let answer = served.ask("HEAD", path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(served.get("/../etc/passwd").await.status, 404);
}

#[tokio::test]
async fn foreign_hosts_are_refused_before_anything_is_told() {
    let served = served().await;
    let ask = async |host: &str| {
        let request = format!("GET /status.json HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        Answer::of(&served.raw(&request).await)
    };
    for host in [
        "Host: localhost\r\n",
        "Host: PI-01.local:80\r\n",
        "Host: 127.0.0.1\r\n",
    ] {
        assert_eq!(ask(host).await.status, 200, "{host}");
    }
    let foreign = ask("Host: evil.example:9750\r\n").await;
    assert_eq!(foreign.status, 421);
    assert!(!foreign.body.contains("pi-01"), "{}", foreign.body);
    assert_eq!(ask("").await.status, 400);
}

#[tokio::test]
async fn the_page_runs_only_its_own_script() {
    let served = served().await;
    let page = served.get("/").await;
    let again = served.get("/").await;
    let nonce = |answer: &Answer| {
        let policy = &answer.headers["content-security-policy"];
        let (_, rest) = policy.split_once("script-src 'nonce-").unwrap();
        rest.split_once('\'').unwrap().0.to_owned()
    };
    let ours = nonce(&page);
    assert_ne!(ours, nonce(&again));
    assert!(
        page.body
            .contains(&format!("<script nonce=\"{ours}\">\n\"use strict\";"))
    );
    assert!(
        page.body
            .contains(&format!("<style nonce=\"{ours}\">\n:root"))
    );
    for slot in ["{nonce}", "{style}", "{script}"] {
        assert!(!page.body.contains(slot), "{slot}");
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let served = served().await;
    let page = served.get("/").await.body;
    // The name of the vector format is no address that anything is fetched from.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in [
        "http:",
        "https:",
        "\"//",
        "'//",
        "@import",
        "url(",
        " src=",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        " style=\"",
        " onclick",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<html lang=\"en\">"));
    assert!(page.contains("name=\"viewport\""));
    assert_eq!(page.matches("<h1").count(), 1);
}

#[tokio::test]
async fn what_strangers_write_is_never_markup() {
    let served = served().await;
    let hostile = "</script><script>alert(1)</script>\r\n\n# HELP x\u{2028}\"}\n";
    let mut snapshot = fixture::snapshot();
    let mut app = fixture::healthy();
    app.application = hostile.to_owned();
    app.culprit = Some(edge_agent_core::wire::Culprit {
        kind: hostile.to_owned(),
        namespace: hostile.to_owned(),
        name: hostile.to_owned(),
        message: hostile.to_owned(),
    });
    snapshot.applications = BTreeMap::from([(hostile.to_owned(), Arc::new(app))]);
    snapshot.identity.node = hostile.to_owned();
    served.snapshots.send(Arc::new(snapshot.clone())).unwrap();
    let page = served.get("/").await.body;
    assert!(
        !page.contains("alert(1)"),
        "the page holds nothing of a snapshot"
    );
    // JSON in an answer that no browser takes for a page; an event stays one event.
    let status = served.get("/status.json").await;
    assert_eq!(
        serde_json::from_str::<Snapshot>(&status.body).unwrap(),
        snapshot
    );
    assert_eq!(served.follow().await.snapshot().await.unwrap(), snapshot);
    let metrics = served.get("/metrics").await.body;
    check_exposition(&metrics);
    assert!(metrics.contains("</script>\r\\n\\n# HELP x"), "{metrics}");
}

#[tokio::test]
async fn events_bring_the_snapshot_at_once_and_at_every_change() {
    let served = served().await;
    let mut events = served.follow().await;
    let head = events.until("\r\n\r\n").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert_eq!(events.snapshot().await.unwrap().outbox.dropped, 0);
    served.publish(7);
    assert_eq!(events.snapshot().await.unwrap().outbox.dropped, 7);
}

#[tokio::test]
async fn changes_are_coalesced_to_the_newest() {
    let limits = Limits {
        event_gap: Duration::from_millis(100),
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let mut events = served.follow().await;
    let start = tokio::time::Instant::now();
    events.snapshot().await.unwrap();
    for change in 1..=50 {
        served.publish(change);
        tokio::task::yield_now().await;
    }
    let mut seen = 0;
    while events.snapshot().await.unwrap().outbox.dropped != 50 {
        seen += 1;
    }
    assert!(start.elapsed() >= limits.event_gap * (seen + 1), "{seen}");
}

#[tokio::test]
async fn a_quiet_stream_gives_signs_of_life() {
    let limits = Limits {
        keep_alive: Duration::from_millis(20),
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let mut events = served.follow().await;
    events.snapshot().await.unwrap();
    assert!(events.until(":\n\n").await.is_some());
}

#[tokio::test]
async fn healthz_follows_the_signs_of_life() {
    let served = served().await;
    let answer = served.get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    let silent = serve_with(Limits::default(), Duration::ZERO).await;
    let answer = silent.get("/healthz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("no sign of life"), "{}", answer.body);
}

#[tokio::test]
async fn healthz_recovers_with_the_next_snapshot() {
    let stale_after = Duration::from_millis(50);
    let served = serve_with(Limits::default(), stale_after).await;
    while served.get("/healthz").await.status != 503 {}
    loop {
        served.publish(1);
        if served.get("/healthz").await.status == 200 {
            break;
        }
    }
}

#[tokio::test]
async fn stopping_ends_streams_and_frees_the_address() {
    let mut served = served().await;
    let mut events = served.follow().await;
    events.snapshot().await.unwrap();
    served.stop.cancel();
    (&mut served.task).await.unwrap().unwrap();
    assert!(events.snapshot().await.is_none());
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_supervisor_that_is_gone_is_a_fault() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (sender, receiver) = watch::channel(Arc::new(fixture::snapshot()));
    drop(sender);
    let settings = Settings {
        hostnames: Vec::new(),
        stale_after: Duration::from_secs(60),
        only_metrics: false,
    };
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new());
    assert!(
        serve(listener, settings, receiver, metrics, stop)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_format_of_the_metrics_follows_the_reader() {
    let served = served().await;
    let plain = served.get("/metrics").await;
    assert!(plain.headers["content-type"].starts_with("text/plain; version=0.0.4"));
    check_exposition(&plain.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let open = served.ask("GET", "/metrics", accept).await;
    assert!(open.headers["content-type"].starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
}
