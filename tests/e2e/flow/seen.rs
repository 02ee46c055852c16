//! What can be seen of a rollout: on the board, on its LEDs, in the cluster, and by the team.

use std::time::Duration;

use serde_json::Value;

use super::super::agent::NODE;
use super::super::recorder::Message;
use super::super::wait;
use super::stage::{LIMIT, NAMESPACE, Stage};
use crate::scenarios::api::application_path;

/// How a gate ended.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Stage<'_> {
    /// Waits until the team's chat and GitLab have the next message, which is about a build and its end; returns
    /// what the chat has.
    pub(super) fn team_hears(&self, number: u64, word: &str) -> String {
        let chat = self.people.next("/hook/team", LIMIT).to_string();
        let told = [format!("/acme/shop/{number}"), word.to_owned()];
        assert!(
            told.iter().all(|part| chat.contains(part)),
            "no {told:?}: {chat}"
        );
        let state = if word == "succeeded" {
            "success"
        } else {
            "failed"
        };
        let status = self
            .people
            .next("/api/v4/projects/acme%2Fshop/statuses/", LIMIT);
        assert_eq!(status["state"], state, "{status}");
        chat
    }

    /// Waits until Argo CD has given the newest commit up.
    pub(super) fn given_up(&self) {
        let head = self.head();
        wait(LIMIT, "Argo CD to give up", || {
            let object = self.lab.api.get(&application_path("shop"));
            let operation = &object["status"]["operationState"];
            let is_it = operation["operation"]["sync"]["revision"] == head.as_str();
            (is_it && operation["phase"] == "Failed").then_some(())
        });
    }

    /// Waits until the board says that of the application; returns all it says.
    pub(super) fn board_says(&self, state: &str) -> Value {
        self.board(state, |app| app["state"] == state)
    }

    /// Waits until the board says that the gate stopped a sync, and why.
    pub(super) fn board_says_why(&self, why: &str) {
        self.board(why, |app| {
            let said = app["culprit"]["message"].as_str().unwrap_or_default();
            app["state"] == "SecurityCheckFailed" && said.contains(why)
        });
    }

    fn board(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let topic = format!("edge/v1/{NODE}/app/shop");
        let end = std::time::Instant::now() + LIMIT;
        loop {
            let messages = self.recorder.messages();
            let last = messages.iter().rev().find(|message| message.topic == topic);
            let app = last.map_or(Value::Null, Message::json);
            if is(&app) {
                return app;
            }
            assert!(
                std::time::Instant::now() < end,
                "waited for {what}; the board says {app:#}; gates: {:?}; {}",
                self.find_gate(),
                self.lab
                    .api
                    .find(&application_path("shop"))
                    .unwrap_or_default()["status"]
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the LEDs say that.
    pub(super) fn leds_say(&mut self, indication: &str) {
        self.agent
            .wait_status(LIMIT, &format!("the LEDs to say {indication}"), |status| {
                (status["indication"]["indication"] == indication).then_some(())
            });
    }

    /// The digest that the cluster runs, ready to serve.
    pub(super) fn runs(&self, digest: &str) {
        let path = "/apis/apps/v1/namespaces/shop/deployments/shop";
        let deployment = self.lab.api.get(path);
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        let image = image.as_str().unwrap_or_default();
        assert!(image.ends_with(digest), "{image} instead of {digest}");
        self.serves(digest);
    }

    /// At least one pod of an image is ready.
    pub(super) fn serves(&self, digest: &str) {
        let pods = self.lab.api.get(&format!("{NAMESPACE}/pods"));
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let is_ready = |pod: &&Value| {
            let container = &pod["status"]["containerStatuses"][0];
            container["ready"] == true && is_of(container, digest)
        };
        assert!(
            pods.iter().any(|pod| is_ready(&pod)),
            "{digest} does not serve: {pods:#?}"
        );
    }

    /// How the gate of the last sync ended, as its Pod says.
    pub(super) fn gate(&self) -> Gate {
        self.find_gate().unwrap()
    }

    fn find_gate(&self) -> Option<Gate> {
        let pod = self.lab.api.find(&format!("{NAMESPACE}/pods/gate"))?;
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        Some(Gate {
            code: ended["exitCode"].as_i64()?,
            message: ended["message"].as_str()?.to_owned(),
        })
    }
}

/// Whether a container is one of that image; a node may know it by a name of its own.
pub(super) fn is_of(container: &Value, digest: &str) -> bool {
    let image = container["imageID"].as_str();
    image.is_some_and(|image| image.ends_with(digest))
}
