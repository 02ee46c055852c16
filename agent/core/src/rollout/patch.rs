//! JSON Patches (RFC 6902), in the few forms that a plan needs.

use serde_json::{Map, Value, json};

use super::object::{Following, Subject};

/// A patch under construction. It starts with the test that nobody has written the object since it
/// was read, so that it is carried out on what was looked at or not at all.
pub(super) struct Patch<'a> {
    object: &'a Value,
    steps: Vec<Value>,
    annotations: Map<String, Value>,
}

impl<'a> Patch<'a> {
    pub(super) fn of(subject: &Subject<'a>) -> Self {
        let version = &subject.app.resource_version;
        Self {
            object: subject.object,
            steps: vec![
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
            ],
            annotations: Map::new(),
        }
    }

    /// Sets an annotation, or with `None` takes it away.
    pub(super) fn annotate(&mut self, name: &str, value: Option<&str>) {
        self.annotations
            .insert(name.to_owned(), value.map_or(Value::Null, Value::from));
    }

    /// Writes what is to be followed, as far as it differs from what is.
    pub(super) fn follow(&mut self, wanted: &Following, is: &Following) {
        self.replace("/spec/source", wanted.source.as_ref(), is.source.as_ref());
        self.replace(
            "/spec/sources",
            wanted.sources.as_ref(),
            is.sources.as_ref(),
        );
        let has_policy = (self.object.pointer("/spec/syncPolicy")).is_some_and(Value::is_object);
        match &wanted.automated {
            Some(automated) if !has_policy => {
                self.add("/spec/syncPolicy", json!({ "automated": automated }));
            }
            wanted => self.replace(
                "/spec/syncPolicy/automated",
                wanted.as_ref(),
                is.automated.as_ref(),
            ),
        }
    }

    /// Asks for an operation. The state of the one before goes in the same write: a reader would
    /// take it for the new one's, and Argo CD up to 3.5.2 leaks fields of it into the new one.
    pub(super) fn operate(&mut self, operation: Value) {
        if self.object.pointer("/status/operationState").is_some() {
            self.steps
                .push(json!({"op": "remove", "path": "/status/operationState"}));
        }
        self.add("/operation", operation);
    }

    /// Ends the operation that is under way, as Argo CD's own API does.
    pub(super) fn terminate(&mut self) {
        self.add("/status/operationState/phase", json!("Terminating"));
    }

    pub(super) fn finish(mut self) -> Value {
        let existing = self
            .object
            .pointer("/metadata/annotations")
            .filter(|annotations| annotations.is_object());
        let Some(existing) = existing else {
            let mut annotations = self.annotations;
            annotations.retain(|_, value| !value.is_null());
            if !annotations.is_empty() {
                let step =
                    json!({"op": "add", "path": "/metadata/annotations", "value": annotations});
                self.steps.push(step);
            }
            return Value::Array(self.steps);
        };
        for (name, value) in self.annotations {
            let path = format!("/metadata/annotations/{}", escape(&name));
            if !value.is_null() {
                self.steps
                    .push(json!({"op": "add", "path": path, "value": value}));
            } else if existing.get(&name).is_some() {
                self.steps.push(json!({"op": "remove", "path": path}));
            }
        }
        Value::Array(self.steps)
    }

    fn add(&mut self, path: &str, value: Value) {
        self.steps
            .push(json!({"op": "add", "path": path, "value": value}));
    }

    fn replace(&mut self, path: &str, wanted: Option<&Value>, is: Option<&Value>) {
        match (wanted, is) {
            (Some(wanted), is) if Some(wanted) != is => self.add(path, wanted.clone()),
            (None, Some(_)) => self.steps.push(json!({"op": "remove", "path": path})),
            _ => {}
        }
    }
}

/// A name as part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
