//! The API server: routes, lists, patches and the faults that a test has ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::deployed;
use super::node;
use super::refusal::Refusal;
use super::store::{Key, PatchKind};
use super::watch;
use super::world::{Recorded, Shared, World};

/// Larger bodies are refused, as by the real one (3 MiB).
const LARGEST_BODY: usize = 3 << 20;

/// A query, decoded.
pub(super) type Query = BTreeMap<String, String>;

/// Answers every request.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: header::HeaderName| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let Ok(bytes) = to_bytes(body, LARGEST_BODY).await else {
        return refuse(&Refusal::bad_request("the body could not be read"));
    };
    let recorded = Recorded {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: text(header::CONTENT_TYPE),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let authorization = text(header::AUTHORIZATION);
    let fault = shared.change(|world| {
        world.requests.push(recorded.clone());
        ordered_fault(world).or_else(|| unauthorized(world, authorization.as_deref()))
    });
    if let Some(refusal) = fault {
        return refuse(&refusal);
    }
    let accept = text(header::ACCEPT).unwrap_or_default();
    route(&shared, &parts.method, &recorded, &accept)
}

fn route(shared: &Arc<Shared>, method: &Method, recorded: &Recorded, accept: &str) -> Response {
    let query = decode_query(&recorded.query);
    let path: Vec<&str> = recorded.path.trim_matches('/').split('/').collect();
    match (method, path.as_slice()) {
        (&Method::GET, ["version"]) => reply(200, &node::version()),
        (&Method::GET, ["readyz" | "livez" | "healthz"]) => "ok".into_response(),
        (&Method::GET, ["api", "v1", "nodes", name]) => {
            reply(200, &node::node(name, shared.read().node_ready))
        }
        (&Method::GET, ["api", "v1", "pods"]) => {
            reply(200, &node::pods(&query, shared.read().pods, accept))
        }
        (
            method,
            [
                "apis" | "api",
                group @ ..,
                "namespaces",
                namespace,
                resource @ ("deployments" | "jobs" | "configmaps"),
                name,
            ],
        ) if group != ["argoproj.io", "v1alpha1"] => {
            let body = (*method == Method::PATCH).then_some(recorded.body.as_str());
            let of = (*namespace, *resource, *name);
            answer_with(200, deployed::answer(shared, of, body))
        }
        (
            method,
            [
                "apis",
                "argoproj.io",
                "v1alpha1",
                "namespaces",
                namespace,
                rest @ ..,
            ],
        ) if rest.first() == Some(&"applications") && rest.len() <= 2 => applications(
            shared,
            method,
            namespace,
            rest.get(1).copied(),
            recorded,
            &query,
        ),
        (_, ["api" | "apis", ..]) => refuse(&Refusal::forbidden(&recorded.path)),
        _ => refuse(&Refusal::no_such_path()),
    }
}

fn applications(
    shared: &Arc<Shared>,
    method: &Method,
    namespace: &str,
    name: Option<&str>,
    request: &Recorded,
    query: &Query,
) -> Response {
    let Some(name) = name else {
        return match *method {
            Method::GET if request.is_watch() => watch::open(shared, namespace, query),
            Method::GET => answer_with(200, list(&shared.read(), namespace, query)),
            Method::POST => answer_with(201, create(shared, namespace, &request.body)),
            _ => refuse(&Refusal::method_not_allowed()),
        };
    };
    let key = (namespace.to_owned(), name.to_owned());
    match *method {
        Method::GET => {
            let found = shared.read().store.get(&key);
            let found = found.map(|object| (*object).clone());
            answer_with(200, found.ok_or_else(|| Refusal::not_found(name)))
        }
        Method::PATCH => answer_with(200, patch(shared, &key, request)),
        Method::PUT => {
            let body = request.body.as_bytes();
            let put = shared.change(|world| world.store.patch(&key, PatchKind::Whole, body));
            answer_with(200, put)
        }
        Method::DELETE => answer_with(200, shared.change(|world| world.store.delete(&key))),
        _ => refuse(&Refusal::method_not_allowed()),
    }
}

fn create(shared: &Shared, namespace: &str, body: &str) -> Result<Value, Refusal> {
    let object: Value = serde_json::from_str(body)
        .map_err(|error| Refusal::bad_request(format!("error decoding object: {error}")))?;
    shared.change(|world| world.store.create(namespace, object))
}

fn patch(shared: &Shared, key: &Key, request: &Recorded) -> Result<Value, Refusal> {
    let media = request.content_type.as_deref().unwrap_or_default();
    let kind = match media.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => PatchKind::Merge,
        "application/json-patch+json" => PatchKind::Json,
        other => return Err(Refusal::unsupported_media_type(other)),
    };
    shared.change(|world| {
        if world.faults.conflicts > 0 {
            world.faults.conflicts -= 1;
            let touch = json!({"metadata": {"annotations": {
                "example.com/touched": world.store.version().to_string(),
            }}});
            world
                .store
                .patch(key, PatchKind::Merge, touch.to_string().as_bytes())?;
        }
        world.store.patch(key, kind, request.body.as_bytes())
    })
}

/// Pages are of the present state, but carry the version of the first page: a watch from there
/// brings everything that changed meanwhile.
fn list(world: &World, namespace: &str, query: &Query) -> Result<Value, Refusal> {
    let (version, start) = match query.get("continue") {
        Some(token) => read_continue(token)?,
        None => (world.store.version(), String::new()),
    };
    if version < world.store.oldest() {
        return Err(Refusal::expired(version, world.store.oldest()));
    }
    let limit = match query.get("limit").map(|limit| limit.parse()) {
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Err(Refusal::bad_request("limit is not a number")),
    };
    let wanted = query
        .get("fieldSelector")
        .and_then(|selector| selector.strip_prefix("metadata.name="));
    let mut objects = world.store.list(namespace);
    objects.retain(|(name, _)| *name > start && wanted.is_none_or(|wanted| wanted == name));
    let rest = objects.len().saturating_sub(limit);
    objects.truncate(limit);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if rest > 0
        && let Some((last, _)) = objects.last()
    {
        metadata["continue"] = json!(format!("{version}.{last}"));
        metadata["remainingItemCount"] = json!(rest);
    }
    let items: Vec<&Value> = objects.iter().map(|(_, object)| &**object).collect();
    Ok(json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationList",
        "metadata": metadata,
        "items": items,
    }))
}

fn read_continue(token: &str) -> Result<(u64, String), Refusal> {
    token
        .split_once('.')
        .and_then(|(version, last)| Some((version.parse().ok()?, last.to_owned())))
        .ok_or_else(|| Refusal::bad_request("continue key is not valid"))
}

fn ordered_fault(world: &mut World) -> Option<Refusal> {
    let (left, code) = world.faults.fail.as_mut()?;
    let refusal = Refusal::ordered(*code);
    *left = left.saturating_sub(1);
    if *left == 0 {
        world.faults.fail = None;
    }
    Some(refusal)
}

fn unauthorized(world: &World, authorization: Option<&str>) -> Option<Refusal> {
    let token = world.token.as_ref()?;
    let held = authorization.and_then(|value| value.strip_prefix("Bearer "));
    (held != Some(token)).then(Refusal::unauthorized)
}

fn answer_with(code: u16, result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(value) => reply(code, &value),
        Err(refusal) => refuse(&refusal),
    }
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    reply(refusal.code, &refusal.status())
}

fn reply(code: u16, value: &Value) -> Response {
    respond(code, Body::from(value.to_string()))
}

/// An answer in JSON.
pub(super) fn respond(code: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn decode_query(query: &str) -> Query {
    query
        .split('&')
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |range: std::ops::Range<usize>| {
            let digits = std::str::from_utf8(tail.get(range)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match (first, hex(0..2)) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                decoded.push(b' ');
                rest = tail;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
