//! Ending an operation that is in the way of a rollback.

use serde_json::Value;

use super::object::Subject;
use super::patch::Patch;
use super::{Applied, Plan};
use crate::command::payload::HoldMode;

/// What is left to do of a rollback that is in the cluster: ending the operation that was under way.
/// Argo CD's controller writes the state of an operation that it has in hand over a request to end it
/// that came meanwhile, so that the request has to be looked after. `None` when nothing is left.
#[must_use]
pub fn remainder(object: &Value, applied: &Applied) -> Option<Plan> {
    let subject = Subject::read(object).ok()?;
    let to_target = (subject.app.operation.as_ref())
        .is_some_and(|operation| operation.revision == applied.revision);
    if applied.hold != Some(HoldMode::Pin) || !subject.operation_runs() || to_target {
        return None;
    }
    Some(end_operation(&subject, applied.clone()))
}

/// The plan that ends the operation under way, and nothing else; one that Argo CD has not begun can
/// only be waited for.
pub(super) fn end_operation(subject: &Subject<'_>, applied: Applied) -> Plan {
    let can_end = subject.operation_runs() && !subject.operation_is_ending();
    let patch = can_end.then(|| {
        let mut patch = Patch::of(subject);
        patch.terminate();
        patch.finish()
    });
    Plan {
        patch,
        refresh: None,
        preparatory: true,
        applied,
    }
}
