//! Where containers run: what the kubelet does with a good version, a failing PreSync check, a version
//! that crashes, and a rollback. Everywhere else kwok plays the node.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use edge_agent_core::wire::ResultState::Succeeded;
use serde_json::{Value, json};

use super::super::{Args, figure, wait};
use super::lab::Kind;
use super::stage::Stage;
use crate::scenarios::holding::held_everywhere;
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::Version;

/// Where the web server of a pod listens.
const PORT: u16 = 8080;

/// What a version of the story does.
struct Running<'i> {
    tag: &'static str,
    image: &'i str,
    /// The command line of busybox.
    web: &'static str,
    /// The exit code of its PreSync check.
    check: u8,
}

const SERVES: &str = r#"["httpd", "-f", "-p", "8080", "-h", "/"]"#;
const CRASHES: &str = r#"["sh", "-c", "exit 7"]"#;

pub(super) fn suite(args: &Args) {
    let stage = Stage::with(args, Kind::RealNode, "", |_| {});
    let [one, two] =
        ["one", "two"].map(|content| stage.lab.image("lab.edge-agent.test/web", content));
    let shop = Shop::prepare(&stage, "web", &Sync::Auto);
    // A new commit has to wait for the tries of the one before.
    shop.with_spec(|spec| spec["syncPolicy"]["retry"]["limit"] = json!(1));
    let first = shop.commit(&version(&Running {
        tag: "web-1",
        image: &one,
        web: SERVES,
        check: 0,
    }));
    shop.create();
    shop.wait_state("Healthy", &first);
    serves(&shop, "one");

    // The check fails: nothing of the new version is deployed, and the board says why.
    let stopped = shop.push(&version(&Running {
        tag: "web-2",
        image: &two,
        web: SERVES,
        check: 3,
    }));
    let app = stage.wait_app("web", "to be stopped by its check", LIMIT, &|app| {
        app["state"] == "SecurityCheckFailed"
    });
    figure("a failing check says", &app["operation"]["message"]);
    stage
        .agent()
        .wait_status(LIMIT, "the LEDs to say so", |status| {
            (status["indication"]["indication"] == "gate_failed").then_some(())
        });
    assert_eq!(shop.running(), one, "{stopped} was deployed");
    serves(&shop, "one");

    let second = shop.push(&version(&Running {
        tag: "web-3",
        image: &two,
        web: SERVES,
        check: 0,
    }));
    shop.wait_state("Healthy", &second);
    shop.wait_told(&second);
    serves(&shop, "two");

    // A version that crashes; the agent is told whose fault that is, and goes back when it is ordered.
    shop.let_be_read();
    let bad = shop.push(&version(&Running {
        tag: "web-4",
        image: &one,
        web: CRASHES,
        check: 0,
    }));
    shop.wait_state("Degraded", &bad);
    let app = stage.wait_app("web", "to have a culprit", LIMIT, &|app| {
        app["culprit"]["name"] == "web"
    });
    figure("the culprit", &app["culprit"]["message"]);
    let sent = std::time::Instant::now();
    let id = stage.order(shop.previous());
    shop.wait_state("RolledBack", &second);
    figure(
        "a rollback, from the order to RolledBack",
        format!("{} ms", sent.elapsed().as_millis()),
    );
    let result = stage.expect(&id, Succeeded, Duration::from_secs(90));
    assert_eq!(result.revision.as_deref(), Some(second.as_str()));
    assert_eq!(shop.running(), two);
    serves(&shop, "two");
    held_everywhere(&stage, "web");

    a_job_is_a_culprit(&stage, &one);
}

/// What runs is fine; the Job beside it has failed, and that is what Argo CD calls Degraded.
fn a_job_is_a_culprit(stage: &Stage, image: &str) {
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: load}}\nspec:\n  backoffLimit: 0\n  \
         template:\n    spec:\n      restartPolicy: Never\n      automountServiceAccountToken: false\n      \
         containers:\n        - name: load\n          image: {image}\n          args: [\"sh\", \"-c\", \"exit 5\"]\n"
    );
    let shop = Shop::prepare(stage, "batch", &Sync::Auto);
    let running = Running {
        tag: "batch-1",
        image,
        web: SERVES,
        check: 0,
    };
    let first = shop.commit(&version(&running));
    shop.create();
    shop.wait_state("Healthy", &first);
    shop.let_be_read();
    let bad = shop.push(&version(&running).with("job.yaml", &job));
    shop.wait_state("Degraded", &bad);
    let app = stage.wait_app("batch", "to have a culprit", LIMIT, &|app| {
        app["culprit"]["kind"] == "Job" && app["culprit"]["name"] == "load"
    });
    figure("a failed Job", &app["culprit"]["message"]);
}

/// The manifests of a version, with commands that a node can run.
fn version(running: &Running<'_>) -> Version {
    let Running {
        tag,
        image,
        web,
        check,
    } = running;
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  \
         progressDeadlineSeconds: 10\n  selector:\n    matchLabels: {{app: web}}\n  template:\n    \
         metadata:\n      labels: {{app: web}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
         enableServiceLinks: false\n      automountServiceAccountToken: false\n      containers:\n        \
         - name: web\n          image: {image}\n          args: {web}\n          readinessProbe:\n            \
         httpGet: {{path: /content, port: {PORT}}}\n            periodSeconds: 1\n"
    );
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: gate\n  annotations:\n    \
         argocd.argoproj.io/hook: PreSync\n    argocd.argoproj.io/hook-delete-policy: \
         BeforeHookCreation\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: \
         Never\n      automountServiceAccountToken: false\n      containers:\n        - name: gate\n          \
         image: {image}\n          args: [\"sh\", \"-c\", \"exit {check}\"]\n"
    );
    Version::good(tag)
        .with("deployment.yaml", &deployment)
        .with("check.yaml", &job)
}

/// Waits until the only pod that is ready serves that content.
fn serves(shop: &Shop<'_>, content: &str) {
    let path = format!(
        "/api/v1/namespaces/{}/pods?labelSelector=app%3Dweb",
        shop.namespace
    );
    wait(LIMIT, "the pod to serve what was deployed", || {
        let pods = shop.stage.api().get(&path);
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let ready: Vec<&Value> = pods.iter().filter(|pod| is_ready(pod)).collect();
        let [pod] = ready[..] else { return None };
        let served = get(pod["status"]["podIP"].as_str()?, "/content")?;
        (served == content).then_some(())
    });
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.is_some_and(|conditions| {
            (conditions.iter()).any(|each| each["type"] == "Ready" && each["status"] == "True")
        })
}

/// What the web server of a pod at that address has there.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((address, PORT)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}
