//! The program `drone`, in front of a server that is a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::Build;
use super::pipeline::Pipeline;
use super::runner::Runner;

/// Where the program finds its server.
pub(crate) const SERVER: &str = "DRONE_SERVER";

/// A server with one repository: secrets, builds, pipelines, images, the checkout, logs.
#[derive(Debug, Clone)]
pub(crate) struct Server(PathBuf);

impl Server {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("workspace")).unwrap();
        Self(folder.to_owned())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// What the repository has as its `.drone.yml`.
    pub(crate) fn set_pipeline(&self, text: &str) {
        fs::write(self.workspace().join(".drone.yml"), text).unwrap();
    }

    /// The folder in which steps run.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    /// Steps with this image run this.
    pub(crate) fn add_image(&self, name: &str, argv: &[&str]) {
        let mut images = self.read::<BTreeMap<String, Vec<String>>>("images.json");
        let argv = argv.iter().copied().map(str::to_owned);
        images.insert(name.to_owned(), argv.collect());
        self.write("images.json", &images);
    }

    pub(crate) fn add_build(&self, build: Build) {
        let mut builds = self.builds();
        builds.push(build);
        self.write("builds.json", &builds);
    }

    pub(crate) fn builds(&self) -> Vec<Build> {
        self.read("builds.json")
    }

    /// The build that is the last one.
    pub(crate) fn last_build(&self) -> Build {
        self.builds().pop().unwrap()
    }

    /// What a step has printed so far, as Drone shows it.
    pub(crate) fn log(&self, number: u64, step: &str) -> String {
        let path = self.logs(number).join(format!("{step}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }

    pub(crate) fn secrets(&self) -> BTreeMap<String, String> {
        self.read("secrets.json")
    }

    fn logs(&self, number: u64) -> PathBuf {
        self.0.join("logs").join(number.to_string())
    }

    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let bytes = fs::read(self.0.join(name));
        bytes.map_or_else(|_| T::default(), |it| serde_json::from_slice(&it).unwrap())
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) {
        let text = serde_json::to_vec_pretty(value).unwrap();
        fs::write(self.0.join(name), text).unwrap();
    }
}

#[derive(Parser)]
#[command(name = "drone")]
struct Line {
    #[command(subcommand)]
    about: About,
}

#[derive(Subcommand)]
enum About {
    #[command(subcommand)]
    Secret(Secret),
    #[command(subcommand)]
    Build(OfBuild),
}

#[derive(Subcommand)]
enum Secret {
    Add {
        #[arg(long)]
        name: String,
        /// The secret, or `@` and the file that has it
        #[arg(long)]
        data: String,
        repository: String,
    },
}

#[derive(Subcommand)]
enum OfBuild {
    Promote(Deploy),
    Rollback(Deploy),
}

#[derive(Args)]
struct Deploy {
    /// `NAME=VALUE`
    #[arg(long, short)]
    param: Vec<String>,
    repository: String,
    build: u64,
    environment: String,
}

/// Is the program: the arguments are those of `drone`.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let words = std::iter::once("drone").chain(arguments.iter().map(String::as_str));
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    let server = Server(PathBuf::from(std::env::var_os(SERVER).unwrap_or_default()));
    let done = match line.about {
        About::Secret(Secret::Add {
            name,
            data,
            repository: _,
        }) => add_secret(&server, &name, &data),
        About::Build(OfBuild::Promote(deploy)) => run(&server, "promote", deploy),
        About::Build(OfBuild::Rollback(deploy)) => run(&server, "rollback", deploy),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// What a file has is the secret as it is, with the newline at its end.
fn add_secret(server: &Server, name: &str, data: &str) -> Result<(), String> {
    let value = match data.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).map_err(|error| format!("open {path}: {error}"))?,
        None => data.to_owned(),
    };
    let mut secrets = server.secrets();
    let name = name.to_lowercase();
    if secrets.contains_key(&name) {
        return Err("UNIQUE constraint failed: secrets.secret_repo_id, secrets.secret_name".into());
    }
    secrets.insert(name, value);
    server.write("secrets.json", &secrets);
    Ok(())
}

fn run(server: &Server, event: &str, deploy: Deploy) -> Result<(), String> {
    let builds = server.builds();
    let mut known = builds.iter();
    let parent = known.find(|build| build.number == deploy.build);
    let parent = parent.ok_or("sql: no rows in result set")?;
    let mut parameters = parent.parameters.clone();
    for parameter in &deploy.param {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        parameters.insert(name.to_owned(), value.to_owned());
    }
    let last = builds.iter().map(|build| build.number).max();
    let mut build = Build {
        number: last.unwrap_or(0) + 1,
        event: event.to_owned(),
        parent: parent.number,
        target: deploy.environment,
        parameters,
        steps: Vec::new(),
        ..Build::pushed(0, &parent.commit)
    };
    let text = fs::read_to_string(server.workspace().join(".drone.yml"));
    let text = text.map_err(|error| format!(".drone.yml: {error}"))?;
    let pipelines = Pipeline::read(&text)?;
    let secrets = server.secrets();
    let images = server.read("images.json");
    let runner = Runner {
        repository: &deploy.repository,
        secrets: &secrets,
        images: &images,
        workspace: &server.workspace(),
        logs: server.logs(build.number),
    };
    let fitting: Vec<&Pipeline> = pipelines.iter().filter(|it| it.is_for(event)).collect();
    if fitting.is_empty() {
        // The real one gets `null` from its server here, and says nothing either.
        return Ok(());
    }
    println!(
        "Number: {}\nEvent: {event}\nCommit: {}",
        build.number, build.commit
    );
    for pipeline in fitting {
        runner.run(pipeline, &mut build);
    }
    server.add_build(build);
    Ok(())
}
