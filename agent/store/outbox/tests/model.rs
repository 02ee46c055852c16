//! The outbox against a model that is obviously right.

use proptest::prelude::*;

use super::*;

/// What a model and the outbox are both told.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u8, u8)>),
    /// Removes every record whose place among those that are there is in the mask.
    Remove(u8),
    Reopen,
    /// The process ends here and now: what it has handed to the kernel is there, and nothing else.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec((0u8..6, 0u8..3), 1..5).prop_map(Step::Append),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Copies the store as a process that is killed leaves it.
fn crash(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// An outbox that is obviously right.
#[derive(Default)]
struct Model {
    records: Vec<(u64, Class, u8)>,
    highest: u64,
    dropped: u64,
    /// What was taken out.
    removed: Vec<u64>,
    crashes: u32,
}

impl Model {
    fn append(&mut self, batch: &[(u8, u8)], max: usize) {
        for (class, subject) in batch {
            self.highest += 1;
            let class = Class::from_byte(*class).unwrap();
            self.records.push((self.highest, class, *subject));
        }
        while self.records.len() > max {
            let rank = |record: &(u64, Class, u8)| {
                let newest = record.1 == Class::DeployState
                    && !self.records.iter().any(|other| {
                        other.1 == record.1 && other.2 == record.2 && other.0 > record.0
                    });
                (newest, record.1, record.0)
            };
            let droppable = self
                .records
                .iter()
                .filter(|it| it.1 != Class::CommandResult);
            let Some(first) = droppable.min_by_key(|it| rank(it)).copied() else {
                break;
            };
            self.records.retain(|record| record.0 != first.0);
            self.dropped += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_the_model_does(steps in steps(), max in 3usize..12) {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().join("outbox");
        let limits = config::Outbox { max_records: max as u64, ..NO_LIMITS };
        let mut outbox = open(&path, &limits);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append(batch) => {
                    let records: Vec<NewRecord> = batch
                        .iter()
                        .map(|(class, subject)| match Class::from_byte(*class).unwrap() {
                            Class::CommandResult => result(&subject.to_string()),
                            class => event(class, &subject.to_string()),
                        })
                        .collect();
                    outbox.append(&records).unwrap();
                    model.append(&batch, max);
                }
                Step::Remove(mask) => {
                    let gone: Vec<u64> = (0..8)
                        .filter(|bit| mask & (1 << bit) != 0)
                        .filter_map(|bit: usize| model.records.get(bit).map(|it| it.0))
                        .collect();
                    outbox.remove(&gone).unwrap();
                    // A newest state whose turn came is not replaced by an older one.
                    model.records.retain(|record| !gone.contains(&record.0));
                    model.removed.extend(gone);
                }
                Step::Crash => {
                    let copy = path.with_file_name(format!("outbox-{}", model.crashes));
                    crash(&path, &copy);
                    drop(outbox);
                    path = copy;
                    outbox = open(&path, &limits);
                    model.crashes += 1;
                    model.dropped = 0;
                    // What the broker had acknowledged may come back, and nothing else.
                    let known: Vec<u64> = model.records.iter().map(|it| it.0).collect();
                    let mut back = sequences(&outbox);
                    back.retain(|sequence| !known.contains(sequence));
                    let removed = back.iter().all(|it| model.removed.contains(it));
                    prop_assert!(removed, "{:?} came from nowhere", back);
                    outbox.remove(&back).unwrap();
                }
                Step::Reopen => {
                    drop(outbox);
                    outbox = open(&path, &limits);
                    model.dropped = 0;
                }
            }
            let expected: Vec<u64> = model.records.iter().map(|it| it.0).collect();
            prop_assert_eq!(sequences(&outbox), expected);
            prop_assert_eq!(outbox.status().records, model.records.len() as u64);
            prop_assert_eq!(outbox.status().dropped, model.dropped);
        }
    }
}
