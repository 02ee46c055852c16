//! Who one is at a registry: a deploy token, or what `docker login` and Kubernetes keep.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::secret::{self, Secret};

/// The largest file, bytes: a `.dockerconfigjson` of Kubernetes is at most 1 MiB.
const MAX_FILE: u64 = 1024 * 1024;

/// User name and password, by registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    known: BTreeMap<String, Login>,
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: Secret,
}

impl Login {
    /// The value of `Authorization`.
    pub(crate) fn basic(&self) -> String {
        basic(&self.username, self.password.reveal())
    }
}

/// The value of `Authorization` for a user name and a password.
pub(crate) fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// A deploy token for one registry.
    pub(crate) fn one(registry: &str, login: Login) -> Self {
        Self {
            known: BTreeMap::from([(registry.to_owned(), login)]),
        }
    }

    /// Reads a `config.json` of Docker, podman's `auth.json`, or the `.dockerconfigjson` of a pull
    /// secret. Entries without a password, such as those of a credential store, are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is none of these. Nothing of it is repeated.
    pub(crate) fn from_docker_config(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = secret::read(path, MAX_FILE).map_err(|error| format!("{shown}: {error}"))?;
        let config: DockerConfig = serde_json::from_str(&text)
            .map_err(|_| format!("{shown} is no config.json of Docker: it has no sound `auths`"))?;
        let logins = config.auths.into_iter();
        let known = logins.filter_map(|(registry, entry)| Some((place(&registry), login(entry)?)));
        Ok(Self {
            known: known.collect(),
        })
    }

    /// The login for an image, `registry/repository`: that of the longest entry that is the beginning
    /// of its name.
    pub(crate) fn for_image(&self, name: &str) -> Option<&Login> {
        let matching = |(place, _): &(&String, &Login)| {
            let rest = name.strip_prefix(place.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.known.iter().filter(matching);
        found
            .max_by_key(|(place, _)| place.len())
            .map(|(_, login)| login)
    }
}

/// What an entry is for, as the beginning of the name of an image.
fn place(entry: &str) -> String {
    let bare = entry
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let bare = bare.trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or(bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    match bare {
        "index.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn login(entry: Entry) -> Option<Login> {
    let joined = entry.auth.as_deref().and_then(|auth| {
        let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some((
            username.to_owned(),
            password.trim_end_matches('\0').to_owned(),
        ))
    });
    let (username, password) = joined.or(entry.username.zip(entry.password))?;
    let password = Secret::new(&password)?;
    Some(Login { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_secret_of_kubernetes_gives_the_login_of_its_registry_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let text = format!(
            r#"{{"auths":{{
                "registry.gitlab.example":{{"auth":"{}"}},
                "registry.gitlab.example/acme":{{"username":"deploy","password":"p2"}},
                "https://index.docker.io/v1/":{{"auth":"{}"}},
                "store.example":{{}}}},
              "credsStore":"desktop"}}"#,
            STANDARD.encode("gitlab+deploy-token-1:p1:x"),
            STANDARD.encode("hub:p3"),
        );
        std::fs::write(&path, text).unwrap();
        let known = Credentials::from_docker_config(&path).unwrap();
        let login = |image: &str| {
            let login = known.for_image(image)?;
            Some((login.username.as_str(), login.password.reveal()))
        };
        assert_eq!(
            login("registry.gitlab.example/other/x"),
            Some(("gitlab+deploy-token-1", "p1:x"))
        );
        assert_eq!(
            login("registry.gitlab.example/acme/shop"),
            Some(("deploy", "p2"))
        );
        assert_eq!(login("docker.io/library/x"), Some(("hub", "p3")));
        assert_eq!(login("registry.gitlab.example.evil/x"), None);
        assert_eq!(login("store.example/x"), None);
        assert!(!format!("{known:?}").contains("p2"));

        std::fs::write(&path, "hunter2").unwrap();
        let error = Credentials::from_docker_config(&path).unwrap_err();
        assert!(
            error.contains("config.json") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
