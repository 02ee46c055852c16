//! A container registry, the real one (Distribution), and the part of GitLab that says who may do what in
//! it: as with GitLab a login is exchanged for a token, at an address that the registry names.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use super::super::wait;
use super::address::ADDRESS;
use super::web::{self, Reply, Request};

/// The login that GitLab gives a job.
pub(super) const JOB: (&str, &str) = ("gitlab-ci-token", "glcbt-64-of-the-job");

/// The deploy token of the boards: it may read.
pub(super) const DEPLOY: (&str, &str) = ("gitlab+deploy-token-1", "gldt-of-the-boards");

const SERVICE: &str = "container_registry";
const ISSUER: &str = "gitlab";

/// The registry. Dropping it ends it; what it holds lies in its folder.
pub(super) struct Registry {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Registry {
    /// Starts both.
    pub(super) fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![ADDRESS.to_string()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        fs::write(folder.join("ca.crt"), ca.pem()).unwrap();
        fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
        fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        let tls =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
                )
                .unwrap();

        let signer = Signer::new(folder);
        let gitlab = SocketAddr::from((ADDRESS, 0));
        let gitlab = web::serve(gitlab, Some(Arc::new(tls)), move |request| {
            signer.answer(request)
        });
        let port = free_port();
        let file = |name: &str| folder.join(name).display().to_string();
        // JSON is YAML.
        let settings = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": file("data")}, "delete": {"enabled": true}},
            "http": {
                "addr": format!("{ADDRESS}:{port}"),
                "tls": {"certificate": file("server.crt"), "key": file("server.key")},
            },
            "auth": {"token": {
                "realm": format!("https://{gitlab}/jwt/auth"),
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": file("signer.crt"),
            }},
        });
        fs::write(folder.join("registry.yml"), settings.to_string()).unwrap();
        let mut registry = Self {
            folder: folder.to_owned(),
            port,
            child: None,
        };
        registry.begin();
        registry
    }

    /// Starts it again.
    pub(super) fn begin(&mut self) {
        let log = self.folder.join("registry.log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(self.folder.join("registry.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait(Duration::from_secs(30), "the registry to listen", || {
            std::net::TcpStream::connect((ADDRESS, self.port)).ok()
        });
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Host and port, as it stands in the name of an image.
    pub(super) fn host(&self) -> String {
        format!("{ADDRESS}:{}", self.port)
    }

    /// Who signs its certificate.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A pull secret with the deploy token.
    pub(super) fn pull_secret(&self) -> Value {
        let auth = STANDARD.encode(format!("{}:{}", DEPLOY.0, DEPLOY.1));
        json!({"auths": {self.host(): {"auth": auth}}})
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// It is taken by the registry at once, and nothing else asks for ports of this address.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((ADDRESS, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Makes tokens, as GitLab's `/jwt/auth` does.
struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl Signer {
    fn new(folder: &Path) -> Self {
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gitlab".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap();
        fs::write(folder.join("signer.crt"), certificate.pem()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &SystemRandom::new(),
        );
        Self {
            key: key.unwrap(),
            certificate: STANDARD.encode(certificate.der()),
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        let refusal = |status: u16, code: &str, message: &str| {
            let errors = json!({"errors": [{"code": code, "message": message}]});
            (status, errors)
        };
        if request.path != "/jwt/auth" || request.parameter("service") != Some(SERVICE) {
            return (404, json!({"message": "404 Not Found"}));
        }
        let Some(login) = request.header("authorization").strip_prefix("Basic ") else {
            return refusal(403, "DENIED", "access forbidden");
        };
        let known =
            |(name, password): (&str, &str)| login == STANDARD.encode(format!("{name}:{password}"));
        let (name, rights): (&str, &[&str]) = if known(JOB) {
            (JOB.0, &["pull", "push"])
        } else if known(DEPLOY) {
            (DEPLOY.0, &["pull"])
        } else {
            return refusal(401, "UNAUTHORIZED", "HTTP Basic: Access denied");
        };
        let scopes = request.query.iter().filter(|(key, _)| key == "scope");
        let access: Vec<Value> = scopes
            .flat_map(|(_, scopes)| scopes.split(' '))
            .filter_map(|scope| granted(scope, rights))
            .collect();
        (200, json!({"token": self.token(name, &access)}))
    }

    fn token(&self, subject: &str, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]}));
        let claims = part(json!({
            "iss": ISSUER, "sub": subject, "aud": SERVICE, "access": access,
            "iat": now, "nbf": now - 5, "exp": now + 300, "jti": format!("{now}"),
        }));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

/// What is granted of `repository:acme/shop:pull,push`: of the group, and what one may.
fn granted(scope: &str, rights: &[&str]) -> Option<Value> {
    let mut parts = scope.split(':');
    let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
    let actions: Vec<&str> = actions
        .split(',')
        .filter(|it| rights.contains(it))
        .collect();
    let is_ours = kind == "repository" && name.starts_with("acme/");
    (is_ours && !actions.is_empty())
        .then(|| json!({"type": kind, "name": name, "actions": actions}))
}
