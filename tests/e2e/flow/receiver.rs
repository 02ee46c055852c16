//! Who is told: the webhook of a chat, and GitLab's API of commit statuses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::wait;
use super::web;

/// Both, in one server.
pub(super) struct Receiver {
    /// Paths, and what was sent there.
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    address: SocketAddr,
}

impl Receiver {
    pub(super) fn start() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = web::serve(address, None, move |request| {
            if request.method != "POST" {
                return (405, Value::Null);
            }
            let query = request.query.iter();
            let query: serde_json::Map<String, Value> = query
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect();
            let body = match request.json() {
                Value::Null => Value::Object(query),
                body => body,
            };
            told.lock().unwrap().push((request.path.clone(), body));
            (201, json!({}))
        });
        Self { heard, address }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until the message that is the next at a path is there; returns it.
    pub(super) fn next(&self, path: &str, limit: Duration) -> Value {
        wait(limit, &format!("a message at {path}"), || {
            let mut heard = self.heard.lock().unwrap();
            let at = heard.iter().position(|(at, _)| at.starts_with(path))?;
            Some(heard.remove(at).1)
        })
    }
}
