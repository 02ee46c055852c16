//! A value against its limits: where a status begins, where it ends, and how that is said.

use super::Limits;
use crate::wire::{Reason, Status};

/// °C below a limit at which the temperature leaves it.
const TEMPERATURE_MARGIN: f64 = 3.0;
/// Share of a limit below it at which any other value leaves it.
const RELATIVE_MARGIN: f64 = 0.05;

/// The reason that a check gives; none when it is ok.
pub(super) fn reason(
    check: &str,
    status: Status,
    message: impl FnOnce(Status) -> String,
) -> Option<Reason> {
    (status > Status::Ok).then(|| Reason {
        check: check.to_owned(),
        status,
        message: message(status),
    })
}

/// The new status of a check: up at a limit, down only below its margin.
pub(super) fn step(previous: Status, value: f64, limits: Limits, margin: fn(f64) -> f64) -> Status {
    let reached = if value >= limits.critical {
        Status::Critical
    } else if value >= limits.warning {
        Status::Warning
    } else {
        Status::Ok
    };
    reached.max(previous.min(held(value, limits, margin)))
}

/// The worst status that a check with this value may keep.
pub(super) fn held(value: f64, limits: Limits, margin: fn(f64) -> f64) -> Status {
    if value > limits.critical - margin(limits.critical) {
        Status::Critical
    } else if value > limits.warning - margin(limits.warning) {
        Status::Warning
    } else {
        Status::Ok
    }
}

pub(super) fn temperature_margin(_limit: f64) -> f64 {
    TEMPERATURE_MARGIN
}

pub(super) fn relative_margin(limit: f64) -> f64 {
    limit * RELATIVE_MARGIN
}

/// Says which limit counts, and where the check leaves it when the value is already below it.
pub(super) fn limit_text(
    value: f64,
    limits: Limits,
    status: Status,
    margin: fn(f64) -> f64,
    unit: fn(f64) -> String,
) -> String {
    let limit = if status == Status::Critical {
        limits.critical
    } else {
        limits.warning
    };
    let mut text = format!("{} from {}", status.as_str(), unit(limit));
    if value < limit {
        text.push_str(&format!(" until {}", unit(limit - margin(limit))));
    }
    text
}

pub(super) fn celsius(value: f64) -> String {
    format!("{} °C", shortened(value))
}

pub(super) fn percent(value: f64) -> String {
    // A share far beyond any sense must not overflow into something that is no number.
    format!("{} %", shortened((value * 100.0).min(f64::MAX)))
}

/// One decimal, and none where it is zero.
pub(super) fn shortened(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

pub(super) fn readable(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// Share in use; `None` when there is nothing to share.
pub(super) fn used(total: u64, available: u64) -> Option<f64> {
    (total > 0).then(|| total.saturating_sub(available) as f64 / total as f64)
}
