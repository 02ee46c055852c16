use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;

type Answer = Result<Vec<u8>, ClusterError>;

/// An API server with a list of answers for each of the three things that are asked; the last one
/// holds for ever.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    ready: VecDeque<Answer>,
    node: VecDeque<Answer>,
    pods: VecDeque<Answer>,
    asked: Vec<String>,
}

impl NodeApi for Fake {
    async fn read(&self, path: &str, _: &'static str, limit: usize) -> Answer {
        let mut inner = self.0.lock().unwrap();
        inner.asked.push(path.to_owned());
        let answers = match path {
            "/readyz" => &mut inner.ready,
            path if path.starts_with("/api/v1/nodes/") => &mut inner.node,
            _ => &mut inner.pods,
        };
        let answer = if answers.len() > 1 {
            answers.pop_front().unwrap()
        } else {
            answers.front().unwrap().clone()
        };
        assert!(answer.as_ref().map_or(0, Vec::len) <= limit);
        answer
    }
}

fn ok(text: &str) -> Answer {
    Ok(text.as_bytes().to_vec())
}

const NODE: &str = r#"{"status":{"conditions":[
    {"type":"MemoryPressure","status":"False"},{"type":"DiskPressure","status":"True"},
    {"type":"PIDPressure","status":"Unknown"},{"type":"Ready","status":"True"}]}}"#;

const PODS: &str = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[
    {"name":"Name","type":"string"},{"name":"Ready","type":"string"},{"name":"Status"}],"rows":[
    {"cells":["coredns-1","1/1","Running",0,"5d"],"object":null},
    {"cells":["web-1","0/1","CrashLoopBackOff",12,"5d"],"object":null},
    {"cells":["web-2","1/2","Running",0,"5d"],"object":null}]}"#;

fn fake(ready: Answer, node: Answer, pods: Answer) -> Fake {
    Fake(Arc::new(Mutex::new(Inner {
        ready: [ready].into(),
        node: [node].into(),
        pods: [pods].into(),
        asked: Vec::new(),
    })))
}

fn count(fake: &Fake, part: &str) -> usize {
    let inner = fake.0.lock().unwrap();
    inner
        .asked
        .iter()
        .filter(|path| path.contains(part))
        .count()
}

#[tokio::test(start_paused = true)]
async fn the_node_and_its_pods_are_seen() {
    let fake = fake(ok("ok"), ok(NODE), ok(PODS));
    let view = NodeViewer::new(fake.clone(), Some("pi-01")).look().await;
    let expected = KubernetesView {
        api: Some(true),
        node_ready: Some(true),
        memory_pressure: Some(false),
        disk_pressure: Some(true),
        pods: Some(Pods {
            count: 3,
            not_ready: 2,
            example: Some("web-1".to_owned()),
        }),
    };
    assert_eq!(view, expected);
    assert_eq!(count(&fake, "/api/v1/nodes/pi-01"), 1);
    assert_eq!(count(&fake, "spec.nodeName%3Dpi-01%2C"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_has_heard_of_is_not_ready() {
    let node = NODE.replace(
        r#""Ready","status":"True""#,
        r#""Ready","status":"Unknown""#,
    );
    let mut viewer = NodeViewer::new(fake(ok("ok"), ok(&node), ok("junk")), Some("pi-01"));
    let view = viewer.look().await;
    assert_eq!(view.node_ready, Some(false));
    assert_eq!(view.pods, None);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_is_down_only_after_two_bad_answers() {
    let down = Err(ClusterError::Unreachable("refused".to_owned()));
    let fake = fake(down.clone(), ok(NODE), ok(PODS));
    fake.0
        .lock()
        .unwrap()
        .ready
        .extend([down, ok("ok"), ok("ok")]);
    let mut viewer = NodeViewer::new(fake.clone(), Some("pi-01"));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(viewer.look().await.api);
    }
    assert_eq!(seen, [None, Some(false), Some(true)]);
    assert_eq!(
        count(&fake, "/nodes/"),
        1,
        "nothing else is asked while it is down"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_is_unknown_and_left_alone_for_ten_minutes() {
    let forbidden = Err(ClusterError::Forbidden("pods is forbidden".to_owned()));
    let fake = fake(ok("ok"), ok(NODE), forbidden);
    let mut viewer = NodeViewer::new(fake.clone(), Some("pi-01"));
    for _ in 0..19 {
        let view = viewer.look().await;
        assert_eq!((view.node_ready, view.pods), (Some(true), None));
        sleep(EVERY).await;
    }
    assert_eq!(count(&fake, "/pods"), 1);
    fake.0.lock().unwrap().pods = [ok(PODS)].into();
    sleep(EVERY).await;
    assert_eq!(viewer.look().await.pods.map(|pods| pods.count), Some(3));
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_or_a_right_to_ask_nothing_is_known() {
    let unset = Err(ClusterError::NotConfigured("no file".to_owned()));
    let mut viewer = NodeViewer::new(fake(unset, ok(NODE), ok(PODS)), Some("pi-01"));
    for _ in 0..4 {
        assert_eq!(viewer.look().await, KubernetesView::default());
    }
}

/// Takes the question and never answers.
struct Silent;

impl NodeApi for Silent {
    async fn read(&self, _: &str, _: &'static str, _: usize) -> Answer {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_holds_nothing_up() {
    let (sender, mut events) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let viewer = NodeViewer::new(Silent, Some("pi-01"));
    let look = async {
        let begun = Instant::now();
        for expected in [None, Some(false)] {
            let Some(Event::NodeViewed(view)) = events.recv().await else {
                panic!("it tells");
            };
            assert_eq!(view.api, expected);
        }
        assert_eq!(begun.elapsed(), LIMIT + EVERY + LIMIT);
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(viewer.run(sender, stop.clone()), look);
    ended.unwrap();
}
