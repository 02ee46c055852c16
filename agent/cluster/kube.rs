//! The port [`Cluster`] for a real API server, by way of kube.
//!
//! Requests are built by hand where kube would read answers of any length, or whole objects where
//! their metadata is enough.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::application::stream::{Change, Page};
use edge_agent_core::application::workload::{Complaint, Suspect};
use edge_agent_core::application::{ApplicationKey, MAX_OBJECT_BYTES, is_kubernetes_name};
use futures::stream::{self, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::params::{GetParams, ListParams, WatchParams};
use kube::core::{Request as Requests, Status};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::Mutex;

use super::lines::{Line, read_all, read_line};
use super::{Changes, Cluster, ClusterError, NodeApi, token};
use crate::config;

/// Where a kubeconfig is looked for when the settings name none.
const DEFAULT_KUBECONFIG: &str = "/etc/edge-agent/kubeconfig";
/// A larger kubeconfig is not read, bytes.
const MAX_KUBECONFIG: u64 = 1024 * 1024;
/// Applications in one page of a list.
const PAGE: u32 = 20;
/// The largest page that is read, bytes.
const MAX_PAGE_BYTES: usize = 8 * MAX_OBJECT_BYTES;
/// How long the API server is to keep one watch open, seconds.
const WATCH_SECONDS: u32 = 50;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers of a patch are not read further than their metadata.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Stands for the API server that the settings name. Nothing is read or connected before the first
/// request, and what does not work is tried afresh with every later one, so that a kubeconfig or a
/// token that appears or changes while the agent runs is found.
#[must_use]
pub fn connect(settings: &config::Cluster) -> KubeCluster {
    KubeCluster {
        kubeconfig: settings.kubeconfig.clone(),
        client: Arc::default(),
    }
}

/// A real API server; clones share their connections.
#[derive(Clone)]
pub struct KubeCluster {
    kubeconfig: Option<PathBuf>,
    client: Arc<Mutex<Option<Connected>>>,
}

/// A client, and where the token of its requests is, if that is in a file.
#[derive(Clone)]
struct Connected {
    client: Client,
    token_file: Option<PathBuf>,
}

impl KubeCluster {
    async fn connected(&self) -> Result<Connected, ClusterError> {
        let mut slot = self.client.lock().await;
        if let Some(connected) = slot.as_ref() {
            return Ok(connected.clone());
        }
        let mut config = load(self.kubeconfig.as_deref()).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The executor has to know of every attempt to write, so nothing is repeated below it.
        config.default_retry = false;
        // A token that stands in the kubeconfig itself has precedence.
        let token_file = config.auth_info.token_file.take().map(PathBuf::from);
        let token_file = token_file.filter(|_| config.auth_info.token.is_none());
        let client = Client::try_from(config).map_err(|e| match e {
            kube::Error::Auth(e) => ClusterError::Unauthorized(innermost(&e)),
            e => ClusterError::NotConfigured(innermost(&e)),
        })?;
        let connected = Connected { client, token_file };
        *slot = Some(connected.clone());
        Ok(connected)
    }

    /// Sends a request and gives the answer as a stream of bytes.
    async fn send(
        &self,
        mut request: http::Request<Vec<u8>>,
        of: Of,
    ) -> Result<impl futures::AsyncBufRead + Unpin + Send + use<>, ClusterError> {
        let Connected { client, token_file } = self.connected().await?;
        if let Some(file) = &token_file {
            let authorization = token::authorization(file).await?;
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        match client.request_stream(request).await {
            Ok(body) => Ok(Box::pin(body)),
            Err(e) => {
                let error = classify(e, of);
                if matches!(
                    error,
                    ClusterError::Unauthorized(_) | ClusterError::Unreachable(_)
                ) {
                    // The kubeconfig may have been replaced by one that works.
                    *self.client.lock().await = None;
                }
                Err(error)
            }
        }
    }

    async fn send_patch(
        &self,
        application: &ApplicationKey,
        patch: &Value,
        content_type: &'static str,
    ) -> Result<(), ClusterError> {
        let uri = format!(
            "{}/{}?fieldManager=edge-agent",
            collection(&application.namespace)?,
            checked(&application.name)?
        );
        let request = http::Request::patch(uri)
            .header(ACCEPT, METADATA_ONLY)
            .header(CONTENT_TYPE, content_type)
            .body(patch.to_string().into_bytes())
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Object).await?;
        // The answer says that it was done; its body only has to be taken off the connection.
        read_all(body, MAX_OBJECT_BYTES)
            .await
            .map(drop)
            .or_else(|e| match e.kind() {
                io::ErrorKind::InvalidData => Ok(()),
                _ => Err(ClusterError::Interrupted(e.to_string())),
            })
    }
}

impl Cluster for KubeCluster {
    async fn list(&self, namespace: &str, next: Option<&str>) -> Result<Page, ClusterError> {
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.continue_token = next.map(str::to_owned);
        let request = Requests::new(collection(namespace)?)
            .list(&parameters)
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Collection).await?;
        let bytes = read_all(body, MAX_PAGE_BYTES).await.map_err(unread)?;
        Page::from_json(&bytes).map_err(|e| ClusterError::Other(e.to_string()))
    }

    async fn watch(&self, namespace: &str, version: &str) -> Result<Changes, ClusterError> {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let request = Requests::new(collection(namespace)?)
            .watch(&parameters, version)
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Collection).await?;
        let changes = stream::try_unfold(body, |mut body| async move {
            let change = match read_line(&mut body, MAX_OBJECT_BYTES)
                .await
                .map_err(unread)?
            {
                Line::End => return Ok(None),
                Line::TooLong => Change::Unreadable,
                // One line that cannot be read must not keep the others back for ever.
                Line::Whole(line) => Change::from_json(&line).unwrap_or(Change::Unreadable),
            };
            Ok(Some((change, body)))
        });
        Ok(changes.boxed())
    }

    async fn get(&self, application: &ApplicationKey) -> Result<Value, ClusterError> {
        let request = Requests::new(collection(&application.namespace)?)
            .get(checked(&application.name)?, &GetParams::default())
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Object).await?;
        let bytes = read_all(body, MAX_OBJECT_BYTES).await.map_err(unread)?;
        serde_json::from_slice(&bytes).map_err(|e| ClusterError::Other(e.to_string()))
    }

    async fn patch(&self, application: &ApplicationKey, patch: &Value) -> Result<(), ClusterError> {
        self.send_patch(application, patch, "application/json-patch+json")
            .await
    }

    async fn annotate(
        &self,
        application: &ApplicationKey,
        patch: &Value,
    ) -> Result<(), ClusterError> {
        self.send_patch(application, patch, "application/merge-patch+json")
            .await
    }

    async fn complaint(&self, suspect: &Suspect) -> Result<Option<Complaint>, ClusterError> {
        let namespace = checked(&suspect.namespace)?;
        let (version, plural) = suspect.workload.resource();
        let collection = format!("/apis/{version}/namespaces/{namespace}/{plural}");
        let request = Requests::new(collection)
            .get(checked(&suspect.name)?, &GetParams::default())
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Object).await?;
        let bytes = read_all(body, MAX_OBJECT_BYTES).await.map_err(unread)?;
        Ok(Complaint::from_json(&bytes))
    }
}

impl NodeApi for KubeCluster {
    async fn read(
        &self,
        path: &str,
        accept: &'static str,
        limit: usize,
    ) -> Result<Vec<u8>, ClusterError> {
        let request = http::Request::get(path)
            .header(ACCEPT, accept)
            .body(Vec::new())
            .map_err(|e| ClusterError::Other(e.to_string()))?;
        let body = self.send(request, Of::Object).await?;
        read_all(body, limit).await.map_err(unread)
    }
}

/// What a request was about, which decides what 404 means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Collection,
    Object,
}

fn collection(namespace: &str) -> Result<String, ClusterError> {
    let namespace = checked(namespace)?;
    Ok(format!(
        "/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"
    ))
}

/// Keeps whatever is no Kubernetes name out of a path.
fn checked(name: &str) -> Result<&str, ClusterError> {
    is_kubernetes_name(name)
        .then_some(name)
        .ok_or(ClusterError::NotFound)
}

async fn load(kubeconfig: Option<&Path>) -> Result<Config, ClusterError> {
    let path = match kubeconfig {
        Some(path) => path,
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            return Config::incluster()
                .map_err(|e| ClusterError::NotConfigured(format!("inside a pod, but {e}")));
        }
        None => Path::new(DEFAULT_KUBECONFIG),
    };
    let unusable = |why: String| {
        let path = path.display();
        ClusterError::NotConfigured(format!(
            "{path}: {why}; write a kubeconfig there, or set cluster.kubeconfig or \
             cluster.enabled = false in the settings"
        ))
    };
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|e| unusable(e.to_string()))?;
    if metadata.len() > MAX_KUBECONFIG {
        return Err(unusable(format!("larger than {MAX_KUBECONFIG} bytes")));
    }
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(owned)).await;
    let kubeconfig = read
        .map_err(|e| unusable(e.to_string()))?
        .map_err(|e| unusable(e.to_string()))?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|e| unusable(e.to_string()))
}

fn unread(error: io::Error) -> ClusterError {
    ClusterError::Interrupted(innermost(&error))
}

fn classify(error: kube::Error, of: Of) -> ClusterError {
    match error {
        kube::Error::Api(status) => classify_status(*status, of),
        kube::Error::Auth(e) => ClusterError::Unauthorized(innermost(&e)),
        kube::Error::Service(e) => {
            let why = innermost(e.as_ref());
            // The client tells by this word alone that it never got as far as sending.
            if e.to_string().contains("(Connect)") {
                ClusterError::Unreachable(with_advice(why))
            } else {
                ClusterError::Interrupted(why)
            }
        }
        e @ (kube::Error::HyperError(_) | kube::Error::ReadEvents(_)) => {
            ClusterError::Interrupted(innermost(&e))
        }
        e => ClusterError::Other(innermost(&e)),
    }
}

fn classify_status(status: Status, of: Of) -> ClusterError {
    let wait = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    // An object that is missing is named in the answer; a path that is missing is plain text.
    let named = status.reason == "NotFound";
    let mut message = status.message;
    message.truncate(message.floor_char_boundary(512));
    match status.code {
        401 => ClusterError::Unauthorized(message),
        403 => ClusterError::Forbidden(message),
        404 if of == Of::Object && named => ClusterError::NotFound,
        404 => ClusterError::CrdMissing,
        409 => ClusterError::Conflict,
        410 => ClusterError::Gone,
        400 | 422 => ClusterError::Invalid(message),
        429 => ClusterError::TooManyRequests {
            retry_after: (wait > 0).then(|| Duration::from_secs(wait.into())),
        },
        500.. => ClusterError::Interrupted(format!("status {}: {message}", status.code)),
        code => ClusterError::Other(format!("status {code}: {message}")),
    }
}

/// A certificate that is not trusted any more is not mended by waiting.
fn with_advice(why: String) -> String {
    match why.contains("invalid peer certificate") {
        true => format!(
            "{why}; if the cluster has another certificate authority now, write its certificate to where \
             the kubeconfig names it"
        ),
        false => why,
    }
}

/// The innermost cause says what is wrong; what is around it says only who noticed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    for _ in 0..16 {
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    let text = cause.to_string();
    // A library tells programmers where to read on.
    match text.split_once(": https://") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
