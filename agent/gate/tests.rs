//! The gate against servers in the process: a registry with GitLab's server of tokens, and SonarQube.

pub(crate) mod double;
mod registry;
mod source;
mod trouble;

use std::time::Duration;

use edge_agent_core::gate::digest::Digest;
use edge_agent_core::gate::policy::Policy;
use edge_agent_core::gate::report::{Check, Outcome, Report, Verdict};
use edge_agent_core::gate::signature::ImageKey;

use super::credentials::{Credentials, Login};
use super::secret::Secret;
use super::web::Timing;
use super::{Settings, judge};
use registry::{PASSWORD, Registry, USER};

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";

/// Quick, so that nothing is waited for; long enough for a machine that is busy.
pub(crate) const QUICK: Timing = Timing {
    connect: Duration::from_secs(10),
    request: Duration::from_secs(10),
    min_wait: Duration::from_millis(5),
    max_wait: Duration::from_millis(20),
};

fn settings(images: Vec<String>) -> Settings {
    Settings {
        images,
        policy: Policy::default(),
        platform: "arm64".parse().unwrap(),
        revision: Some(SHA.to_owned()),
        credentials: Credentials::default(),
        plain_http: Vec::new(),
        keys: Vec::new(),
        sonarqube: None,
        lenient: false,
        timeout: Duration::from_secs(30),
        ca_file: None,
        timing: QUICK,
    }
}

/// Settings for images of a registry, with its deploy token.
fn with_login(registry: &Registry, digests: &[Digest]) -> Settings {
    let images = digests.iter().map(|it| registry.name(it)).collect();
    Settings {
        credentials: login(registry, PASSWORD),
        ..settings(images)
    }
}

fn login(registry: &Registry, password: &str) -> Credentials {
    Credentials::one(
        &registry.registry.host,
        Login {
            username: USER.to_owned(),
            password: Secret::new(password).unwrap(),
        },
    )
}

fn find<'r>(report: &'r Report, name: &str) -> &'r Check {
    let mut checks = report.checks.iter();
    let found = checks.find(|it| it.name == name);
    found.unwrap_or_else(|| panic!("no {name}:\n{}", report.table()))
}

/// Runs the gate, which must not pass because of one check.
async fn refused(settings: &Settings, name: &str, why: &str) -> Report {
    let report = judge(settings).await.unwrap();
    let check = find(&report, name);
    assert_eq!(check.verdict, Verdict::Failed, "{}", report.table());
    assert!(check.reason.contains(why), "{}", report.table());
    assert_eq!(report.outcome(), Outcome::Failed, "{}", report.table());
    assert!(!report.table().contains(PASSWORD), "{}", report.table());
    report
}

#[tokio::test]
async fn an_image_of_an_index_passes_and_the_password_goes_to_the_server_of_tokens_only() {
    let registry = Registry::start().await;
    let arm = registry.put_image("arm64", Some(SHA));
    let other = registry.put_image("amd64", None);
    let index = registry.put_index(&[("amd64", other), ("arm64", arm)]);
    let key = registry.sign(&index, &index);
    let settings = Settings {
        keys: vec![ImageKey::from_pem(&key).unwrap()],
        ..with_login(&registry, &[index])
    };
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    let names: Vec<_> = report.checks.iter().map(|it| it.name).collect();
    assert_eq!(
        names,
        ["policy", "image", "architecture", "revision", "signature"]
    );
    for seen in registry.registry.seen() {
        let shown = seen.header("authorization").unwrap_or("Bearer none");
        assert!(shown.starts_with("Bearer "), "{seen:?}");
    }
    assert_eq!(registry.tokens.seen().len(), 1, "one token for the image");
}

#[tokio::test]
async fn without_a_commit_given_the_image_names_it() {
    let registry = Registry::start().await;
    let image = registry.put_image("arm64", Some(SHA));
    let mut settings = with_login(&registry, &[image]);
    settings.revision = None;
    let report = judge(&settings).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    assert_eq!(report.revision.as_deref(), Some(SHA));

    let nameless = registry.put_image("arm64", None);
    let mut settings = with_login(&registry, &[nameless]);
    settings.revision = None;
    refused(&settings, "revision", "no label").await;
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    let registry = Registry::start().await;
    let one = |digest: Digest| with_login(&registry, &[digest]);

    let missing = one(Digest::of(b"never pushed"));
    let report = refused(&missing, "image", "nothing under this digest").await;
    assert_eq!(find(&report, "revision").verdict, Verdict::Skipped);

    let amd = registry.put_image("amd64", Some(SHA));
    refused(&one(amd), "architecture", "made for linux/amd64").await;
    let index = registry.put_index(&[("amd64", amd)]);
    refused(&one(index), "architecture", "none for linux/arm64").await;

    let older = registry.put_image("arm64", Some("0123456789012345678901234567890123456789"));
    refused(&one(older), "revision", "built from 0123").await;

    let lost = registry.put_manifest(&serde_json::json!({
        "schemaVersion": 2, "config": {"digest": Digest::of(b"lost").to_string()}, "layers": []
    }));
    refused(&one(lost), "architecture", "does not have").await;

    let changed = Digest::of(b"what was pushed");
    let other = super::tests::double::Reply::new(200, "text/html", "<html>");
    registry.put("manifests", &changed.to_string(), other);
    refused(&one(changed), "image", "another digest").await;

    let good = registry.put_image("arm64", Some(SHA));
    let mut wrong_place = one(good);
    wrong_place.policy = Policy::new(&["registry.example".to_owned()]).unwrap();
    let report = refused(&wrong_place, "policy", "only registry.example").await;
    assert_eq!(find(&report, "image").verdict, Verdict::Passed);

    let by_tag = settings(vec![format!("{}/acme/shop:latest", registry.registry.host)]);
    let report = refused(&by_tag, "policy", "by tag").await;
    assert_eq!(find(&report, "image").verdict, Verdict::Skipped);
    refused(
        &settings(vec!["Not An Image".to_owned()]),
        "policy",
        "names no image",
    )
    .await;
}

#[tokio::test]
async fn a_signature_must_be_there_by_a_known_key_and_of_the_image() {
    let registry = Registry::start().await;
    let image = registry.put_image("arm64", Some(SHA));
    let other = registry.put_image("arm64", None);
    let signed_by = |pem: &str| Settings {
        keys: vec![ImageKey::from_pem(pem).unwrap()],
        ..with_login(&registry, &[image])
    };
    let elsewhere = registry.sign(&other, &other);
    refused(&signed_by(&elsewhere), "signature", "not signed").await;
    let moved = registry.sign(&other, &image);
    refused(&signed_by(&moved), "signature", "another image").await;
    let good = registry.sign(&image, &image);
    let report = judge(&signed_by(&good)).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Passed, "{}", report.table());
    refused(&signed_by(&moved), "signature", "another key").await;
}

#[tokio::test]
async fn who_may_not_read_is_told_what_to_do() {
    let registry = Registry::start().await;
    let image = registry.put_image("arm64", Some(SHA));
    let nobody = settings(vec![registry.name(&image)]);
    refused(&nobody, "image", "without a login").await;
    let mut expired = with_login(&registry, &[image]);
    expired.credentials = login(&registry, "old");
    refused(&expired, "image", "expired").await;
    // The answer of nobody may say "no answer": it would be let in by a lenient gate.
    expired.lenient = true;
    refused(&expired, "image", "expired").await;
}
