//! Home Assistant in a process of its own: set up without a question, asked over its API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait;

/// Dropping it kills it.
pub(super) struct Instance {
    child: Child,
    directory: PathBuf,
    pub(super) base: String,
    /// What a browser keeps of a login.
    pub(super) tokens: Value,
}

impl Instance {
    /// Starts it on what the broker at this port says, and logs in.
    pub(super) fn start(program: &Path, directory: &Path, broker: u16) -> Self {
        let port = crate::support::port::reserve();
        seed(directory, port, broker);
        let log = File::create(directory.join("output.log")).unwrap();
        let child = Command::new(program.join("venv/bin/python"))
            .args(["-m", "homeassistant", "--skip-pip", "-c"])
            .arg(directory)
            .env("HOME", directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut instance = Self {
            child,
            directory: directory.to_owned(),
            base: format!("http://127.0.0.1:{port}"),
            tokens: Value::Null,
        };
        wait(Duration::from_secs(120), "Home Assistant to listen", || {
            let log = instance.log();
            assert!(!log.contains("recovery mode"), "{log}");
            instance.get("/api/onboarding")
        });
        instance.log_in();
        instance
    }

    /// Makes the first user, and answers what a new installation asks.
    fn log_in(&mut self) {
        let client = format!("{}/", self.base);
        let user = json!({
            "client_id": client, "name": "Test", "username": "test", "password": "test-1234",
            "language": "en",
        });
        let made = self.post("/api/onboarding/users", &user);
        let code = made["auth_code"].as_str().unwrap().to_owned();
        let form = format!("grant_type=authorization_code&code={code}&client_id={client}");
        let mut tokens = self
            .ask(&["-X", "POST", "--data", &form], "/auth/token")
            .unwrap();
        tokens["hassUrl"] = self.base.as_str().into();
        tokens["clientId"] = client.as_str().into();
        // Milliseconds since 1970: long after this is over.
        tokens["expires"] = json!(4_000_000_000_000_u64);
        self.tokens = tokens;
        for step in ["core_config", "analytics"] {
            self.post(&format!("/api/onboarding/{step}"), &json!({}));
        }
        let last = json!({"client_id": client, "redirect_uri": client});
        self.post("/api/onboarding/integration", &last);
    }

    /// What it answers, if it answers with JSON and success.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.ask(&[], path)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let type_ = "Content-Type: application/json";
        self.ask(&["-X", "POST", "-H", type_, "--data", &body], path)
            .unwrap_or_else(|| panic!("{path} {body}: {}", self.log()))
    }

    /// What a template says: the way to what its API does not have, such as devices.
    pub(super) fn template(&self, template: &str) -> String {
        let body = json!({"template": template}).to_string();
        let type_ = "Content-Type: application/json";
        let arguments = ["-X", "POST", "-H", type_, "--data", &body];
        self.curl(&arguments, "/api/template").unwrap()
    }

    fn ask(&self, arguments: &[&str], path: &str) -> Option<Value> {
        serde_json::from_str(&self.curl(arguments, path)?).ok()
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--max-time", "20"]);
        if let Some(token) = self.tokens["access_token"].as_str() {
            command
                .arg("-H")
                .arg(format!("Authorization: Bearer {token}"));
        }
        let url = format!("{}{path}", self.base);
        let output = command.args(arguments).arg(url).output().unwrap();
        let body = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(body)
    }

    /// The state of an entity, if it is there.
    pub(super) fn state(&self, entity: &str) -> Option<Value> {
        self.get(&format!("/api/states/{entity}"))
    }

    /// Waits until an entity is in a state of which something is true, and returns it.
    pub(super) fn wait_state(&self, entity: &str, is: impl Fn(&str) -> bool) -> Value {
        let mut last = None;
        let deadline = std::time::Instant::now() + super::LIMIT;
        while std::time::Instant::now() < deadline {
            last = self.state(entity);
            if let Some(found) = &last
                && found["state"].as_str().is_some_and(&is)
            {
                return found.clone();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{entity} is {last:?}; there are {:?}\n{}",
            self.entities(),
            self.log()
        );
    }

    /// Waits until an entity is gone.
    pub(super) fn wait_gone(&self, entity: &str) {
        wait(super::LIMIT, &format!("{entity} to be gone"), || {
            self.state(entity).is_none().then_some(())
        });
    }

    /// The names of the entities that come from the node.
    pub(super) fn entities(&self) -> Vec<String> {
        let all = self.get("/api/states").unwrap_or_default();
        let mut names: Vec<String> = all
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|state| state["entity_id"].as_str())
            .filter(|name| name.contains(".pi_01"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    pub(super) fn log(&self) -> String {
        let file = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        file("home-assistant.log") + &file("output.log")
    }

    /// Where its mqtt component found something wrong. Others complain of a machine without a camera.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let of_mqtt = |line: &&str| {
            let bad = line.contains("ERROR") || line.contains("WARNING");
            bad && line.contains("mqtt")
        };
        log.lines().filter(of_mqtt).map(str::to_owned).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it keeps when a person has clicked through its setup.
fn seed(directory: &Path, port: u16, broker: u16) {
    let storage = directory.join(".storage");
    fs::create_dir_all(&storage).unwrap();
    let yaml = "homeassistant:\n  name: Test\nlogger:\n  default: warning\nfrontend:\n";
    fs::write(directory.join("configuration.yaml"), yaml).unwrap();
    let keep = |key: &str, (version, minor): (u8, u8), data: Value| {
        let stored = json!({"version": version, "minor_version": minor, "key": key, "data": data});
        fs::write(storage.join(key), stored.to_string()).unwrap();
    };
    // In the configuration it would be on trial, and taken back after five minutes.
    keep(
        "http",
        (3, 1),
        json!({
            "stable": {
                "server_host": ["127.0.0.1"], "server_port": port,
                "cors_allowed_origins": [], "login_attempts_threshold": -1,
                "ip_ban_enabled": true, "ssl_profile": "intermediate_v6", "use_x_frame_options": true,
            },
            "pending": null,
            "yaml_migration_done": true,
        }),
    );
    let at = "2026-11-24T12:00:00+00:00";
    keep(
        "core.config_entries",
        (1, 5),
        json!({"entries": [{
            "created_at": at, "modified_at": at, "entry_id": "01JDEXAMPLE0000000000000MQ",
            "domain": "mqtt", "title": "127.0.0.1", "source": "user", "unique_id": null,
            "version": 2, "minor_version": 1, "disabled_by": null, "discovery_keys": {},
            "options": {}, "subentries": [], "pref_disable_new_entities": false,
            "pref_disable_polling": false,
            "data": {
                "broker": "127.0.0.1", "port": broker, "protocol": "5", "transport": "tcp",
            },
        }]}),
    );
}
