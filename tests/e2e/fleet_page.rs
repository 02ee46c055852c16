//! The fleet page in Chromium, served by mosquitto: two real agents, then a thousand nodes that are made up.

pub(crate) mod browser;
mod stage;

use std::time::{Duration, Instant};

use serde_json::json;

use super::fence::fenced;
use super::support::cluster::sha;
use super::{Args, Suite, figure};
use browser::{Browser, programs};
use stage::{LIMIT, NODES, PAGE, Stage, address, sign_in};

pub(crate) const SUITES: &[Suite] = &[("dashboards_fleet_page", fleet_page)];

/// Nodes that are made up.
const MANY: usize = 1000;
/// Rows that are on the page at once, of however many nodes.
const MAX_ROWS: u64 = 60;

fn fleet_page(_: &Args) {
    // Before the fence, behind which nothing can be got.
    programs(PAGE);
    programs("tests/e2e/fleet_page");
    fenced("dashboards_fleet_page", story);
}

fn story() {
    let mut stage = Stage::set();
    let mut page = Stage::browser();
    signs_in(&mut page);
    shows_the_nodes(&mut page);
    blinks(&stage, &mut page);
    tells_what_signatures_are_worth(&stage, &mut page);
    shows_a_rollback_that_is_held(&stage, &mut page);
    takes_nothing_for_markup(&stage, &mut page);
    can_be_sent_as_an_address(&stage, &mut page);
    says_what_is_lost(&mut stage, &mut page);
    is_fine_with_many(&stage, &mut page);
    let complaints = page.complaints();
    let unexpected: Vec<_> = complaints
        .iter()
        // The browser itself says so of the connection that the broker has ended.
        .filter(|it| !it.contains("WebSocket connection to"))
        .collect();
    assert_eq!(unexpected, [""; 0]);
}

/// The row of a node in the table.
fn row(node: &str) -> String {
    format!(
        "[...document.querySelectorAll('.canvas .row')].find((it) => it.querySelector('.name').textContent === '{node}')"
    )
}

/// Whether the row of a node has all of these words.
fn row_says(node: &str, words: &[&str]) -> String {
    let row = row(node);
    let words = json!(words);
    format!("{words}.every((word) => {row}?.textContent.includes(word))")
}

fn counts(nodes: usize) -> String {
    format!(
        "document.querySelector('.group').textContent === 'All {nodes}' && document.querySelector('#link').textContent === 'live'"
    )
}

fn signs_in(page: &mut Browser) {
    page.is_accessible("signing in");
    page.fill("#user", "dashboard");
    page.fill("#password", "guessed");
    page.push("Sign in");
    page.wait(
        LIMIT,
        "document.querySelector('[role=alert].fault')?.textContent.startsWith('The broker refuses')",
    );
    let kept = page.run("return [sessionStorage.length, location.href];");
    assert_eq!(kept, json!([0, address("")]));
    sign_in(page);
    page.wait(LIMIT, &counts(NODES.len()));
    let kept = page.run("return [Object.keys(sessionStorage), location.hash];");
    assert_eq!(kept, json!([["edge-agent-credentials"], ""]));
    // It is remembered in this tab, and in no other.
    page.reload();
    page.wait(LIMIT, &counts(NODES.len()));
}

fn shows_the_nodes(page: &mut Browser) {
    let revision = &sha(1)[..8];
    for node in NODES {
        page.wait(
            LIMIT,
            &row_says(node, &["online", "shop Healthy", revision]),
        );
    }
    for (form, dark) in [("Table", false), ("Tiles", true), ("Table", true)] {
        page.dark(dark);
        page.push(form);
        page.wait(LIMIT, "document.querySelector('.canvas .name')");
        page.is_accessible(&format!("{form}, dark: {dark}"));
    }
    page.dark(false);
    page.fill("#find", "pi-02 shop");
    page.wait(LIMIT, "document.querySelectorAll('.canvas .row').length === 1 && location.hash === '#/?find=pi-02+shop'");
    page.fill("#find", "");
    page.wait(
        LIMIT,
        "document.querySelectorAll('.canvas .row').length === 2",
    );
    page.push("Node");
    page.wait(LIMIT, "document.querySelector('[aria-sort=ascending]')?.textContent === 'Node' && document.querySelector('.canvas .name').textContent === 'pi-01'");
    page.push("Node");
    page.wait(LIMIT, "document.querySelector('[aria-sort=descending]') && document.querySelector('.canvas .name').textContent === 'pi-02'");
    page.push("LED");
}

/// The lamp does what the LED of the board does: white, five times a second.
fn blinks(stage: &Stage, page: &mut Browser) {
    stage.command("pi-01", "identify --seconds 20");
    page.wait(LIMIT, &row_says("pi-01", &["Identify"]));
    let bulb = format!("{}.querySelector('.lamp i')", row("pi-01"));
    let watch = format!(
        "let [flashes, lit] = [0, false]; const colours = new Set(); const end = performance.now() + 2000;
         while (performance.now() < end) {{
           await new Promise(requestAnimationFrame);
           const bulb = {bulb};
           const now = Number(bulb.style.opacity) > 0.5;
           if (now) colours.add(bulb.dataset.colour);
           if (now && !lit) flashes += 1;
           lit = now;
         }}
         return [flashes, ...colours];"
    );
    let seen = page.run(&watch);
    figure("flashes of identify in two seconds", &seen[0]);
    // Ten; fewer are seen where frames are.
    assert!((4..=11).contains(&seen[0].as_u64().unwrap()), "{seen}");
    assert_eq!(seen[1], "white");
    page.push("Blink");
    assert_eq!(
        page.run(&watch)[0],
        1,
        "the lamp stands still for who wants it"
    );
    page.push("Blink");
}

fn tells_what_signatures_are_worth(stage: &Stage, page: &mut Browser) {
    let told = |words: &str| {
        format!(
            "[...document.querySelectorAll('aside .told li')].some((it) => {}.every((word) => it.textContent.includes(word)))",
            json!(words.split(" & ").collect::<Vec<_>>())
        )
    };
    page.wait(LIMIT, &told("pi-01 & succeeded & signed, key not yours"));
    page.push("Node keys");
    page.wait(LIMIT, "document.querySelector('dialog[open]')");
    page.is_accessible("the keys of the nodes");
    page.fill("#keys", "pi-01=nonsense");
    page.push("Save");
    page.wait(
        LIMIT,
        "document.querySelector('dialog .fault').textContent.includes('pi-01=nonsense')",
    );
    // Of the second node it is given the key of the first.
    let key = stage.key("pi-01");
    page.fill("#keys", &format!("pi-01={key}, pi-02={key}"));
    page.push("Save");
    page.wait(LIMIT, &told("pi-01 & succeeded & signed by the node"));
    stage.command("pi-02", "ping");
    page.wait(LIMIT, &told("pi-02 & succeeded & NOT signed by the node"));
    page.is_accessible("results");
}

fn shows_a_rollback_that_is_held(stage: &Stage, page: &mut Browser) {
    stage.command(
        "pi-01",
        &format!("rollout --application shop --revision {}", sha(2)),
    );
    page.wait(LIMIT, &row_says("pi-01", &["shop Healthy", &sha(2)[..8]]));
    stage.command("pi-01", "rollback --application shop");
    page.wait(
        LIMIT,
        &row_says(
            "pi-01",
            &["shop RolledBack", &sha(1)[..8], "held", "Rollback held"],
        ),
    );
    page.push("Held 1");
    page.wait(
        LIMIT,
        "document.querySelectorAll('.canvas .row').length === 1 && location.hash.includes('show=held')",
    );
    page.push("All");
    page.wait(
        LIMIT,
        "document.querySelector('aside .told').textContent.includes('app.state')",
    );
}

/// What a topic says is shown as it is, whoever has written it; what is nothing is not shown.
fn takes_nothing_for_markup(stage: &Stage, page: &mut Browser) {
    const WICKED: &str =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let mut everybody = stage.everybody();
    let at = "2026-11-24T20:31:28.000Z";
    let messages = [
        (
            "presence",
            json!({"v": 1, "online": true, "since": at, "reason": WICKED}),
        ),
        (
            "identity",
            json!({"v": 1, "key": WICKED, "model": WICKED, "os": WICKED, "agent": WICKED}),
        ),
        (
            "health",
            json!({"v": 1, "at": at, "status": WICKED, "reasons": [{"check": WICKED, "status": "critical", "message": WICKED}]}),
        ),
        (
            "indication",
            json!({"v": 1, "indication": "__proto__", "since": WICKED, "leds": [WICKED]}),
        ),
        (
            "app/shop",
            json!({"v": 1, "state": WICKED, "revision": WICKED, "images": [WICKED], "culprit": {"kind": WICKED, "name": WICKED, "message": WICKED},
            "hold": {"mode": WICKED, "to": WICKED, "since": at}, "operation": {"phase": WICKED, "message": WICKED}}),
        ),
        (
            "event",
            json!({"specversion": "1.0", "id": WICKED, "type": WICKED, "subject": WICKED, "time": "+275761-01-01T00:00:00Z", "data": {"state": WICKED}}),
        ),
        ("app/long", json!({"v": 1, "state": "x".repeat(60_000)})),
        (
            "result/one",
            json!({"payload": "e30=", "payloadType": WICKED, "signatures": [{"sig": ""}]}),
        ),
    ];
    for (topic, message) in messages {
        let topic = format!("edge/v1/wicked/{topic}");
        let retained = !topic.ends_with("event");
        everybody
            .publish(&topic, message.to_string().as_bytes(), 0, retained)
            .unwrap();
    }
    everybody
        .publish("edge/v1/wicked/app/none", b"\xff{", 0, true)
        .unwrap();
    page.wait(LIMIT, &row_says("wicked", &["<img src=x", "online"]));
    page.run(&format!(
        "{}.querySelector('.name').click();",
        row("wicked")
    ));
    page.wait(LIMIT, "document.querySelector('.detail h1')?.textContent === 'wicked' && document.querySelector('.detail').textContent.includes('<script>')");
    page.is_accessible("a node that means no good");
    let made = page.run("return [document.querySelectorAll('img, script').length, document.title, document.querySelector('.detail').textContent.includes('result/one')];");
    assert_eq!(made, json!([1, "wicked – edge-agent", false]));
    assert_eq!(page.complaints(), [""; 0]);
    for topic in [
        "presence",
        "identity",
        "health",
        "indication",
        "app/shop",
        "app/long",
        "app/none",
        "result/one",
    ] {
        everybody
            .publish(&format!("edge/v1/wicked/{topic}"), b"", 0, true)
            .unwrap();
    }
    page.wait(LIMIT, "document.querySelector('.detail').textContent.includes('The broker has nothing of this node')");
    page.run("document.querySelector('.detail a').click();");
    page.wait(LIMIT, &counts(NODES.len()));
}

fn can_be_sent_as_an_address(stage: &Stage, page: &mut Browser) {
    let mut other = Browser::open(&address("#/node/pi-01"));
    sign_in(&mut other);
    other.wait(LIMIT, "document.querySelector('h1').textContent === 'pi-01' && document.querySelector('.detail').textContent.includes('Held (pin)')");
    assert_eq!(other.run("return location.hash;"), "#/node/pi-01");
    for dark in [false, true] {
        other.dark(dark);
        other.is_accessible("one node");
    }
    // What somebody has opened stays so while more is told, with his focus in it.
    other.run("const one = document.querySelector('summary'); one.click(); one.focus();");
    let told = other.run("return document.querySelectorAll('.cards .told li').length;");
    stage.command("pi-01", "ping");
    other.wait(
        LIMIT,
        &format!("document.querySelectorAll('.cards .told li').length > {told}"),
    );
    let seen = other
        .run("return [document.querySelector('details').open, document.activeElement.tagName];");
    assert_eq!(seen, json!([true, "SUMMARY"]));
    other.run("const one = document.querySelector('summary'); one.click(); one.blur();");
    other.wait(LIMIT, "!document.body.innerText.includes('being verified')");
    other.size(1200, 620);
    other.picture("fleet-node.png");
    assert_eq!(other.complaints(), [""; 0]);
    page.wait(LIMIT, &counts(NODES.len()));
}

fn says_what_is_lost(stage: &mut Stage, page: &mut Browser) {
    stage.fleet.nodes[1].agent.take().unwrap().kill();
    page.wait(LIMIT, &row_says("pi-02", &["lost"]));
    page.wait(
        LIMIT,
        &format!(
            "{}.querySelector('.lamp').classList.contains('unknown')",
            row("pi-02")
        ),
    );
    stage.fleet.broker.stop();
    page.wait(LIMIT, "!document.querySelector('#banner').hidden && document.querySelector('#banner').textContent.startsWith('Connection lost') && document.querySelector('#link').textContent === 'connection lost'");
    page.is_accessible("a connection that is lost");
    page.wait(LIMIT, &row_says("pi-01", &["online"]));
    stage.fleet.broker.start();
    page.wait(
        LIMIT,
        &format!(
            "document.querySelector('#banner').hidden && {}",
            counts(NODES.len())
        ),
    );
    page.wait(LIMIT, &row_says("pi-02", &["lost"]));
    stage.fleet.nodes[1].start();
    page.wait(LIMIT, &row_says("pi-02", &["online"]));
}

fn is_fine_with_many(stage: &Stage, page: &mut Browser) {
    let load = stage.load(MANY);
    let all = MANY + NODES.len();
    page.wait(LIMIT * 3, &counts(all));
    // From nothing, as who opens the page.
    let mut other = Browser::open(&address(""));
    let begun = Instant::now();
    sign_in(&mut other);
    other.wait(LIMIT, &counts(all));
    figure(
        "until all nodes are known",
        format!("{:.1} s", begun.elapsed().as_secs_f64()),
    );
    let frames = other.run(
        "const list = document.querySelector('.scroller'); const times = []; let [last, most] = [performance.now(), 0];
         for (let step = 1; step <= 200; step++) {
           list.scrollTop = list.scrollHeight * step / 200;
           await new Promise(requestAnimationFrame);
           const now = performance.now();
           times.push(now - last);
           last = now;
           most = Math.max(most, document.querySelectorAll('.canvas .row').length);
         }
         times.sort((a, b) => a - b);
         return [most, times[100], times[190], times[199], performance.memory.usedJSHeapSize / 1e6].map((it) => Math.round(it * 10) / 10);",
    );
    figure(
        "rows at once; median, 95th and longest frame in ms; MB of the script",
        &frames,
    );
    assert!(frames[0].as_f64().unwrap() <= 60.0, "{frames}");
    let typed = other.run(
        "const find = document.querySelector('#find'); const begun = performance.now();
         find.value = 'fleet-0777'; find.dispatchEvent(new Event('input'));
         const rows = document.querySelectorAll('.canvas .row').length;
         return [rows, Math.round(performance.now() - begun)];",
    );
    figure("one node found among them in ms", &typed[1]);
    assert_eq!(typed[0], 1);
    other.fill("#find", "");
    other.wait(
        LIMIT,
        "document.querySelectorAll('.canvas .row').length > 5",
    );
    walks_by_keyboard(&mut other, all);
    other.push("Tiles");
    other.wait(
        LIMIT,
        "document.querySelectorAll('.canvas .tile').length > 5",
    );
    other.is_accessible("many tiles");
    other.push("Table");
    other.run("document.querySelector('.scroller').scrollTop = 0;");
    other.push("LED");
    other.size(1280, 460);
    other.run("await new Promise((done) => setTimeout(done, 600));");
    other.picture("fleet.png");
    load.end();
    other.wait(LIMIT, &counts(NODES.len()));
    page.wait(LIMIT, &counts(NODES.len()));
}

/// From the first node to the last and into it, and every step is where the reader is told that it is.
fn walks_by_keyboard(page: &mut Browser, all: usize) {
    let here = "const row = document.activeElement.closest('.row'); \
        const box = row.getBoundingClientRect(); const list = document.querySelector('.scroller').getBoundingClientRect(); \
        return [Number(row.getAttribute('aria-rowindex')), box.top >= list.top && box.bottom <= list.bottom + 1, document.querySelectorAll('.canvas .row').length];";
    page.push("Node");
    page.run("document.querySelector('.scroller').scrollTop = 0;");
    page.wait(
        LIMIT,
        "document.querySelector('.canvas .row[aria-rowindex=\"2\"]')",
    );
    page.run("document.querySelector('.canvas .row[aria-rowindex=\"2\"] .name').focus();");
    for (key, index) in [
        ("ArrowDown", 3),
        ("ArrowDown", 4),
        ("ArrowUp", 3),
        ("End", all + 1),
    ] {
        page.press(key);
        let seen = page.run(here);
        assert_eq!((&seen[0], &seen[1]), (&json!(index), &json!(true)), "{key}");
        assert!(seen[2].as_u64().unwrap() <= MAX_ROWS, "{key}: {seen}");
    }
    page.wait(
        Duration::from_secs(10),
        "document.activeElement.textContent === 'pi-02'",
    );
    page.press("Enter");
    page.wait(LIMIT, "location.hash.startsWith('#/node/pi-02')");
    page.run("history.back();");
    page.wait(LIMIT, &counts(all));
}
