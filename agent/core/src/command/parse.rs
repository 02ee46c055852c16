//! Between the bytes of a payload and a [`Command`].
//!
//! Reading goes over the bytes twice or three times instead of through a tree of values: a tree
//! would keep the last of two fields of the same name, and then two readers may see two commands.
//! Here a field that comes twice is a fault, and so is one that nobody knows.

use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::encoding::shorten;
use super::envelope::MAX_PAYLOAD_BYTES;
use super::label::Label;
use super::object::Object;
use super::payload::{
    Action, COMMAND_NAMES, Command, DEFAULT_TIMEOUT, HoldMode, OnFailure, PayloadError,
    RollbackTarget, VERSION,
};
use super::{Refusal, RefusalCode};

/// Bytes of a sentence that quotes what an issuer wrote.
const MAX_QUOTE_BYTES: usize = 240;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u64,
    id: String,
    aud: Vec<String>,
    seq: u64,
    iat: i64,
    exp: i64,
    cmd: String,
    #[serde(rename = "args")]
    _args: Option<IgnoredAny>,
}

/// The arguments alone; the rest was read as [`Header`].
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct WithArguments<T> {
    args: Object<T>,
}

#[derive(Serialize)]
struct Payload<'a, T> {
    v: u64,
    id: &'a str,
    aud: &'a [String],
    seq: u64,
    iat: i64,
    exp: i64,
    cmd: &'a str,
    args: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RolloutArguments {
    application: String,
    revision: String,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default = "default_timeout_s")]
    timeout_s: u64,
    #[serde(default)]
    on_failure: OnFailure,
}

fn default_timeout_s() -> u64 {
    DEFAULT_TIMEOUT.as_secs()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackArguments {
    application: String,
    to: RollbackTarget,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<HoldMode>,
    #[serde(default)]
    prune: bool,
    #[serde(default)]
    allow_managed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeArguments {
    application: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefreshArguments {
    application: String,
    #[serde(default)]
    hard: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentifyArguments {
    seconds: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

pub(super) fn command(payload: &[u8]) -> Result<Command, PayloadError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(PayloadError {
            id: None,
            cmd: None,
            application: None,
            refusal: Refusal::new(
                RefusalCode::TooLarge,
                format!("the payload has more than {MAX_PAYLOAD_BYTES} bytes"),
            ),
        });
    }
    read(payload).map_err(|refusal| {
        let label = Label::of(payload);
        PayloadError {
            id: label.id,
            cmd: label.cmd,
            application: label.application,
            refusal,
        }
    })
}

fn read(payload: &[u8]) -> Result<Command, Refusal> {
    let Object::<Header>(header) = serde_json::from_slice(payload).map_err(|error| {
        fault(
            RefusalCode::Malformed,
            "the payload is not a command",
            &error,
        )
    })?;
    if header.v != VERSION {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            format!(
                "the payload has version {}; this node knows {VERSION}",
                header.v
            ),
        ));
    }
    let command = Command {
        action: action(&header.cmd, payload)?,
        id: header.id,
        audience: header.aud,
        sequence: header.seq,
        issued_at: header.iat,
        expires_at: header.exp,
    };
    command.check()?;
    Ok(command)
}

fn action(name: &str, payload: &[u8]) -> Result<Action, Refusal> {
    Ok(match name {
        "rollout" => {
            let args: RolloutArguments = arguments(payload)?;
            Action::Rollout {
                application: args.application,
                revision: args.revision,
                images: args.images,
                timeout: Duration::from_secs(args.timeout_s),
                on_failure: args.on_failure,
            }
        }
        "rollback" => {
            let args: RollbackArguments = arguments(payload)?;
            Action::Rollback {
                application: args.application,
                to: args.to,
                hold: args.hold,
                prune: args.prune,
                allow_managed: args.allow_managed,
            }
        }
        "resume" => {
            let args: ResumeArguments = arguments(payload)?;
            Action::Resume {
                application: args.application,
            }
        }
        "refresh" => {
            let args: RefreshArguments = arguments(payload)?;
            Action::Refresh {
                application: args.application,
                hard: args.hard,
            }
        }
        "identify" => {
            let args: IdentifyArguments = arguments(payload)?;
            Action::Identify {
                seconds: args.seconds,
            }
        }
        "ping" => {
            optional_no_arguments(payload)?;
            Action::Ping
        }
        other => {
            return Err(Refusal::new(
                RefusalCode::UnknownCommand,
                format!(
                    "`{}` is no command; there are {}",
                    shorten(other, 40),
                    COMMAND_NAMES.join(", ")
                ),
            ));
        }
    })
}

fn arguments<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice::<WithArguments<T>>(payload)
        .map(|with| with.args.0)
        .map_err(|error| {
            fault(
                RefusalCode::InvalidArguments,
                "the arguments are wrong",
                &error,
            )
        })
}

/// `ping` may leave `args` out, say `null`, or say `{}`.
fn optional_no_arguments(payload: &[u8]) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Optional {
        #[serde(rename = "args")]
        _args: Option<Object<NoArguments>>,
    }
    serde_json::from_slice::<Optional>(payload)
        .map(|_| ())
        .map_err(|error| {
            fault(
                RefusalCode::InvalidArguments,
                "the arguments are wrong",
                &error,
            )
        })
}

fn fault(code: RefusalCode, what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::new(
        code,
        format!("{what}: {}", shorten(&error.to_string(), MAX_QUOTE_BYTES)),
    )
}

pub(super) fn to_json(command: &Command) -> Vec<u8> {
    match &command.action {
        Action::Rollout {
            application,
            revision,
            images,
            timeout,
            on_failure,
        } => with_arguments(
            command,
            RolloutArguments {
                application: application.clone(),
                revision: revision.clone(),
                images: images.clone(),
                timeout_s: timeout.as_secs(),
                on_failure: *on_failure,
            },
        ),
        Action::Rollback {
            application,
            to,
            hold,
            prune,
            allow_managed,
        } => with_arguments(
            command,
            RollbackArguments {
                application: application.clone(),
                to: to.clone(),
                hold: *hold,
                prune: *prune,
                allow_managed: *allow_managed,
            },
        ),
        Action::Resume { application } => with_arguments(
            command,
            ResumeArguments {
                application: application.clone(),
            },
        ),
        Action::Refresh { application, hard } => with_arguments(
            command,
            RefreshArguments {
                application: application.clone(),
                hard: *hard,
            },
        ),
        Action::Identify { seconds } => {
            with_arguments(command, IdentifyArguments { seconds: *seconds })
        }
        Action::Ping => with_arguments(command, NoArguments {}),
    }
}

fn with_arguments<T: Serialize>(command: &Command, args: T) -> Vec<u8> {
    let payload = Payload {
        v: VERSION,
        id: &command.id,
        aud: &command.audience,
        seq: command.sequence,
        iat: command.issued_at,
        exp: command.expires_at,
        cmd: command.name(),
        args,
    };
    // Strings, numbers and booleans always have a JSON form.
    serde_json::to_vec(&payload).unwrap_or_default()
}

#[cfg(test)]
mod tests;
