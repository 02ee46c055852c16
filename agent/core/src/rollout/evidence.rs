//! What an application says about how an order on it goes.

use jiff::Timestamp;

use crate::application::{Application, Operation};

pub(super) fn operation_command(app: &Application) -> Option<&String> {
    app.operation.as_ref()?.command.as_ref()
}

/// The comparison was made after the operation had ended. Both times have whole seconds.
pub(super) fn is_compared_since(app: &Application) -> bool {
    let finished = app.operation.as_ref().and_then(|o| o.finished_at);
    match (app.reconciled_at, finished) {
        (Some(compared), Some(finished)) => compared >= finished,
        (_, finished) => finished.is_none(),
    }
}

/// A revision was deployed last, and after that time.
pub(super) fn is_deployed_since(app: &Application, revision: &str, at: Timestamp) -> bool {
    let last = app.history.last();
    last.is_some_and(|entry| entry.revision == revision && entry.deployed_at > Some(at))
}

/// Why the comparison fails.
pub(super) fn failed_comparison(app: &Application) -> Option<String> {
    let condition = app
        .conditions
        .iter()
        .find(|c| matches!(c.kind.as_str(), "ComparisonError" | "InvalidSpecError"))?;
    Some(format!("{}: {}", condition.kind, condition.message))
}

/// Why the last operation has failed, given up and not overtaken.
pub(super) fn failed_operation(app: &Application) -> Option<String> {
    let operation = (app.operation.as_ref())
        .filter(|operation| operation.phase.is_failure() && !app.operation_overtaken())?;
    operation_failure(operation)
}

/// Why an operation has failed, whatever has come after it.
pub(super) fn operation_failure(operation: &Operation) -> Option<String> {
    operation.phase.is_failure().then(|| explained(operation))
}

fn explained(operation: &Operation) -> String {
    let message = operation.message.as_deref().unwrap_or("the sync failed");
    let failures = &operation.failures;
    let failure = failures
        .iter()
        .find(|f| f.pre_sync_hook)
        .or(failures.first());
    match failure {
        Some(failure) => format!(
            "{} {}: {}; {message}",
            failure.kind, failure.name, failure.message
        ),
        None => message.to_owned(),
    }
}

/// Where an application stands, in a few words.
pub(super) fn standing(app: &Application) -> String {
    let (sync, health) = (app.sync.as_str(), app.health.as_str());
    let on = app.revision.as_deref().unwrap_or("no revision");
    let operation = app
        .operation
        .as_ref()
        .filter(|_| app.operation_in_progress());
    let operation = operation.map_or(String::new(), |operation| match &operation.message {
        Some(message) => format!(", with an operation under way: {message}"),
        None => ", with an operation under way".to_owned(),
    });
    format!("it is {sync} and {health} on {on}{operation}")
}

pub(super) fn degraded(app: &Application) -> String {
    match &app.health_message {
        Some(message) => format!("the application is Degraded: {message}"),
        None => "the application is Degraded".to_owned(),
    }
}
