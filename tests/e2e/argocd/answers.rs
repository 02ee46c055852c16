//! The API server answers, and not as it should: each time the link says why, the agent keeps calm, and
//! nothing is missed when it is over.

use std::time::{Duration, Instant};

use super::super::Args;
use super::faults::{assert_calm_for, through};
use super::gateway::{Answer, Gateway};
use super::lab::{Kind, Lab};
use super::stage::Stage;
use crate::figure;
use crate::scenarios::scene::LIMIT;
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::Version;

/// How long it is watched whether the agent keeps calm. At the beginning it tries most often.
const OBSERVED: Duration = Duration::from_secs(6);

pub(super) fn suite(args: &Args) {
    let lab = Lab::get(Kind::Usual, args.lab.as_deref());
    let gateway = Gateway::to(&lab);
    let stage = Stage::with(args, Kind::Usual, "", |setup| {
        through(setup, &lab, gateway.port)
    });
    let (shop, _) = Shop::open(&stage, "answers", Sync::Auto);
    // A word of the reason, and what it is that happens.
    let faults = [
        ("too much to do", Answer::Status(429)),
        ("status 500", Answer::Status(500)),
        // In the middle of an event, and of a list.
        ("did not answer", Answer::CutAfter(2000)),
    ];
    for (word, answer) in faults {
        fresh(&stage);
        gateway.answer(answer);
        down(&stage, &gateway, &shop, word, &format!("{answer:?}"));
        gateway.answer(Answer::Through);
        up(&stage, &shop);
    }
    // A list can be had, but no watch: what the agent knows is true, and as old as the last list.
    fresh(&stage);
    gateway.answer(Answer::WatchStatus(410));
    calm(&stage, &gateway, "watches that are too old");
    let version = Version::good("answers-too-old");
    let revision = shop.push(&version);
    shop.wait_state("Healthy", &revision);
    gateway.answer(Answer::Through);
    up(&stage, &shop);

    fresh(&stage);
    let good = gateway.change_certificate(&stage.setup.directory);
    down(
        &stage,
        &gateway,
        &shop,
        "certificate authority",
        "another certificate",
    );
    gateway.show(good);
    up(&stage, &shop);
}

/// Starts the agent afresh, so that it has no reason to be patient yet.
fn fresh(stage: &Stage) {
    stage.agent().kill();
    stage.start_agent();
    stage.wait_cluster_up(LIMIT);
}

/// The link is down for that reason, and the agent keeps calm.
fn down(stage: &Stage, gateway: &Gateway, shop: &Shop<'_>, word: &str, what: &str) {
    let begun = Instant::now();
    shop.push(&Version::good(&format!("answers-during-{what}")));
    let reason = stage.wait_cluster_down(LIMIT, word);
    figure(
        &format!("{what}: told after"),
        format!("{:?}, {reason}", begun.elapsed()),
    );
    calm(stage, gateway, what);
}

fn calm(stage: &Stage, gateway: &Gateway, what: &str) {
    assert_calm_for(stage, &format!("requests with {what}"), OBSERVED, || {
        gateway.count()
    });
}

/// It is over: what has happened meanwhile is told.
fn up(stage: &Stage, shop: &Shop<'_>) {
    let back = Instant::now();
    let running = || shop.object()["status"]["sync"]["revision"].clone();
    stage.wait_cluster_up(LIMIT);
    shop.wait_state("Healthy", running().as_str().unwrap());
    figure(
        "and over: what has happened is told after",
        format!("{:?}", back.elapsed()),
    );
}
