//! The way out of the supervisor: bounded channels that it never waits on while handling an event.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// A sender with a queue of its own for what does not fit at once.
///
/// The supervisor hands things to tasks which in turn hand events to the supervisor; if it waited
/// for room in their channels while they wait for room in its own, all would stand still. So it
/// never waits: what does not fit stays here and is sent from the loop, beside the events.
#[derive(Debug)]
pub(super) struct Outlet<T> {
    sender: Option<mpsc::Sender<T>>,
    waiting: VecDeque<T>,
}

impl<T> Outlet<T> {
    pub(super) fn new(sender: mpsc::Sender<T>) -> Self {
        Self {
            sender: Some(sender),
            waiting: VecDeque::new(),
        }
    }

    /// An outlet to a task that is not there; what is put in is given back.
    pub(super) fn closed() -> Self {
        Self {
            sender: None,
            waiting: VecDeque::new(),
        }
    }

    /// Sends now if there is room, later if there is not.
    ///
    /// # Errors
    /// Gives `item` back when the task at the other end is not there.
    pub(super) fn put(&mut self, item: T) -> Result<(), T> {
        let Some(sender) = &self.sender else {
            return Err(item);
        };
        if !self.waiting.is_empty() {
            self.waiting.push_back(item);
            return Ok(());
        }
        match sender.try_send(item) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.waiting.push_back(item);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(item)) => {
                self.sender = None;
                Err(item)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends one of the waiting items as soon as there is room; never returns while none waits.
    /// Nothing is lost when the future is dropped.
    pub(super) async fn flush(&mut self) {
        let (Some(sender), false) = (&self.sender, self.waiting.is_empty()) else {
            return std::future::pending().await;
        };
        let gone = match sender.reserve().await {
            Ok(permit) => {
                if let Some(item) = self.waiting.pop_front() {
                    permit.send(item);
                }
                false
            }
            Err(_closed) => true,
        };
        if gone {
            self.sender = None;
            self.waiting.clear();
        }
    }

    /// Lets the task at the other end see that nothing more will come.
    pub(super) fn close(&mut self) {
        self.sender = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_kept_in_order() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outlet = Outlet::new(sender);
        for number in 1..=3 {
            outlet.put(number).unwrap();
        }
        assert_eq!(receiver.recv().await, Some(1));
        outlet.flush().await;
        assert!(!outlet.is_empty());
        assert_eq!(receiver.recv().await, Some(2));
        outlet.flush().await;
        assert!(outlet.is_empty());
        assert_eq!(receiver.recv().await, Some(3));
    }

    #[tokio::test]
    async fn what_nobody_takes_comes_back() {
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        assert_eq!(Outlet::new(sender).put(7), Err(7));
        assert_eq!(Outlet::closed().put(7), Err(7));
    }
}
