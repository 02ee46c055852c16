use std::time::Duration;

use edge_agent_core::application::stream::{Change, Page};
use edge_agent_core::event::{Event, LinkStatus};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::fake::{Fake, unreachable};
use super::super::{ClusterError, Watcher};
use super::{application, settings};

fn page(names: &[&str], next: Option<&str>) -> Result<Page, ClusterError> {
    Ok(Page {
        applications: names.iter().map(|name| application(name)).collect(),
        next: next.map(str::to_owned),
        resource_version: "100".to_owned(),
        ..Page::default()
    })
}

fn changed(name: &str) -> Result<Change, ClusterError> {
    Ok(Change::Applied(Box::new(application(name))))
}

/// One word for each event.
fn word(event: &Event) -> String {
    match event {
        Event::ApplicationChanged(app) => format!("changed {}", app.key.name),
        Event::ApplicationDeleted(key) => format!("deleted {}", key.name),
        Event::ApplicationsListed { namespace, present } => {
            let names: Vec<_> = present.iter().map(|key| key.name.as_str()).collect();
            format!("listed {namespace}: {}", names.join(" "))
        }
        Event::LinkChanged { status, .. } => match status {
            LinkStatus::Down(why) => format!("down: {why}"),
            status => format!("{status:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Runs the watcher for a time that passes at once, and tells what it has said.
async fn watched(fake: &Fake, namespaces: &[&str], time: Duration) -> Vec<String> {
    let (sender, mut events) = mpsc::channel(1000);
    let stop = CancellationToken::new();
    let watcher = Watcher::new(fake.clone(), &settings(namespaces));
    let task = watcher.run(sender, stop.clone());
    let (done, ()) = futures::join!(task, async {
        sleep(time).await;
        stop.cancel();
    });
    done.unwrap();
    let mut words = Vec::new();
    while let Some(event) = events.recv().await {
        words.push(word(&event));
    }
    words
}

#[tokio::test(start_paused = true)]
async fn a_list_in_pages_and_then_its_changes() {
    let fake = Fake::default();
    {
        let mut script = fake.script();
        script
            .lists
            .push_back(page(&["synced-healthy"], Some("more")));
        script.lists.push_back(page(&["synced-degraded"], None));
        let deleted = Change::Deleted(application("synced-degraded").key, "102".to_owned());
        script.watches.push_back(Ok(vec![
            Ok(Change::Bookmark("101".to_owned())),
            Ok(deleted),
            Ok(Change::Unreadable),
            changed("outofsync-missing"),
        ]));
    }
    let words = watched(&fake, &["argocd"], Duration::from_secs(30)).await;
    assert_eq!(
        words,
        [
            "changed web",
            "changed degraded",
            "listed argocd: degraded web",
            "Up",
            "deleted degraded",
            "changed hookok",
        ]
    );
    let script = fake.script();
    assert_eq!(script.list_calls, [None, Some("more".to_owned())]);
    // The next watch goes on where the changes have ended.
    let last = application("outofsync-missing").resource_version;
    assert_eq!(script.watch_calls, ["100".to_owned(), last]);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_is_listed_again() {
    for gone in [
        Ok(vec![Ok(Change::Failed {
            code: 410,
            message: "too old resource version".to_owned(),
        })]),
        Err(ClusterError::Gone),
    ] {
        let fake = Fake::default();
        let lists = [
            page(&["synced-healthy", "synced-degraded"], None),
            page(&["synced-healthy"], None),
        ];
        fake.script().lists.extend(lists);
        fake.script().watches.push_back(gone);
        let words = watched(&fake, &["argocd"], Duration::from_secs(30)).await;
        let listed: Vec<_> = words.iter().filter(|w| w.starts_with("listed")).collect();
        assert_eq!(
            listed,
            ["listed argocd: degraded web", "listed argocd: web"]
        );
        assert!(
            !words.iter().any(|word| word.starts_with("down")),
            "{words:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_is_no_outage_and_one_that_cannot_be_opened_is() {
    let broken = || {
        Ok(vec![
            changed("synced-healthy"),
            Err(ClusterError::Interrupted("reset".to_owned())),
        ])
    };
    let fake = Fake::default();
    fake.script().lists.push_back(page(&[], None));
    fake.script().watches.extend([broken(), broken()]);
    let words = watched(&fake, &["argocd"], Duration::from_secs(30)).await;
    assert_eq!(
        words,
        ["listed argocd: ", "Up", "changed web", "changed web"]
    );

    let fake = Fake::default();
    fake.script().lists.push_back(page(&[], None));
    fake.script()
        .watches
        .extend([Err(unreachable()), Err(unreachable()), broken()]);
    let words = watched(&fake, &["argocd"], Duration::from_secs(60)).await;
    let down = "down: cannot reach the API server: connection refused";
    assert_eq!(words, ["listed argocd: ", "Up", down, "Up", "changed web"]);
    // The list was made once: after an outage the watch goes on where it was.
    assert_eq!(fake.script().list_calls.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_opened_again() {
    let fake = Fake::default();
    fake.script().lists.push_back(page(&[], None));
    watched(&fake, &["argocd"], Duration::from_secs(59)).await;
    assert_eq!(fake.script().watch_calls.len(), 1);
    fake.script().lists.push_back(page(&[], None));
    watched(&fake, &["argocd"], Duration::from_secs(100)).await;
    assert_eq!(fake.script().watch_calls.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_cluster_is_told_once_and_looked_for_slowly() {
    let fake = Fake::default();
    let none = || Err(ClusterError::NotConfigured("no kubeconfig".to_owned()));
    fake.script().lists.extend((0..100).map(|_| none()));
    let words = watched(&fake, &["argocd"], Duration::from_secs(599)).await;
    assert_eq!(words, ["down: no cluster configured: no kubeconfig"]);
    assert_eq!(fake.script().list_calls.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn no_fault_makes_it_spin() {
    let hour = Duration::from_secs(3600);
    // At most one request in half of the longest wait, on the average of many, and some to begin.
    let few = 3600 / 10 + 20;

    let refused = Fake::default();
    watched(&refused, &["argocd"], hour).await;
    assert!(refused.script().list_calls.len() < few);

    let forgetful = Fake::default();
    forgetful
        .script()
        .lists
        .extend((0..9999).map(|_| page(&[], None)));
    forgetful
        .script()
        .watches
        .extend((0..9999).map(|_| Err(ClusterError::Gone)));
    watched(&forgetful, &["argocd"], hour).await;
    assert!(forgetful.script().list_calls.len() < few);

    let closing = Fake::default();
    closing.script().lists.push_back(page(&[], None));
    closing
        .script()
        .watches
        .extend((0..9999).map(|_| Ok(Vec::new())));
    watched(&closing, &["argocd"], hour).await;
    assert!(closing.script().watch_calls.len() < few);

    let same_page = Fake::default();
    same_page
        .script()
        .lists
        .extend((0..9999).map(|_| page(&[], Some("same"))));
    watched(&same_page, &["argocd"], hour).await;
    assert!(same_page.script().list_calls.len() < few);

    let busy = Fake::default();
    let later = || ClusterError::TooManyRequests {
        retry_after: Some(Duration::from_secs(100)),
    };
    busy.script().lists.extend((0..9999).map(|_| Err(later())));
    watched(&busy, &["argocd"], hour).await;
    // One in 100 s, as asked.
    assert!(busy.script().list_calls.len() <= 37);
}

#[tokio::test(start_paused = true)]
async fn the_link_is_up_when_all_namespaces_are() {
    let fake = Fake::default();
    let forbidden = Err(ClusterError::Forbidden("cannot list".to_owned()));
    fake.script()
        .lists
        .extend([page(&[], None), forbidden, page(&[], None)]);
    let words = watched(&fake, &["argocd", "team-a"], Duration::from_secs(10)).await;
    let links: Vec<_> = words.iter().filter(|w| !w.starts_with("listed")).collect();
    assert_eq!(links.len(), 2, "{words:?}");
    assert!(
        links[0].starts_with("down: namespace team-a: the agent's ServiceAccount lacks a right")
    );
    assert_eq!(links[1], "Up");
}

#[tokio::test(start_paused = true)]
async fn turned_off_it_waits_for_the_end() {
    let fake = Fake::default();
    let (sender, mut events) = mpsc::channel(1);
    let mut off = settings(&["argocd"]);
    off.enabled = false;
    let stop = CancellationToken::new();
    let run = Watcher::new(fake.clone(), &off).run(sender, stop.clone());
    tokio::pin!(run);
    assert!(timeout(Duration::from_secs(3600), &mut run).await.is_err());
    assert_eq!(word(&events.recv().await.unwrap()), "Disabled");
    stop.cancel();
    run.await.unwrap();
    assert!(fake.script().list_calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    let fake = Fake::default();
    fake.script()
        .lists
        .push_back(page(&["synced-healthy"], None));
    let (sender, events) = mpsc::channel(1);
    drop(events);
    let run = Watcher::new(fake, &settings(&["argocd"])).run(sender, CancellationToken::new());
    timeout(Duration::from_secs(1), run).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_watches_break_before_they_bring_anything_it_is_listed_again() {
    let fake = Fake::default();
    fake.script().lists.push_back(page(&[], None));
    fake.script()
        .lists
        .push_back(page(&["synced-healthy"], None));
    let broken = || {
        Ok(vec![Err(ClusterError::Interrupted(
            "half an answer".to_owned(),
        ))])
    };
    fake.script().watches.extend([broken(), broken(), broken()]);
    let words = watched(&fake, &["argocd"], Duration::from_secs(60)).await;
    assert_eq!(
        words,
        ["listed argocd: ", "Up", "changed web", "listed argocd: web"]
    );
    // And if not even that can be had, the link is down.
    let fake = Fake::default();
    fake.script().lists.push_back(page(&[], None));
    fake.script().watches.extend([broken(), broken(), broken()]);
    let words = watched(&fake, &["argocd"], Duration::from_secs(60)).await;
    assert!(words[2].starts_with("down: cannot reach"), "{words:?}");
}
