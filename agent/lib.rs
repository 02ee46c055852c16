//! edge-agent: the part on the board.
//!
//! This page is the map of the code. The contract with the outside (topics, payloads, commands,
//! settings) is told in the README and in the documentation of the types that carry it.
//!
//! # Data flow
//!
//! ```text
//! sampler ──┐                                   ┌──► outbox writer ─► sled ─► publisher ─► broker
//! watcher ──┤  Event (one bounded channel)      │        (Record, Answer; removed on PUBACK)
//! viewer ───┤                                   │
//! session ──┼──────────► supervisor ── Effect ──┼──► retained values ──────► publisher ─► broker
//! intake ───┤            owns State             ├──► ledger writer ── Admitted ──► (an Event)
//! executor ─┤            State::apply           ├──► executor ─► Argo CD ── Executed ──► (an Event)
//! examiner ─┤                │                  ├──► examiner ─► workloads ──── Examined ──► (an Event)
//! writer ───┤                │                  ├──► notifier ─► people (may be lost; the event is not)
//! button ───┘                │                  └──► acknowledgement of a command
//!                            ▼
//!               watch: snapshot, indication ──► local page · status.json · LEDs
//! ```
//!
//! Everything that happens is an [`Event`]; everything that is decided is decided in one pure
//! function, [`State::apply`], which answers with [`Effect`]s. Tasks meet only in the supervisor.
//!
//! # Code map
//!
//! | where | what it does | vendor crate, named only there |
//! | --- | --- | --- |
//! | [`edge_agent_core`] | decides: no I/O, no clock, no async | ring (signatures) |
//! | [`supervisor`] | starts the tasks, owns the state, hands out effects, orders the shutdown | |
//! | [`health`] | samples the node on a thread that may hang | sysinfo |
//! | [`cluster`] | lists and watches Applications, carries out orders as patches, asks workloads, and about the node | kube |
//! | [`mqtt`] | the session with the broker, what goes out, what comes in | rumqttc |
//! | [`store`] | outbox, ledger, the node's own key | sled, ring (key) |
//! | [`led`] | draws the indication, watches the button | rppal |
//! | [`http`] | the local page, `/status.json`, `/metrics`, `/healthz` | |
//! | `gate` | asks the registry and SonarQube about an image, for the subcommand `gate` | reqwest |
//! | `notify` | tells people: a webhook, ntfy, GitLab; for the subcommand `notify` and for the node itself | reqwest |
//! | [`config`] | the settings, every fault at once | |
//! | [`cli`] | one file a subcommand | |
//! | [`clock`], [`logging`] | the one place that reads the clocks; journald or standard error | |
//!
//! # Invariants
//!
//! - Only the supervisor owns [`State`], and no task calls another.
//! - The core is deterministic: the same events at the same times give the same effects.
//! - An envelope is verified over the bytes received; `VerifiedCommand` has one constructor.
//! - A command is in the ledger, synced, before it is acknowledged to the broker, and acknowledged
//!   before it is executed. It runs at most once: what is found unfinished after a crash is looked
//!   up in the cluster by its id, never run again.
//! - An event counts as stored once it is synced to the medium, and is removed only on PUBACK.
//! - The supervisor never waits for a task while it handles an event, so no two tasks can wait for
//!   each other.
//! - Core types are not sent anywhere; the versioned types of [`edge_agent_core::wire`] are.
//! - Shutdown goes from the sources to the displays, under one deadline. A task that ends before it
//!   was told to is a fault, and ends the agent. At SIGHUP the process puts everything down in the same
//!   order and replaces itself, so that nothing of the old settings is left.
//!
//! `tests/tidy.rs` asserts what of this can be read from the source tree.
//!
//! [`Event`]: edge_agent_core::event::Event
//! [`Effect`]: edge_agent_core::event::Effect
//! [`State`]: edge_agent_core::state::State
//! [`State::apply`]: edge_agent_core::state::State::apply

pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
mod gate;
pub mod health;
pub mod http;
pub mod led;
pub mod logging;
pub mod mqtt;
mod notify;
pub mod store;
pub mod supervisor;
