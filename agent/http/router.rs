//! The routes, and what holds for every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use edge_agent_core::wire::Snapshot;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::hosts::{Hosts, Verdict};
use super::metrics::{Format, Metrics};
use super::{Limits, sse};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Everything that the routes need.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) hosts: Arc<Hosts>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) freshness: Arc<Freshness>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) limits: Limits,
    pub(super) stop: CancellationToken,
}

/// When the snapshot was last renewed, by a clock that does not step: a board without a battery
/// for its clock wakes up in the past and jumps forward once the network is there.
#[derive(Debug)]
pub(super) struct Freshness {
    start: Instant,
    /// Milliseconds after `start`.
    renewed: AtomicU64,
    stale_after: Duration,
}

impl Freshness {
    pub(super) fn new(stale_after: Duration) -> Self {
        Self {
            start: Instant::now(),
            renewed: AtomicU64::new(0),
            stale_after,
        }
    }

    /// Notes that the supervisor gave a sign of life.
    pub(super) fn renew(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.renewed.store(elapsed, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let renewed = Duration::from_millis(self.renewed.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(renewed)
    }
}

/// The routes of the page.
pub(super) fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/status.json", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// `/metrics` and nothing else.
pub(super) fn metrics_alone(site: Site) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(only_metrics)
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// Refuses what is not ours to answer, and sets the headers of every answer.
async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = match site.hosts.judge(request.uri(), request.headers()) {
        Verdict::Missing => text(
            StatusCode::BAD_REQUEST,
            "A request must name its host in one Host header.",
        ),
        Verdict::Foreign => text(
            StatusCode::MISDIRECTED_REQUEST,
            "This page answers to localhost, to the name of this machine and to the address that \
             it listens on, not to the host that was asked for.",
        ),
        Verdict::Ours if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            let refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "This page only shows; it takes GET and HEAD. Commands come signed, over MQTT.",
            );
            ([(header::ALLOW, "GET, HEAD")], refusal).into_response()
        }
        Verdict::Ours => next.run(request).await,
    };
    protect(response.headers_mut());
    response
}

fn protect(headers: &mut HeaderMap) {
    const ALWAYS: [(HeaderName, &str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ));
}

/// The page. Its script and style carry a nonce, so nothing that a snapshot says could ever run.
async fn page() -> Response {
    let nonce = format!("{}{}", Ulid::generate(), Ulid::generate());
    let html = HTML
        .replacen("{style}", STYLE, 1)
        .replacen("{script}", SCRIPT, 1)
        .replace("{nonce}", &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, html).into_response()
}

async fn events(State(site): State<Site>, method: Method) -> Response {
    if method == Method::HEAD {
        return ([(header::CONTENT_TYPE, "text/event-stream")], ()).into_response();
    }
    match site.streams.try_acquire_owned() {
        Ok(place) => sse::events(site.snapshots, site.limits, site.stop, place).into_response(),
        Err(_) => {
            let busy = text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many clients follow this page. Close one, or read /status.json.",
            );
            ([(header::RETRY_AFTER, "10")], busy).into_response()
        }
    }
}

async fn status(State(site): State<Site>) -> Response {
    let snapshot = Arc::clone(&site.snapshots.borrow());
    match serde_json::to_vec_pretty(&*snapshot) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => failed(&error),
    }
}

async fn metrics(State(site): State<Site>, headers: HeaderMap) -> Response {
    let snapshot = Arc::clone(&site.snapshots.borrow());
    let format = Format::accepted(&headers);
    match site.metrics.render(&snapshot, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => failed(&error),
    }
}

async fn healthz(State(site): State<Site>) -> Response {
    let age = site.freshness.age();
    if age < site.freshness.stale_after {
        text(StatusCode::OK, "ok")
    } else {
        let seconds = age.as_secs();
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("The agent has given no sign of life for {seconds} s."),
        )
    }
}

async fn not_found() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "There is nothing here. There is /, /status.json, /metrics, /events and /healthz.",
    )
}

async fn only_metrics() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "There is /metrics here, and nothing else.",
    )
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "the local page could not write an answer");
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "This answer could not be written; the log says why.",
    )
}

fn text(status: StatusCode, message: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, headers, format!("{message}\n")).into_response()
}
