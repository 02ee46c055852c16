//! A registry whose server of tokens behaves as GitLab's: another host, a token for anybody who may read
//! the repository, a token that opens nothing for everybody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_agent_core::gate::digest::Digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::double::{Double, Reply, Seen};

pub(super) const USER: &str = "gitlab+deploy-token-7";
pub(super) const PASSWORD: &str = "gldt-hunter2";
pub(super) const REPOSITORY: &str = "acme/shop";
const OPEN: &str = "opens-acme-shop";
const NOTHING: &str = "opens-nothing";

/// What the registry has: by path, the kind and the bytes.
type Contents = Arc<Mutex<BTreeMap<String, Reply>>>;

pub(super) struct Registry {
    pub(super) registry: Double,
    pub(super) tokens: Double,
    contents: Contents,
}

impl Registry {
    pub(super) async fn start() -> Self {
        Self::with_tokens(|seen, _| gitlab(seen)).await
    }

    /// With another server of tokens.
    pub(super) async fn with_tokens(
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let contents = Contents::default();
        let tokens = Double::start(script).await;
        let realm = format!("{}/jwt/auth", tokens.url());
        let known = Arc::clone(&contents);
        let registry = Double::start(move |seen, _| {
            let challenge = |error: &str| {
                let scope = format!("repository:{REPOSITORY}:pull");
                let value = format!(
                    "Bearer realm=\"{realm}\",service=\"container_registry\",scope=\"{scope}\"{error}"
                );
                Reply::status(401).with("www-authenticate", &value)
            };
            match seen.header("authorization") {
                Some(value) if value == format!("Bearer {OPEN}") => {}
                Some(_) => return challenge(",error=\"insufficient_scope\""),
                None => return challenge(""),
            }
            let known = known.lock().unwrap();
            known.get(&seen.path).cloned().unwrap_or(Reply::status(404))
        })
        .await;
        Self {
            registry,
            tokens,
            contents,
        }
    }

    pub(super) fn put(&self, kind: &str, name: &str, reply: Reply) {
        let path = format!("/v2/{REPOSITORY}/{kind}/{name}");
        self.contents.lock().unwrap().insert(path, reply);
    }

    pub(super) fn put_manifest(&self, manifest: &Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.put(
            "manifests",
            &digest.to_string(),
            Reply::new(200, kind, bytes),
        );
        digest
    }

    pub(super) fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let reply = Reply::new(200, "application/octet-stream", bytes);
        self.put("blobs", &digest.to_string(), reply);
        digest
    }

    /// An image for one architecture, built from a commit.
    pub(super) fn put_image(&self, architecture: &str, revision: Option<&str>) -> Digest {
        let labels = revision.map(|it| json!({ "org.opencontainers.image.revision": it }));
        let config =
            json!({"architecture": architecture, "os": "linux", "config": {"Labels": labels}});
        let config = self.put_blob(config.to_string().as_bytes());
        self.put_manifest(&json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": 1},
            "layers": [],
        }))
    }

    /// An index of images.
    pub(super) fn put_index(&self, images: &[(&str, Digest)]) -> Digest {
        let entries: Vec<Value> = images
            .iter()
            .map(|(architecture, digest)| {
                json!({"digest": digest.to_string(), "size": 1, "platform": {"os": "linux", "architecture": architecture}})
            })
            .collect();
        self.put_manifest(&json!({"schemaVersion": 2, "manifests": entries}))
    }

    /// Signs a digest as cosign does, and gives the public key as a file of cosign's has it.
    pub(super) fn sign(&self, signed: &Digest, at: &Digest) -> String {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let payload = json!({"critical": {
            "identity": {"docker-reference": REPOSITORY},
            "image": {"docker-manifest-digest": signed.to_string()},
            "type": "cosign container image signature",
        }, "optional": null});
        let payload = payload.to_string();
        let signature = pair.sign(&random, payload.as_bytes()).unwrap();
        let blob = self.put_blob(payload.as_bytes());
        let config = self.put_blob(b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "config": {"digest": config.to_string(), "size": 2},
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": blob.to_string(),
                "size": payload.len(),
                "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(signature)},
            }],
        });
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let tag = format!("sha256-{}.sig", at.hex());
        self.put(
            "manifests",
            &tag,
            Reply::new(200, kind, manifest.to_string()),
        );

        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend_from_slice(pair.public_key().as_ref());
        let body = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// The name of a digest in this registry.
    pub(super) fn name(&self, digest: &Digest) -> String {
        format!("{}/{REPOSITORY}@{digest}", self.registry.host)
    }
}

/// GitLab's `/jwt/auth`: a wrong password is refused; without a login there is a token for what is
/// public, which the repository is not.
fn gitlab(seen: &Seen) -> Reply {
    let login = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let wanted = format!(
        "/jwt/auth?service=container_registry&scope=repository%3A{}%3Apull",
        REPOSITORY.replace('/', "%2F")
    );
    match seen.header("authorization") {
        Some(value) if value == login && seen.path == wanted => {
            Reply::json(&json!({ "token": OPEN }))
        }
        Some(value) if value == login => Reply::json(&json!({ "token": NOTHING })),
        None => Reply::json(&json!({ "token": NOTHING })),
        Some(_) => Reply::new(
            401,
            "application/json",
            r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
        ),
    }
}
