//! Servers that are down, slow, busy, or not what they should be.

use serde_json::json;

use super::double::{Double, Reply};
use super::*;

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn unanswered(mut settings: Settings, why: &str) {
    settings.timeout = Duration::from_secs(1);
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::NoAnswer, "{}", report.table());
    let check = find(&report, "image");
    assert!(check.reason.contains(why), "{}", report.table());
    settings.lenient = true;
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    assert!(report.summary().contains("without an answer"));
}

#[tokio::test]
async fn what_is_down_or_silent_is_no_answer_and_passes_only_where_that_was_chosen() {
    let digest = Digest::of(b"x");
    let down = nobody().await;
    let image = |host: &str| settings(vec![format!("{host}/acme/shop@{digest}")]);
    unanswered(image(&down), "refused").await;

    let silent = Double::start(|_, _| Reply::silent()).await;
    unanswered(image(&silent.host), "did not answer").await;
    let ill = Double::start(|_, _| Reply::status(503)).await;
    unanswered(image(&ill.host), "503 Service Unavailable").await;
    assert!(ill.seen().len() > 2, "it is asked again");

    let registry = Registry::with_tokens(|_, _| Reply::silent()).await;
    unanswered(with_login(&registry, &[digest]), "did not answer").await;
}

#[tokio::test]
async fn what_is_busy_for_a_moment_is_asked_again() {
    let token = |_: &double::Seen, count: usize| match count {
        0 => Reply::status(429).with("retry-after", "0"),
        1 => Reply::status(502),
        _ => Reply::json(&json!({"access_token": "opens-acme-shop"})),
    };
    let registry = Registry::with_tokens(token).await;
    let image = registry.put_image("arm64", Some(SHA));
    let report = judge(&with_login(&registry, &[image])).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    assert_eq!(registry.tokens.seen().len(), 3);
}

#[tokio::test]
async fn who_asks_for_more_time_than_there_is_ends_it() {
    let busy = Double::start(|_, _| Reply::status(429).with("retry-after", "3600")).await;
    let image = format!("{}/acme/shop@{}", busy.host, Digest::of(b"x"));
    let report = judge(&settings(vec![image])).await.unwrap();
    assert_eq!(report.outcome(), Outcome::NoAnswer, "{}", report.table());
    assert_eq!(busy.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let huge = Double::start(|_, _| Reply::endless("application/json")).await;
    let image = format!("{}/acme/shop@{}", huge.host, Digest::of(b"x"));
    refused(&settings(vec![image]), "image", "larger than").await;
}

#[tokio::test]
async fn contents_may_be_in_a_store_elsewhere_which_sees_no_token() {
    let registry = Registry::start().await;
    let image = registry.put_image("arm64", Some(SHA));
    let config = json!({"architecture": "arm64", "os": "linux", "config": {"Labels": {"org.opencontainers.image.revision": SHA}}}).to_string();
    let name = Digest::of(config.as_bytes()).to_string();
    let store = Double::start(move |_, _| Reply::new(200, "x/y", config.clone())).await;
    let to = format!("{}/bucket?X-Amz-Signature=s", store.url());
    registry.put("blobs", &name, Reply::moved(307, &to));
    let report = judge(&with_login(&registry, &[image])).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    let seen = store.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);

    // In a circle.
    let around = format!("{}/v2/acme/shop/blobs/{name}", registry.registry.url());
    registry.put("blobs", &name, Reply::moved(307, &around));
    refused(
        &with_login(&registry, &[image]),
        "architecture",
        "more than 5",
    )
    .await;
}

#[tokio::test]
async fn a_server_of_tokens_that_makes_no_sense_is_told() {
    for (reply, why) in [
        (
            Reply::new(200, "text/html", "<html>"),
            "no token, but with text/html",
        ),
        (Reply::json(&json!({"token": ""})), "no token"),
        (Reply::status(404), "gives no token"),
        (
            Reply::json(&json!({"token": "opens-nothing"})),
            "read_registry",
        ),
    ] {
        let registry = Registry::with_tokens(move |_, _| reply.clone()).await;
        let image = registry.put_image("arm64", Some(SHA));
        refused(&with_login(&registry, &[image]), "image", why).await;
    }
    let strange = Double::start(|_, _| Reply::status(401)).await;
    let image = format!("{}/acme/shop@{}", strange.host, Digest::of(b"x"));
    refused(&settings(vec![image]), "image", "is it a registry").await;
}

#[tokio::test]
async fn one_server_that_is_down_does_not_take_the_time_of_the_other() {
    let registry = Registry::start().await;
    let image = registry.put_image("arm64", Some(SHA));
    let settings = Settings {
        timeout: Duration::from_secs(2),
        images: vec![
            registry.name(&image),
            format!("{}/a/b@{image}", nobody().await),
        ],
        ..with_login(&registry, &[])
    };
    let report = judge(&settings).await.unwrap();
    let passed = |it: &&Check| it.verdict == Verdict::Passed && it.subject.contains("acme");
    assert_eq!(
        report.checks.iter().filter(passed).count(),
        4,
        "{}",
        report.table()
    );
    assert_eq!(report.outcome(), Outcome::NoAnswer, "{}", report.table());
}
