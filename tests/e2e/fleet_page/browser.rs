//! A browser that a suite drives: Chromium, by a small program in Node.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/fleet_page");

/// Names the folder where the pictures of the README go; without it none are made.
const PICTURES: &str = "EDGE_AGENT_PICTURES";
/// What a picture may have: the README shows several of them.
const MAX_PICTURE: u64 = 150_000;

/// Gets what a folder of the project needs from npm, and says where that lies.
pub(crate) fn programs(folder: &str) -> PathBuf {
    let output = Command::new(format!("{HERE}/programs"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "programs {folder}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// Chromium with a tab. Dropping it ends it.
pub(crate) struct Browser {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn open(address: &str) -> Self {
        let mut child = Command::new("node")
            .arg(format!("{HERE}/browser.mjs"))
            .arg(programs("tests/e2e/fleet_page"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut browser = Self {
            orders: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        browser.go(address);
        browser
    }

    fn order(&mut self, order: &Value) -> Value {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{order}: {error} in {line:?}"));
        assert_eq!(answer.get("failed"), None, "{order}");
        answer["ok"].clone()
    }

    /// A new tab, of somebody who was never here.
    pub(crate) fn go(&mut self, address: &str) {
        self.order(&json!({"do": "open", "at": address}));
    }

    /// Runs the body of a function in the page, and gives what it returns.
    pub(crate) fn run(&mut self, code: &str) -> Value {
        self.order(&json!({"do": "run", "code": code}))
    }

    /// Waits until an expression is true in the page. What it asks of may not be there yet.
    pub(crate) fn wait(&mut self, limit: Duration, expression: &str) {
        let deadline = Instant::now() + limit;
        let code = format!("try {{ return Boolean({expression}); }} catch {{ return false; }}");
        while self.run(&code) != true {
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText.slice(0, 3000);");
                panic!("waited {limit:?} for {expression}; the page says {text}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Presses the button with this label, or the first whose label begins so.
    pub(crate) fn push(&mut self, label: &str) {
        let found = self.run(&format!(
            "const all = [...document.querySelectorAll('button')]; \
             const found = all.find((it) => it.textContent === {label:?}) ?? all.find((it) => it.textContent.startsWith({label:?})); \
             found?.click(); return Boolean(found);"
        ));
        assert_eq!(found, true, "there is no button {label}");
    }

    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.order(&json!({"do": "type", "at": selector, "text": text}));
    }

    pub(crate) fn reload(&mut self) {
        self.order(&json!({"do": "reload"}));
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.order(&json!({"do": "press", "key": key}));
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        self.order(&json!({"do": "size", "width": width, "height": height}));
    }

    pub(crate) fn dark(&mut self, on: bool) {
        self.order(&json!({"do": "dark", "on": on}));
    }

    /// Nothing about the page as it is now keeps somebody from using it, as far as axe can tell.
    pub(crate) fn is_accessible(&mut self, what: &str) {
        let found = self.order(&json!({"do": "axe"}));
        assert_eq!(found, json!([]), "{what}");
    }

    /// What pages have complained about since the last time.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let found = self.order(&json!({"do": "complaints"}));
        serde_json::from_value(found).unwrap()
    }

    /// Makes a picture of the README, where somebody wants one.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else {
            return;
        };
        let file = PathBuf::from(folder).join(name);
        self.order(&json!({"do": "picture", "file": file}));
        let size = std::fs::metadata(&file).unwrap().len();
        assert!(size <= MAX_PICTURE, "{name} has {size} bytes");
        crate::figure(name, format!("{size} bytes"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes Chromium when nobody orders anything any more.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
