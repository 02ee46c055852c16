//! Hands every effect to the task whose job it is.

use std::sync::Arc;

use edge_agent_core::command::envelope::seal_result;
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::{Effect, Event, Examination, KeyringFault};
use edge_agent_core::notice::Notice;
use edge_agent_core::retention::Class;
use edge_agent_core::rollout::{Order, Outcome};
use edge_agent_core::wire::CommandResult;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::outlet::Outlet;
use crate::http::Metrics;
use crate::mqtt;
use crate::store::identity::NodeIdentity;
use crate::store::keyring::Install;
use crate::store::ledger_writer::LedgerWrite;
use crate::store::outbox::record::NewRecord;

/// The ways out of the supervisor, one for each kind of effect.
pub(super) struct Outlets {
    pub(super) records: Outlet<NewRecord>,
    pub(super) broker: mqtt::Handle,
    pub(super) orders: Outlet<Order>,
    pub(super) examinations: Outlet<Examination>,
    pub(super) ledger: Outlet<LedgerWrite>,
    pub(super) keyrings: Outlet<Install>,
    /// Closed when nobody is to be told.
    pub(super) notices: Outlet<Notice>,
    /// Back to the supervisor itself, for what no task can answer.
    pub(super) own: Outlet<Event>,
    pub(super) identity: Option<Arc<NodeIdentity>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Outlets {
    /// Hands out effects in their order. Never waits; what does not fit leaves with [`flush`].
    ///
    /// [`flush`]: Outlets::flush
    pub(super) fn hand_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.hand(effect);
        }
    }

    fn hand(&mut self, effect: Effect) {
        match effect {
            // What is told of a command must not be on the medium before what it says is.
            Effect::Record(fact) if fact.class == Class::CommandResult => {
                self.record_after_ledger(NewRecord::event(fact));
            }
            Effect::Record(fact) => self.record(NewRecord::event(fact)),
            Effect::Answer(result) => self.answer(*result),
            Effect::Retain { topic, payload } => self.broker.retain(&topic, payload),
            Effect::RetainAt { topic, payload } => self.broker.retain_at(topic, payload),
            Effect::Acknowledge(delivery) => self.broker.acknowledge(delivery),
            Effect::Admit { command, record } => {
                let write = LedgerWrite::Save {
                    record,
                    command: Some(command),
                };
                if let Err(LedgerWrite::Save {
                    command: Some(command),
                    ..
                }) = self.ledger.put(write)
                {
                    let result = Err("the ledger is not open".to_owned());
                    let _ = self.own.put(Event::Admitted { command, result });
                }
            }
            Effect::SaveLedger(record) => {
                let _ = self.ledger.put(LedgerWrite::Save {
                    record,
                    command: None,
                });
            }
            Effect::InstallKeyring { delivery, update } => {
                self.install(Install { delivery, update });
            }
            Effect::Examine(examination) => {
                // Nothing waits for the answer.
                let _ = self.examinations.put(*examination);
            }
            Effect::Notify(notice) => {
                // The event of it is in the outbox.
                let _ = self.notices.put(*notice);
            }
            Effect::Execute(order) => self.execute(*order),
        }
    }

    fn execute(&mut self, order: Order) {
        if let Err(order) = self.orders.put(order) {
            let refusal = Refusal::new(
                RefusalCode::ApiUnreachable,
                "the agent is stopping, or its cluster is turned off",
            );
            let outcome = Outcome::Refused(refusal);
            let _ = self.own.put(Event::Executed {
                command: order.command,
                outcome,
            });
        }
    }

    fn answer(&mut self, result: CommandResult) {
        self.metrics.count_command(result.state);
        info!(
            command = %result.command,
            state = result.state.as_str(),
            reason = result.reason.map(|code| code.as_str()),
            message = %result.message,
            "command"
        );
        let Some(identity) = &self.identity else {
            // Nobody can be told, and nobody is to be told later.
            let _ = self.own.put(Event::AnswersStored(vec![result.command]));
            return;
        };
        self.record_after_ledger(NewRecord::Result {
            envelope: seal_result(&result, &result.node, identity.key()),
            command: result.command,
            at: result.at,
        });
    }

    fn install(&mut self, install: Install) {
        if let Err(Install { delivery, update }) = self.keyrings.put(install) {
            let fault = KeyringFault::NotWritten("the agent is stopping".to_owned());
            let _ = self.own.put(Event::KeyringInstalled {
                delivery,
                update,
                result: Err(fault),
            });
        }
    }

    /// Hands a record to the outbox by way of the ledger, if there is one: what is said of a command
    /// is then never on the medium without what the node knows of it. Else a power cut between the
    /// two could let it look up, and answer, a second time and otherwise.
    fn record_after_ledger(&mut self, record: NewRecord) {
        if let Err(LedgerWrite::Then(record)) = self.ledger.put(LedgerWrite::Then(record)) {
            self.record(record);
        }
    }

    fn record(&mut self, record: NewRecord) {
        if let Err(record) = self.records.put(record) {
            error!(?record, "the outbox has been closed; this is lost");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.orders.is_empty()
            && self.examinations.is_empty()
            && self.ledger.is_empty()
            && self.keyrings.is_empty()
            && self.notices.is_empty()
            && self.own.is_empty()
    }

    /// Sends something that waits, as soon as there is room for it.
    pub(super) async fn flush(&mut self) {
        tokio::select! {
            () = self.records.flush() => {}
            () = self.orders.flush() => {}
            () = self.examinations.flush() => {}
            () = self.ledger.flush() => {}
            () = self.keyrings.flush() => {}
            () = self.notices.flush() => {}
            () = self.own.flush() => {}
        }
    }

    /// Lets every task see that nothing more will come.
    pub(super) fn close(&mut self) {
        self.records.close();
        self.orders.close();
        self.examinations.close();
        self.ledger.close();
        self.keyrings.close();
        self.notices.close();
        self.own.close();
    }
}

/// A channel with the outlet to its front.
pub(super) fn outlet<T>(room: usize) -> (Outlet<T>, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::channel(room);
    (Outlet::new(sender), receiver)
}
