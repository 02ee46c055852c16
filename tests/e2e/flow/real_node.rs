//! The same way to a board whose pods really run: a kubelet and containerd pull from the registry with the
//! shipped pull secret, the gate is the image that `cross/image/build` makes, and the shop serves on the network
//! of its pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::argocd::lab::{Kind, Lab};
use super::super::argocd::real_node::get;
use super::super::gitops::container::kept;
use super::super::package::said;
use super::super::{Args, figure, wait};
use super::acts::{arrives, does_not_run, goes_back, stops_at_the_gate, told};
use super::checks::Forge;
use super::copies::{Board, DEPLOYMENT, changed};
use super::drone::TOKEN;
use super::project::Project;
use super::registry::{JOB, Registry};
use super::seen::is_of;
use super::stage::{LIMIT, NAMESPACE, Stage};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A static binary of the agent, and what a registry and Go call the machine that it is for: the node is this one.
const TARGET: &str = "x86_64-unknown-linux-musl";
const ARCHITECTURE: &str = "amd64";

const START: &str = "\tserver := &http.Server{\n";

/// A file that nobody has deployed.
const CRASHES: &str =
    "\tif _, err := os.ReadFile(\"/settings/shop.json\"); err != nil {\n\t\treturn err\n\t}\n";

pub(super) fn suite(args: &Args) {
    if !args.long {
        figure("left out", "a release build of the agent is for --long");
        return;
    }
    let lab = Lab::get(Kind::RealNode, args.lab.as_deref());
    Forge::with(args, |forge| {
        trust(&lab.folder, &forge.registry);
        let gate = told("the gate's image", || pushed_gate(&forge.registry));
        let project = project(forge);
        let bad = forge.bad.clone();
        let mut stage = Stage::set(args, forge, &board(&gate));

        let commit = project.git(&["rev-parse", "HEAD"]);
        let (first, digest) = told("a good commit", || {
            let (number, digest) = pipeline(&stage, &project);
            arrives(&mut stage, number, &digest);
            answers(&stage, &commit, &digest);
            has_run(&stage, &gate);
            (number, digest)
        });
        told("an image of another commit", || {
            let image = (bad.as_str(), digest.as_str());
            stops_at_the_gate(&mut stage, image, &digest, "it was built from");
            answers(&stage, &commit, &digest);
        });
        told("a version that crashes", || {
            let main = fs::read_to_string(project.folder.join("main.go")).unwrap();
            let crashes = format!("{CRASHES}{START}");
            project.write("main.go", &changed(&main, &[(START, &crashes)]));
            project.commit("read the settings");
            let (number, newer) = pipeline(&stage, &project);
            does_not_run(&mut stage, number, &digest);
            crashed(&stage, &newer);
            answers(&stage, &commit, &digest);
            goes_back(&mut stage, first, &digest);
            answers(&stage, &commit, &digest);
        });
    });
}

/// The node is one of this machine, and the gate the image with this digest.
fn board(gate: &str) -> Board {
    let overlay = "apps/shop/overlays/pi-01/kustomization.yaml";
    let nothing = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let architecture = "GATE_ARCHITECTURE, value: arm64";
    Board {
        lab: Kind::RealNode,
        environment: vec![
            (overlay, nothing, gate.to_owned()),
            (
                "apps/shop/base/gate.yaml",
                architecture,
                architecture.replace("arm64", ARCHITECTURE),
            ),
            // Pulling and starting take a while, on a machine that does something else besides.
            (
                DEPLOYMENT,
                "progressDeadlineSeconds: 300",
                "progressDeadlineSeconds: 40".to_owned(),
            ),
        ],
        pipeline: vec![("--architecture=arm64", "--architecture=amd64")],
    }
}

/// containerd trusts who signs the registry's certificate; it looks at each pull.
fn trust(lab: &Path, registry: &Registry) {
    let registries = lab.join("registries");
    assert!(
        registries.is_dir(),
        "the lab has no real node; `lab up --real-node` makes one that has"
    );
    let host = registry.host();
    let folder = registries.join(&host);
    fs::create_dir_all(&folder).unwrap();
    let hosts = format!(
        "server = \"https://{host}\"\n[host.\"https://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = {:?}\n",
        registry.ca_file()
    );
    fs::write(folder.join("hosts.toml"), hosts).unwrap();
}

/// Builds the image of the gate and pushes it, as the guide says; returns its digest.
fn pushed_gate(registry: &Registry) -> String {
    let path = said(format!("{ROOT}/cross/build"), &[TARGET], &[]);
    let binary = PathBuf::from(ROOT).join(path.lines().next_back().unwrap());
    let image = format!("{}/acme/edge-agent:1", registry.host());
    let folder = tempfile::tempdir().unwrap();
    let digest = folder.path().join("digest");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("SSL_CERT_FILE", registry.ca_file());
        super::held(
            program,
            &kept(folder.path(), &mut command).output().unwrap(),
        );
    };
    run(
        &format!("{ROOT}/cross/image/build"),
        &["agent", &binary.display().to_string(), &image],
    );
    let login = format!("{}:{}", JOB.0, JOB.1);
    let to = digest.display().to_string();
    run(
        "buildah",
        &["push", "--creds", &login, "--digestfile", &to, &image],
    );
    fs::read_to_string(&digest).unwrap().trim().to_owned()
}

/// The project of a team whose boards are as this machine.
fn project(forge: &Forge) -> Project {
    let project = forge.project.copy(&forge.folder.path().join("real"));
    let file = fs::read_to_string(project.folder.join(".gitlab-ci.yml")).unwrap();
    let platform = format!("--platform linux/{ARCHITECTURE}");
    let go = format!("GOARCH: {ARCHITECTURE}");
    let changes = [
        ("GOARCH: arm64", go.as_str()),
        ("--platform linux/arm64", platform.as_str()),
    ];
    project.write(".gitlab-ci.yml", &changed(&file, &changes));
    project.commit("for our boards");
    project
}

/// A commit goes through GitLab CI to Drone; returns the build's number and the image's digest.
fn pipeline(stage: &Stage<'_>, project: &Project) -> (u64, String) {
    let url = stage.drone.url();
    let told = [("DRONE_SERVER", url.as_str()), ("DRONE_TOKEN", TOKEN)];
    let done = project.pipeline(&stage.forge.registry, &stage.forge.sonarqube, &told);
    assert!(done.passed, "{}", done.text);
    (stage.drone.last(), done.digest())
}

/// The pod of that image answers on the network of the pods, and says which commit it is from.
fn answers(stage: &Stage<'_>, commit: &str, digest: &str) {
    wait(LIMIT, "the shop to answer", || {
        let pods = stage.lab.api.get(&format!("{NAMESPACE}/pods"));
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let of_it = pods
            .iter()
            .find(|pod| is_of(&pod["status"]["containerStatuses"][0], digest))?;
        let said = get(of_it["status"]["podIP"].as_str()?, "/?name=pi")?;
        let said: serde_json::Value = serde_json::from_str(&said).ok()?;
        (said["hello"] == "pi" && said["revision"] == commit).then_some(())
    });
}

/// The gate ran as a container of its image; what it printed is what `kubectl logs` shows.
fn has_run(stage: &Stage<'_>, gate: &str) {
    let pod = stage.lab.api.get(&format!("{NAMESPACE}/pods/gate"));
    assert!(
        is_of(&pod["status"]["containerStatuses"][0], gate),
        "{pod:#}"
    );
    let log = format!(
        "logs/pods/shop_gate_{}/gate/0.log",
        pod["metadata"]["uid"].as_str().unwrap()
    );
    let log = fs::read_to_string(stage.lab.folder.join(log)).unwrap();
    for check in ["image", "revision", "architecture", "sonarqube"] {
        assert!(log.contains(check), "no {check} in {log}");
    }
}

/// The program of that image has ended with its error, more than once.
fn crashed(stage: &Stage<'_>, digest: &str) {
    wait(LIMIT, "the program to have crashed", || {
        let pods = stage.lab.api.get(&format!("{NAMESPACE}/pods"));
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let mut containers = pods
            .iter()
            .map(|pod| &pod["status"]["containerStatuses"][0]);
        let container = containers.find(|container| is_of(container, digest))?;
        let again = container["restartCount"].as_u64() > Some(0);
        (again && container["lastState"]["terminated"]["exitCode"] == 1).then_some(())
    });
}
