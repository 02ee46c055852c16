//! An MQTT broker in this process, behind a proxy that can break the connection in every way that a
//! network does, and a recorder of what is published.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, MqttOptions, Packet, Publish, PublishOptions, QoS, SubscribeFilter,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long anything in these tests may take before it counts as broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A broker. It speaks MQTT 5, keeps retained messages, wills and sessions, and forgets all of it on
/// [`Broker::restart`].
pub(crate) struct Broker {
    proxy: Proxy,
    behind: u16,
}

impl Broker {
    /// A broker that lets everybody in.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// A broker that asks for a user name and a password.
    pub(crate) async fn start_with(user: Option<(&str, &str)>) -> Self {
        let behind = start_rumqttd(user).await;
        Self {
            proxy: Proxy::start(behind).await,
            behind,
        }
    }

    /// Where clients connect: through the proxy.
    pub(crate) fn port(&self) -> u16 {
        self.proxy.port
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// What stands between the clients and the broker.
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The broker is gone: connections are reset, and new ones too.
    pub(crate) fn stop(&self) {
        self.proxy.cut();
    }

    /// Another broker on the same port, that knows nothing.
    pub(crate) async fn restart(&mut self) {
        self.behind = start_rumqttd(None).await;
        self.proxy.lead_to(self.behind);
    }

    /// Records everything below `filter`, around the proxy.
    pub(crate) async fn record(&self, filter: &str) -> Recorder {
        Recorder::start(self.behind, filter).await
    }

    /// Publishes these again and again as somebody else, around the proxy, as fast as the broker takes
    /// them, and says how long that took.
    pub(crate) async fn flood(&self, topic: &str, payloads: &[Vec<u8>], count: usize) -> Duration {
        let began = tokio::time::Instant::now();
        let (client, task) = client(self.behind, 256 * 1024);
        let mut last = None;
        for payload in payloads.iter().cycle().take(count) {
            let options = PublishOptions::new(QoS::AtLeastOnce);
            let sent = client
                .publish_tracked(topic, payload.clone(), options)
                .await;
            last = Some(sent.expect("queued"));
        }
        if let Some(last) = last {
            last.wait_completion_async().await.expect("acknowledged");
        }
        task.abort();
        began.elapsed()
    }

    /// Publishes as somebody else, around the proxy, and waits for the acknowledgement.
    pub(crate) async fn publish(&self, topic: &str, payload: Vec<u8>, options: PublishOptions) {
        self.publish_all(vec![(topic, payload)], options).await;
    }

    /// The same for many, in one go.
    pub(crate) async fn publish_all(
        &self,
        messages: Vec<(&str, Vec<u8>)>,
        options: PublishOptions,
    ) {
        let (client, task) = client(self.behind, 256 * 1024);
        let mut notices = Vec::new();
        for (topic, payload) in messages {
            let notice = client
                .publish_tracked(topic, payload, options.clone())
                .await;
            notices.push(notice.expect("queued"));
        }
        for notice in notices {
            let done = tokio::time::timeout(LIMIT, notice.wait_completion_async());
            done.await.expect("in time").expect("acknowledged");
        }
        task.abort();
    }
}

async fn start_rumqttd(user: Option<(&str, &str)>) -> u16 {
    let port = super::port::reserve();
    let auth = user.map(|(name, password)| HashMap::from([(name.to_owned(), password.to_owned())]));
    let server = rumqttd::ServerSettings {
        name: "test".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        tls: None,
        next_connection_delay_ms: 0,
        connections: rumqttd::ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: 256 * 1024,
            max_inflight_count: 100,
            auth,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let config = rumqttd::Config {
        router: rumqttd::RouterConfig {
            // More than all that a test opens: one that was closed may count for a while.
            max_connections: 1024,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..rumqttd::RouterConfig::default()
        },
        v5: Some(HashMap::from([("test".to_owned(), server)])),
        ..rumqttd::Config::default()
    };
    // It has no way to be stopped: its threads end with the process.
    std::thread::spawn(move || {
        if let Err(error) = rumqttd::Broker::new(config).start() {
            panic!("the broker of the tests: {error}");
        }
    });
    let ready = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, ready)
        .await
        .expect("the broker listens");
    port
}

/// What happens to what goes through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It arrives.
    Through,
    /// Connections break at once.
    Cut,
    /// Connections stand, and nothing arrives.
    BlackHole,
}

/// Carries bytes between a port of its own and the broker.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<(Mode, u16)>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (mode, modes) = watch::channel((Mode::Through, to));
        let task = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(carry(near, modes.clone()));
            }
        });
        Self { port, mode, task }
    }

    /// Breaks every connection, and every new one.
    pub(crate) fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Lets new connections through again. Those that a black hole holds go on.
    pub(crate) fn restore(&self) {
        self.set(Mode::Through);
    }

    /// Swallows everything, without a word to either side.
    pub(crate) fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    fn set(&self, mode: Mode) {
        self.mode.send_modify(|known| known.0 = mode);
    }

    fn lead_to(&self, port: u16) {
        self.mode.send_modify(|known| known.0 = Mode::Cut);
        self.mode
            .send_modify(|known| *known = (Mode::Through, port));
    }
}

async fn carry(near: TcpStream, mut modes: watch::Receiver<(Mode, u16)>) {
    let (mode, port) = *modes.borrow_and_update();
    if mode == Mode::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let to = port;
    tokio::select! {
        () = pump(near_in, far_out, modes.clone()) => {}
        () = pump(far_in, near_out, modes.clone()) => {}
        () = async {
            while modes.wait_for(|it| it.0 == Mode::Cut || it.1 != to).await.is_err() {}
        } => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<(Mode, u16)>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // A black hole swallows also that the other side has gone.
        if modes.wait_for(|it| it.0 != Mode::BlackHole).await.is_err() {
            return;
        }
        let Ok(length @ 1..) = read else {
            return;
        };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Collects everything that is published below a filter.
pub(crate) struct Recorder {
    arriving: mpsc::UnboundedReceiver<Publish>,
    seen: Vec<Publish>,
    task: Arc<JoinHandle<()>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    async fn start(port: u16, filter: &str) -> Self {
        let options = options(port, 256 * 1024);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(64).build();
        let (sender, arriving) = mpsc::unbounded_channel();
        let (ready, mut is_ready) = watch::channel(false);
        let mut wanted = SubscribeFilter::new(filter, QoS::AtLeastOnce);
        wanted.preserve_retain = true;
        client.subscribe_many([wanted]).await.expect("queued");
        let task = tokio::spawn(async move {
            let _client = client;
            while let Ok(event) = event_loop.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        let _ = ready.send(true);
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let _ = sender.send(publish);
                    }
                    _ => {}
                }
            }
        });
        tokio::time::timeout(LIMIT, is_ready.wait_for(|it| *it))
            .await
            .expect("in time")
            .expect("subscribed");
        Self {
            arriving,
            seen: Vec::new(),
            task: Arc::new(task),
        }
    }

    /// Everything so far.
    pub(crate) fn seen_so_far(&mut self) -> &[Publish] {
        while let Ok(next) = self.arriving.try_recv() {
            self.seen.push(next);
        }
        &self.seen
    }

    /// Everything that was waited for so far.
    pub(crate) fn seen(&self) -> &[Publish] {
        &self.seen
    }

    /// Records the next message as soon as it arrives.
    pub(crate) async fn next(&mut self) {
        let next = self.arriving.recv().await.expect("the recorder runs");
        self.seen.push(next);
    }

    /// Waits until what was recorded is as it should be, and says what was waited for if it never
    /// is.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&[Publish]) -> bool) {
        let wait = async {
            while !done(&self.seen) {
                self.next().await;
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            let topics: Vec<_> = self.seen.iter().map(|it| topic(it).to_owned()).collect();
            panic!("never: {what}; there are {topics:?}");
        }
    }
}

/// The topic of a message, as text.
pub(crate) fn topic(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.topic).expect("UTF-8")
}

fn options(port: u16, max_packet: u32) -> MqttOptions {
    let name = format!("test-{}", ulid::Ulid::generate());
    let mut options = MqttOptions::new(name, ("127.0.0.1", port));
    options.set_max_packet_size(Some(max_packet));
    options
}

fn client(port: u16, max_packet: u32) -> (AsyncClient, JoinHandle<()>) {
    let (client, mut event_loop) = AsyncClient::builder(options(port, max_packet))
        .capacity(64)
        .build();
    let task = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
    (client, task)
}
