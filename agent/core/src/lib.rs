//! The pure core of edge-agent.
//!
//! Nothing in this crate does I/O, reads a clock or waits: time, bytes and readings enter as
//! arguments, decisions leave as values. The same events therefore always give the same effects,
//! and a recorded log of events replays.
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`application`] | the part of an Argo CD Application that we read, and its deploy state |
//! | [`rollout`] | how a command becomes a patch, and whether it has come to its end |
//! | [`health`] | how a sample becomes a judged health |
//! | [`state`] | what follows from an event: the one place where things are decided |
//! | [`indication`] | what the LEDs say, and how bright each is at a moment |
//! | [`button`] | what a person means who presses the button of the board |
//! | [`command`] | envelopes, keys, payloads, and whether a command is admitted |
//! | [`gate`] | what is asked of an image before it is rolled out, and what the answers mean |
//! | [`discovery`] | what Home Assistant is told of a node |
//! | [`topic`] [`wire`] | the contract on the broker: names and payloads |
//! | [`event`] [`notice`] | what can happen, what can be wanted, what people are told |
//! | [`retention`] [`backoff`] [`clock`] | what is dropped first; how long to wait; what time it is |
//! | [`columns`] | text in columns, for logs and terminals |

pub mod application;
pub mod backoff;
pub mod button;
pub mod clock;
pub mod columns;
pub mod command;
pub mod discovery;
pub mod event;
pub mod gate;
pub mod health;
pub mod indication;
pub mod notice;
pub mod retention;
pub mod rollout;
pub mod state;
pub mod topic;
pub mod wire;
