//! What the node keeps over a restart.
//!
//! | module | file in the state directory | what it holds |
//! | --- | --- | --- |
//! | [`outbox`] | `outbox/` | events that the broker has not acknowledged yet (sled) |
//! | [`ledger`] | `ledger` | which commands were admitted: what tells a replay |
//! | [`keyring`] | `keyring.toml` | who may command, if it was changed over the air |
//! | [`identity`] | `node.key` | the node's own key, with which it signs its results |

pub mod identity;
pub mod keyring;
pub mod ledger;
pub mod ledger_writer;
pub mod outbox;
