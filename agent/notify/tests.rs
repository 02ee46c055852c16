//! Messages to receivers in the process.

mod task;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::message::{Message, Node, Outcome};
use super::{Gitlab, Receiver};
use crate::gate::secret::Source;
use crate::gate::tests::QUICK;
use crate::gate::tests::double::{Double, Reply, Seen};
use crate::gate::web::{self, Web};

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";
/// The secret part of an address.
const PATH: &str = "/services/T0/hunter2";

fn message() -> Message {
    let node = |name: &str, outcome: &str, message: &str| Node {
        node: name.to_owned(),
        outcome: outcome.to_owned(),
        seconds: Some(12.34),
        revision: Some(SHA.to_owned()),
        message: message.to_owned(),
    };
    Message {
        outcome: Outcome::Failed,
        title: "shop: rollout on production failed".to_owned(),
        application: Some("shop".to_owned()),
        place: Some("production".to_owned()),
        revision: Some(SHA.to_owned()),
        revision_link: Some(format!("https://gitlab.example/acme/shop/-/commit/{SHA}")),
        reference: Some("main".to_owned()),
        link: Some("https://drone.example/acme/shop/7".to_owned()),
        who: Some("Ada <!channel> @here".to_owned()),
        seconds: Some(3725),
        text: Some("Sell more & more\x1b[2J\nCloses #7 ```x```".to_owned()),
        nodes: vec![
            node("pi-01", "succeeded", "healthy"),
            node("pi-02", "failed", "Degraded:\nback-off <restarting>"),
        ],
        at: "2026-11-25T03:00:00Z".parse().unwrap(),
    }
}

/// A secret in a file.
fn source(directory: &tempfile::TempDir, name: &str, text: &str) -> Source {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    Source::File(path)
}

async fn tell(receiver: &Receiver, patience: Duration) -> Result<(), String> {
    let web = Web::new(None, QUICK).unwrap();
    let until = Instant::now() + patience;
    receiver.tell(&message(), &web, until).await
}

const LONG: Duration = Duration::from_secs(30);

async fn slack(
    script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
) -> (Double, Receiver, tempfile::TempDir) {
    let server = Double::start(script).await;
    let directory = tempfile::tempdir().unwrap();
    let url = source(&directory, "url", &format!("{}{PATH}\n", server.url()));
    (server, Receiver::Slack { url }, directory)
}

#[tokio::test]
async fn a_chat_gets_what_where_which_who_how_long_and_the_nodes() {
    let (server, receiver, _directory) = slack(|_, _| Reply::new(200, "text/html", "ok")).await;
    tell(&receiver, LONG).await.unwrap();
    let [seen] = server.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", PATH));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body = serde_json::to_string_pretty(&seen.json()).unwrap();
    // What keeps a call from being one is not to be seen.
    let body = body.replace('\u{200b}', "{ZWSP}");
    expect_test::expect![[r##"
        {
          "attachments": [
            {
              "color": "#e01e5a",
              "fallback": "shop: rollout on production failed",
              "fields": [
                {
                  "short": true,
                  "title": "Application",
                  "value": "shop"
                },
                {
                  "short": true,
                  "title": "Where",
                  "value": "production"
                },
                {
                  "short": true,
                  "title": "Revision",
                  "value": "<https://gitlab.example/acme/shop/-/commit/25a5d246488dfd358d1e0de9aaf92778210d66fa|25a5d246488d>"
                },
                {
                  "short": true,
                  "title": "Who",
                  "value": "Ada &lt;!channel&gt; @{ZWSP}here"
                },
                {
                  "short": true,
                  "title": "Took",
                  "value": "1 h 2 min"
                }
              ],
              "footer": "edge-agent",
              "mrkdwn_in": [
                "text",
                "fields"
              ],
              "text": "Sell more &amp; more[2J\nCloses #7 '''x'''\n```\nNODE   OUTCOME    AFTER   REVISION      MESSAGE\npi-01  succeeded  12.3 s  25a5d246488d  healthy\npi-02  failed     12.3 s  25a5d246488d  Degraded: back-off &lt;restarting&gt;\n```\n<https://drone.example/acme/shop/7|Details>",
              "ts": 1795575600
            }
          ],
          "text": ":x: shop: rollout on production failed"
        }"##]].assert_eq(&body);
    for call in ["<!channel>", "@here", "\u{1b}"] {
        assert!(!body.contains(call), "{body}");
    }
}

#[tokio::test]
async fn ntfy_gets_it_at_its_root_with_the_topic_inside() {
    let server = Double::start(|_, _| Reply::json(&json!({"id": "x"}))).await;
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::Ntfy {
        url: source(&directory, "url", &format!("{}/hunter2", server.url())),
        token: Some(source(&directory, "token", "tk_1")),
    };
    tell(&receiver, LONG).await.unwrap();
    let [seen] = server.seen().try_into().unwrap();
    assert_eq!(seen.path, "/");
    assert_eq!(seen.header("authorization"), Some("Bearer tk_1"));
    let body = seen.json();
    assert_eq!(body["topic"], "hunter2");
    assert_eq!(body["click"], "https://drone.example/acme/shop/7");
    let text = body["message"].as_str().unwrap();
    assert!(
        text.contains("Took: 1 h 2 min") && text.contains("pi-02"),
        "{text}"
    );

    for path in ["", "/", "/a/b"] {
        let url = source(&directory, "url", &format!("{}{path}", server.url()));
        let error = tell(&Receiver::Ntfy { url, token: None }, LONG)
            .await
            .unwrap_err();
        assert!(error.contains("of a topic"), "{error}");
    }
}

#[tokio::test]
async fn a_program_gets_it_as_json() {
    let server = Double::start(|_, _| Reply::status(204)).await;
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::Json {
        url: source(&directory, "url", &format!("{}{PATH}", server.url())),
        token: None,
    };
    tell(&receiver, LONG).await.unwrap();
    let body = server.seen()[0].json();
    assert_eq!(body["v"], 1);
    assert_eq!(
        (&body["outcome"], &body["revision"]),
        (&json!("failed"), &json!(SHA))
    );
    assert_eq!(body["nodes"][1]["node"], "pi-02");
    assert_eq!(body["at"], "2026-11-25T03:00:00.000Z");
}

fn gitlab(server: &Double, directory: &tempfile::TempDir) -> Gitlab {
    Gitlab {
        url: web::address(&server.url()).unwrap(),
        project: "acme/shop".to_owned(),
        token: source(directory, "token", "glpat-hunter2"),
        environment: Some("production".to_owned()),
    }
}

#[tokio::test]
async fn gitlab_gets_a_status_and_a_deployment() {
    let server = Double::start(|_, _| Reply::new(201, "application/json", "{}")).await;
    let directory = tempfile::tempdir().unwrap();
    let gitlab = gitlab(&server, &directory);
    tell(&Receiver::Gitlab(gitlab.clone()), LONG).await.unwrap();
    let seen = server.seen();
    let paths: Vec<&str> = seen.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            format!("/api/v4/projects/acme%2Fshop/statuses/{SHA}"),
            "/api/v4/projects/acme%2Fshop/deployments".to_owned(),
        ]
    );
    assert!(
        seen.iter()
            .all(|it| it.header("private-token") == Some("glpat-hunter2"))
    );
    let status = seen[0].json();
    assert_eq!(
        (&status["state"], &status["name"]),
        (&json!("failed"), &json!("edge-agent/production"))
    );
    let deployment = seen[1].json();
    let wanted = [
        ("ref", "main"),
        ("sha", SHA),
        ("status", "failed"),
        ("environment", "production"),
    ];
    for (name, value) in wanted {
        assert_eq!(deployment[name], value, "{name}");
    }

    let mut nameless = message();
    nameless.revision = None;
    let web = Web::new(None, QUICK).unwrap();
    let receiver = Receiver::Gitlab(gitlab);
    let error = receiver.tell(&nameless, &web, Instant::now() + LONG).await;
    assert!(error.unwrap_err().contains("no commit"));
}

#[tokio::test]
async fn a_status_that_gitlab_has_already_is_no_fault_and_others_are() {
    let transition = r#"{"message":"Cannot transition status via :drop from :failed (Reason(s): Status cannot transition via \"drop\")"}"#;
    let directory = tempfile::tempdir().unwrap();
    let server = Double::start(move |_, count| match count {
        0 => Reply::new(400, "application/json", transition),
        _ => Reply::new(201, "application/json", "{}"),
    })
    .await;
    let receiver = Receiver::Gitlab(gitlab(&server, &directory));
    tell(&receiver, LONG).await.unwrap();
    assert_eq!(server.seen().len(), 2);

    let refused = r#"{"message":"401 Unauthorized"}"#;
    let server = Double::start(move |_, _| Reply::new(401, "application/json", refused)).await;
    let error = tell(&Receiver::Gitlab(gitlab(&server, &directory)), LONG)
        .await
        .unwrap_err();
    assert!(
        error.contains("401 Unauthorized") && error.contains("status of the commit"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_busy_for_a_moment_is_told_in_the_end() {
    let (server, receiver, _directory) = slack(|_, count| match count {
        0 => Reply::status(429).with("retry-after", "0.01"),
        1 => Reply::status(503),
        _ => Reply::status(200),
    })
    .await;
    tell(&receiver, LONG).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn what_is_not_told_is_told_why_without_the_secret() {
    let other = Double::start(|_, _| Reply::status(200)).await;
    let elsewhere = format!("{}/hunter2", other.url());
    let short = Duration::from_secs(1);
    let cases = [
        (
            Reply::new(404, "text/plain", "no_service"),
            "404: no_service",
        ),
        (
            Reply::new(400, "text/plain", "invalid_payload\x1b"),
            "400: invalid_payload",
        ),
        (Reply::status(503), "503 Service Unavailable"),
        (Reply::silent(), "did not answer"),
        (Reply::endless("text/plain"), "larger than"),
        (Reply::moved(308, &elsewhere), "redirects to"),
        (Reply::moved(303, &elsewhere), "redirects to"),
    ];
    for (reply, why) in cases {
        let (_server, receiver, _directory) = slack(move |_, _| reply.clone()).await;
        let error = tell(&receiver, short).await.unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(other.seen().is_empty(), "the message goes to nobody else");

    let directory = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("http://127.0.0.1:1/hunter2", "refused"),
        ("hunter2", "is no address"),
        ("ftp://x/hunter2", "must be https"),
        ("https://pi:hunter2@x/", "belong in a file"),
    ] {
        let url = source(&directory, "url", text);
        let error = tell(&Receiver::Slack { url }, short).await.unwrap_err();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    let gone = Receiver::Slack {
        url: Source::File(directory.path().join("none")),
    };
    assert!(tell(&gone, short).await.unwrap_err().contains("none"));
}

#[test]
fn the_message_is_bounded_whatever_it_is_made_of() {
    let long = "ä".repeat(100_000);
    let mut message = message();
    let node = message.nodes[0].clone();
    message.nodes = vec![
        Node {
            message: long.clone(),
            ..node
        };
        500
    ];
    message.text = Some(long.clone());
    message.title = long;
    let body = super::slack::body(&message).to_string();
    assert!(body.len() < 40_000, "{}", body.len());
    assert!(message.table().unwrap().contains("and 460 more"));
    let ntfy = super::ntfy::body(&message, "t");
    assert!(ntfy["message"].as_str().unwrap().len() < 4096);
    let empty = Message {
        text: Some("\x07 \n".to_owned()),
        nodes: Vec::new(),
        ..message
    };
    assert_eq!((empty.text(), empty.table()), (None, None));
    assert_ne!(empty.json(), Value::Null);
}
