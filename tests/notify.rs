//! `edge-agent notify` at the end of a pipeline, and a node that tells what it did by itself.

use serde_json::{Value, json};

use crate::double::{Double, Reply};
use crate::drone::fleet::{Fleet, LIMIT};
use crate::gate::ask;
use crate::support::cluster::{Behaviour, sha};

/// What a step of Drone has, as far as a message is made of it.
const BUILD: [(&str, &str); 5] = [
    ("DRONE_BUILD_STATUS", "success"),
    ("DRONE_BUILD_LINK", "https://drone.example/acme/shop/42"),
    (
        "DRONE_COMMIT_SHA",
        "25a5d246488dfd358d1e0de9aaf92778210d66fa",
    ),
    ("DRONE_DEPLOY_TO", "kitchen"),
    ("DRONE_REPO_NAME", "shop"),
];

fn with<'v>(more: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
    let mut variables = BUILD.to_vec();
    variables.extend(more);
    variables
}

#[tokio::test]
async fn the_last_step_of_a_pipeline_tells_a_chat() {
    let chat = Double::start(|_, _| Reply::new(200, "text/html", "ok")).await;
    let webhook = format!("{}/services/hunter2", chat.url());
    let variables = with(&[("SLACK_WEBHOOK", &webhook)]);
    let arguments = ["notify", "--slack", "env:SLACK_WEBHOOK", "--strict"];
    let answer = ask(&arguments, &variables).await;
    assert_eq!(answer.code, Some(0), "{}{}", answer.output, answer.errors);
    let [seen] = chat.seen().try_into().unwrap();
    assert_eq!(seen.method, "POST");
    let text = seen.json()["text"].as_str().unwrap().to_owned();
    assert_eq!(
        text,
        ":white_check_mark: shop 25a5d246488d: rollout on kitchen succeeded"
    );
}

#[tokio::test]
async fn who_cannot_be_told_fails_nothing_unless_that_was_asked_for() {
    let closed = Double::start(|_, _| Reply::new(404, "text/plain", "no_service")).await;
    let webhook = format!("{}/services/hunter2", closed.url());
    let variables = with(&[("HOOK", &webhook)]);
    for (strict, code) in [(false, 0), (true, 1)] {
        // A secret that Drone does not have is an empty variable.
        let mut arguments = vec!["notify", "--slack", "env:HOOK", "--webhook", "env:NONE"];
        arguments.extend(strict.then_some("--strict"));
        let answer = ask(&arguments, &variables).await;
        assert_eq!(
            answer.code,
            Some(code),
            "{}{}",
            answer.output,
            answer.errors
        );
        for why in [
            "slack: not told: it answers 404: no_service",
            "json: not told: the variable NONE",
        ] {
            assert!(answer.errors.contains(why), "{}", answer.errors);
        }
        assert!(!answer.errors.contains("hunter2"), "{}", answer.errors);
    }
}

#[tokio::test]
async fn wrong_arguments_are_2_and_a_secret_among_them_is_not_repeated() {
    let secret = "https://hooks.example/hunter2";
    for (arguments, why) in [
        (&["notify"][..], "nobody is to be told"),
        (
            &["notify", "--webhook", "env:A", "--result", "/dev/zero"],
            "--result",
        ),
        (
            &["notify", "--gitlab", "https://gitlab.example"],
            "--gitlab-project",
        ),
    ] {
        let answer = ask(arguments, &with(&[])).await;
        assert_eq!(
            answer.code,
            Some(2),
            "{why}: {}{}",
            answer.output,
            answer.errors
        );
        assert!(answer.errors.contains(why), "{why}: {}", answer.errors);
    }
    let answer = ask(&["notify", "--slack", secret], &with(&[])).await;
    assert_eq!(answer.code, Some(2));
    assert!(answer.errors.contains("env:NAME"), "{}", answer.errors);
    let answer = ask(&["notify", "--slack", "env:A"], &[]).await;
    assert!(answer.errors.contains("--status"), "{}", answer.errors);
}

#[tokio::test]
async fn what_the_plugin_leaves_is_what_the_message_tells() {
    let fleet = Fleet::start(&["pi-01", "pi-02"]).await;
    fleet.push(&["pi-01"], 2, Behaviour::Healthy);
    fleet.push(&["pi-02"], 2, Behaviour::Degraded);
    let file = fleet.path("result.json");
    let mut step = fleet.step("promote", 2);
    step.set("PLUGIN_RESULT_FILE", &file);
    let run = step.run().await;
    assert_eq!(run.code, Some(1), "{run}");
    let result: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (&result["v"], &result["outcome"]),
        (&json!(1), &json!("failed"))
    );
    assert_eq!(result["nodes"][0]["outcome"], "succeeded");
    assert!(!result.to_string().contains(fleet.secret()));

    let arguments = ["notify", "--result", &file, "--dry-run"];
    let answer = ask(&arguments, &with(&[])).await;
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    let title = format!("shop {}: rollout on kitchen failed", &sha(2)[..12]);
    assert!(answer.output.contains(&title), "{}", answer.output);
    for part in ["NODE", "pi-01  succeeded", "pi-02  failed", "Degraded"] {
        assert!(answer.output.contains(part), "{part}: {}", answer.output);
    }
}

#[tokio::test]
async fn a_node_that_rolls_back_by_itself_tells_people() {
    let chat = Double::start(|_, count| Reply::status(if count == 0 { 503 } else { 200 })).await;
    let directory = tempfile::tempdir().unwrap();
    let url_file = directory.path().join("url");
    std::fs::write(&url_file, chat.url()).unwrap();
    let settings = format!(
        "[applications.\"*\"]\nauto_rollback = true\n[notify.team]\nkind = \"json\"\n\
         url_file = \"{}\"\non = [\"rolled_back\"]\n",
        url_file.display()
    );
    let fleet = Fleet::start_with(&["pi-01"], &settings).await;
    fleet.push(&["pi-01"], 2, Behaviour::Degraded);
    let told = tokio::time::timeout(LIMIT, async {
        while chat.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
    });
    told.await.expect("people are told");
    let seen = chat.seen();
    let message = seen[1].json();
    assert_eq!(seen[0].json(), message, "it was busy at first");
    assert_eq!(
        message["title"],
        "shop: the node rolled back by itself on pi-01"
    );
    assert_eq!(
        (&message["outcome"], &message["where"]),
        (&json!("succeeded"), &json!("pi-01"))
    );
    assert_eq!(message["revision"], sha(1).as_str());
    assert!(
        message["text"]
            .as_str()
            .unwrap()
            .contains("shop is Degraded"),
        "{message}"
    );
}
