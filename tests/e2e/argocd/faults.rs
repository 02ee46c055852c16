//! The API server goes, hangs, refuses, or does not know Argo CD: the agent says why, does not spin,
//! and goes on by itself.

use std::fs;
use std::time::{Duration, Instant};

use edge_agent_core::command::RefusalCode;
use edge_agent_core::wire::ResultState::{Rejected, Succeeded};
use rustix::process::Signal;
use serde_json::json;

use super::super::Args;
use super::super::agent::Setup;
use super::lab::{Kind, Lab};
use super::proxy::Proxy;
use super::stage::Stage;
use crate::figure;
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::Version;

/// More requests or connections than that in a second are a spin.
const PER_SECOND: f64 = 2.0;
/// How long it is watched whether the agent keeps calm.
const OBSERVED: Duration = Duration::from_secs(12);
/// How soon a watch that stands still has to be noticed.
const NOTICED: Duration = Duration::from_secs(90);

/// Watches for a while, and fails if the agent does something too often.
fn assert_calm(stage: &Stage, what: &str, count: impl Fn() -> usize) {
    assert_calm_for(stage, what, OBSERVED, count);
}

/// The same for as long as that.
pub(super) fn assert_calm_for(
    stage: &Stage,
    what: &str,
    observed: Duration,
    count: impl Fn() -> usize,
) {
    // Nobody asks for its page meanwhile, which would cost more than all the rest.
    let (before, used) = (count(), cpu(stage));
    std::thread::sleep(observed);
    let (done, seconds) = (count() - before, observed.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let rate = done as f64 / seconds;
    let share = 100.0 * (cpu(stage) - used) / seconds;
    figure(
        what,
        format!("{rate:.2} a second, {share:.2} % of a core (built for debugging)"),
    );
    assert!(rate < PER_SECOND, "{what}: {done} in {observed:?}");
}

/// Seconds of processor time that the agent has used.
fn cpu(stage: &Stage) -> f64 {
    let pid = stage.agent().child.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

pub(super) fn suite(args: &Args) {
    let proxy = std::cell::OnceCell::new();
    let lab = Lab::get(Kind::Usual, args.lab.as_deref());
    let stage = Stage::with(args, Kind::Usual, "", |setup| {
        let proxy = proxy.get_or_init(|| Proxy::to(lab.port()));
        through(setup, &lab, proxy.port);
    });
    let proxy = proxy.get().unwrap();
    let (shop, _) = Shop::open(&stage, "faults", Sync::Auto);
    gone(&stage, proxy, &shop);
    // What belongs to the cluster takes longer than the agent to notice that the API server is back.
    let deploy = |tag: &str| {
        let revision = shop.push(&Version::good(tag).patient());
        let what = format!("to be Healthy on {tag}");
        stage.wait_app("faults", &what, Duration::from_secs(90), &|app| {
            app["state"] == "Healthy" && app["revision"] == revision
        });
        shop.wait_told(&revision);
        revision
    };
    let second = deploy("faults-2");
    if args.long {
        deploy("faults-3");
        // That a server is frozen shows in nothing but its silence, which takes a minute.
        stalled(&stage, proxy, &shop, &second);
    }
    token(&stage, &shop);
}

/// Has an agent go through another port to the API server, with a token file of its own.
pub(super) fn through(setup: &mut Setup, lab: &Lab, port: u16) {
    let text = fs::read_to_string(lab.folder.join("agent-kubeconfig")).unwrap();
    let text = text.replace(&lab.port().to_string(), &port.to_string());
    let token = fs::read_to_string(lab.folder.join("agent-token")).unwrap();
    fs::write(setup.directory.join("token"), token).unwrap();
    let own = setup.directory.join("token").display().to_string();
    let text = text.replace(&lab.folder.join("agent-token").display().to_string(), &own);
    fs::write(setup.directory.join("kubeconfig"), text).unwrap();
    setup.kubeconfig = Some(setup.directory.join("kubeconfig"));
}

/// Killed and started again.
fn gone(stage: &Stage, proxy: &Proxy, shop: &Shop<'_>) {
    stage.lab.stop("kube-apiserver");
    let begun = Instant::now();
    let reason = stage.wait_cluster_down(Duration::from_secs(20), "cannot");
    figure(
        "the API server killed: told after",
        format!("{:?}, {reason}", begun.elapsed()),
    );
    assert_calm(stage, "connections without an API server", || proxy.count());
    stage.lab.up();
    let back = Instant::now();
    stage.wait_cluster_up(Duration::from_secs(40));
    figure(
        "the API server back: up after",
        format!("{:?}", back.elapsed()),
    );
    shop.wait_any("Healthy");
}

/// Stopped as a frozen virtual machine is: connections stay open, and nothing comes.
fn stalled(stage: &Stage, proxy: &Proxy, shop: &Shop<'_>, good: &str) {
    stage.lab.signal("kube-apiserver", Signal::STOP);
    let begun = Instant::now();
    let id = stage.order(shop.previous());
    stage.wait_cluster_down(NOTICED, "");
    figure(
        "the API server frozen: told after",
        format!("{:?}", begun.elapsed()),
    );
    assert_calm(stage, "connections to a frozen one", || proxy.count());
    stage.lab.signal("kube-apiserver", Signal::CONT);
    stage.wait_cluster_up(Duration::from_secs(60));
    // The order that came while it was frozen ended in a truthful way, and a new one works.
    let result = stage.result(&id, Duration::from_secs(150));
    if result.state == Rejected {
        assert_eq!(
            result.reason,
            Some(RefusalCode::ApiUnreachable),
            "{result:?}"
        );
        let id = stage.order(shop.previous());
        stage.expect(&id, Succeeded, LIMIT);
    }
    shop.wait_state("RolledBack", good);
}

/// A token that the API server does not take, and a good one in the same file later.
fn token(stage: &Stage, shop: &Shop<'_>) {
    let file = stage.setup.directory.join("token");
    let good = fs::read_to_string(&file).unwrap();
    let before = stage.app(&shop.name)["state"].clone();
    stage.agent().kill();
    fs::write(&file, "no-token-of-this-cluster").unwrap();
    let mark = stage.lab.mark();
    stage.start_agent();
    let begun = Instant::now();
    stage.wait_cluster_down(Duration::from_secs(20), "token");
    std::thread::sleep(Duration::from_secs(5));
    assert!(
        stage.lab.requests(mark).is_empty(),
        "nobody knows whose requests these were"
    );
    fs::write(&file, good).unwrap();
    let back = Instant::now();
    stage.wait_cluster_up(Duration::from_secs(40));
    figure(
        "a good token in the file: up after",
        format!("{:?} ({:?} without)", back.elapsed(), begun.elapsed()),
    );
    shop.wait_any(before.as_str().unwrap());
}

/// Its Roles are taken away and given back.
pub(super) fn rights_taken(args: &Args) {
    let stage = Stage::set(args);
    let (shop, _) = Shop::open(&stage, "rights", Sync::Auto);
    let second = shop.push(&Version::good("rights-2"));
    shop.wait_state("Healthy", &second);
    let binding = |name: &str| {
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/argocd/rolebindings/{name}")
    };
    stage.lab.api.delete(&binding("edge-agent-command"));
    let id = stage.order(shop.previous());
    let result = stage.expect(&id, Rejected, LIMIT);
    assert_eq!(result.reason, Some(RefusalCode::ApiUnreachable));
    assert!(result.message.contains("lacks a right"), "{result:?}");

    if !args.long {
        // An open watch stays open for most of a minute.
        stage.lab.agent_kubeconfig();
        return;
    }
    stage.lab.api.delete(&binding("edge-agent-watch"));
    let (begun, mark) = (Instant::now(), stage.lab.mark());
    // The watch that is open stays open until it ends by itself.
    let reason = stage.wait_cluster_down(NOTICED, "lacks a right");
    figure(
        "the right to watch taken: told after",
        format!("{:?}, {reason}", begun.elapsed()),
    );
    assert_calm(&stage, "requests without the right", || {
        stage.lab.requests(mark).len()
    });
    stage.lab.agent_kubeconfig();
    stage.wait_cluster_up(Duration::from_secs(40));
    let id = stage.order(shop.previous());
    stage.expect(&id, Succeeded, LIMIT);
}

/// Argo CD is not there when the agent starts, and comes later; and a second namespace.
pub(super) fn absent(args: &Args) {
    if args.lab.is_some() {
        // It would take Argo CD from a lab that is to stay as it is.
        println!("    left out: it is for a lab of its own");
        return;
    }
    let namespaces = "namespaces = [\"argocd\", \"kube-public\"]\n";
    let stage = Stage::with(args, Kind::Usual, namespaces, |_| {});
    // It has no rights in the second one.
    let reason = stage.wait_cluster_down(LIMIT, "namespace kube-public");
    assert!(reason.contains("lacks a right"), "{reason}");
    stage.agent().kill();
    stage.lab.stop("argocd-application-controller");
    let definition =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/applications.argoproj.io";
    stage.lab.api.delete(definition);
    std::thread::sleep(Duration::from_secs(2));
    let mark = stage.lab.mark();
    stage.start_agent();
    stage.wait_cluster_down(LIMIT, "Argo CD is not installed");
    assert_calm(&stage, "requests without Argo CD", || {
        stage.lab.requests(mark).len()
    });
    stage.lab.up();
    grant_second(&stage);
    stage.wait_cluster_up(Duration::from_secs(60));
    let (shop, first) = Shop::open(&stage, "late", Sync::Auto);
    shop.wait_state("Healthy", &first);
    // One in the other namespace goes by both names.
    let path = "/apis/argoproj.io/v1alpha1/namespaces/kube-public/applications";
    let mut object = shop.object();
    object["metadata"] = json!({"name": "other", "namespace": "kube-public"});
    object["status"]["health"]["status"] = json!("Healthy");
    stage
        .lab
        .api
        .send("POST", path, "application/json", &object);
    stage.wait_app("kube-public_other", "to be told", LIMIT, &|app| {
        app["state"] == "Healthy"
    });
    stage.lab.api.delete(&format!("{path}/other"));
    stage.wait_app(
        "kube-public_other",
        "to be gone",
        LIMIT,
        &serde_json::Value::is_null,
    );
}

/// The same rights in a second namespace.
fn grant_second(stage: &Stage) {
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public";
    let meta = json!({"name": "edge-agent-watch", "namespace": "kube-public"});
    stage.lab.api.apply(
        &format!("{base}/roles/edge-agent-watch"),
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
            "rules": [{
                "apiGroups": ["argoproj.io"], "resources": ["applications"],
                "verbs": ["get", "list", "watch"],
            }],
        }),
    );
    stage.lab.api.apply(
        &format!("{base}/rolebindings/edge-agent-watch"),
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "edge-agent-watch",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "edge-agent", "namespace": "argocd"}],
        }),
    );
}
