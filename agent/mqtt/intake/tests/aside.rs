//! What is no envelope: commands without a signature, and the start of Home Assistant.

use super::*;
use crate::mqtt::retained::Retained;

const IDENTIFY: &[u8] = br#"{"v":1,"id":"unsigned-1","aud":["pi"],"seq":1,"iat":1,"exp":2,"cmd":"identify","args":{"seconds":3}}"#;

fn unsigned(bytes: &[u8]) -> Verified {
    match UnsignedCommand::read(bytes, &["identify".to_owned()]) {
        Ok(command) => Verified::Unsigned(Box::new(command)),
        Err(refusal) => Verified::Unauthenticated(refusal),
    }
}

/// The code of the refusal, if it is refused.
async fn refusal(allow_unsigned: bool, arriving: Received) -> Option<RefusalCode> {
    let mut bench = bench(8);
    bench.intake.taken.allow_unsigned = allow_unsigned;
    bench.intake.taken.verify = Some(Arc::new(unsigned));
    bench.arrives(arriving);
    bench
        .run(async |events| match events.recv().await {
            Some(Event::UnsignedReceived { .. }) => None,
            Some(Event::CommandUnauthenticated { refusal, .. }) => Some(refusal.code),
            other => panic!("{other:?}"),
        })
        .await
}

#[tokio::test]
async fn what_has_no_envelope_is_looked_at_only_where_that_is_allowed() {
    assert_eq!(refusal(true, message(1, IDENTIFY)).await, None);
    let malformed = Some(RefusalCode::Malformed);
    assert_eq!(refusal(false, message(1, IDENTIFY)).await, malformed);
    assert_eq!(refusal(true, message(1, b"{}")).await, malformed);
    // As little as a signed one it may be retained, or come without an acknowledgement.
    assert_eq!(refusal(true, message(0, IDENTIFY)).await, malformed);
    let retained = Received {
        retained: true,
        ..message(1, IDENTIFY)
    };
    let code = refusal(true, retained).await;
    assert_eq!(code, Some(RefusalCode::Retained));
}

#[tokio::test(start_paused = true)]
async fn what_home_assistant_is_told_is_told_again_when_it_has_started() {
    let retained = Retained::default();
    for topic in ["edge/v1/pi/health", "ha/device/pi/node/config"] {
        retained.set(topic.into(), b"{}".to_vec());
        retained.acknowledge(topic, 1);
    }
    let mut bench = bench(8);
    bench.intake.taken.birth = Some(Birth::new("ha", retained.clone()));
    let status = |payload: &[u8]| Received {
        topic: b"ha/status".to_vec(),
        ..message(0, payload)
    };
    let mut changes = retained.changes();
    bench.arrives(status(b"offline"));
    bench.arrives(status(b"online"));
    bench.run(async |_| changes.changed().await.unwrap()).await;
    let again = retained.next("", |_| true).unwrap();
    assert_eq!(again.topic, "ha/device/pi/node/config");
    retained.acknowledge(&again.topic, again.version);
    assert!(retained.next("", |_| true).is_none());
    assert_eq!(*bench.acknowledged.borrow(), [] as [u16; 0]);
}
