//! The commands of the guide that say so, typed in their order at a desk: what comes of them is what Drone,
//! the boards and git need.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::argocd::lab::{Kind, Lab};
use super::super::support::drone::program::{SERVER, Server};
use super::super::support::drone::yaml;
use super::super::support::guide::{self, GUIDE};
use super::super::{Args, figure, fleet};
use super::{held, manifests};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const NAME: &str = "gitops_guide";

/// What a person has from elsewhere.
const FILES: [(&str, &str); 8] = [
    ("environment_token", "glpat-environment\n"),
    ("read_token", "glpat-read\n"),
    ("deploy_token", "gldt-read\n"),
    ("mqtt_password", "password\n"),
    ("chat_hook", "https://chat.example/hooks/1\n"),
    (
        "certificates/ca.crt",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    ),
    // As skopeo writes it.
    (
        "config.json",
        r#"{"auths": {"registry.gitlab.yours": {"auth": "dTpw"}}}"#,
    ),
    // As buildah writes it.
    (
        "digest",
        "sha256:5555555555555555555555555555555555555555555555555555555555555555",
    ),
];

pub(super) fn suite(args: &Args) {
    let lab = Lab::get(Kind::Usual, args.lab.as_deref());
    let api = &lab.api;
    let secret = "/api/v1/namespaces/argocd/secrets/environments";
    let parameters = "/api/v1/namespaces/argocd/configmaps/argocd-cmd-params-cm";
    let away = || {
        manifests::away(api);
        api.delete(secret);
        api.delete(parameters);
    };
    away();
    let folder = tempfile::tempdir().unwrap();
    let desk = folder.path().join("desk");
    fs::create_dir_all(desk.join("certificates")).unwrap();
    std::os::unix::fs::symlink(format!("{ROOT}/config"), desk.join("config")).unwrap();
    for (name, content) in FILES {
        fs::write(desk.join(name), content).unwrap();
    }
    fleet::programs(&desk);
    std::os::unix::fs::symlink(
        lab.program("kubectl").join("kubectl"),
        desk.join("bin/kubectl"),
    )
    .unwrap();
    let drone = Server::new(&folder.path().join("drone"));

    let commands = guide::commands(GUIDE).unwrap();
    let ours: Vec<&str> = commands
        .iter()
        .filter(|it| it.suite == Some(NAME))
        .map(|it| it.line)
        .collect();
    for line in &ours {
        let mut command = Command::new("/bin/bash");
        command
            .args(["-e", "-o", "pipefail", "-c", line])
            .current_dir(&desk)
            .env_clear();
        let path = format!("{}:/usr/bin:/bin", desk.join("bin").display());
        let typed = command
            .envs([("PATH", path.as_str()), ("NODE_KEYS", "pi-01=key")])
            .envs(["GIT_AUTHOR", "GIT_COMMITTER"].iter().flat_map(|who| {
                [
                    (format!("{who}_NAME"), "suite"),
                    (format!("{who}_EMAIL"), "suite@example.test"),
                ]
            }))
            .env("HOME", &desk)
            .env("KUBECONFIG", lab.folder.join("kubeconfig"))
            .env(SERVER, drone.folder())
            .output()
            .unwrap();
        held(line, &typed);
        if line.starts_with("kubectl kustomize") {
            renders(&String::from_utf8(typed.stdout).unwrap());
        }
    }
    figure("commands typed", ours.len());

    has_every_secret(&desk, &drone);
    let application = api.get("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop");
    let source = &application["spec"]["source"]["repoURL"];
    assert_eq!(source, "https://gitlab.yours/acme/environments.git");
    let known = api.get(secret);
    let label = &known["metadata"]["labels"]["argocd.argoproj.io/secret-type"];
    assert_eq!(label, "repository");
    assert_eq!(
        known["data"]["url"],
        "aHR0cHM6Ly9naXRsYWIueW91cnMvYWNtZS9lbnZpcm9ubWVudHMuZ2l0"
    );
    let settings = "/api/v1/namespaces/argocd/configmaps/argocd-cm";
    assert_eq!(api.get(settings)["data"]["timeout.reconciliation"], "0s");
    api.merge(settings, &serde_json::json!({"data": null}));
    let data = &api.get(parameters)["data"];
    assert_eq!(data["reposerver.parallelism.limit"], "1");
    let pull = api.get("/api/v1/namespaces/shop/secrets/registry");
    assert_eq!(pull["type"], "kubernetes.io/dockerconfigjson");
    away();
}

/// What a board will get names the images of this GitLab by their digests.
fn renders(text: &str) {
    let documents = yaml::documents(text).unwrap();
    let image = |kind: &str, at: &str| -> Value {
        let document = documents.iter().find(|it| it["kind"] == kind).unwrap();
        document.pointer(at).unwrap().clone()
    };
    let gate = format!(
        "registry.gitlab.yours/acme/edge-agent@sha256:{}",
        "5".repeat(64)
    );
    assert_eq!(image("Pod", "/spec/containers/0/image"), gate);
    let shop = image("Deployment", "/spec/template/spec/containers/0/image");
    assert!(
        shop.as_str()
            .unwrap()
            .starts_with("registry.gitlab.yours/acme/shop@sha256:"),
        "{shop}"
    );
}

/// Every secret that the pipeline asks for is with Drone, and no example is left in it but the broker.
fn has_every_secret(desk: &Path, drone: &Server) {
    let text = fs::read_to_string(desk.join("shop/.drone.yml")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let pipeline = lines.collect::<Vec<_>>().join("\n");
    let secrets = drone.secrets();
    let named = ["from_secret: ", "image_pull_secrets: ["].map(|it| pipeline.split(it).skip(1));
    for part in named.into_iter().flatten() {
        let name = part.split(['}', ']']).next().unwrap();
        assert!(
            secrets.get(name).is_some_and(|it| !it.is_empty()),
            "{name}: {:?}",
            secrets.keys()
        );
    }
    assert!(
        !pipeline.contains("gitlab.example") && !pipeline.contains("registry.example"),
        "{pipeline}"
    );
}
