use std::collections::BTreeMap;

use super::*;

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";

/// The variables that a step of Drone has, with others in place of some or beside them.
fn drone(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = [
        ("DRONE_BUILD_CREATED", "1795549434"),
        ("DRONE_BUILD_EVENT", "promote"),
        ("DRONE_BUILD_LINK", "https://drone.example/acme/shop/7"),
        ("DRONE_BUILD_STATUS", "success"),
        ("DRONE_COMMIT_AUTHOR_NAME", "Ada Dev"),
        ("DRONE_COMMIT_BRANCH", "main"),
        ("DRONE_COMMIT_LINK", ""),
        ("DRONE_COMMIT_MESSAGE", "Sell more"),
        ("DRONE_COMMIT_SHA", SHA),
        ("DRONE_DEPLOY_TO", "production"),
        ("DRONE_REPO_LINK", "https://gitlab.example/acme/shop"),
        ("DRONE_REPO_NAME", "shop"),
        ("DRONE_TAG", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    all
}

fn message(args: &ContentArgs, variables: &BTreeMap<String, String>) -> anyhow::Result<Message> {
    let variable = |name: &str| variables.get(name).cloned().filter(|it| !it.is_empty());
    let now = Timestamp::from_second(1_795_549_434 + 125).unwrap();
    args.message(&variable, now)
}

fn written(text: &str) -> (tempfile::TempDir, ContentArgs) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("result.json");
    std::fs::write(&path, text).unwrap();
    let args = ContentArgs {
        result: Some(path),
        ..ContentArgs::default()
    };
    (directory, args)
}

const RESULT: &str = r#"{"v":1,"outcome":"failed","action":"rollback","application":"till",
    "revision":"0123456789abcdef0123456789abcdef01234567","later":true,"forged":{"pi-02":3},"nodes":[
    {"node":"pi-01","outcome":"succeeded","message":"healthy","revision":null,"seconds":12.5,"undoes":false},
    {"node":"pi-02","outcome":"no answer","message":"it is offline","revision":null,"seconds":null,"undoes":true}]}"#;

#[test]
fn the_variables_of_drone_say_what_where_which_who_and_how_long() {
    let told = message(&ContentArgs::default(), &drone(&[])).unwrap();
    assert_eq!(told.outcome, Outcome::Succeeded);
    assert_eq!(
        told.title,
        "shop 25a5d246488d: rollout on production succeeded"
    );
    assert_eq!(
        told.revision_link.as_deref(),
        Some(format!("https://gitlab.example/acme/shop/-/commit/{SHA}").as_str())
    );
    assert_eq!(told.reference.as_deref(), Some("main"));
    assert_eq!(told.who.as_deref(), Some("Ada Dev"));
    assert_eq!(told.seconds, Some(125));
    assert_eq!(told.text.as_deref(), Some("Sell more"));

    let failed = drone(&[
        ("DRONE_BUILD_STATUS", "failure"),
        ("DRONE_BUILD_EVENT", "rollback"),
        ("DRONE_BUILD_TRIGGER", "grace"),
        ("DRONE_FAILED_STEPS", "rollout"),
    ]);
    let told = message(&ContentArgs::default(), &failed).unwrap();
    assert_eq!(
        told.title,
        "shop 25a5d246488d: rollback on production failed"
    );
    assert_eq!(told.who.as_deref(), Some("grace"));
    assert!(told.text.unwrap().starts_with("Failed: rollout"));
    let pushed = drone(&[("DRONE_BUILD_TRIGGER", "@hook")]);
    let told = message(&ContentArgs::default(), &pushed).unwrap();
    assert_eq!(told.who.as_deref(), Some("Ada Dev"));
}

#[test]
fn the_result_of_the_step_counts_more_than_the_build_and_arguments_most() {
    let (_directory, args) = written(RESULT);
    let told = message(&args, &drone(&[])).unwrap();
    assert_eq!(
        told.outcome,
        Outcome::Failed,
        "although the build is well so far"
    );
    assert_eq!(
        told.title,
        "till 0123456789ab: rollback on production failed"
    );
    assert!(
        told.revision_link.unwrap().ends_with("01234567"),
        "not the commit of the build"
    );
    assert!(told.text.unwrap().contains("in the names of pi-02"));
    let outcomes: Vec<_> = told.nodes.iter().map(|it| it.outcome.as_str()).collect();
    assert_eq!(outcomes, ["succeeded", "undo: no answer"]);

    let args = ContentArgs {
        status: Some(Status::Success),
        title: Some("Done".to_owned()),
        ..args
    };
    let told = message(&args, &BTreeMap::new()).unwrap();
    assert_eq!(
        (told.outcome, told.title.as_str()),
        (Outcome::Succeeded, "Done")
    );
}

#[test]
fn the_commit_can_stand_in_a_file_that_need_not_be_there() {
    let (directory, args) = written(RESULT);
    let file = directory.path().join("source");
    let args = ContentArgs {
        revision_file: Some(file.clone()),
        ..args
    };
    let told = message(&args, &drone(&[])).unwrap();
    assert!(
        told.revision.unwrap().ends_with("01234567"),
        "of the result"
    );
    std::fs::write(&file, format!("{SHA}\n")).unwrap();
    let told = message(&args, &drone(&[])).unwrap();
    assert_eq!(told.revision.as_deref(), Some(SHA));
    std::fs::write(&file, "\n").unwrap();
    assert!(message(&args, &drone(&[])).unwrap().revision.is_some());
}

#[test]
fn what_cannot_be_told_is_a_fault() {
    let nothing = message(&ContentArgs::default(), &BTreeMap::new()).unwrap_err();
    assert!(nothing.to_string().contains("--status"), "{nothing}");
    for (text, why) in [
        ("{", "no result"),
        (
            r#"{"v":2,"outcome":"","action":"","application":"","revision":null,"nodes":[]}"#,
            "version 2",
        ),
    ] {
        let (_directory, args) = written(text);
        let error = message(&args, &drone(&[])).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
    // A step that came to no result has failed.
    let (directory, args) = written("");
    std::fs::remove_file(directory.path().join("result.json")).unwrap();
    let told = message(&args, &BTreeMap::new()).unwrap();
    assert_eq!(told.outcome, Outcome::Failed);
}

#[test]
fn a_reason_is_told_when_it_failed_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reason");
    let args = ContentArgs {
        reason_file: Some(path.clone()),
        ..ContentArgs::default()
    };
    let failed = drone(&[
        ("DRONE_BUILD_STATUS", "failure"),
        ("DRONE_FAILED_STEPS", "gate"),
    ]);
    let text = |variables| message(&args, variables).unwrap().text.unwrap();
    assert_eq!(text(&failed), "Failed: gate\nSell more");
    std::fs::write(&path, "gate not passed: no such image\n").unwrap();
    let why = "Failed: gate\ngate not passed: no such image\nSell more";
    assert_eq!(text(&failed), why);
    assert_eq!(text(&drone(&[])), "Sell more");
}
