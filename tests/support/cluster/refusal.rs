//! The errors of the API server: Kubernetes `Status` objects.

use serde_json::{Value, json};

/// A request that the API server turns down.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: json!({}),
        }
    }

    fn about(mut self, name: &str) -> Self {
        self.details = json!({"name": name, "group": "argoproj.io", "kind": "applications"});
        self
    }

    pub(super) fn not_found(name: &str) -> Self {
        let message = format!("applications.argoproj.io \"{name}\" not found");
        Self::new(404, "NotFound", message).about(name)
    }

    pub(super) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message)
    }

    pub(super) fn already_exists(name: &str) -> Self {
        let message = format!("applications.argoproj.io \"{name}\" already exists");
        Self::new(409, "AlreadyExists", message).about(name)
    }

    pub(super) fn conflict(name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on applications.argoproj.io \"{name}\": the object has \
             been modified; please apply your changes to the latest version and try again"
        );
        Self::new(409, "Conflict", message).about(name)
    }

    /// What the API server says when an operation of a JSON Patch (a `test`, say) does not hold. It
    /// does not say which.
    pub(super) fn patch_does_not_apply() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message)
    }

    /// The object does not fit the schema of the CRD.
    pub(super) fn invalid(name: &str, field: &str, what: &str) -> Self {
        let message = format!(
            "Application.argoproj.io \"{name}\" is invalid: {field}: Invalid value: {what}"
        );
        let mut refusal = Self::new(422, "Invalid", message).about(name);
        refusal.details["causes"] =
            json!([{"reason": "FieldValueTypeInvalid", "message": what, "field": field}]);
        refusal
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(path: &str) -> Self {
        let message = format!(
            "User \"system:serviceaccount:argocd:edge-agent\" cannot use this path: \"{path}\" is \
             forbidden"
        );
        Self::new(403, "Forbidden", message)
    }

    pub(super) fn nothing_deployed(resource: &str, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" not found");
        let mut refusal = Self::new(404, "NotFound", message);
        refusal.details = json!({"name": name, "kind": resource});
        refusal
    }

    /// The account has no right to read that Deployment.
    pub(super) fn may_not_read(name: &str, namespace: &str) -> Self {
        let message = format!(
            "deployments.apps \"{name}\" is forbidden: User \
             \"system:serviceaccount:argocd:edge-agent\" cannot get resource \"deployments\" in API \
             group \"apps\" in the namespace \"{namespace}\""
        );
        Self::new(403, "Forbidden", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type(found: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format ({found}) - accepted media types \
             include: application/json-patch+json, application/merge-patch+json"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A watch, or the next page of a list, from a version that is no longer kept.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(410, "Expired", message)
    }

    /// A fault that a test has ordered.
    pub(super) fn ordered(code: u16) -> Self {
        let reason = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Self::new(
            code,
            reason,
            "the cluster double was told to fail this request",
        )
    }

    /// The body of the answer.
    pub(super) fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        })
    }
}
