//! What goes wrong because a test says so.

use super::{ClusterDouble, listener};
use crate::support::port;

impl ClusterDouble {
    /// Kills the API server: connections are cut, new ones refused. The controller goes on.
    pub(crate) async fn stop(&self) {
        let mut server = self.server.lock().await;
        if let Some((cut, closed)) = server.up.take() {
            cut.cancel();
            // An error means that the task is gone, and the listener with it.
            let _ = closed.await;
            server.held = Some(port::hold(self.port).expect("the port was ours"));
        }
    }

    /// Brings the API server back on the same port.
    pub(crate) async fn resume(&self) {
        let mut server = self.server.lock().await;
        if let Some(socket) = server.held.take() {
            let listening = socket.listen(128).expect("a bound socket can listen");
            let router = listener::router(self.shared.clone());
            let cut = self.shared.end.child_token();
            let closed = listener::serve(listening, router, &cut);
            server.up = Some((cut, closed));
        }
    }

    /// Answers the next `count` requests, of any kind, with `status`.
    pub(crate) fn fail_next(&self, count: u32, status: u16) {
        self.shared
            .change(|world| world.faults.fail = (count > 0).then_some((count, status)));
    }

    /// Before each of the next `count` patches somebody else writes the object, so that its
    /// resourceVersion is another.
    pub(crate) fn conflict_next(&self, count: u32) {
        self.shared.change(|world| world.faults.conflicts = count);
    }

    /// Ends the open watches and forgets the changes so far: a watch from any version that was handed
    /// out before gets 410.
    pub(crate) fn expire_watches(&self) {
        self.shared.change(|world| {
            world.faults.expired += 1;
            world.store.compact();
        });
    }

    /// Ends the open watches in the middle of an event.
    pub(crate) fn truncate_watches(&self) {
        self.shared.change(|world| world.faults.truncated += 1);
    }

    /// From now on watches stay open and bring nothing, not even bookmarks.
    pub(crate) fn stall_watches(&self) {
        self.shared.change(|world| world.faults.stalled = true);
    }

    /// Stalled watches bring what has happened meanwhile, and go on.
    pub(crate) fn unstall_watches(&self) {
        self.shared.change(|world| world.faults.stalled = false);
    }

    /// Stops or starts the controller; the API server goes on.
    pub(crate) fn freeze_controller(&self, frozen: bool) {
        self.shared.change(|world| world.frozen = frozen);
    }

    /// The next `count` requests to end the operation of an application are written over by the
    /// controller, as that of Argo CD 3.2.11 does now and then.
    pub(crate) fn overwrite_terminations(&self, namespace: &str, name: &str, count: u32) {
        self.application(namespace, name, |application| {
            application.overwrites = count;
        });
    }

    /// Requests need this bearer token from now on; others get 401. Without a call none is needed.
    pub(crate) fn require_token(&self, token: &str) {
        self.shared
            .change(|world| world.token = Some(token.to_owned()));
    }

    /// Behaves as a CRD from before Argo CD 3.1, which drops `automated.enabled`.
    pub(crate) fn use_old_crd(&self) {
        self.shared
            .change(|world| world.store.knows_enabled = false);
    }

    /// Takes the right to read Deployments, or gives it back.
    pub(crate) fn deny_deployments(&self, denied: bool) {
        self.shared
            .change(|world| world.deployments_denied = denied);
    }

    /// Sets the condition Ready of every node.
    pub(crate) fn set_node_ready(&self, ready: bool) {
        self.shared.change(|world| world.node_ready = ready);
    }

    /// Sets how many pods there are; 7 at first.
    pub(crate) fn set_pods(&self, count: usize) {
        self.shared.change(|world| world.pods = count);
    }
}
