//! What scenarios commit: said once, and made into manifests on the lab, into behaviours on the double.

/// What a commit makes of the application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    /// Makes it another than others.
    pub(crate) tag: String,
    /// Its pods never get ready.
    pub(crate) stuck: bool,
    /// Seconds until pods that do not get ready are given up.
    pub(crate) deadline: u32,
    /// A PreSync check.
    pub(crate) check: Option<Check>,
    pub(crate) config_maps: Vec<&'static str>,
    /// More files, and what is in them; the double knows none.
    pub(crate) files: Vec<(String, String)>,
}

/// A PreSync hook.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// The name of its Job.
    pub(crate) name: &'static str,
    pub(crate) passes: bool,
    /// How long it runs: as Go writes it.
    pub(crate) lasts: &'static str,
}

/// A check that runs for as long as that outlasts every scenario.
pub(crate) const FOR_EVER: &str = "300s";

impl Version {
    /// One that gets ready at once.
    pub(crate) fn good(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            deadline: 3,
            ..Self::default()
        }
    }

    /// One that gets Degraded after three seconds.
    pub(crate) fn bad(tag: &str) -> Self {
        Self {
            stuck: true,
            ..Self::good(tag)
        }
    }

    /// One that stays Progressing for ten minutes.
    pub(crate) fn slow(tag: &str) -> Self {
        Self {
            deadline: 600,
            ..Self::bad(tag)
        }
    }

    /// That may take a minute to get ready.
    pub(crate) fn patient(mut self) -> Self {
        self.deadline = 60;
        self
    }

    /// With a PreSync check that fails.
    pub(crate) fn with_failing_check(mut self, name: &'static str) -> Self {
        self.check = Some(Check {
            name,
            passes: false,
            lasts: "300ms",
        });
        self
    }

    /// With a PreSync check that runs for as long as that, and then lets it pass.
    pub(crate) fn with_check(mut self, name: &'static str, lasts: &'static str) -> Self {
        self.check = Some(Check {
            name,
            passes: true,
            lasts,
        });
        self
    }

    /// With a ConfigMap.
    pub(crate) fn with_config_map(mut self, name: &'static str) -> Self {
        self.config_maps.push(name);
        self
    }

    /// With one more file.
    pub(crate) fn with(mut self, file: &str, text: &str) -> Self {
        self.files.push((file.to_owned(), text.to_owned()));
        self
    }

    /// The reference of the image that it runs.
    pub(crate) fn image(&self) -> String {
        image(&self.tag)
    }
}

/// The reference of an image whose digest is made of the tag.
pub(crate) fn image(tag: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, tag.as_bytes());
    format!("example.test/web@sha256:{}", hex(digest.as_ref()))
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A ConfigMap of that name.
pub(crate) fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: {{key: value}}\n")
}
