//! What the Application CRD does to an object that is written: unknown fields are dropped without a
//! word, wrong types are refused.

use serde_json::Value;

use super::refusal::Refusal;

/// The fields that the CRD knows, of the objects that a client of Argo CD writes.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "apiVersion",
            "kind",
            "metadata",
            "spec",
            "status",
            "operation",
        ],
    ),
    (
        "/spec",
        &[
            "project",
            "destination",
            "source",
            "sources",
            "sourceHydrator",
            "syncPolicy",
            "revisionHistoryLimit",
            "ignoreDifferences",
            "info",
        ],
    ),
    (
        "/spec/syncPolicy",
        &[
            "automated",
            "syncOptions",
            "retry",
            "managedNamespaceMetadata",
        ],
    ),
    (
        "/spec/syncPolicy/automated",
        &["prune", "selfHeal", "allowEmpty", "enabled"],
    ),
    ("/operation", &["sync", "initiatedBy", "info", "retry"]),
    ("/operation/initiatedBy", &["username", "automated"]),
    (
        "/operation/sync",
        &[
            "revision",
            "revisions",
            "prune",
            "dryRun",
            "syncStrategy",
            "resources",
            "source",
            "sources",
            "manifests",
            "syncOptions",
            "autoHealAttemptsCount",
        ],
    ),
    (
        "/status/operationState",
        &[
            "phase",
            "message",
            "operation",
            "syncResult",
            "startedAt",
            "finishedAt",
            "retryCount",
        ],
    ),
];

/// Where the CRD wants a field of an object, if that object is there.
const REQUIRED: &[(&str, &str)] = &[
    ("", "spec"),
    ("/spec", "destination"),
    ("/spec", "project"),
    ("/spec/source", "repoURL"),
    ("/operation/sync/source", "repoURL"),
    ("/status/operationState", "operation"),
    ("/status/operationState", "phase"),
    ("/status/operationState", "startedAt"),
];

/// Where the CRD wants an object, if there is anything.
const OBJECTS: &[&str] = &[
    "/metadata",
    "/spec",
    "/spec/source",
    "/spec/destination",
    "/spec/syncPolicy",
    "/spec/syncPolicy/automated",
    "/operation",
    "/operation/sync",
    "/operation/sync/source",
    "/operation/initiatedBy",
    "/status",
    "/status/operationState",
];

/// Drops what the CRD does not know. A CRD from before Argo CD 3.1 does not know
/// `automated.enabled`.
pub(super) fn prune(object: &mut Value, knows_enabled: bool) {
    for (at, fields) in KNOWN {
        if let Some(Value::Object(map)) = object.pointer_mut(at) {
            map.retain(|name, _| {
                fields.contains(&name.as_str()) && (knows_enabled || name != "enabled")
            });
        }
    }
}

/// Refuses what the CRD refuses.
pub(super) fn check(object: &Value) -> Result<(), Refusal> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if object["apiVersion"] != "argoproj.io/v1alpha1" || object["kind"] != "Application" {
        return Err(Refusal::bad_request(
            "the object provided is not an Application of argoproj.io/v1alpha1",
        ));
    }
    for kind in ["annotations", "labels"] {
        let texts = match &object["metadata"][kind] {
            Value::Null => true,
            Value::Object(map) => map.values().all(Value::is_string),
            _ => false,
        };
        if !texts {
            return Err(Refusal::bad_request(format!(
                "metadata.{kind} of the object is not a map of strings"
            )));
        }
    }
    for at in ["spec", "operation", "status"] {
        if let Some(part) = object.get(at) {
            refuse_null(name, at, part)?;
        }
    }
    for at in OBJECTS {
        if object.pointer(at).is_some_and(|part| !part.is_object()) {
            return Err(Refusal::invalid(
                name,
                &dotted(at),
                "must be of type object",
            ));
        }
    }
    for (at, field) in REQUIRED {
        if object
            .pointer(at)
            .is_some_and(|part| part.get(field).is_none())
        {
            let field = format!("{}.{field}", dotted(at));
            return Err(Refusal::invalid(name, &field, "Required value"));
        }
    }
    refuse_nameless_info(name, object)
}

fn refuse_null(name: &str, at: &str, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => Err(Refusal::invalid(name, at, "must not be null")),
        Value::Object(map) => map
            .iter()
            .try_for_each(|(key, part)| refuse_null(name, &format!("{at}.{key}"), part)),
        Value::Array(items) => items
            .iter()
            .try_for_each(|part| refuse_null(name, &format!("{at}[]"), part)),
        _ => Ok(()),
    }
}

fn refuse_nameless_info(name: &str, object: &Value) -> Result<(), Refusal> {
    let Some(info) = object.pointer("/operation/info") else {
        return Ok(());
    };
    let complete = info.as_array().is_some_and(|entries| {
        entries
            .iter()
            .all(|entry| entry["name"].is_string() && entry["value"].is_string())
    });
    if complete {
        Ok(())
    } else {
        Err(Refusal::invalid(
            name,
            "operation.info",
            "must be an array of objects with name and value",
        ))
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}
