//! `edge-agent gate`: the security checks before a rollout, as a PreSync hook of Argo CD or by hand.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use edge_agent_core::gate::image::Platform;
use edge_agent_core::gate::is_commit;
use edge_agent_core::gate::policy::Policy;
use edge_agent_core::gate::reference::Reference;
use edge_agent_core::gate::report::{Outcome, Report};
use edge_agent_core::gate::signature::ImageKey;
use jiff::SignedDuration;

use super::order::duration;
use super::{Exit, output};
use crate::gate::credentials::{Credentials, Login};
use crate::gate::secret::{self, Source};
use crate::gate::web::{self, Timing};
use crate::gate::{self, Settings, Sonar};

/// The most images of one gate.
const MAX_IMAGES: usize = 64;
/// The largest file with names of images, or with a key, bytes.
const MAX_FILE: u64 = 256 * 1024;

const HELP: &str = "\
Each argument can be given as the variable that stands beside it, so that a Job takes them from a
ConfigMap. A SOURCE is where a secret stands, never the secret itself: a path that begins with /,
file:PATH, or env:NAME (a variable, such as one that Drone fills by from_secret). Proxies are those of
HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

Exit code: 0 passed; 1 not passed; 2 wrong arguments; 3 no answer in time.

Example:
  edge-agent gate --image registry.example/acme/shop@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  edge-agent gate --images-file images --allow-registry registry.example/acme --docker-config /auth/config.json --sonar-url https://sonar.example --sonar-project shop --sonar-token /secrets/sonar";

/// Check images before they are rolled out: registry, revision, architecture, signature, SonarQube
///
/// Runs as a PreSync hook of Argo CD, or by hand. Each image must be named by digest, be in its registry
/// under that digest, be made for the node, and say (label org.opencontainers.image.revision) from which
/// commit it was built; the analysis of that commit must have passed SonarQube's quality gate.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// An image, REGISTRY/REPOSITORY@sha256:DIGEST; several with commas or by repeating it
    #[arg(
        long = "image",
        value_name = "IMAGE",
        env = "GATE_IMAGES",
        value_delimiter = ','
    )]
    images: Vec<String>,
    /// File with one image a line
    #[arg(long, value_name = "FILE", env = "GATE_IMAGES_FILE")]
    images_file: Option<PathBuf>,
    /// The full commit that the images must be built from [default: the one that they name]
    #[arg(long, value_name = "SHA", env = "GATE_REVISION")]
    revision: Option<String>,
    /// File that has this commit
    #[arg(
        long,
        value_name = "FILE",
        env = "GATE_REVISION_FILE",
        conflicts_with = "revision"
    )]
    revision_file: Option<PathBuf>,
    /// What the node runs, such as arm64 or arm/v7 [default: what this program is built for]
    #[arg(long, value_name = "ARCHITECTURE", env = "GATE_ARCHITECTURE")]
    architecture: Option<Platform>,
    /// A registry, with a path or without, that images may come from [default: any]
    #[arg(
        long = "allow-registry",
        value_name = "REGISTRY",
        env = "GATE_ALLOW_REGISTRIES",
        value_delimiter = ','
    )]
    allow_registries: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Public key (cosign.pub: ECDSA P-256, or Ed25519) of whom images must be signed by; repeat it
    /// for one of several
    #[arg(
        long = "signature-key",
        value_name = "FILE",
        env = "GATE_SIGNATURE_KEYS",
        value_delimiter = ','
    )]
    signature_keys: Vec<PathBuf>,
    #[command(flatten)]
    sonar: SonarArgs,
    /// CA certificates that are trusted beside those of the system, PEM
    #[arg(long, value_name = "FILE", env = "GATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How long to wait for answers and for a pending analysis; less than activeDeadlineSeconds of the
    /// Job, or nobody hears why
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "4m",
        env = "GATE_TIMEOUT"
    )]
    timeout: SignedDuration,
    /// What to do when a server gives no answer in time
    #[arg(long, value_enum, default_value_t = Answer::Fail, env = "GATE_ON_UNREACHABLE")]
    on_unreachable: Answer,
    /// Print the verdicts as JSON
    #[arg(long)]
    json: bool,
    /// Where the reason goes in one line, if the file is there: Kubernetes shows it
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    termination_log: PathBuf,
}

/// How to get into the registries.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
struct RegistryArgs {
    /// Logins by registry: a config.json of Docker, or the .dockerconfigjson of a pull secret
    #[arg(long, value_name = "FILE", env = "GATE_DOCKER_CONFIG")]
    docker_config: Option<PathBuf>,
    /// User name of a deploy token, where all images are of one registry
    #[arg(
        long,
        value_name = "NAME",
        env = "GATE_REGISTRY_USERNAME",
        requires = "registry_password",
        conflicts_with = "docker_config"
    )]
    registry_username: Option<String>,
    /// The deploy token
    #[arg(
        long,
        value_name = "SOURCE",
        env = "GATE_REGISTRY_PASSWORD_FILE",
        requires = "registry_username"
    )]
    registry_password: Option<Source>,
    /// A registry HOST[:PORT] that is asked without TLS, as those of this machine are
    #[arg(
        long,
        value_name = "REGISTRY",
        env = "GATE_PLAIN_HTTP",
        value_delimiter = ','
    )]
    plain_http: Vec<String>,
}

/// Where the source was analysed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "SonarQube")]
struct SonarArgs {
    /// Address of SonarQube
    #[arg(
        long,
        value_name = "URL",
        env = "GATE_SONAR_URL",
        requires = "sonar_project"
    )]
    sonar_url: Option<String>,
    /// Key of the project
    #[arg(
        long,
        value_name = "KEY",
        env = "GATE_SONAR_PROJECT",
        requires = "sonar_url"
    )]
    sonar_project: Option<String>,
    /// Branch [default: the main branch, the only one of the Community Build]
    #[arg(
        long,
        value_name = "NAME",
        env = "GATE_SONAR_BRANCH",
        requires = "sonar_url"
    )]
    sonar_branch: Option<String>,
    /// A token of a user who may browse the project; one for analyses may not
    #[arg(
        long,
        value_name = "SOURCE",
        env = "GATE_SONAR_TOKEN_FILE",
        requires = "sonar_url"
    )]
    sonar_token: Option<Source>,
    /// What to do about a commit that has no analysis: SonarQube deletes old ones, and a rollback goes
    /// to an old commit
    #[arg(long, value_enum, default_value_t = Answer::Fail, env = "GATE_ON_UNANALYSED")]
    on_unanalysed: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// Do not let it pass
    Fail,
    /// Say so, and let it pass
    Warn,
}

/// # Errors
/// When standard output cannot be written, or the system gives no runtime.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return Ok(args.unusable(&error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = match runtime.block_on(gate::judge(&settings)) {
        Ok(report) => report,
        Err(error) => return Ok(args.unusable(&error)),
    };
    leave(&args.termination_log, &report.summary());
    output::print(&text(&report, args.json))?;
    Ok(match report.outcome() {
        Outcome::Passed => Exit::Done,
        Outcome::Failed => Exit::Failed,
        Outcome::NoAnswer => Exit::Timeout,
    })
}

fn text(report: &Report, json: bool) -> String {
    match json {
        true => format!("{}\n", report.json()),
        false => report.table(),
    }
}

/// Leaves a line where Kubernetes looks for it. Without such a file nobody looks.
fn leave(path: &Path, line: &str) {
    // A directory or a pipe of that name is not meant, and nothing is made.
    if path.is_file()
        && let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path)
    {
        let _ = file.write_all(line.as_bytes());
    }
}

impl Args {
    fn unusable(&self, error: &anyhow::Error) -> Exit {
        let line = format!("gate not run, wrong settings: {error:#}");
        leave(&self.termination_log, &line);
        output::complain(&format!("edge-agent gate: {error:#}"));
        Exit::Usage
    }

    /// # Errors
    /// What is wrong with the arguments.
    fn settings(&self) -> anyhow::Result<Settings> {
        let images = self.images()?;
        let sonarqube = self.sonar.read()?;
        if images.is_empty() && sonarqube.is_none() {
            bail!(
                "there is nothing to check: name images (--image), or a project (--sonar-project)"
            );
        }
        let revision = self.revision()?;
        if let Some(revision) = revision.as_deref().filter(|it| !is_commit(it)) {
            bail!("--revision: {revision:?} is no full commit SHA in small letters");
        }
        if images.is_empty() && revision.is_none() {
            bail!("--revision: is missing: without images nothing else tells the commit");
        }
        let policy = Policy::new(&self.allow_registries);
        Ok(Settings {
            credentials: self.registry.credentials(&images)?,
            images,
            policy: policy.map_err(|why| anyhow::anyhow!("--allow-registry: {why}"))?,
            platform: self
                .architecture
                .clone()
                .unwrap_or_else(|| Platform::of_rust(std::env::consts::ARCH)),
            revision,
            plain_http: self.registry.plain_http.clone(),
            keys: self.keys()?,
            sonarqube,
            lenient: self.on_unreachable == Answer::Warn,
            timeout: Duration::try_from(self.timeout).context("--timeout")?,
            ca_file: self.ca_file.clone(),
            timing: Timing::default(),
        })
    }

    fn revision(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.revision_file else {
            // An empty variable of a ConfigMap is none.
            return Ok(self.revision.clone().filter(|it| !it.is_empty()));
        };
        let text = secret::read(path, MAX_FILE)
            .with_context(|| format!("--revision-file: {}", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn images(&self) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> = self.images.clone();
        if let Some(path) = &self.images_file {
            let text = secret::read(path, MAX_FILE)
                .with_context(|| format!("--images-file: {}", path.display()))?;
            names.extend(text.lines().map(str::to_owned));
        }
        let mut images: Vec<String> = Vec::new();
        for name in names {
            let name = name.trim();
            let known = images.iter().any(|it| it == name);
            if !name.is_empty() && !name.starts_with('#') && !known {
                images.push(name.to_owned());
            }
        }
        if images.len() > MAX_IMAGES {
            bail!("--image: there are more than {MAX_IMAGES} images");
        }
        Ok(images)
    }

    fn keys(&self) -> anyhow::Result<Vec<ImageKey>> {
        let read = |path: &PathBuf| {
            let shown = path.display();
            let text = secret::read(path, MAX_FILE)
                .with_context(|| format!("--signature-key: {shown}"))?;
            ImageKey::from_pem(&text)
                .map_err(|why| anyhow::anyhow!("--signature-key: {shown} {why}"))
        };
        self.signature_keys.iter().map(read).collect()
    }
}

impl RegistryArgs {
    fn credentials(&self, images: &[String]) -> anyhow::Result<Credentials> {
        if let Some(path) = &self.docker_config {
            return Credentials::from_docker_config(path)
                .map_err(|why| anyhow::anyhow!("--docker-config: {why}"));
        }
        let (Some(username), Some(source)) = (&self.registry_username, &self.registry_password)
        else {
            return Ok(Credentials::default());
        };
        let password = source.read();
        let password = password.map_err(|why| anyhow::anyhow!("--registry-password: {why}"))?;
        // A deploy token is for one registry; another one is not to see it.
        let parsed = images.iter().filter_map(|it| it.parse::<Reference>().ok());
        let mut registries: Vec<String> = parsed.map(|image| image.registry).collect();
        registries.sort_unstable();
        registries.dedup();
        let login = Login {
            username: username.clone(),
            password,
        };
        match registries.as_slice() {
            [] => Ok(Credentials::default()),
            [registry] => Ok(Credentials::one(registry, login)),
            _ => bail!(
                "--registry-username: the images are of several registries, and the login is for one: \
                 use --docker-config"
            ),
        }
    }
}

impl SonarArgs {
    fn read(&self) -> anyhow::Result<Option<Sonar>> {
        let (Some(url), Some(project)) = (&self.sonar_url, &self.sonar_project) else {
            return Ok(None);
        };
        let url = web::address(url).map_err(|why| anyhow::anyhow!("--sonar-url: {why}"))?;
        let token = self.sonar_token.as_ref().map(Source::read).transpose();
        Ok(Some(Sonar {
            url,
            project: project.clone(),
            branch: self.sonar_branch.clone().filter(|it| !it.is_empty()),
            token: token.map_err(|why| anyhow::anyhow!("--sonar-token: {why}"))?,
            unanalysed_passes: self.on_unanalysed == Answer::Warn,
        }))
    }
}
