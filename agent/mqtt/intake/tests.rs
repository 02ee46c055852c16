mod aside;

use super::*;
use edge_agent_core::command::envelope::RefusedCommand;
use std::cell::RefCell;

/// Envelopes whose payload begins with `k` are by known keys.
fn verify(bytes: &[u8]) -> Verified {
    let refusal = Refusal::new(RefusalCode::UnknownKey, "no known key");
    let payload = Unverified::read(bytes).unwrap().payload;
    if payload.first() == Some(&b'k') {
        let id = String::from_utf8_lossy(&payload).into_owned();
        return Verified::Refused(Box::new(RefusedCommand {
            id,
            digest: [0; 32],
            key_ids: Vec::new(),
            cmd: None,
            application: None,
            refusal,
        }));
    }
    Verified::Unauthenticated(refusal)
}

/// An envelope in form; nobody looks at its signature here.
fn envelope(payload: &str) -> Vec<u8> {
    let key = edge_agent_core::command::envelope::SigningKey::from_seed(&[1; 32]).unwrap();
    edge_agent_core::command::envelope::seal(COMMAND_TYPE, payload.as_bytes(), &[("a", &key)])
}

/// The beginning of an envelope, up to a field that nobody reads.
const COMMON: &[u8] = br#"{"payload":"anVuaw==","payloadType":"application/vnd.edge-agent.command.v1+json","signatures":[{"keyid":"a","sig":""}],"x":""#;

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
    let taken = Taken {
        verify: Some(Arc::new(verify)),
        ..Taken::default()
    };
    Bench {
        intake: Intake::new(taken, events_in, acks, Arc::default()),
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
    bench.arrives(message(7, &envelope("k1")));
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
    bench.arrives(message(9, &envelope("k1")));
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
        ..message(2, &envelope("k2"))
    });
    bench.arrives(message(0, &envelope("k3")));
    bench.arrives(message(4, &envelope("junk")));
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
        bench.arrives(message(pkid, &envelope("junk")));
    }
    bench.arrives(message(61, &envelope("k1")));
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
async fn what_costs_no_verification_takes_no_place_of_others() {
    let mut bench = bench(1);
    for pkid in 1..=200 {
        bench.arrives(message(pkid, b"{"));
    }
    bench.arrives(message(201, &envelope("k1")));
    let ignored = Arc::clone(&bench.intake.ignored);
    bench
        .run(
            async |events| {
                while !matches!(events.recv().await, Some(Event::CommandRefused { .. })) {}
            },
        )
        .await;
    assert_eq!(ignored.load(Ordering::Relaxed), 199);
}

#[tokio::test(start_paused = true)]
async fn verifications_are_limited_and_what_is_too_much_is_left_out_at_once() {
    let mut bench = bench(8);
    let started = Instant::now();
    let sender = bench.sender.clone();
    let ignored = Arc::clone(&bench.intake.ignored);
    bench
        .run(async |events| {
            let mut codes = std::collections::BTreeMap::new();
            let mut arrived = 0_u32;
            // Far more than the 2,000 that may be tried at once.
            while arrived < 20_000 {
                let pkid = u16::try_from(arrived % 60_000 + 1).unwrap();
                let junk = envelope(&arrived.to_string());
                if sender.try_send(message(pkid, &junk)).is_ok() {
                    arrived += 1;
                } else {
                    tokio::task::yield_now().await;
                }
                while let Ok(Event::CommandUnauthenticated { refusal, .. }) = events.try_recv() {
                    *codes.entry(refusal.code).or_insert(0) += 1;
                }
            }
            until(|| sender.capacity() == sender.max_capacity()).await;
            while let Ok(Event::CommandUnauthenticated { refusal, .. }) = events.try_recv() {
                *codes.entry(refusal.code).or_insert(0) += 1;
            }
            assert!(codes.contains_key(&RefusalCode::UnknownKey), "{codes:?}");
        })
        .await;
    let left_out = ignored.load(Ordering::Relaxed);
    assert!(left_out > 15_000, "{left_out}");
    // Nothing of it waited for its turn.
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// A flood that never says the same twice, five times of what can be verified on a fast board.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_said_again_gets_through_a_flood_that_does_not_end() {
    let mut bench = bench(64);
    let sender = bench.sender.clone();
    let command = envelope("k1");
    // As edge-agent says it: again after two seconds, and after four.
    let says = [1000, 3000, 7000];
    let answered_at = bench
        .run(async |events| {
            let mut pkid = 0_u16;
            let mut next = || {
                pkid = pkid % 60_000 + 1;
                pkid
            };
            for ms in 0..10_000_u64 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                for number in 0..20 {
                    let mut junk = COMMON.to_vec();
                    junk.extend(format!("{ms}-{number}\"}}").into_bytes());
                    sender
                        .try_send(message(next(), &junk))
                        .expect("it is taken at once");
                }
                if says.contains(&ms) {
                    sender.try_send(message(next(), &command)).expect("room");
                }
                tokio::task::yield_now().await;
                while let Ok(event) = events.try_recv() {
                    if matches!(event, Event::CommandRefused { .. }) {
                        return ms;
                    }
                }
            }
            panic!("it never gets through");
        })
        .await;
    assert!(answered_at <= 3100, "after {answered_at} ms");
}

/// What mosquitto does unless told otherwise: so many messages wait for a client, of which so many
/// are under way, and what comes when the queue is full is gone.
const QUEUE: usize = 1000;
const UNDER_WAY: usize = 20;

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_pile_up_in_the_broker_with_a_command_in_it() {
    let mut bench = bench(64);
    let sender = bench.sender.clone();
    let told = bench.acknowledgements.clone();
    let received = bench.received.take().unwrap();
    let acknowledged = std::cell::Cell::new(0);
    let acknowledge = |_| acknowledged.set(acknowledged.get() + 1);
    let intake = bench.intake.run(received, acknowledge, &bench.stop);
    let command = envelope("k1");
    let events = &mut bench.events;
    let broker = async {
        let (mut queue, mut delivered, mut lost) = (VecDeque::new(), 0, 0);
        for ms in 0..10_000_u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for number in 0..10 {
                let mut junk = COMMON.to_vec();
                junk.extend(format!("{ms}-{number}\"}}").into_bytes());
                queue.push_back(junk);
            }
            if [1000, 3000, 7000].contains(&ms) {
                queue.push_back(command.clone());
            }
            lost += queue.len().saturating_sub(QUEUE);
            queue.truncate(QUEUE);
            // What was acknowledged makes room for more, as fast as it goes.
            let mut idle = 0;
            while idle < 3 && !queue.is_empty() {
                idle += 1;
                while delivered - acknowledged.get() < UNDER_WAY
                    && let Some(next) = queue.pop_front()
                {
                    let pkid = u16::try_from(delivered % 60_000 + 1).unwrap();
                    sender.try_send(message(pkid, &next)).expect("room");
                    (delivered, idle) = (delivered + 1, 0);
                }
                tokio::task::yield_now().await;
            }
            while let Ok(event) = events.try_recv() {
                match event {
                    Event::CommandRefused { .. } => return (ms, lost),
                    Event::CommandUnauthenticated { delivery, .. } => {
                        told.try_send(delivery).expect("room");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        panic!("it never gets through; the broker has lost {lost}");
    };
    let (answered_at, lost) = tokio::select! {
        () = intake => panic!("the intake ended"),
        answered = broker => answered,
    };
    assert_eq!(lost, 0, "the broker's queue was full");
    assert!(answered_at <= 3100, "after {answered_at} ms");
}

#[tokio::test]
async fn after_the_stop_nothing_is_taken_and_acknowledgements_still_go_out() {
    let mut bench = bench(8);
    bench.arrives(message(1, &envelope("k1")));
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
            sender.try_send(message(2, &envelope("k2"))).expect("room");
            acks.try_send(delivery).unwrap();
            until(|| acks.capacity() == acks.max_capacity()).await;
            assert!(events.try_recv().is_err());
        })
        .await;
    assert_eq!(*bench.acknowledged.borrow(), [1]);
}
