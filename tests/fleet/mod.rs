//! A fleet that is made up: the real core of the agent, once for every node, behind a few connections.
//!
//! Each node has a board whose readings wander, Applications that go through the states of a deploy as
//! Argo CD shows them, links that break now and then, and somebody who sends it signed commands. What
//! the core wants published is published; nothing else is. The same seed, start and number of nodes
//! give the same messages.

mod argo;
mod board;
mod dice;
mod issuer;
mod node;
mod run;
mod tally;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use edge_agent::mqtt::Message;
use jiff::Timestamp;

use issuer::Issuer;
use node::{Ground, Kind, Node};

pub(crate) use run::{Plan, run};

/// What of it is the same for every run.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    /// The beginning of the names of the nodes.
    pub(crate) prefix: String,
    pub(crate) seed: u64,
    pub(crate) started: Timestamp,
}

/// All nodes, and which of them is next.
pub(crate) struct Fleet {
    ground: Ground,
    nodes: Vec<Node>,
    /// When each node acts next.
    next: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl Fleet {
    /// # Errors
    /// When the prefix cannot begin the name of a node.
    pub(crate) fn new(shape: &Shape) -> anyhow::Result<Self> {
        let ground = Ground {
            seed: shape.seed,
            prefix: shape.prefix.clone(),
            started: shape.started,
            issuer: Issuer::new(shape.seed)?,
        };
        let nodes = (1..=shape.nodes)
            .map(|number| Node::new(&ground, number, shape.nodes))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let next = nodes.iter().enumerate();
        let next = next.map(|(number, node)| Reverse((node.next(), number)));
        Ok(Self {
            next: next.collect(),
            nodes,
            ground,
        })
    }

    /// When something happens next, since the start.
    pub(crate) fn next(&self) -> Duration {
        self.next.peek().map_or(Duration::MAX, |it| it.0.0)
    }

    /// Lets it happen; gives the number of the node, from 0, and what it sends.
    pub(crate) fn step(&mut self) -> (usize, Vec<(Kind, Message)>) {
        let Some(Reverse((_, number))) = self.next.pop() else {
            return (0, Vec::new());
        };
        let node = &mut self.nodes[number];
        let sent = node.step(&self.ground);
        self.next.push(Reverse((node.next(), number)));
        (number, sent)
    }

    /// What is sent at the end, by node: what clears its topics, or its goodbye.
    pub(crate) fn end(&mut self, at: Duration, keep: bool) -> Vec<Vec<Message>> {
        let end = |node: &mut Node| match keep {
            true => node.stop(at),
            false => node.withdraw(),
        };
        self.nodes.iter_mut().map(end).collect()
    }
}
