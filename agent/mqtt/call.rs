//! One question and its answers: [`super::converse`] for those who know beforehand what they say.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc;

use super::aside::{GOODBYE, TalkError};
use super::converse::{Saying, Told, WAITING, converse};
use crate::config;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Topics to subscribe to, retained values included, before anything is said.
    pub subscribe: Vec<String>,
    /// What to say.
    pub say: Vec<Saying>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The broker cannot be asked.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// The time is over.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Asks, and hands what is heard to `hear` until that breaks or `limit` is over. A connection that
/// is lost later is made anew; one that cannot be made at all is an error at once, because somebody
/// waits.
///
/// # Errors
/// See [`CallError`].
pub async fn call<T>(
    mqtt: &config::Mqtt,
    question: Question,
    limit: Duration,
    mut hear: impl FnMut(Told) -> ControlFlow<T>,
) -> Result<T, CallError> {
    let (say, sayings) = mpsc::channel(question.say.len().max(1));
    for saying in question.say {
        // There is room for all of them.
        let _ = say.try_send(saying);
    }
    let (told, mut heard) = mpsc::channel(WAITING);
    let conversation = converse(mqtt, &question.subscribe, sayings, told);
    let mut conversation = std::pin::pin!(conversation);
    let answer = async {
        while let Some(told) = heard.recv().await {
            if let ControlFlow::Break(answer) = hear(told) {
                return answer;
            }
        }
        std::future::pending().await
    };
    let answer = tokio::select! {
        biased;
        ended = &mut conversation => match ended {
            Err(error) => return Err(error.into()),
            // It goes on for as long as somebody could say more.
            Ok(()) => return Err(CallError::TimedOut(limit)),
        },
        answer = answer => answer,
        () = tokio::time::sleep(limit) => return Err(CallError::TimedOut(limit)),
    };
    // The answer is there; whether the goodbye is heard changes nothing.
    drop((say, heard));
    let _ = tokio::time::timeout(GOODBYE, conversation).await;
    Ok(answer)
}
