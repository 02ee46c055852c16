//! The HTTP client of the gate and of the notifier: what a server may answer is bounded in size and in
//! time, what is broken for a moment is tried again until a deadline, and credentials go to the host
//! that they are for and to no other.
//!
//! Proxies are those of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), as users expect.

mod address;
mod reason;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use edge_agent_core::backoff::Backoff;
use reqwest::header::{
    HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, redirect};
use tokio::time::{Instant, timeout_at};

pub(crate) use address::{address, below, host};
pub(crate) use reqwest::Url;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// For a connection with its TLS.
    pub(crate) connect: Duration,
    /// For one request, from its beginning to the last byte of its answer.
    pub(crate) request: Duration,
    /// Between two tries, at least.
    pub(crate) min_wait: Duration,
    /// Between two tries, at most, unless the server asks for longer.
    pub(crate) max_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            min_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(15),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    /// The longest answer that is read, bytes.
    limit: usize,
    /// Whether a redirect to another host is followed, without credentials.
    elsewhere: bool,
}

impl Ask {
    /// Asks for what is at an address, of at most `limit` bytes.
    pub(crate) fn get(url: Url, limit: usize) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            limit,
            elsewhere: false,
        }
    }

    /// Sends JSON to an address; of the answer, at most `limit` bytes are read.
    pub(crate) fn post(url: Url, body: &serde_json::Value, limit: usize) -> Self {
        let ask = Self {
            method: Method::POST,
            body: Some(body.to_string().into_bytes()),
            ..Self::get(url, limit)
        };
        ask.header("content-type", "application/json")
    }

    /// A header that holds no secret. One that cannot be a header is left out.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// A header that holds a secret, which goes to this host only.
    pub(crate) fn secret(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The answer may be at another host: redirects there are followed, without secrets.
    pub(crate) fn even_elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }
}

/// What a server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    headers: HeaderMap,
}

impl Answer {
    /// The status is one of success.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the server wants to see before it answers, each in the words of `WWW-Authenticate`.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(WWW_AUTHENTICATE).iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// The type of the body, without parameters.
    pub(crate) fn content_type(&self) -> &str {
        let value = self.headers.get("content-type");
        let value = value.and_then(|value| value.to_str().ok());
        let value = value.unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing came in time, or only that it does not work just now. It may work later.
    #[error("{0}")]
    NoAnswer(String),
    /// What came is none that may be used. Trying again would not change it.
    #[error("{0}")]
    Broken(String),
}

/// What one try came to.
enum Try {
    Done(Answer),
    Moved(Url),
    Again {
        why: String,
        after: Option<Duration>,
    },
    Broken(String),
}

/// The client.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    client: Client,
    timing: Timing,
}

impl Web {
    /// Trusts the certificates of the system, and those of a file beside them.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub(crate) fn new(ca_file: Option<&Path>, timing: Timing) -> anyhow::Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::configuration(ca_file)?)
            .user_agent(concat!("edge-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(timing.connect)
            .timeout(timing.request)
            .build()
            .context("no HTTP client can be made")?;
        Ok(Self { client, timing })
    }

    /// How long to wait before asking again whether something is done.
    pub(crate) fn poll(&self) -> Duration {
        self.timing.min_wait * 2
    }

    /// Asks until there is an answer, or until a deadline. Answers of success, of redirection and of
    /// faults of the asker (4xx, but for 408, 425 and 429) are final.
    ///
    /// # Errors
    /// See [`Fault`]. The texts name hosts, but no paths: those of a webhook are secret.
    pub(crate) async fn ask(&self, ask: &Ask, until: Instant) -> Result<Answer, Fault> {
        let mut backoff = Backoff::new(self.timing.min_wait, self.timing.max_wait);
        let mut last = None;
        loop {
            let tried = timeout_at(until, self.follow(ask)).await;
            let (why, after) = match tried {
                Ok(Try::Done(answer)) => return Ok(answer),
                Ok(Try::Broken(why)) => return Err(Fault::Broken(why)),
                Ok(Try::Again { why, after }) => (why, after),
                // Follows the redirects itself, so there is none here.
                Ok(Try::Moved(_)) => ("it redirects".to_owned(), None),
                Err(_elapsed) => {
                    // What was wrong before says more than that there was no time for another try.
                    let late = || format!("{} did not answer in time", host(&ask.url));
                    return Err(Fault::NoAnswer(last.unwrap_or_else(late)));
                }
            };
            let wait = backoff
                .next(crate::mqtt::random())
                .max(after.unwrap_or_default());
            let next = Instant::now() + wait;
            if next >= until {
                return Err(Fault::NoAnswer(why));
            }
            last = Some(why);
            tokio::time::sleep_until(next).await;
        }
    }

    /// One try, to the end of its redirects.
    async fn follow(&self, ask: &Ask) -> Try {
        let mut url = ask.url.clone();
        let mut headers = ask.headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            match self.once(ask, &url, &headers).await {
                Try::Moved(next) => {
                    if let Err(why) = may_follow(ask, &url, &next) {
                        return Try::Broken(why);
                    }
                    if next.origin() != url.origin() {
                        headers = public(&headers);
                    }
                    url = next;
                }
                end => return end,
            }
        }
        let host = host(&ask.url);
        Try::Broken(format!("{host} redirects more than {MAX_REDIRECTS} times"))
    }

    async fn once(&self, ask: &Ask, url: &Url, headers: &HeaderMap) -> Try {
        let mut request = self
            .client
            .request(ask.method.clone(), url.clone())
            .headers(headers.clone());
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        let host = host(url);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(&host, error, self.timing),
        };
        let status = response.status().as_u16();
        if let 301 | 302 | 303 | 307 | 308 = status
            && let Some(next) = location(url, &response)
        {
            return Try::Moved(next);
        }
        let body = match read(&mut response, ask.limit).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                let limit = ask.limit;
                return Try::Broken(format!("the answer of {host} is larger than {limit} bytes"));
            }
            Err(error) => return failed(&host, error, self.timing),
        };
        if matches!(status, 408 | 425 | 429 | 500 | 502..=599) {
            return Try::Again {
                why: format!("{host} answers {}", reason::status(status)),
                after: retry_after(response.headers()),
            };
        }
        Try::Done(Answer {
            status,
            body,
            headers: response.headers().clone(),
        })
    }
}

fn may_follow(ask: &Ask, from: &Url, to: &Url) -> Result<(), String> {
    let (here, there) = (host(from), host(to));
    if ask.method != Method::GET {
        // The rest of the address may be secret.
        let scheme = to.scheme();
        return Err(format!(
            "{here} redirects to {scheme}://{there}: give the address that it moved to"
        ));
    }
    if from.origin() == to.origin() {
        return Ok(());
    }
    if !ask.elsewhere {
        return Err(format!(
            "{here} redirects to {}://{there}, which is not followed, because credentials are for \
             one host only: give the address that it moved to",
            to.scheme()
        ));
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(format!(
            "{here} redirects to {there} without TLS, which is not followed"
        ));
    }
    Ok(())
}

fn public(headers: &HeaderMap) -> HeaderMap {
    let open = headers.iter().filter(|(_, value)| !value.is_sensitive());
    open.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn location(url: &Url, response: &Response) -> Option<Url> {
    let value = response.headers().get(LOCATION)?.to_str().ok()?;
    let next = url.join(value).ok()?;
    matches!(next.scheme(), "http" | "https").then_some(next)
}

fn failed(host: &str, error: reqwest::Error, timing: Timing) -> Try {
    if let Some(why) = reason::distrust(&error) {
        return Try::Broken(format!("{host}: {why}"));
    }
    let why = if error.is_connect() && !error.is_timeout() {
        format!("{host} cannot be reached: {}", reason::innermost(&error))
    } else if error.is_timeout() {
        let limit = if error.is_connect() {
            timing.connect
        } else {
            timing.request
        };
        format!("{host} did not answer within {} s", limit.as_secs_f64())
    } else {
        let what = reason::innermost(&error.without_url());
        format!("{host} broke the connection off: {what}")
    };
    Try::Again { why, after: None }
}

/// The body, or nothing when it is too long.
async fn read(response: &mut Response, limit: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// How long the server asks to wait; a date is not read, and the backoff counts.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
