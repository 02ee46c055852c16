//! The metrics on an address of their own.

use super::*;

#[tokio::test]
async fn the_metrics_alone_are_for_every_name_and_there_is_nothing_else() {
    let served = serve_as(Limits::default(), Duration::from_secs(60), true).await;
    let by_name = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: pi-01.lan.example:9751\r\nConnection: close\r\n\r\n")
    };
    let metrics = Answer::of(&served.raw(&by_name("/metrics")).await);
    assert_eq!(metrics.status, 200);
    check_exposition(&metrics.body);
    for path in ["/", "/status.json", "/events", "/healthz"] {
        let answer = Answer::of(&served.raw(&by_name(path)).await);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("There is /metrics here"), "{path}");
    }
    assert_eq!(served.ask("POST", "/metrics", "").await.status, 405);
}
