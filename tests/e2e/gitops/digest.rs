//! The steps `image` and `revision` of the pipelines to copy, on a real repository: the digest that GitLab
//! CI has sent comes into the environment repository, a promote brings back what a build had, and a
//! rollback finds its commit. What stands between them, the gate, is tried in `tests/drone/pipelines.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Args;
use super::super::support::drone::build::Build;
use super::super::support::drone::pipeline::Pipeline;
use super::super::support::drone::runner::Runner;
use super::{COMMIT, held};
use crate::git::git;

const ENVIRONMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gitops/environment");
const PIPELINES: [&str; 2] = [
    include_str!("../../../config/gitops/drone/docker/.drone.yml"),
    include_str!("../../../config/gitops/drone/exec/.drone.yml"),
];
const IMAGE: &str = "apps/shop/image/kustomization.yaml";

/// The environment repository, and what Drone has beside it.
struct Desk {
    folder: tempfile::TempDir,
    steps: Pipeline,
}

impl Desk {
    fn new(pipeline: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        begin(folder.path());
        let text = pipeline.replace(
            "https://gitlab.example/acme/environments.git",
            &path("origin").display().to_string(),
        );
        let mut pipelines = Pipeline::read(&text).unwrap();
        assert_eq!(pipelines.len(), 1);
        let mut steps = pipelines.remove(0);
        steps
            .steps
            .retain(|step| ["image", "revision"].contains(&step.name.as_str()));
        Self { folder, steps }
    }

    fn origin(&self) -> PathBuf {
        self.folder.path().join("origin")
    }

    /// Runs the steps for a build of [`COMMIT`].
    fn run(
        &self,
        number: u64,
        event: &str,
        parent: u64,
        digest: Option<&str>,
    ) -> (bool, String, String) {
        self.run_for(COMMIT, number, event, parent, digest)
    }

    /// Runs the steps for a build; returns whether it held, what it said, and the revision that it found.
    fn run_for(
        &self,
        commit: &str,
        number: u64,
        event: &str,
        parent: u64,
        digest: Option<&str>,
    ) -> (bool, String, String) {
        let mut build = Build::pushed(number, commit);
        event.clone_into(&mut build.event);
        build.parent = parent;
        let digest = digest.map(|digest| ("IMAGE_DIGEST".to_owned(), digest.to_owned()));
        build.parameters = digest.into_iter().collect();
        let workspace = self.folder.path().join(format!("build-{number}"));
        fs::create_dir(&workspace).unwrap();
        let secrets = BTreeMap::from([("environment_token".to_owned(), "token".to_owned())]);
        let runner = Runner {
            repository: "acme/shop",
            secrets: &secrets,
            images: &BTreeMap::new(),
            workspace: &workspace,
            logs: workspace.join("logs"),
        };
        runner.run(&self.steps, &mut build);
        let read = |name: &str| fs::read_to_string(workspace.join(name)).unwrap_or_default();
        let says = read("logs/image.log") + &read("logs/revision.log");
        let revision = read("rollout/revision");
        if build.status == "success" {
            // What the gate is asked about.
            let image = read("rollout/image");
            assert!(
                image.starts_with("registry.gitlab.example/acme/shop@sha256:"),
                "{image}"
            );
            assert_eq!(read("rollout/source").trim().len(), 40);
            let config = read("rollout/environments/.git/config");
            assert!(!config.contains("token\""), "{config}");
        }
        (build.status == "success", says, revision.trim().to_owned())
    }
}

/// Makes an environment repository of what is to be copied: the folder `work`, where files are changed, and
/// `origin`, where they are pushed to. Returns the first.
pub(super) fn begin(folder: &Path) -> PathBuf {
    let work = folder.join("work");
    let mut copy = Command::new("cp");
    copy.args(["-r", ENVIRONMENT]).arg(&work);
    held("cp", &copy.output().unwrap());
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "--message", "begin"]);
    git(folder, &["clone", "--quiet", "--bare", "work", "origin"]);
    work
}

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

pub(super) fn suite(_: &Args) {
    for pipeline in PIPELINES {
        story(&Desk::new(pipeline));
    }
}

fn story(desk: &Desk) {
    let head = || git(&desk.origin(), &["rev-parse", "main"]);
    let begin = head();

    let (held, says, first) = desk.run(41, "custom", 0, Some(&digest("a")));
    assert!(held, "{says}");
    assert_eq!(first, head());
    let changed = git(&desk.origin(), &["diff", "--name-only", &begin, "main"]);
    assert_eq!(changed, IMAGE, "the digest and nothing else");
    let written = git(&desk.origin(), &["show", &format!("main:{IMAGE}")]);
    assert!(
        written.contains(&format!("digest: {}", digest("a"))),
        "{written}"
    );
    // The commit that GitLab CI has built it from: what the gate holds the image against.
    assert!(
        written.contains(&format!("image.revision: \"{COMMIT}\"")),
        "{written}"
    );
    let message = git(&desk.origin(), &["log", "-1", "--format=%B", "main"]);
    assert!(
        message.ends_with("\nDrone-Build: acme/shop 41"),
        "{message}"
    );

    // Its push is refused once, as when somebody else was first.
    let hook = desk.origin().join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\nrm \"$0\"\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let newer = "f".repeat(40);
    let (held, says, second) = desk.run_for(&newer, 42, "custom", 0, Some(&digest("b")));
    assert!(held, "{says}");
    assert!(!hook.exists(), "the push was not refused");
    assert_eq!(second, head());

    // Once more what build 41 had brought: a new commit with its image.
    let (held, says, again) = desk.run(43, "promote", 41, None);
    assert!(held, "{says}");
    assert_eq!(again, head());
    let written = git(&desk.origin(), &["show", &format!("main:{IMAGE}")]);
    assert!(written.contains(&digest("a")), "{written}");
    assert!(
        written.contains(COMMIT) && !written.contains(&newer),
        "{written}"
    );

    // Back to build 42: its very commit, and git stays as it is.
    let (held, says, back) = desk.run(44, "rollback", 42, None);
    assert!(held, "{says}");
    assert_eq!((back, head()), (second, again.clone()));

    for (number, event, parent, digest, why) in [
        (45, "custom", 0, Some("sha256:$(id)"), "is no digest"),
        (46, "custom", 0, None, "is no digest"),
        (47, "promote", 7, None, "build 7 has deployed nothing"),
        (48, "rollback", 7, None, "build 7 has deployed nothing"),
    ] {
        let (held, says, revision) = desk.run(number, event, parent, digest);
        assert!(!held && says.contains(why), "{event}: {says}");
        assert_eq!((revision.as_str(), head()), ("", again.clone()), "{event}");
    }
}
