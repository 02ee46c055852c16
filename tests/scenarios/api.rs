//! The API server, as the suites speak to it: blocking, with the status and the body of every answer.

use std::path::Path;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// Where Applications are.
pub(crate) const APPLICATIONS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The one thread that drives all connections.
pub(crate) fn driver() -> &'static Handle {
    static DRIVER: OnceLock<Handle> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// Somebody's access to the API server.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
}

impl Api {
    /// As the user of a kubeconfig.
    pub(crate) fn of(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let client = run(async move {
            let options = KubeConfigOptions::default();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap();
            config.default_retry = false;
            Client::try_from(config).unwrap()
        });
        Self { client }
    }

    /// Sends a request; an error is one of the connection.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<(u16, Value), String> {
        let bytes = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.send_bytes(method, path, content_type, bytes)
    }

    fn send_bytes(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(u16, Value), String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(Body::from(bytes))
            .unwrap();
        let client = self.client.clone();
        run(async move {
            let work = async {
                let response = client.send(request).await.map_err(|e| e.to_string())?;
                let status = response.status().as_u16();
                let bytes = response.into_body().collect_bytes().await;
                let bytes = bytes.map_err(|e| e.to_string())?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                Ok((status, value))
            };
            let limited = tokio::time::timeout(LIMIT, work).await;
            limited.unwrap_or_else(|_| Err("no answer".to_owned()))
        })
    }

    /// Sends a request that has to be answered well.
    pub(crate) fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        match self.try_send(method, path, content_type, body) {
            Ok((status, value)) if status < 300 => value,
            answer => panic!("{method} {path}: {answer:?}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", &Value::Null)
    }

    /// `None` when it is not there.
    pub(crate) fn find(&self, path: &str) -> Option<Value> {
        let answer = self.try_send("GET", path, "application/json", &Value::Null);
        answer
            .ok()
            .filter(|(status, _)| *status < 300)
            .map(|(_, value)| value)
    }

    pub(crate) fn merge(&self, path: &str, patch: &Value) -> Value {
        self.send("PATCH", path, "application/merge-patch+json", patch)
    }

    /// Creates or changes an object.
    pub(crate) fn apply(&self, path: &str, object: &Value) -> Value {
        let path = format!("{path}?fieldManager=suite&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", object)
    }

    /// The same with the text of a manifest.
    pub(crate) fn apply_yaml(&self, path: &str, text: &str) {
        let path = format!("{path}?fieldManager=suite&force=true");
        let answer = self.send_bytes("PATCH", &path, "application/apply-patch+yaml", text.into());
        assert!(matches!(answer, Ok((200 | 201, _))), "{path}: {answer:?}");
    }

    pub(crate) fn delete(&self, path: &str) {
        let _ = self.try_send("DELETE", path, "application/json", &Value::Null);
    }
}

/// Runs something on the driver's thread and waits for it.
fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    driver().spawn(async move {
        let _ = sender.send(work.await);
    });
    receiver.recv().unwrap()
}

/// The path of an Application.
pub(crate) fn application_path(name: &str) -> String {
    format!("{APPLICATIONS}/{name}")
}

/// The merge patch that asks Argo CD for a comparison.
pub(crate) fn refresh(how: &str) -> Value {
    json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": how}}})
}
