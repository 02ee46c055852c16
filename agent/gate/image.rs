//! What is asked about one image.

use edge_agent_core::gate::digest::Digest;
use edge_agent_core::gate::image::{
    ImageConfig, Labels, Manifest, choose, judge_revision, revision,
};
use edge_agent_core::gate::reference::Reference;
use edge_agent_core::gate::report::{Check, Verdict};
use edge_agent_core::gate::{is_commit, quoted, signature};
use tokio::time::Instant;

use super::registry::Repository;
use super::web::Web;
use super::{Lack, Settings, check, judged};

/// What was found out about an image.
pub(super) struct Looked {
    pub(super) checks: Vec<Check>,
    said: Option<String>,
}

impl Looked {
    /// The full commit that the image says it was built from.
    pub(super) fn built_from(&self) -> Option<&str> {
        self.said.as_deref().filter(|said| is_commit(said))
    }
}

/// Makes the checks of one image.
pub(super) async fn look(settings: &Settings, web: &Web, name: &str, until: Instant) -> Looked {
    let mut examination = Examination {
        settings,
        subject: quoted(name),
        checks: Vec::new(),
        said: None,
    };
    let parsed: Result<Reference, String> = name.parse();
    let policy = match &parsed {
        Ok(image) => settings.policy.judge(image),
        Err(why) => Err(why.clone()),
    };
    examination.note("policy", policy);
    let ended = match &parsed {
        Ok(image) => examination.ask(web, image, until).await,
        Err(_) => Err(("image", None)),
    };
    if let Err((name, lack)) = ended {
        examination.end(name, lack);
    }
    Looked {
        checks: examination.checks,
        said: examination.said,
    }
}

struct Examination<'g> {
    settings: &'g Settings,
    subject: String,
    checks: Vec<Check>,
    said: Option<String>,
}

/// The check that could not be made, and why; without a reason, it needs what did not pass before it.
type Ended = (&'static str, Option<Lack>);

impl Examination<'_> {
    fn note(&mut self, name: &'static str, judgement: Result<String, String>) {
        self.checks.push(judged(name, &self.subject, judgement));
    }

    /// A check was not made, so those behind it are not either.
    fn end(&mut self, name: &'static str, lack: Option<Lack>) {
        let names = ["image", "architecture", "revision", "signature"];
        let wanted = |it: &&str| *it != "signature" || !self.settings.keys.is_empty();
        let left = names
            .into_iter()
            .skip_while(|it| *it != name)
            .filter(wanted);
        let left: Vec<&'static str> = left.collect();
        let mut lack = lack.map(Lack::verdict);
        for name in left {
            let (verdict, reason) = lack
                .take()
                .unwrap_or_else(|| (Verdict::Skipped, "what it needs did not pass".to_owned()));
            self.checks
                .push(check(name, &self.subject, verdict, reason));
        }
    }

    async fn ask(&mut self, web: &Web, image: &Reference, until: Instant) -> Result<(), Ended> {
        let at = |name: &'static str| move |lack: Lack| (name, Some(lack));
        let refused = |name: &'static str| move |why: String| (name, Some(Lack::Refused(why)));
        let Some(digest) = image.digest else {
            return Err(("image", None));
        };
        let settings = self.settings;
        let mut repository = Repository::new(
            (web, until),
            image,
            &settings.credentials,
            &settings.plain_http,
        )
        .map_err(at("image"))?;
        let bytes = repository.manifest(&digest).await.map_err(at("image"))?;
        let manifest = Manifest::parse(&bytes).map_err(refused("image"))?;
        let kind = match &manifest {
            Manifest::Index { manifests, .. } => format!("an index of {}", manifests.len()),
            Manifest::Image { .. } => "one image".to_owned(),
        };
        self.note("image", Ok(format!("the registry has it: {kind}")));

        let (config, annotations) = self.for_platform(&mut repository, manifest).await?;
        let bytes = repository.blob(&config).await.map_err(at("architecture"))?;
        let config = ImageConfig::parse(&bytes).map_err(refused("architecture"))?;
        let (own, made_for) = (&settings.platform, &config.platform);
        self.note(
            "architecture",
            match own.runs(made_for) {
                true => Ok(quoted(&made_for.to_string())),
                false => Err(quoted(&format!(
                    "it is made for {made_for}, and the node is {own}"
                ))),
            },
        );

        let annotations: Vec<&Labels> = annotations.iter().collect();
        let said = revision(&config.labels, &annotations);
        self.said = said.map(str::to_owned);
        self.note(
            "revision",
            judge_revision(said, settings.revision.as_deref()),
        );
        if !settings.keys.is_empty() {
            let signed = self.signature(&mut repository, &digest).await;
            let signed = signed.map_err(at("signature"))?;
            self.note("signature", signed);
        }
        Ok(())
    }

    /// The configuration of the image for the node, and the annotations on the way to it, the nearest
    /// first.
    async fn for_platform(
        &self,
        repository: &mut Repository<'_>,
        manifest: Manifest,
    ) -> Result<(Digest, Vec<Labels>), Ended> {
        let refused = |why: String| ("architecture", Some(Lack::Refused(why)));
        let (manifests, outer) = match manifest {
            Manifest::Image {
                config,
                annotations,
                ..
            } => return Ok((config.digest, vec![annotations])),
            Manifest::Index {
                manifests,
                annotations,
            } => (manifests, annotations),
        };
        let chosen = choose(&manifests, &self.settings.platform).map_err(refused)?;
        let bytes = repository.manifest(&chosen.digest).await;
        let bytes = bytes.map_err(|lack| ("architecture", Some(lack)))?;
        match Manifest::parse(&bytes).map_err(refused)? {
            Manifest::Image {
                config,
                annotations,
                ..
            } => Ok((config.digest, vec![annotations, outer])),
            Manifest::Index { .. } => Err(refused("the index names another index".to_owned())),
        }
    }

    /// Looks for a signature by one of the keys.
    async fn signature(
        &self,
        repository: &mut Repository<'_>,
        digest: &Digest,
    ) -> Result<Result<String, String>, Lack> {
        let Some(bytes) = repository.manifest_at(&signature::tag(digest)).await? else {
            return Ok(Err("it is not signed".to_owned()));
        };
        let layers = match Manifest::parse(&bytes).map_err(Lack::Refused)? {
            Manifest::Image { layers, .. } => layers,
            Manifest::Index { .. } => Vec::new(),
        };
        let mut why = "what stands at the tag of its signatures holds none".to_owned();
        for (payload, signed) in signature::claims(&layers) {
            let bytes = repository.blob(&payload).await?;
            match signature::judge(&self.settings.keys, digest, &bytes, &signed) {
                Ok(()) => return Ok(Ok("signed by a known key".to_owned())),
                Err(other) => why = other,
            }
        }
        Ok(Err(why))
    }
}
