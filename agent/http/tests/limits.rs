//! What a client can take, and not more.

use super::*;

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let limits = Limits {
        streams: 2,
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let mut first = served.follow().await;
    let mut second = served.follow().await;
    first.snapshot().await.unwrap();
    second.snapshot().await.unwrap();
    let refused = served.get("/events").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "10");
    drop(first);
    // The place is free once the server has seen that the client is gone.
    loop {
        let mut third = served.follow().await;
        let head = third.until("\r\n\r\n").await.unwrap();
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let limits = Limits {
        event_gap: Duration::ZERO,
        write: Duration::from_millis(50),
        streams: 1,
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let deaf = served.follow().await;
    // Each change is large, so that the buffers of the system are full soon.
    let mut snapshot = fixture::snapshot();
    snapshot.faults = BTreeMap::from([("outbox".to_owned(), "x".repeat(4 << 20))]);
    let snapshot = Arc::new(snapshot);
    loop {
        served.snapshots.send(Arc::clone(&snapshot)).unwrap();
        let mut other = served.follow().await;
        let head = other.until("\r\n\r\n").await.unwrap();
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    drop(deaf);
}

#[tokio::test]
async fn a_client_that_sends_its_request_slowly_is_cut() {
    let limits = Limits {
        read: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let slow = served.raw("GET / HTTP/1.1\r\nHost: local");
    let idle = served.raw("");
    let (slow, idle) = tokio::join!(slow, idle);
    assert!(!slow.contains("200 OK") && !idle.contains("200 OK"));
}

#[tokio::test]
async fn large_heads_are_refused() {
    let served = served().await;
    let many = "x: y\r\n".repeat(80);
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert!(served.raw(&request).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let limits = Limits {
        connections: 1,
        read: Duration::from_millis(100),
        ..Limits::default()
    };
    let served = serve_with(limits, Duration::from_secs(60)).await;
    let idle = served.connect().await;
    // Answered when the idle one has been cut.
    assert_eq!(served.get("/healthz").await.status, 200);
    drop(idle);
}
