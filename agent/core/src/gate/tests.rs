mod signing;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::challenge::Challenge;
use super::digest::Digest;
use super::image::{ImageConfig, Manifest, Platform, choose, judge_revision, revision};
use super::policy::Policy;
use super::reference::Reference;
use super::report::{Check, Outcome, Report, Verdict};
use super::signature::{ImageKey, judge};
use super::sonarqube::{self, Analyses, Tasks};
use super::{is_commit, quoted};

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";

fn reference(text: &str) -> Result<Reference, String> {
    text.parse()
}

#[test]
fn names_of_images_are_read_as_runtimes_read_them() {
    let digest = Digest::of(b"x");
    let cases = [
        ("alpine", "docker.io", "library/alpine", None, false),
        (
            "acme/shop:1.2",
            "docker.io",
            "acme/shop",
            Some("1.2"),
            false,
        ),
        ("localhost/shop", "localhost", "shop", None, false),
        (
            "r.example/a/b-c/d__e:v1",
            "r.example",
            "a/b-c/d__e",
            Some("v1"),
            false,
        ),
        (
            "127.0.0.1:5019/pi/agent",
            "127.0.0.1:5019",
            "pi/agent",
            None,
            true,
        ),
        ("[::1]:5000/x:y", "[::1]:5000", "x", Some("y"), true),
        ("Registry/x", "Registry", "x", None, false),
    ];
    for (text, registry, repository, tag, with_digest) in cases {
        let text = match with_digest {
            true => format!("{text}@{digest}"),
            false => text.to_owned(),
        };
        let image = reference(&text).unwrap();
        assert_eq!(
            (
                image.registry.as_str(),
                image.repository.as_str(),
                image.tag.as_deref()
            ),
            (registry, repository, tag),
            "{text}"
        );
        assert_eq!(image.digest, with_digest.then_some(digest), "{text}");
    }
    assert_eq!(reference("alpine").unwrap().host(), "registry-1.docker.io");
}

#[test]
fn what_names_no_image_is_told_why() {
    let long = format!("r.example/{}", "a".repeat(250));
    let cases = [
        ("", "path"),
        ("r.example/", "path"),
        ("r.example/Shop", "path"),
        ("r.example/a//b", "path"),
        ("r.example/a..b", "path"),
        ("r.example/../b", "path"),
        ("r.example/-a", "path"),
        ("r.example/a:", "tag"),
        ("r.example/a:.x", "tag"),
        ("r.example:99999/a", "registry"),
        ("r..example/a", "registry"),
        ("[::1/a", "registry"),
        ("a@sha256:12", "64"),
        ("a@sha512:12", "sha256:"),
        ("https://r.example/a", "names no image"),
        (long.as_str(), "255"),
    ];
    for (text, why) in cases {
        let error = reference(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let upper = format!("a@sha256:{}", "A".repeat(64));
    assert!(
        reference(&upper).is_err(),
        "registries compare digests as texts"
    );
}

#[test]
fn the_policy_asks_for_a_digest_a_known_registry_and_no_latest() {
    let digest = Digest::of(b"x");
    let judge = |allowed: &[&str], image: &str| {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        Policy::new(&allowed)
            .unwrap()
            .judge(&reference(image).unwrap())
    };
    let told = |allowed: &[&str], image: String| judge(allowed, &image).unwrap_err();
    assert!(told(&[], "r.example/a:1".into()).contains("by tag"));
    assert!(told(&[], format!("r.example/a:latest@{digest}")).contains("latest"));
    assert!(judge(&[], &format!("a:1@{digest}")).is_ok());
    let acme = ["r.example/acme/", "docker.io"];
    for inside in ["r.example/acme/shop", "r.example/acme/a/b", "shop"] {
        assert!(
            judge(&acme, &format!("{inside}@{digest}")).is_ok(),
            "{inside}"
        );
    }
    for outside in [
        "r.example/acme-evil/shop",
        "r.example/shop",
        "evil/r.example/acme/x",
        "r.example:1/acme/x",
    ] {
        let expected = outside.starts_with("evil");
        assert_eq!(
            judge(&acme, &format!("{outside}@{digest}")).is_ok(),
            expected,
            "{outside}"
        );
    }
    assert!(Policy::new(&["https://r.example".to_owned()]).is_err());
    assert!(
        Policy::new(&["acme".to_owned()]).is_err(),
        "that is a path of Docker Hub"
    );
}

#[test]
fn a_challenge_says_where_the_token_is() {
    // As GitLab's registry writes it.
    let header = r#"Bearer realm="https://gitlab.example/jwt/auth",service="container_registry",scope="repository:acme/shop:pull",error="insufficient_scope""#;
    let Some(Challenge::Bearer {
        realm,
        service,
        scope,
        error,
    }) = Challenge::parse(header)
    else {
        panic!("no bearer");
    };
    assert_eq!(realm, "https://gitlab.example/jwt/auth");
    assert_eq!(service.as_deref(), Some("container_registry"));
    assert_eq!(scope.as_deref(), Some("repository:acme/shop:pull"));
    assert_eq!(error.as_deref(), Some("insufficient_scope"));
    assert_eq!(
        Challenge::parse("basic realm=\"x\""),
        Some(Challenge::Basic)
    );
    for none in ["", "Bearer", "Bearer service=\"x\"", "Negotiate abc"] {
        assert_eq!(Challenge::parse(none), None, "{none}");
    }
    let odd = Challenge::parse(r#"BEARER  Scope="a,b=\"c\"" , realm=https://x , service=y"#);
    let Some(Challenge::Bearer { realm, scope, .. }) = odd else {
        panic!("no bearer")
    };
    assert_eq!(
        (realm.as_str(), scope.as_deref()),
        ("https://x", Some("a,b=\"c\""))
    );
}

fn index(platforms: &[(&str, &str, Option<&str>)]) -> Vec<u8> {
    let manifests: Vec<_> = platforms
        .iter()
        .map(|(os, architecture, variant)| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(format!("{os}{architecture}{variant:?}").as_bytes()).to_string(),
                "size": 1,
                "platform": {"os": os, "architecture": architecture, "variant": variant},
            })
        })
        .collect();
    serde_json::json!({"schemaVersion": 2, "manifests": manifests})
        .to_string()
        .into_bytes()
}

#[test]
fn an_index_gives_the_image_of_the_platform() {
    let chosen = |platforms: &[(&str, &str, Option<&str>)], wanted: &str| {
        let Manifest::Index { manifests, .. } = Manifest::parse(&index(platforms)).unwrap() else {
            panic!("no index");
        };
        let wanted: Platform = wanted.parse().unwrap();
        choose(&manifests, &wanted).map(|it| it.platform.clone().unwrap().to_string())
    };
    let many = [
        ("unknown", "unknown", None),
        ("linux", "amd64", None),
        ("linux", "arm64", Some("v8")),
        ("linux", "arm", Some("v6")),
        ("linux", "arm", Some("v7")),
    ];
    assert_eq!(chosen(&many, "arm64").unwrap(), "linux/arm64/v8");
    assert_eq!(chosen(&many, "linux/arm64/v8").unwrap(), "linux/arm64/v8");
    assert_eq!(chosen(&many, "arm/v7").unwrap(), "linux/arm/v7");
    let error = chosen(&many, "riscv64").unwrap_err();
    assert!(
        error.contains("linux/amd64") && !error.contains("unknown"),
        "{error}"
    );
    assert!(chosen(&[("windows", "arm64", None)], "arm64").is_err());
}

#[test]
fn a_document_that_can_be_read_both_ways_is_neither() {
    let d = Digest::of(b"c");
    let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{{"digest":"{d}"}}}}"#);
    let docker1 = r#"{"schemaVersion":1,"name":"x"}"#;
    for text in [both.as_str(), docker1, "{}", "[]", "", "<html>"] {
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
    }
    let image =
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{d}","size":2}},"layers":[]}}"#);
    assert!(matches!(
        Manifest::parse(image.as_bytes()),
        Ok(Manifest::Image { .. })
    ));
}

#[test]
fn the_revision_is_the_label_before_an_annotation() {
    let config = format!(
        r#"{{"architecture":"arm64","os":"linux","config":{{"Labels":{{"org.opencontainers.image.revision":"{SHA}"}}}}}}"#
    );
    let config = ImageConfig::parse(config.as_bytes()).unwrap();
    let other = BTreeMap::from([(super::image::REVISION_LABEL.to_owned(), "other".to_owned())]);
    let empty = BTreeMap::new();
    assert_eq!(revision(&config.labels, &[&other]), Some(SHA));
    assert_eq!(revision(&empty, &[&empty, &other]), Some("other"));
    let bare =
        ImageConfig::parse(br#"{"architecture":"arm64","os":"linux","config":{"Labels":null}}"#);
    assert_eq!(revision(&bare.unwrap().labels, &[]), None);

    assert!(judge_revision(Some(SHA), Some(SHA)).is_ok());
    assert!(judge_revision(Some(SHA), None).is_ok());
    let told = |said, wanted| judge_revision(said, wanted).unwrap_err();
    assert!(told(None, Some(SHA)).contains("no label"));
    assert!(told(Some("abc"), Some(SHA)).contains("built from abc"));
    assert!(told(Some("v1.2"), None).contains("no full commit"));
    assert!(is_commit(SHA) && !is_commit(&SHA[..39]) && !is_commit(&SHA.to_uppercase()));
}

#[test]
fn the_analysis_is_that_of_the_revision() {
    let page = |index: usize| {
        format!(
            r#"{{"paging":{{"pageIndex":{index},"pageSize":2,"total":3}},"analyses":[
              {{"key":"A1","date":"2026-11-24T10:00:00+0000","events":[],"revision":"{}"}},
              {{"key":"A2","date":"2026-11-23T10:00:00+0000"}}]}}"#,
            "a".repeat(40)
        )
    };
    let parse = |index, revision: &str| Analyses::parse(page(index).as_bytes(), revision).unwrap();
    assert_eq!(parse(1, &"a".repeat(40)).found.as_deref(), Some("A1"));
    let other = parse(1, SHA);
    assert_eq!(
        (other.found, other.more, other.with_revision, other.total),
        (None, true, 1, 3)
    );
    assert!(!parse(2, SHA).more);
    assert!(Analyses::parse(b"<html>", SHA).unwrap_err().contains("API"));
}

#[test]
fn what_waits_and_what_failed_is_told() {
    let tasks = |json: &str| Tasks::parse(json.as_bytes()).unwrap();
    let waits =
        tasks(r#"{"queue":[{"id":"1","status":"PENDING"},{"id":"2","status":"IN_PROGRESS"}]}"#);
    assert_eq!((waits.pending, waits.failed), (2, None));
    let failed =
        tasks(r#"{"queue":[],"current":{"status":"FAILED","errorMessage":"no space\nleft"}}"#);
    assert_eq!(
        (failed.pending, failed.failed.as_deref()),
        (0, Some("failed: no spaceleft"))
    );
    assert_eq!(
        tasks(r#"{"queue":[],"current":{"status":"SUCCESS"}}"#).failed,
        None
    );
    assert_eq!(tasks("{}").pending, 0);
}

#[test]
fn the_quality_gate_is_told_with_its_conditions() {
    let status = |status: &str| {
        let json = format!(
            r#"{{"projectStatus":{{"status":"{status}","conditions":[
            {{"status":"OK","metricKey":"coverage","comparator":"LT","errorThreshold":"80","actualValue":"90"}},
            {{"status":"ERROR","metricKey":"software_quality_security_rating","comparator":"GT","errorThreshold":"1","actualValue":"5.0"}}]}}}}"#
        );
        sonarqube::judge(json.as_bytes())
    };
    assert!(status("OK").is_ok());
    let error = status("ERROR").unwrap_err();
    assert!(
        error.contains("software_quality_security_rating is 5.0, above 1"),
        "{error}"
    );
    assert!(!error.contains("coverage"), "{error}");
    assert!(status("NONE").unwrap_err().contains("no quality gate"));
    assert!(status("WARN").is_err());
    assert!(sonarqube::judge(b"{}").is_err());
}

fn check(name: &'static str, verdict: Verdict) -> Check {
    Check {
        name,
        subject: format!("r.example/shop@{}", Digest::of(b"x")),
        verdict,
        reason: "because".to_owned(),
    }
}

#[test]
fn it_fails_closed() {
    let outcome = |verdicts: &[Verdict], lenient: bool| {
        let checks = verdicts.iter().map(|it| check("image", *it)).collect();
        let revision = None;
        Report {
            revision,
            checks,
            lenient,
        }
        .outcome()
    };
    use Verdict::{Failed, NoAnswer, Passed, Skipped};
    assert_eq!(outcome(&[Passed, Passed], false), Outcome::Passed);
    assert_eq!(outcome(&[Passed, NoAnswer], false), Outcome::NoAnswer);
    assert_eq!(outcome(&[Passed, NoAnswer], true), Outcome::Passed);
    assert_eq!(outcome(&[NoAnswer, Failed], true), Outcome::Failed);
    assert_eq!(outcome(&[NoAnswer, Failed], false), Outcome::Failed);
    assert_eq!(outcome(&[], true), Outcome::Failed);
    assert_eq!(outcome(&[Skipped], true), Outcome::Failed);
}

#[test]
fn the_table_and_the_line_say_what_failed() {
    let report = Report {
        revision: Some(SHA.to_owned()),
        checks: vec![
            check("policy", Verdict::Passed),
            check("image", Verdict::Failed),
            check("sonarqube", Verdict::NoAnswer),
        ],
        lenient: false,
    };
    expect_test::expect![[r#"
        CHECK      VERDICT    SUBJECT                             REASON
        policy     passed     r.example/shop@sha256:2d711642b726  because
        image      failed     r.example/shop@sha256:2d711642b726  because
        sonarqube  no_answer  r.example/shop@sha256:2d711642b726  because

        gate not passed: image of r.example/shop@sha256:2d711642b726: because; sonarqube of r.example/shop@sha256:2d711642b726: because
    "#]]
    .assert_eq(&report.table());
    assert_eq!(report.json()["outcome"], "failed");
    assert_eq!(report.json()["checks"][2]["verdict"], "no_answer");
    let long = Report {
        checks: vec![Check {
            reason: "x".repeat(5000),
            ..check("image", Verdict::Failed)
        }],
        ..report
    };
    assert!(long.summary().len() < 1000);
}

#[test]
fn what_is_quoted_moves_no_cursor_and_is_short() {
    assert_eq!(quoted("a\x1b[2J\nb"), "a[2Jb");
    assert_eq!(quoted(&"ä".repeat(500)).chars().count(), 201);
}

proptest! {
    #[test]
    fn any_text_is_an_image_or_a_fault(text in ".{0,300}") {
        if let Ok(image) = reference(&text) {
            // What is read is written so that it is read the same again.
            prop_assert_eq!(reference(&image.to_string()), Ok(image));
        }
    }

    #[test]
    fn names_survive_being_written(
        host in "[a-z]{1,8}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?",
        path in "[a-z0-9]{1,5}([._/-][a-z0-9]{1,5}){0,4}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        content in proptest::option::of("[a-z]{0,4}"),
    ) {
        let image = Reference { registry: host, repository: path, tag, digest: content.map(|it| Digest::of(it.as_bytes())) };
        prop_assert_eq!(reference(&image.to_string()), Ok(image));
    }

    #[test]
    fn any_header_is_a_challenge_or_none(text in "((Bearer|Basic) )?.{0,120}") {
        let _ = Challenge::parse(&text);
    }

    #[test]
    fn any_bytes_are_an_answer_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes);
        let _ = ImageConfig::parse(&bytes);
        let _ = Analyses::parse(&bytes, SHA);
        let _ = Tasks::parse(&bytes);
        let _ = sonarqube::judge(&bytes);
        let _ = ImageKey::from_pem(&String::from_utf8_lossy(&bytes));
        prop_assert!(judge(&[], &Digest::of(b""), &bytes, &bytes).is_err());
    }
}
