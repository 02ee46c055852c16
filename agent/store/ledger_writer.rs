//! The task that writes the ledger, one record after the other.

use edge_agent_core::command::admission::LedgerRecord;
use edge_agent_core::event::Event;
use tokio::sync::mpsc;
use tracing::error;

use super::ledger::LedgerFile;
use super::outbox::record::NewRecord;

/// What the task is to do, in this order.
#[derive(Debug)]
pub enum LedgerWrite {
    /// Write the ledger.
    Save {
        /// The ledger as it is to be on the medium.
        record: Box<LedgerRecord>,
        /// The command whose admission waits for this write; it is told by [`Event::Admitted`].
        command: Option<String>,
    },
    /// Hand this to the outbox, now that everything before it has been written. Where a write has
    /// failed it is handed on all the same: it is true, and saying nothing would help nobody.
    Then(NewRecord),
}

/// Does what comes over `writes` until the channel closes; a failed write is told and does not end
/// the task. Each write is synced before it is told.
///
/// # Errors
/// When a write panics, which is a fault of the agent.
pub async fn run(
    mut file: LedgerFile,
    mut writes: mpsc::Receiver<LedgerWrite>,
    records: mpsc::Sender<NewRecord>,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    let mut impaired = false;
    while let Some(write) = writes.recv().await {
        let (record, command) = match write {
            LedgerWrite::Save { record, command } => (record, command),
            LedgerWrite::Then(record) => {
                if let Err(error) = records.send(record).await {
                    error!(record = ?error.0, "the outbox has been closed; this is lost");
                }
                continue;
            }
        };
        let (returned, result) = tokio::task::spawn_blocking(move || {
            let result = file.write(&record);
            (file, result)
        })
        .await?;
        file = returned;
        let result = result.map_err(|error| error.to_string());
        if result.is_err() != impaired {
            impaired = result.is_err();
            let fault = result.clone().err();
            if let Some(fault) = &fault {
                error!(
                    fault,
                    "the ledger could not be written; commands are refused"
                );
            }
            if events
                .send(Event::Impaired {
                    part: "ledger",
                    fault,
                })
                .await
                .is_err()
            {
                break;
            }
        }
        if let Some(command) = command
            && events
                .send(Event::Admitted { command, result })
                .await
                .is_err()
        {
            break;
        }
    }
    Ok(())
}
