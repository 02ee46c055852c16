use super::*;
use edge_agent_core::command::envelope::RefusedCommand;
use std::cell::RefCell;

/// Envelopes whose first byte is `k` are by known keys; those that begin with `{` are not even
/// envelopes.
fn verify(bytes: &[u8]) -> Verified {
    let refusal = Refusal::new(RefusalCode::UnknownKey, "no known key");
    if bytes.first() == Some(&b'k') {
        let id = String::from_utf8_lossy(bytes).into_owned();
        return Verified::Refused(Box::new(RefusedCommand {
            id,
            digest: [0; 32],
            key_ids: Vec::new(),
            cmd: None,
            application: None,
            refusal,
        }));
    }
    if bytes.first() == Some(&b'{') {
        let malformed = Refusal::new(RefusalCode::Malformed, "no envelope");
        return Verified::Unauthenticated(malformed);
    }
    Verified::Unauthenticated(refusal)
}

struct Bench {
    intake: Intake,
    events: mpsc::Receiver<Event>,
    acknowledgements: mpsc::Sender<Delivery>,
    sender: mpsc::Sender<Received>,
    received: Option<mpsc::Receiver<Received>>,
    acknowledged: RefCell<Vec<u16>>,
    stop: CancellationToken,
}

fn bench(room: usize) -> Bench {
    let (events_in, events) = mpsc::channel(room);
    let (acknowledgements, acks) = mpsc::channel(ACKNOWLEDGEMENTS);
    let (sender, received) = mpsc::channel(WAITING);
    let verify: Verify = Arc::new(verify);
    Bench {
        intake: Intake::new(Some(verify), events_in, acks, Arc::default()),
        events,
        acknowledgements,
        sender,
        received: Some(received),
        acknowledged: RefCell::default(),
        stop: CancellationToken::new(),
    }
}

fn message(pkid: u16, payload: &[u8]) -> Received {
    Received {
        topic: b"edge/v1/pi/command".to_vec(),
        payload: payload.to_vec(),
        retained: false,
        ack: Ack::for_test(pkid),
    }
}

impl Bench {
    fn arrives(&self, message: Received) {
        self.sender.try_send(message).expect("room");
    }

    /// Runs the intake while `test` has its way.
    async fn run<T>(&mut self, test: impl AsyncFnOnce(&mut mpsc::Receiver<Event>) -> T) -> T {
        let received = self.received.take().unwrap();
        let acknowledge = |ack: Ack| self.acknowledged.borrow_mut().push(ack.id_for_test());
        let intake = self.intake.run(received, acknowledge, &self.stop);
        let limit = Duration::from_secs(20);
        tokio::select! {
            () = intake => panic!("the intake ended"),
            result = tokio::time::timeout(limit, test(&mut self.events)) => result.expect("in time"),
        }
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_command_is_acknowledged_when_told_and_not_before() {
    let mut bench = bench(8);
    bench.arrives(message(7, b"k1"));
    let acks = bench.acknowledgements.clone();
    let delivery = bench
        .run(async |events| match events.recv().await {
            Some(Event::CommandRefused { delivery, refused }) if refused.id == "k1" => delivery,
            other => panic!("{other:?}"),
        })
        .await;
    assert!(delivery >= 1);
    assert_eq!(*bench.acknowledged.borrow(), [] as [u16; 0]);

    // The connection is another one now: what the old one delivered is forgotten.
    let (sender, received) = mpsc::channel(WAITING);
    bench.sender = sender;
    bench.received = Some(received);
    bench.arrives(message(9, b"k1"));
    acks.try_send(delivery).unwrap();
    let acks = bench.acknowledgements.clone();
    let again = bench
        .run(async |events| {
            let Some(Event::CommandRefused { delivery, .. }) = events.recv().await else {
                panic!("it is delivered again");
            };
            acks.try_send(delivery).unwrap();
            until(|| acks.capacity() == acks.max_capacity()).await;
            delivery
        })
        .await;
    assert!(again > delivery);
    assert_eq!(*bench.acknowledged.borrow(), [9]);
}

#[tokio::test]
async fn what_costs_nothing_to_refuse_is_refused_by_its_code() {
    let mut bench = bench(8);
    bench.arrives(message(1, &vec![b'k'; MAX_ENVELOPE + 1]));
    bench.arrives(Received {
        retained: true,
        ..message(2, b"k2")
    });
    bench.arrives(message(0, b"k3"));
    bench.arrives(message(4, b"junk"));
    let codes = bench
        .run(async |events| {
            let mut codes = Vec::new();
            while codes.len() < 4 {
                match events.recv().await {
                    Some(Event::CommandUnauthenticated { refusal, .. }) => codes.push(refusal.code),
                    other => panic!("{other:?}"),
                }
            }
            codes
        })
        .await;
    assert_eq!(
        codes,
        [
            RefusalCode::TooLarge,
            RefusalCode::Retained,
            RefusalCode::Malformed,
            RefusalCode::UnknownKey
        ]
    );
}

#[tokio::test]
async fn a_flood_of_junk_is_counted_and_a_command_gets_through_and_acknowledgements_keep_their_order()
 {
    // Nobody takes events while the flood is on.
    let mut bench = bench(1);
    for pkid in 1..=60 {
        bench.arrives(message(pkid, b"junk"));
    }
    bench.arrives(message(61, b"k1"));
    let ignored = Arc::clone(&bench.intake.ignored);
    let acks = bench.acknowledgements.clone();
    let (reported, command) = bench
        .run(async |events| {
            until(|| ignored.load(Ordering::Relaxed) == 59).await;
            let Some(Event::CommandUnauthenticated { delivery, .. }) = events.recv().await else {
                panic!("the first is reported");
            };
            let Some(Event::CommandRefused {
                delivery: command, ..
            }) = events.recv().await
            else {
                panic!("the command gets through");
            };
            (delivery, command)
        })
        .await;
    assert_eq!(
        *bench.acknowledged.borrow(),
        [] as [u16; 0],
        "the first is not dealt with"
    );

    // The command is dealt with first, and is acknowledged in its turn all the same.
    let (acknowledge, released) = (|ack: Ack| ack.id_for_test(), RefCell::new(Vec::new()));
    let collect = |ack: Ack| released.borrow_mut().push(acknowledge(ack));
    bench.intake.done(command);
    bench.intake.release(&collect);
    assert_eq!(*released.borrow(), [] as [u16; 0]);
    bench.intake.done(reported);
    bench.intake.release(&collect);
    assert_eq!(*released.borrow(), (1..=61).collect::<Vec<_>>());
    drop(acks);
}

#[tokio::test]
async fn what_costs_no_verification_takes_no_time_of_others() {
    let mut bench = bench(1);
    let started = Instant::now();
    for pkid in 1..=200 {
        bench.arrives(message(pkid, b"{"));
    }
    bench.arrives(message(201, b"k1"));
    bench
        .run(
            async |events| {
                while !matches!(events.recv().await, Some(Event::CommandRefused { .. })) {}
            },
        )
        .await;
    // At ten milliseconds each it would be one and a half seconds.
    assert!(started.elapsed() < Duration::from_millis(1000));
}

#[tokio::test]
async fn verifications_are_limited() {
    let mut bench = bench(8);
    let started = Instant::now();
    for pkid in 1..=100 {
        bench.arrives(message(pkid, b"junk"));
    }
    let sender = bench.sender.clone();
    bench
        .run(async |_| until(|| sender.capacity() == sender.max_capacity()).await)
        .await;
    // Fifty at once, and the others at ten milliseconds each.
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn after_the_stop_nothing_is_taken_and_acknowledgements_still_go_out() {
    let mut bench = bench(8);
    bench.arrives(message(1, b"k1"));
    let (stop, acks, sender) = (
        bench.stop.clone(),
        bench.acknowledgements.clone(),
        bench.sender.clone(),
    );
    bench
        .run(async |events| {
            let Some(Event::CommandRefused { delivery, .. }) = events.recv().await else {
                panic!("the first is taken");
            };
            stop.cancel();
            sender.try_send(message(2, b"k2")).expect("room");
            acks.try_send(delivery).unwrap();
            until(|| acks.capacity() == acks.max_capacity()).await;
            assert!(events.try_recv().is_err());
        })
        .await;
    assert_eq!(*bench.acknowledged.borrow(), [1]);
}
