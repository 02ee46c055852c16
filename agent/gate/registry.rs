//! A registry: contents by digest and tag, behind the server of tokens that it names.

use edge_agent_core::gate::challenge::Challenge;
use edge_agent_core::gate::digest::Digest;
use edge_agent_core::gate::image::ACCEPTED;
use edge_agent_core::gate::quoted;
use edge_agent_core::gate::reference::Reference;
use serde::Deserialize;
use tokio::time::Instant;

use super::Lack;
use super::credentials::{Credentials, Login};
use super::secret::Secret;
use super::web::{self, Ask, Url, Web};

/// The largest manifest, bytes, as registries bound it.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// The largest other content that is read, bytes: configurations of images, payloads of signatures.
const MAX_BLOB: usize = 4 * 1024 * 1024;
const MAX_TOKEN: usize = 64 * 1024;

/// One repository of a registry.
pub(super) struct Repository<'g> {
    web: &'g Web,
    until: Instant,
    base: Url,
    path: String,
    login: Option<&'g Login>,
    /// What is shown with each request, once the registry has asked for it.
    authorization: Option<Secret>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'g> Repository<'g> {
    /// # Errors
    /// When the registry of the image cannot be part of an address.
    pub(super) fn new(
        (web, until): (&'g Web, Instant),
        image: &Reference,
        credentials: &'g Credentials,
        plain_http: &[String],
    ) -> Result<Self, Lack> {
        let host = image.host();
        let plain = is_local(host) || plain_http.iter().any(|it| it == &image.registry);
        let scheme = if plain { "http" } else { "https" };
        let base = web::address(&format!("{scheme}://{host}/"))
            .map_err(|why| Lack::Refused(format!("the registry {host} {why}")))?;
        Ok(Self {
            web,
            until,
            base,
            path: image.repository.clone(),
            login: credentials.for_image(&image.name()),
            authorization: None,
        })
    }

    /// The manifest or index of a digest, which the bytes have.
    ///
    /// # Errors
    /// When it is not there, may not be read, or is something else.
    pub(super) async fn manifest(&mut self, digest: &Digest) -> Result<Vec<u8>, Lack> {
        let found = self.manifest_at(&digest.to_string()).await?;
        let host = web::host(&self.base);
        let bytes = found.ok_or_else(|| {
            Lack::Refused(format!(
                "{host} has nothing under this digest in {}",
                self.path
            ))
        })?;
        verified(bytes, digest, &host)
    }

    /// What a tag or a digest stands for; `None` when there is nothing.
    pub(super) async fn manifest_at(&mut self, name: &str) -> Result<Option<Vec<u8>>, Lack> {
        self.fetch("manifests", name, MAX_MANIFEST).await
    }

    /// Other contents by digest, which the bytes have.
    pub(super) async fn blob(&mut self, digest: &Digest) -> Result<Vec<u8>, Lack> {
        let found = self.fetch("blobs", &digest.to_string(), MAX_BLOB).await?;
        let host = web::host(&self.base);
        let bytes = found.ok_or_else(|| {
            Lack::Refused(format!(
                "{host} does not have {digest}, which the image needs"
            ))
        })?;
        verified(bytes, digest, &host)
    }

    async fn fetch(
        &mut self,
        kind: &str,
        name: &str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Lack> {
        let mut parts = vec!["v2"];
        parts.extend(self.path.split('/'));
        parts.extend([kind, name]);
        let url = web::below(&self.base, &parts);
        let host = web::host(&self.base);
        let mut introduced = false;
        loop {
            // GitLab and others keep contents in a store elsewhere, which wants no token.
            let mut ask = Ask::get(url.clone(), limit)
                .header("accept", if kind == "manifests" { ACCEPTED } else { "*/*" })
                .even_elsewhere();
            if let Some(authorization) = &self.authorization {
                ask = ask.secret("authorization", authorization.reveal());
            }
            let answer = self.web.ask(&ask, self.until).await?;
            match answer.status {
                200 => return Ok(Some(answer.body)),
                404 => return Ok(None),
                401 if !introduced => {
                    introduced = true;
                    let challenge = answer.challenges().find_map(Challenge::parse);
                    self.introduce(challenge).await?;
                }
                401 | 403 => return Err(Lack::Refused(self.closed())),
                status => {
                    return Err(Lack::Refused(format!("{host} answers {status} for {kind}")));
                }
            }
        }
    }

    fn closed(&self) -> String {
        let (host, path) = (web::host(&self.base), &self.path);
        match self.login {
            Some(login) => format!(
                "{host} does not let {} read {path}: is the password right, does the repository \
                 exist, and has the token the scope read_registry?",
                quoted(&login.username)
            ),
            None => format!("{host} lets nobody read {path} without a login: name one"),
        }
    }

    /// Gets what the registry wants to see.
    async fn introduce(&mut self, challenge: Option<Challenge>) -> Result<(), Lack> {
        let host = web::host(&self.base);
        let value = match challenge {
            Some(Challenge::Basic) => match self.login {
                Some(login) => login.basic(),
                None => return Err(Lack::Refused(self.closed())),
            },
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
                ..
            }) => {
                let token = self.token(&realm, service, scope).await?;
                format!("Bearer {token}")
            }
            None => {
                return Err(Lack::Refused(format!(
                    "{host} answers 401 and does not say how to log in: is it a registry?"
                )));
            }
        };
        self.authorization = Secret::new(&value);
        Ok(())
    }

    /// A token from the server that the registry names; GitLab's is GitLab itself.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<String, Lack> {
        let registry = web::host(&self.base);
        let refuse = |why: String| Lack::Refused(format!("{registry} {why}"));
        let mut url = web::address(realm)
            .map_err(|why| refuse(format!("names a server of tokens that {why}")))?;
        let host = web::host(&url);
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(refuse(format!(
                "sends its visitors for a token to {host} without TLS, where no password goes"
            )));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.path));
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.append_pair("scope", &scope);
        }
        let mut ask = Ask::get(url, MAX_TOKEN).header("accept", "application/json");
        if let Some(login) = self.login {
            ask = ask.secret("authorization", &login.basic());
        }
        let answer = self.web.ask(&ask, self.until).await?;
        match (answer.status, self.login) {
            (200, _) => {}
            (401 | 403, Some(login)) => {
                return Err(Lack::Refused(format!(
                    "{host} refuses {} and its password: has the deploy token expired?",
                    quoted(&login.username)
                )));
            }
            (401 | 403, None) => return Err(Lack::Refused(self.closed())),
            (status, _) => {
                return Err(Lack::Refused(format!(
                    "{host} gives no token: it answers {status}"
                )));
            }
        }
        let token: Option<Token> = serde_json::from_slice(&answer.body).ok();
        let token = token.and_then(|it| it.token.or(it.access_token));
        token.filter(|it| !it.is_empty()).ok_or_else(|| {
            let kind = quoted(answer.content_type());
            Lack::Refused(format!("{host} answers with no token, but with {kind}"))
        })
    }
}

fn verified(bytes: Vec<u8>, digest: &Digest, host: &str) -> Result<Vec<u8>, Lack> {
    if Digest::of(&bytes) == *digest {
        return Ok(bytes);
    }
    Err(Lack::Refused(format!(
        "what {host} gives for {digest} has another digest: it was changed, or is no answer of a registry"
    )))
}

/// A registry on this machine, which container runtimes ask without TLS too.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address: Option<std::net::IpAddr> = name.parse().ok();
    name == "localhost" || address.is_some_and(|address| address.is_loopback())
}
