//! The adapter over a loopback connection, and what it makes of the answers.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use edge_agent_core::application::stream::Change;
use edge_agent_core::application::workload::Workload;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;

/// Answers every request with the next of `answers`, and tells of the request.
fn server(answers: Vec<Response>) -> (config::Cluster, tempfile::TempDir, mpsc::Receiver<String>) {
    let (told, requests) = mpsc::channel(100);
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let answer = |State((answers, told)): State<(Arc<Mutex<std::vec::IntoIter<Response>>>, _)>,
                  request: Request| async move {
        let told: mpsc::Sender<String> = told;
        let (head, body) = request.into_parts();
        let kind = head
            .headers
            .get(CONTENT_TYPE)
            .map_or("-", |v| v.to_str().unwrap());
        let accept = head.headers.get(ACCEPT).is_some_and(|v| v == METADATA_ONLY);
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = String::from_utf8_lossy(&body);
        let authorization = head.headers.get(AUTHORIZATION);
        assert_eq!(authorization.unwrap(), "Bearer secret");
        let line = format!("{} {} {kind} {accept} {body}", head.method, head.uri);
        told.send(line).await.unwrap();
        answers.lock().await.next().unwrap()
    };
    let router = axum::Router::new()
        .fallback(answer)
        .with_state((answers, told));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        })
    });
    let (settings, directory) = kubeconfig(&format!("http://{address}"));
    (settings, directory, requests)
}

fn kubeconfig(url: &str) -> (config::Cluster, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(directory.path().join("token"), "secret\n").unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    (settings_for(path), directory)
}

fn settings_for(path: PathBuf) -> config::Cluster {
    config::Cluster {
        node_name: None,
        enabled: true,
        kubeconfig: Some(path),
        namespaces: vec!["argocd".to_owned()],
        stale_after_seconds: 600,
        security_hooks: Vec::new(),
    }
}

fn object() -> Value {
    json!({"metadata": {"name": "web", "namespace": "argocd", "resourceVersion": "7"}})
}

fn key() -> ApplicationKey {
    ApplicationKey::parse("web", "argocd").unwrap()
}

fn ok(body: impl ToString) -> Response {
    body.to_string().into_response()
}

fn status(code: u16, body: &Value) -> Response {
    Response::builder()
        .status(code)
        .body(Body::from(body.to_string()))
        .unwrap()
}

const BASE: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

#[tokio::test]
async fn requests_are_what_the_api_server_expects() {
    let list = json!({"metadata": {"resourceVersion": "9", "continue": "n"}, "items": [object()]});
    let lines = format!(
        "{}\nnot JSON\n{}\n{{\"type\":",
        json!({"type": "MODIFIED", "object": object()}),
        json!({"type": "BOOKMARK", "object": object()}),
    );
    let answers = vec![ok(list), ok(lines), ok(object()), ok("{}"), ok("{}")];
    let (settings, _directory, mut requests) = server(answers);
    let cluster = connect(&settings);

    let page = cluster.list("argocd", Some("a b")).await.unwrap();
    assert_eq!(
        (page.applications.len(), page.next.as_deref()),
        (1, Some("n"))
    );
    let request = requests.recv().await.unwrap();
    assert_eq!(
        request,
        format!("GET {BASE}?&limit=20&continue=a+b - false ")
    );

    let changes: Vec<_> = cluster.watch("argocd", "9").await.unwrap().collect().await;
    let changes: Vec<_> = changes.into_iter().map(Result::unwrap).collect();
    assert!(matches!(&changes[0], Change::Applied(app) if app.key == key()));
    assert_eq!(
        changes[1..],
        [Change::Unreadable, Change::Bookmark("7".to_owned())]
    );
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with(&format!("GET {BASE}?&watch=true&timeoutSeconds=50")));
    assert!(request.contains("allowWatchBookmarks=true") && request.contains("resourceVersion=9"));

    assert_eq!(cluster.get(&key()).await.unwrap(), object());
    assert_eq!(
        requests.recv().await.unwrap(),
        format!("GET {BASE}/web - false ")
    );

    cluster.patch(&key(), &json!([])).await.unwrap();
    let request = requests.recv().await.unwrap();
    let patched = format!("PATCH {BASE}/web?fieldManager=edge-agent application/");
    assert_eq!(request, format!("{patched}json-patch+json true []"));
    cluster.annotate(&key(), &json!({})).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert_eq!(request, format!("{patched}merge-patch+json true {{}}"));
}

#[tokio::test]
async fn a_workload_is_asked_under_its_kind() {
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
    let (settings, _directory, mut requests) = server(vec![ok(&failed), ok("{}")]);
    let cluster = connect(&settings);
    let suspect = |workload| Suspect {
        workload,
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let job = cluster.complaint(&suspect(Workload::Job)).await.unwrap();
    assert!(job.unwrap().failed);
    let asked = requests.recv().await.unwrap();
    assert_eq!(
        asked,
        "GET /apis/batch/v1/namespaces/shop/jobs/web - false "
    );
    let deployment = suspect(Workload::Deployment);
    assert_eq!(cluster.complaint(&deployment).await, Ok(None));
    let asked = requests.recv().await.unwrap();
    assert_eq!(
        asked,
        "GET /apis/apps/v1/namespaces/shop/deployments/web - false "
    );
}

#[tokio::test]
async fn answers_that_are_refusals() {
    let failure = |code: u16, reason: &str| {
        let body = json!({
            "kind": "Status", "code": code, "reason": reason, "message": "why",
            "details": {"retryAfterSeconds": 3},
        });
        status(code, &body)
    };
    let plain = Response::builder()
        .status(404)
        .body(Body::from("404 page not found"))
        .unwrap();
    let table = [
        (failure(404, "NotFound"), ClusterError::NotFound),
        (plain, ClusterError::CrdMissing),
        (
            failure(401, "Unauthorized"),
            ClusterError::Unauthorized("why".to_owned()),
        ),
        (
            failure(403, "Forbidden"),
            ClusterError::Forbidden("why".to_owned()),
        ),
        (failure(409, "Conflict"), ClusterError::Conflict),
        (failure(410, "Expired"), ClusterError::Gone),
        (
            failure(422, "Invalid"),
            ClusterError::Invalid("why".to_owned()),
        ),
        (
            failure(429, "TooManyRequests"),
            ClusterError::TooManyRequests {
                retry_after: Some(Duration::from_secs(3)),
            },
        ),
        (
            failure(504, "Timeout"),
            ClusterError::Interrupted("status 504: why".to_owned()),
        ),
    ];
    let (answers, wanted): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    let (settings, _directory, _requests) = server(answers);
    let cluster = connect(&settings);
    for error in wanted {
        assert_eq!(cluster.patch(&key(), &json!([])).await, Err(error));
    }
}

#[tokio::test]
async fn nobody_there() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (settings, _directory) = kubeconfig(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    let error = connect(&settings).get(&key()).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Unreachable(why) if why.contains("refused")),
        "{error:?}"
    );

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    let cluster = connect(&settings_for(path.clone()));
    let error = cluster.list("argocd", None).await.unwrap_err().to_string();
    assert!(error.starts_with("no cluster configured: ") && error.contains("cluster.kubeconfig"));
    // What appears later is found.
    let (settings, _directory, _requests) = server(vec![ok(object())]);
    let text = std::fs::read_to_string(settings.kubeconfig.unwrap()).unwrap();
    std::fs::write(directory.path().join("token"), "secret").unwrap();
    std::fs::write(path, text).unwrap();
    assert_eq!(cluster.get(&key()).await.unwrap(), object());
}

#[tokio::test]
async fn names_cannot_leave_their_path() {
    let cluster = connect(&settings_for(PathBuf::from("/nonexistent")));
    for (namespace, name) in [
        ("argocd", "../secrets"),
        ("a/b", "web"),
        ("argocd", "web?x"),
    ] {
        let key = ApplicationKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(cluster.get(&key).await, Err(ClusterError::NotFound));
        assert_eq!(
            cluster.patch(&key, &json!([])).await,
            Err(ClusterError::NotFound)
        );
    }
}
