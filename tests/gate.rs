//! `edge-agent gate` as a Job or a person starts it: the real binary against servers in the process.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::double::{Double, Reply};

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";
const TOKEN: &str = "squ_hunter2";

/// What the binary answered.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs the binary with these arguments and variables, and no others.
pub(crate) async fn ask(arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::null());
    // The servers of the test run on this thread.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    Answer {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// SonarQube that has analysed the commit, with this verdict.
async fn sonarqube(status: &'static str) -> Double {
    Double::start(move |seen, _| {
        let body = if seen.path.starts_with("/sonar/api/project_analyses/search?") {
            json!({"paging": {"pageIndex": 1, "pageSize": 100, "total": 1},
                   "analyses": [{"key": "A1", "revision": SHA}]})
        } else if seen.path == "/sonar/api/qualitygates/project_status?analysisId=A1" {
            json!({"projectStatus": {"status": status, "conditions": []}})
        } else {
            return Reply::status(404);
        };
        Reply::json(&body)
    })
    .await
}

/// A place for the token and for the line that Kubernetes shows.
struct Job {
    directory: tempfile::TempDir,
}

impl Job {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
        std::fs::write(directory.path().join("message"), "").unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// As a Job: everything by variables.
    async fn run(&self, url: &str, more: &[(&str, &str)], arguments: &[&str]) -> Answer {
        let (token, message) = (self.path("token"), self.path("message"));
        let mut variables = vec![
            ("GATE_SONAR_URL", url),
            ("GATE_SONAR_PROJECT", "shop"),
            ("GATE_SONAR_TOKEN_FILE", &token),
            ("GATE_REVISION", SHA),
            ("GATE_TIMEOUT", "2s"),
        ];
        variables.extend(more);
        let mut all = vec!["gate", "--termination-log", &message];
        all.extend(arguments);
        let answer = ask(&all, &variables).await;
        for text in [&answer.output, &answer.errors, &self.message()] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        answer
    }

    fn message(&self) -> String {
        std::fs::read_to_string(self.path("message")).unwrap()
    }
}

#[tokio::test]
async fn passed_is_0_and_failed_is_1_with_the_reason_where_kubernetes_looks() {
    let job = Job::new();
    let server = sonarqube("OK").await;
    let url = format!("{}/sonar/", server.url());
    let answer = job.run(&url, &[], &[]).await;
    assert_eq!(answer.code, Some(0), "{}{}", answer.output, answer.errors);
    assert!(
        answer.output.contains("sonarqube  passed"),
        "{}",
        answer.output
    );
    assert_eq!(job.message(), "gate passed: 1 checks");

    let server = sonarqube("ERROR").await;
    let url = format!("{}/sonar", server.url());
    let answer = job.run(&url, &[], &["--json"]).await;
    assert_eq!(answer.code, Some(1), "{}{}", answer.output, answer.errors);
    let report: Value = serde_json::from_str(&answer.output).unwrap();
    assert_eq!(
        (&report["outcome"], &report["revision"]),
        (&json!("failed"), &json!(SHA))
    );
    assert_eq!(report["checks"][0]["verdict"], "failed");
    assert!(
        job.message()
            .starts_with("gate not passed: sonarqube of shop"),
        "{}",
        job.message()
    );
}

#[tokio::test]
async fn no_answer_is_3_unless_that_was_chosen() {
    let job = Job::new();
    // The discard port of this machine: nobody listens.
    let nobody = "http://127.0.0.1:9";
    let answer = job.run(nobody, &[], &[]).await;
    assert_eq!(answer.code, Some(3), "{}{}", answer.output, answer.errors);
    assert!(job.message().contains("no answer"), "{}", job.message());
    let answer = job
        .run(nobody, &[("GATE_ON_UNREACHABLE", "warn")], &[])
        .await;
    assert_eq!(answer.code, Some(0), "{}{}", answer.output, answer.errors);
    assert!(
        job.message().contains("without an answer"),
        "{}",
        job.message()
    );
}

#[tokio::test]
async fn wrong_settings_are_2_and_say_what_is_wrong() {
    let job = Job::new();
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[("GATE_SONAR_TOKEN_FILE", "/nowhere")],
            "--sonar-token: /nowhere",
        ),
        (&[("GATE_SONAR_URL", "https://u:hunter2@x/")], "--sonar-url"),
        (&[("GATE_REVISION", "main")], "no full commit"),
        (
            &[("GATE_ALLOW_REGISTRIES", "https://r.example")],
            "--allow-registry",
        ),
        (&[("GATE_SIGNATURE_KEYS", "/dev/null")], "BEGIN PUBLIC KEY"),
        (&[("GATE_CA_FILE", "/dev/null")], "no usable CA certificate"),
    ];
    for (variables, why) in cases {
        let answer = job.run("http://127.0.0.1:9", variables, &[]).await;
        assert_eq!(
            answer.code,
            Some(2),
            "{why}: {}{}",
            answer.output,
            answer.errors
        );
        assert!(answer.errors.contains(why), "{why}: {}", answer.errors);
        assert!(job.message().contains(why), "{why}: {}", job.message());
    }
    let nothing = ask(&["gate"], &[]).await;
    assert_eq!(nothing.code, Some(2), "{}", nothing.errors);
    assert!(
        nothing.errors.contains("nothing to check"),
        "{}",
        nothing.errors
    );
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_and_its_exceptions_count() {
    let job = Job::new();
    let proxy = sonarqube("OK").await;
    let through = [("HTTP_PROXY", proxy.url()), ("http_proxy", proxy.url())];
    let through: Vec<(&str, &str)> = through.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = job.run("http://sonar.invalid/sonar", &through, &[]).await;
    assert_eq!(answer.code, Some(0), "{}{}", answer.output, answer.errors);
    assert!(
        proxy
            .seen()
            .iter()
            .all(|it| it.header("host") == Some("sonar.invalid"))
    );

    let server = sonarqube("OK").await;
    let before = proxy.seen().len();
    let mut around = through.clone();
    around.push(("NO_PROXY", "127.0.0.1"));
    let url = format!("{}/sonar", server.url());
    let answer = job.run(&url, &around, &[]).await;
    assert_eq!(answer.code, Some(0), "{}{}", answer.output, answer.errors);
    assert_eq!(proxy.seen().len(), before);
}
