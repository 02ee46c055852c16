//! Pipelines and their steps.

use std::collections::BTreeMap;

use serde_json::Value;

use super::yaml;

/// Which runner a pipeline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Docker,
    Exec,
}

/// One pipeline of a `.drone.yml`.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) steps: Vec<Step>,
    events: Vec<String>,
}

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) image: Option<String>,
    /// What the entry point of the image gets as arguments.
    pub(crate) command: Vec<String>,
    pub(crate) commands: Vec<String>,
    pub(crate) ignores_failure: bool,
    settings: BTreeMap<String, Value>,
    environment: BTreeMap<String, Value>,
    events: Vec<String>,
    statuses: Vec<String>,
}

/// What a variable of a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    Text(String),
    /// By its name; one that does not exist is set and empty.
    Secret(String),
}

impl Pipeline {
    /// The pipelines of a `.drone.yml`.
    pub(crate) fn read(text: &str) -> Result<Vec<Self>, String> {
        let documents = yaml::documents(text)?;
        let pipelines = documents.iter().filter(|it| it["kind"] == "pipeline");
        pipelines.map(Self::of).collect()
    }

    fn of(document: &Value) -> Result<Self, String> {
        let kind = match document["type"].as_str() {
            None | Some("docker") => Kind::Docker,
            Some("exec") => Kind::Exec,
            Some(other) => return Err(format!("no runner for the type {other}")),
        };
        let steps: Vec<Step> = items(&document["steps"]).map(Step::of).collect();
        // A command with a colon and a space in it is a map, unless it is quoted.
        let commands = items(&document["steps"]).flat_map(|step| items(&step["commands"]));
        if let Some(map) = commands.into_iter().find(|it| it.is_object()) {
            return Err(format!("cannot unmarshal !!map into string: {map}"));
        }
        if kind == Kind::Exec && steps.iter().any(|step| step.image.is_some()) {
            return Err("Linter: cannot define images for an exec pipeline".to_owned());
        }
        Ok(Self {
            name: text(&document["name"]).unwrap_or_else(|| "default".to_owned()),
            kind,
            steps,
            events: texts(&document["trigger"]["event"]),
        })
    }

    pub(crate) fn is_for(&self, event: &str) -> bool {
        fits(&self.events, event)
    }
}

impl Step {
    fn of(step: &Value) -> Self {
        let map = |name: &str| {
            let map = step[name].as_object().into_iter().flatten();
            map.map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        Self {
            name: text(&step["name"]).unwrap_or_default(),
            image: text(&step["image"]),
            command: texts(&step["command"]),
            commands: texts(&step["commands"]),
            ignores_failure: step["failure"] == "ignore",
            settings: map("settings"),
            environment: map("environment"),
            events: texts(&step["when"]["event"]),
            statuses: texts(&step["when"]["status"]),
        }
    }

    /// Whether it is a part of a build at all.
    pub(crate) fn is_for(&self, event: &str) -> bool {
        fits(&self.events, event)
    }

    /// Whether it runs when all went well so far, or not.
    pub(crate) fn runs_after(&self, status: &str) -> bool {
        if self.statuses.is_empty() {
            return status == "success";
        }
        self.statuses.iter().any(|it| it == status)
    }

    /// What the step itself sets. The exec runner knows nothing of settings.
    pub(crate) fn variables(&self, kind: Kind) -> BTreeMap<String, Setting> {
        let mut variables = BTreeMap::new();
        for (name, value) in &self.environment {
            variables.extend(setting(value).map(|value| (name.clone(), value)));
        }
        if kind == Kind::Docker {
            for (name, value) in &self.settings {
                let name = format!("PLUGIN_{}", name.to_uppercase());
                variables.extend(setting(value).map(|value| (name, value)));
            }
        }
        variables
    }
}

/// A value as a variable; `None`: it is not set at all.
pub(crate) fn setting(value: &Value) -> Option<Setting> {
    let secret = value.get("from_secret").and_then(Value::as_str);
    if let Some(secret) = secret {
        return Some(Setting::Secret(secret.to_owned()));
    }
    let nests = |item: &Value| item.is_array() || item.is_object();
    let text = match value {
        Value::Null => return None,
        Value::Array(items) if !items.iter().any(nests) => {
            let items: Vec<String> = items.iter().filter_map(text).collect();
            items.join(",")
        }
        Value::Array(_) | Value::Object(_) => value.to_string(),
        scalar => text(scalar)?,
    };
    Some(Setting::Text(text))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A list, or one item for a list of one.
fn texts(value: &Value) -> Vec<String> {
    match text(value) {
        Some(one) => vec![one],
        None => items(value).filter_map(text).collect(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn fits(wanted: &[String], event: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|it| it == event)
}
