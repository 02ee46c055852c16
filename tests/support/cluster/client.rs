//! A small client for the double: the HTTP status and the JSON body, errors included.

use std::path::Path;

use axum::http::Request;
use futures::io::{AsyncBufRead, AsyncBufReadExt, Lines};
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

const APPLICATIONS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

/// Speaks to the double as a kubeconfig says.
#[derive(Clone)]
pub(crate) struct TestClient {
    client: Client,
}

impl TestClient {
    /// A client for the user of the kubeconfig at `path`.
    pub(crate) async fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(path)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        // The tests are to see each answer, not what comes after some retries.
        config.default_retry = false;
        let client = Client::try_from(config)?;
        Ok(Self { client })
    }

    /// Sends one request. A body that is no JSON comes back as a string.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> anyhow::Result<(u16, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(Body::from(body.into_bytes()))?;
        let response = self.client.send(request).await?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await?;
        let text = String::from_utf8(bytes.to_vec())?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value))
    }

    /// GET of any path.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        self.send("GET", path, "application/json", String::new())
            .await
    }

    /// Any method on one Application in the namespace `argocd`.
    pub(crate) async fn on(
        &self,
        method: &str,
        name: &str,
        content_type: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let path = format!("{APPLICATIONS}/{name}");
        self.send(method, &path, content_type, body.to_string())
            .await
    }

    /// A JSON Merge Patch of one Application.
    pub(crate) async fn merge(&self, name: &str, patch: &Value) -> anyhow::Result<(u16, Value)> {
        self.on("PATCH", name, "application/merge-patch+json", patch)
            .await
    }

    /// A JSON Patch of one Application.
    pub(crate) async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<(u16, Value)> {
        self.on("PATCH", name, "application/json-patch+json", patch)
            .await
    }

    /// The list of Applications; `query` without the question mark.
    pub(crate) async fn list(&self, query: &str) -> anyhow::Result<(u16, Value)> {
        self.get(&format!("{APPLICATIONS}?{query}")).await
    }

    /// Opens a watch; `query` is added to `watch=true&`.
    pub(crate) async fn watch(&self, query: &str) -> anyhow::Result<TestWatch> {
        let path = format!("{APPLICATIONS}?watch=true&{query}");
        let request = Request::builder().uri(path).body(Vec::new())?;
        let stream = self.client.request_stream(request).await?;
        let stream: Box<dyn AsyncBufRead + Send + Unpin> = Box::new(Box::pin(stream));
        Ok(TestWatch {
            lines: stream.lines(),
        })
    }
}

/// The events of one watch.
pub(crate) struct TestWatch {
    lines: Lines<Box<dyn AsyncBufRead + Send + Unpin>>,
}

impl TestWatch {
    /// The next event; `None` at the end of the stream. A line that is no JSON is an error.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        match self.lines.next().await {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_str(&line?)?)),
        }
    }

    /// All events until the stream ends.
    pub(crate) async fn rest(self) -> anyhow::Result<Vec<Value>> {
        let lines: Vec<String> = self.lines.try_collect().await?;
        let events = lines.iter().map(|line| serde_json::from_str(line));
        Ok(events.collect::<Result<_, _>>()?)
    }
}
