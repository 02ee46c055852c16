//! What an incoming webhook of Slack takes, and with it Mattermost, Rocket.Chat and Discord's `/slack`.

use serde_json::{Value, json};

use super::message::{Message, Outcome};

pub(super) fn body(message: &Message) -> Value {
    let (icon, color) = match message.outcome {
        Outcome::Succeeded => (":white_check_mark:", "#2eb67d"),
        Outcome::Failed => (":x:", "#e01e5a"),
    };
    let heading = escape(&message.heading());
    let fields: Vec<Value> = message
        .facts()
        .into_iter()
        .map(|(name, value)| {
            let value = match (name, &message.revision_link) {
                ("Revision", Some(to)) => link(to, &value),
                _ => escape(&value),
            };
            json!({"title": name, "value": value, "short": true})
        })
        .collect();
    let mut parts: Vec<String> = Vec::new();
    parts.extend(message.text().map(|text| escape(&text)));
    let table = message.table();
    parts.extend(table.map(|table| format!("```\n{}```", escape(&table))));
    parts.extend(message.link.as_deref().map(|to| link(to, "Details")));
    json!({
        "text": format!("{icon} {heading}"),
        "attachments": [{
            "fallback": heading,
            "color": color,
            "text": parts.join("\n"),
            "fields": fields,
            "footer": "edge-agent",
            "ts": message.at.as_second(),
            "mrkdwn_in": ["text", "fields"],
        }],
    })
}

/// The three characters that have a meaning in a message.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A link; what is no address of the web is shown as text.
fn link(to: &str, name: &str) -> String {
    let sound = to.starts_with("https://") || to.starts_with("http://");
    if !sound || to.contains(['|', '<', '>', ' ', '\n']) {
        return escape(name);
    }
    format!("<{}|{}>", escape(to), escape(name))
}
