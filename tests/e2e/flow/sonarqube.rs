//! The real SonarQube.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::super::{figure, wait};
use super::address::ADDRESS;
use super::programs::Programs;

/// Debian's user `nobody`: its search engine refuses to run as root.
const USER: u32 = 65534;

/// Several times what two busy cores take.
const LIMIT: Duration = Duration::from_secs(480);

const PASSWORD: &str = "Suite-of-the-flow-1";

/// The quality gate that the guide asks for, and the project.
const GATE: &str = "edge";
pub(super) const PROJECT: &str = "shop";

/// Its own user may not look into the home of whoever runs the suites, and writes only into folders that
/// are its own: so the program is mounted where it may, in a mount namespace of the process. Its search
/// engine takes nothing on a disk that is nine tenths full, so what it keeps is in memory.
const START: &str = r#"set -e
mount --bind "$PROGRAM" "$FOLDER/program"
mount --bind "$FOLDER/extensions" "$FOLDER/program/extensions"
mount -t tmpfs -o "size=1g,mode=700,uid=$1,gid=$1" data "$FOLDER/data"
cd "$FOLDER/program"
exec setpriv --reuid "$1" --regid "$1" --clear-groups --pdeathsig TERM \
    "$JAVA_HOME/bin/java" -Xms8m -Xmx64m -jar lib/sonar-application-*.jar
"#;

/// The server. Dropping it ends it.
pub(super) struct SonarQube {
    folder: PathBuf,
    program: PathBuf,
    java: PathBuf,
    ports: [u16; 3],
    begun: Instant,
    child: Option<Child>,
    /// GitLab CI's: it may analyse, and may not look at what came of it.
    pub(super) token: String,
    /// The gate's: of a user who may look at the project, and nothing else.
    pub(super) reader: String,
}

impl SonarQube {
    /// Starts it, and does not wait for it.
    pub(super) fn begin(programs: &Programs, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["program", "extensions", "data", "logs", "temp"] {
            let path = folder.join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(USER), Some(USER)).unwrap();
        }
        let mut sonarqube = Self {
            folder: folder.to_owned(),
            program: programs.part("sonarqube").to_owned(),
            java: programs.part("java").to_owned(),
            ports: std::array::from_fn(|_| crate::support::port::reserve()),
            begun: Instant::now(),
            child: None,
            token: String::new(),
            reader: String::new(),
        };
        sonarqube.start();
        sonarqube
    }

    fn start(&mut self) {
        let log = self.folder.join("out.log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let path = |name: &str| self.folder.join(name).display().to_string();
        self.begun = Instant::now();
        let child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", START, "sh", &USER.to_string()])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PROGRAM", &self.program)
            .env("FOLDER", &self.folder)
            .env("HOME", path("temp"))
            .env("JAVA_HOME", &self.java)
            .env("SONAR_JAVA_PATH", self.java.join("bin/java"))
            .envs([
                ("SONAR_SEARCH_HOST", "127.0.0.1"),
                ("SONAR_TELEMETRY_ENABLE", "false"),
                ("SONAR_UPDATECENTER_ACTIVATE", "false"),
                ("SONAR_WEB_JAVAOPTS", "-Xmx512m -Xms128m"),
                ("SONAR_CE_JAVAOPTS", "-Xmx512m -Xms128m"),
                (
                    "SONAR_SEARCH_JAVAOPTS",
                    "-Xmx512m -Xms512m -XX:MaxDirectMemorySize=256m",
                ),
            ])
            .env("SONAR_WEB_HOST", ADDRESS.to_string())
            .env("SONAR_WEB_PORT", self.ports[0].to_string())
            .env("SONAR_SEARCH_PORT", self.ports[1].to_string())
            .env("SONAR_EMBEDDEDDATABASE_PORT", self.ports[2].to_string())
            .envs(
                ["data", "logs", "temp"]
                    .map(|name| (format!("SONAR_PATH_{}", name.to_uppercase()), path(name))),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Waits until it answers.
    pub(super) fn wait_up(&mut self) {
        wait(LIMIT, "SonarQube to be up", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "SonarQube has ended: {}", self.log());
            // Nobody listens at first, and curl would say so.
            TcpStream::connect((ADDRESS, self.ports[0])).ok()?;
            let status = self.try_ask("GET", "/api/system/status", &[])?;
            (status["status"] == "UP").then_some(())
        });
        let after = format!("{:.0} s", self.begun.elapsed().as_secs_f64());
        figure("SonarQube is up after", after);
    }

    /// The project with the quality gate that the guide describes, before the first analysis.
    pub(super) fn set_up(&mut self) {
        let change = [
            ("login", "admin"),
            ("previousPassword", "admin"),
            ("password", PASSWORD),
        ];
        self.curl("admin:admin", "POST", "/api/users/change_password", &change)
            .unwrap();
        self.ask(
            "POST",
            "/api/projects/create",
            &[
                ("project", PROJECT),
                ("name", PROJECT),
                ("mainBranch", "main"),
            ],
        );
        self.ask("POST", "/api/qualitygates/create", &[("name", GATE)]);
        let rating = [
            ("gateName", GATE),
            ("metric", "software_quality_security_rating"),
            ("op", "GT"),
            ("error", "1"),
        ];
        self.ask("POST", "/api/qualitygates/create_condition", &rating);
        self.ask(
            "POST",
            "/api/qualitygates/select",
            &[("gateName", GATE), ("projectKey", PROJECT)],
        );
        let reader = [("login", "gate"), ("name", "gate"), ("password", PASSWORD)];
        self.ask("POST", "/api/users/create", &reader);
        let token = |name: &str, more: &[(&str, &str)]| {
            let form = [&[("name", name)], more].concat();
            let made = self.ask("POST", "/api/user_tokens/generate", &form);
            made["token"].as_str().unwrap().to_owned()
        };
        let analyse = token("ci", &[("type", "GLOBAL_ANALYSIS_TOKEN")]);
        let read = token("gate", &[("login", "gate"), ("type", "USER_TOKEN")]);
        (self.token, self.reader) = (analyse, read);
    }

    pub(super) fn url(&self) -> String {
        format!("http://{ADDRESS}:{}", self.ports[0])
    }

    /// The rules that found something that is still open.
    pub(super) fn findings(&self) -> Vec<String> {
        let found = self.ask(
            "GET",
            "/api/issues/search",
            &[
                ("components", PROJECT),
                ("resolved", "false"),
                ("impactSoftwareQualities", "SECURITY"),
            ],
        );
        let issues = found["issues"].as_array().into_iter().flatten();
        issues
            .filter_map(|issue| Some(issue["rule"].as_str()?.to_owned()))
            .collect()
    }

    /// Ends it, as `systemctl stop` does.
    pub(super) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(60);
        while child.try_wait().ok().flatten().is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ask(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let answer = self.try_ask(method, path, form);
        answer.unwrap_or_else(|| panic!("SonarQube does not take {method} {path}: {}", self.log()))
    }

    fn try_ask(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Option<Value> {
        self.curl(&format!("admin:{PASSWORD}"), method, path, form)
    }

    fn curl(&self, user: &str, method: &str, path: &str, form: &[(&str, &str)]) -> Option<Value> {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--fail",
            "--max-time",
            "60",
            "--request",
            method,
        ]);
        if path != "/api/system/status" {
            command.args(["--user", user]);
        }
        if method == "GET" {
            command.arg("--get");
        }
        for (name, value) in form {
            command
                .arg("--data-urlencode")
                .arg(format!("{name}={value}"));
        }
        let done = command
            .arg(format!("{}{path}", self.url()))
            .output()
            .unwrap();
        done.status
            .success()
            .then(|| serde_json::from_slice(&done.stdout).unwrap_or(Value::Null))
    }

    fn log(&self) -> String {
        let end = |name: &str| {
            let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        ["out.log", "logs/web.log", "logs/es.log"]
            .map(end)
            .join("\n")
    }
}

impl Drop for SonarQube {
    fn drop(&mut self) {
        self.stop();
    }
}
