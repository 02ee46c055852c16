//! Every manifest to copy, before a real API server and the real Argo CD: each is taken by a dry run that
//! knows all fields, and the application comes up as its folder says, gate and all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::argocd::lab::{Kind, Lab};
use super::super::support::drone::yaml;
use super::super::{Args, figure, wait};
use super::digest::begin;
use super::held;
use crate::git::git;
use crate::scenarios::api::{Api, application_path, refresh};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

/// What is YAML and no manifest: kustomize's own files, and a file of K3s.
const OTHERS: [&str; 2] = ["kustomization.yaml", "registries.yaml"];

/// What git is called in the manifests.
const REPOSITORY: &str = "https://gitlab.example/acme/environments.git";

/// The Argo CD of the lab.
const ARGOCD: &str = "github.com/argoproj/argo-cd/v3@v3.5.7";

const NAMESPACE: &str = "/api/v1/namespaces/shop";
const GATE: &str = "/api/v1/namespaces/shop/pods/gate";
const PROJECT: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects/edge";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/shop";

/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(90);

const MERGE: &str = "application/merge-patch+json";

pub(super) fn suite(args: &Args) {
    let lab = Lab::get(Kind::Usual, args.lab.as_deref());
    let api = &lab.api;
    away(api);
    let definition = image_updater(api);
    dry_run(&lab);
    api.delete(&definition);
    argo_reads_its_settings();
    deploys(api);
    away(api);
}

/// Takes away what the manifests make.
pub(super) fn away(api: &Api) {
    let gone = |path: &str| api.find(path).is_none();
    let application = application_path("shop");
    api.delete(&application);
    wait(
        LIMIT,
        "the application to go, with what it has deployed",
        || (gone(&application) && gone(DEPLOYMENT)).then_some(()),
    );
    api.delete(PROJECT);
    api.delete(NAMESPACE);
    wait(LIMIT, "the namespace to go", || {
        gone(NAMESPACE).then_some(())
    });
}

/// The sources of a Go module, as the one who makes it has published them.
fn module(name: &str) -> PathBuf {
    let mut go = Command::new("go");
    let done = go
        .args(["mod", "download", "-json", name])
        .current_dir("/")
        .output();
    let done = done.unwrap();
    held(name, &done);
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    PathBuf::from(told["Dir"].as_str().unwrap())
}

/// Has the API server know what an ImageUpdater is; returns where the definition is.
fn image_updater(api: &Api) -> String {
    let folder =
        module("github.com/argoproj-labs/argocd-image-updater@v1.3.0").join("config/crd/bases");
    let file = fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = fs::read_to_string(file).unwrap();
    let [definition] = yaml::documents(&text).unwrap().try_into().unwrap();
    let path = path(api, &definition);
    api.apply(&path, &definition);
    wait(LIMIT, "the definition to be served", || {
        api.find("/apis/argocd-image-updater.argoproj.io/v1alpha1")
    });
    path
}

/// What its ConfigMaps set is what Argo CD's own manifests read from them.
fn argo_reads_its_settings() {
    let manifests = module(ARGOCD).join("manifests/core-install.yaml");
    let manifests = fs::read_to_string(manifests).unwrap();
    for name in ["argocd-cm", "argocd-cmd-params-cm"] {
        let file = format!("{CONFIG}/gitops/environment/argocd/{name}.yaml");
        let [map] = yaml::documents(&fs::read_to_string(file).unwrap())
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(map["metadata"]["name"], name);
        for key in map["data"].as_object().unwrap().keys() {
            let read = format!("key: {key}\n");
            let by_name = manifests.split(&read).skip(1);
            let reads =
                by_name.filter(|rest| rest.trim_start().starts_with(&format!("name: {name}\n")));
            assert!(reads.count() > 0, "Argo CD reads no {key} from {name}");
        }
    }
}

/// What the overlays come to.
fn overlays(lab: &Lab) -> Vec<(PathBuf, Vec<Value>)> {
    let folder = Path::new(CONFIG).join("gitops/environment/apps/shop/overlays");
    let overlays = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let rendered = overlays.map(|overlay| {
        let mut kustomize = Command::new(lab.program("kustomize").join("kustomize"));
        let done = kustomize.arg("build").arg(&overlay).output().unwrap();
        held("kustomize", &done);
        let documents = yaml::documents(&String::from_utf8(done.stdout).unwrap());
        (overlay, documents.unwrap())
    });
    rendered.collect()
}

/// The API server takes all of it, and would not take a field that it does not know.
fn dry_run(lab: &Lab) {
    let api = &lab.api;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    api.apply(NAMESPACE, &namespace);
    let read = |file: PathBuf| {
        let documents = yaml::documents(&fs::read_to_string(&file).unwrap());
        (file, documents.unwrap())
    };
    let folders = ["k3s", "gitops/environment"].map(|folder| Path::new(CONFIG).join(folder));
    let files = folders
        .iter()
        .flat_map(|folder| manifests(folder))
        .map(read);
    let mut taken = 0;
    for (file, documents) in files.chain(overlays(lab)) {
        for document in documents {
            let (status, answer) = would_apply(api, &document);
            assert!(status < 300, "{}: {answer}", file.display());
            taken += 1;
            let mut misspelt = document;
            misspelt["spce"] = json!({});
            // 400 or, for what Kubernetes itself has, 500.
            let (status, answer) = would_apply(api, &misspelt);
            assert!(
                status >= 400 && answer.contains("spce"),
                "{}: {answer}",
                file.display()
            );
        }
    }
    assert!(taken > 15, "{taken}");
    figure("manifests that the API server takes", taken);
}

/// All manifests below a folder.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            found.extend(manifests(&path));
        } else if !OTHERS.contains(&name.as_str()) {
            assert!(name.ends_with(".yaml"), "{name} is no manifest");
            found.push(path);
        }
    }
    found
}

/// Applies a manifest without any effect; the status and the reason.
fn would_apply(api: &Api, document: &Value) -> (u16, String) {
    let path = path(api, document);
    let query = "dryRun=All&fieldManager=suite&force=true&fieldValidation=Strict";
    let kind = "application/apply-patch+yaml";
    let (status, answer) = api
        .try_send("PATCH", &format!("{path}?{query}"), kind, document)
        .unwrap();
    (
        status,
        answer["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// Where the API server has such an object.
fn path(api: &Api, document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, metadata) = (text(&document["apiVersion"]), &document["metadata"]);
    let root = if version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let known = api.get(&format!("{root}/{version}"));
    let mut resources = known["resources"].as_array().into_iter().flatten();
    let is_it = |it: &&Value| it["kind"] == document["kind"] && !text(&it["name"]).contains('/');
    let resource = resources.find(is_it);
    let resource = resource.unwrap_or_else(|| panic!("{version} has no {}", document["kind"]));
    let namespace = match resource["namespaced"].as_bool() {
        // What kustomize's files hold is deployed to where the application says.
        Some(true) => format!(
            "/namespaces/{}",
            metadata["namespace"].as_str().unwrap_or("shop")
        ),
        _ => String::new(),
    };
    format!(
        "{root}/{version}{namespace}/{}/{}",
        text(&resource["name"]),
        text(&metadata["name"])
    )
}

/// Argo CD renders the overlay, runs the gate before anything else, stays where it is while the gate fails,
/// and deploys when it has passed. Nothing is changed in the files but where git is.
fn deploys(api: &Api) {
    let folder = tempfile::tempdir().unwrap();
    let work = begin(folder.path());
    let url = format!("file://{}", folder.path().join("origin").display());
    for name in ["project", "shop"] {
        let text = fs::read_to_string(work.join(format!("argocd/{name}.yaml"))).unwrap();
        assert!(text.contains(REPOSITORY), "{name}");
        for document in yaml::documents(&text.replace(REPOSITORY, &url)).unwrap() {
            api.apply(&path(api, &document), &document);
        }
    }

    let gate = wait(LIMIT, "the gate to run", || api.find(GATE));
    let container = &gate["spec"]["containers"][0];
    let variable = |name: &str| {
        let variables = container["env"].as_array().unwrap();
        let found = variables.iter().find(|it| it["name"] == name);
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    let nothing = |width| "0".repeat(width);
    let digest = format!("@sha256:{}", nothing(64));
    assert_eq!(
        variable("GATE_IMAGES"),
        format!("registry.gitlab.example/acme/shop{digest}")
    );
    assert_eq!(variable("GATE_REVISION"), nothing(40));
    assert_eq!(
        container["image"],
        format!("registry.gitlab.example/acme/edge-agent{digest}")
    );
    assert!(
        api.find(DEPLOYMENT).is_none(),
        "deployed before its gate has passed"
    );

    // No container runs here: the suite says what became of it.
    let why = "gate not passed: image: the registry has no such image";
    ends(api, 1, why);
    let told = wait(LIMIT, "Argo CD to say why", || {
        let object = api.get(&application_path("shop"));
        let results = object["status"]["operationState"]["syncResult"]["resources"].clone();
        let results = results.as_array()?.clone();
        results
            .into_iter()
            .find(|it| it["name"] == "gate" && it["hookPhase"] == "Failed")
    });
    assert!(told["message"].as_str().unwrap().contains(why), "{told}");
    assert!(
        api.find(DEPLOYMENT).is_none(),
        "deployed although its gate has not passed"
    );

    // It tries again by itself.
    let first = gate["metadata"]["uid"].clone();
    wait(LIMIT, "the gate to run again", || {
        api.find(GATE).filter(|it| it["metadata"]["uid"] != first)
    });
    ends(api, 0, "gate passed: 5 checks");
    let object = wait(LIMIT, "the application to be well", || {
        let object = api.get(&application_path("shop"));
        let status = &object["status"];
        (status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy")
            .then(|| object.clone())
    });
    assert_eq!(object["status"]["sourceType"], "Kustomize");
    let revision = git(&work, &["rev-parse", "HEAD"]);
    assert_eq!(object["status"]["sync"]["revision"], revision.as_str());
    let deployed = api.get(DEPLOYMENT);
    let image = &deployed["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image.as_str(), Some(variable("GATE_IMAGES").as_str()));

    // What the project does not allow, Argo CD does not deploy.
    let elsewhere = json!({"spec": {"destination": {"namespace": "kube-system"}}});
    api.merge(&application_path("shop"), &elsewhere);
    api.merge(&application_path("shop"), &refresh("normal"));
    wait(LIMIT, "the project to be held against it", || {
        let object = api.get(&application_path("shop"));
        let mut conditions = object["status"]["conditions"].as_array()?.iter();
        conditions
            .any(|it| it["type"] == "InvalidSpecError")
            .then_some(())
    });
    let back = json!({"spec": {"destination": {"namespace": "shop"}}});
    api.merge(&application_path("shop"), &back);
}

/// Says that the container of the gate has ended, and with which words.
fn ends(api: &Api, code: u8, message: &str) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let terminated = json!({"exitCode": code, "message": message, "reason": "Completed"});
    let container = json!({"name": "gate", "image": "gate", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": terminated}});
    let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    // kwok plays the node, and says first that it runs.
    wait(LIMIT, "the gate to have begun", || {
        (api.get(GATE)["status"]["phase"] == "Running").then_some(())
    });
    api.send("PATCH", &format!("{GATE}/status"), MERGE, &status);
}
