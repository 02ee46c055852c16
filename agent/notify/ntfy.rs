//! ntfy: a message as JSON, at the root of the server.

use serde_json::{Value, json};

use super::message::{Message, Outcome};
use crate::gate::web::Url;

/// Longer messages become a file that nobody opens.
const MAX_BYTES: usize = 3500;

/// The server of a topic's address, and the topic.
pub(super) fn topic(mut url: Url) -> Result<(Url, String), String> {
    let parts: Vec<&str> = url.path().split('/').filter(|it| !it.is_empty()).collect();
    let [topic] = parts.as_slice() else {
        return Err("the address is that of a topic, such as https://ntfy.sh/TOPIC".to_owned());
    };
    let topic = (*topic).to_owned();
    url.set_path("/");
    url.set_query(None);
    Ok((url, topic))
}

pub(super) fn body(message: &Message, topic: &str) -> Value {
    let mut text = message.plain();
    if text.len() > MAX_BYTES {
        let ends = (0..=MAX_BYTES)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(ends.unwrap_or(0));
        text.push('…');
    }
    let (tag, priority) = match message.outcome {
        Outcome::Succeeded => ("white_check_mark", 3),
        Outcome::Failed => ("x", 4),
    };
    let mut body = json!({
        "topic": topic,
        "title": message.heading(),
        "message": text,
        "tags": [tag],
        "priority": priority,
    });
    if let (Some(link), Some(fields)) = (&message.link, body.as_object_mut()) {
        fields.insert("click".to_owned(), json!(link));
    }
    body
}
