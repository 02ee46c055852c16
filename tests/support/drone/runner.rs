//! Runs the steps of a build.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::build::{Build, Ran};
use super::pipeline::{Kind, Pipeline, Setting, Step};

/// What a step may exit with to end its pipeline as if all were well.
const SKIP_THE_REST: i32 = 78;

/// Where the steps of a build run.
pub(crate) struct Runner<'d> {
    pub(crate) repository: &'d str,
    pub(crate) secrets: &'d BTreeMap<String, String>,
    /// Images, by their name without a tag, and the programs that are their entry points.
    pub(crate) images: &'d BTreeMap<String, Vec<String>>,
    pub(crate) workspace: &'d Path,
    /// Gets a file for the output of each step.
    pub(crate) logs: PathBuf,
}

impl Runner<'_> {
    /// Runs the steps of a pipeline that are for this build, and notes in it what became of them.
    pub(crate) fn run(&self, pipeline: &Pipeline, build: &mut Build) {
        fs::create_dir_all(&self.logs).unwrap();
        let mut skips = false;
        let steps = pipeline.steps.iter().filter(|it| it.is_for(&build.event));
        for (index, step) in steps.enumerate() {
            if skips || !step.runs_after(&build.status) {
                build.steps.push(Ran {
                    name: step.name.clone(),
                    status: "skipped".to_owned(),
                    exit_code: None,
                    masked: 0,
                });
                continue;
            }
            let ran = self.step(pipeline, build, (index + 1, step));
            skips = ran.exit_code == Some(SKIP_THE_REST);
            if ran.status == "failure" && !step.ignores_failure {
                "failure".clone_into(&mut build.status);
            }
            build.steps.push(ran);
        }
    }

    fn step(&self, pipeline: &Pipeline, build: &Build, (number, step): (usize, &Step)) -> Ran {
        let (variables, secrets) = self.environment(pipeline, build, (number, step));
        let script = script(&step.commands);
        let mut command = match (&step.image, script) {
            (_, Some(script)) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-e", "-c", &script]);
                command
            }
            (Some(image), None) => {
                let mut command = self.entry_point(image);
                command.args(&step.command);
                command
            }
            // An exec step with nothing to run is a success.
            (None, None) => Command::new("/bin/true"),
        };
        if pipeline.kind == Kind::Docker {
            command.env_clear().env("PATH", "/usr/bin:/bin");
        }
        let (output, also_output) = std::io::pipe().unwrap();
        let process = command
            .envs(&variables)
            .current_dir(self.workspace)
            .stdin(Stdio::null())
            .stderr(also_output.try_clone().unwrap())
            .stdout(also_output)
            .spawn();
        // It holds the other end of the pipe, which would never be at its end.
        drop(command);
        let mut log = File::create(self.logs.join(format!("{}.log", step.name))).unwrap();
        let mut process = match process {
            Ok(process) => process,
            Err(error) => panic!("step {}: {error}", step.name),
        };
        let mut masked = 0;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let (line, found) = mask(&line, &secrets);
            masked += found;
            writeln!(log, "{line}").unwrap();
        }
        let code = process.wait().unwrap().code().unwrap_or(137);
        let well = code == 0 || code == SKIP_THE_REST;
        Ran {
            name: step.name.clone(),
            status: if well { "success" } else { "failure" }.to_owned(),
            exit_code: Some(code),
            masked,
        }
    }

    fn entry_point(&self, image: &str) -> Command {
        let tag = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let name = tag.map_or(image, |(name, _)| name);
        let argv = self.images.get(name);
        let argv = argv.unwrap_or_else(|| panic!("there is no image {image} here"));
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command
    }

    /// The variables of a step, and the secrets among them. Weakest first: parameters, the build,
    /// what the step sets, the build's own numbers again, secrets.
    pub(crate) fn environment(
        &self,
        pipeline: &Pipeline,
        build: &Build,
        (number, step): (usize, &Step),
    ) -> (BTreeMap<String, String>, Vec<String>) {
        let mut variables = build.parameters.clone();
        let of_build = build.environment(self.repository);
        variables.extend(of_build.clone());
        let kind = match pipeline.kind {
            Kind::Docker => "docker",
            Kind::Exec => "exec",
        };
        variables.insert("DRONE_STAGE_NAME".to_owned(), pipeline.name.clone());
        variables.insert("DRONE_STAGE_TYPE".to_owned(), kind.to_owned());
        let mut secrets = BTreeMap::new();
        for (name, setting) in step.variables(pipeline.kind) {
            match setting {
                Setting::Text(text) => variables.insert(name, text),
                // One that does not exist is set and empty, and nothing is said of it.
                Setting::Secret(secret) => {
                    let secret = self.secrets.get(&secret.to_lowercase());
                    secrets.insert(name, secret.cloned().unwrap_or_default())
                }
            };
        }
        let again = ["DRONE_BUILD_", "DRONE_STAGE_"];
        let is_again = |name: &String| again.iter().any(|prefix| name.starts_with(prefix));
        variables.extend(of_build.into_iter().filter(|(name, _)| is_again(name)));
        variables.insert("DRONE_STEP_NAME".to_owned(), step.name.clone());
        variables.insert("DRONE_STEP_NUMBER".to_owned(), number.to_string());
        let values = secrets.values().cloned().collect();
        variables.extend(secrets);
        (variables, values)
    }
}

/// The commands of a step as the shell gets them: each is told before it runs.
fn script(commands: &[String]) -> Option<String> {
    let told = |command: &String| {
        let quoted = command.replace('\'', "'\\''");
        format!("echo '+ {quoted}'\n{command}\n")
    };
    (!commands.is_empty()).then(|| commands.iter().map(told).collect())
}

/// A line with stars for every line of a secret that has at least two characters.
fn mask(line: &str, secrets: &[String]) -> (String, usize) {
    let mut masked = line.to_owned();
    let mut count = 0;
    let parts = secrets.iter().flat_map(|secret| secret.lines());
    for part in parts.filter(|part| part.chars().count() >= 2) {
        count += masked.matches(part).count();
        masked = masked.replace(part, "******");
    }
    (masked, count)
}
