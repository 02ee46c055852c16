//! Certificates and keys for the connection, read again for every one, so that a renewed certificate
//! needs no restart.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rumqttc::TlsConfiguration;
use rumqttc::tokio_rustls::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config;

/// The largest file that is read, in bytes: bundles of certificates stay far below.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads the files that the settings name.
///
/// # Errors
/// When a file cannot be read or does not hold what it should, or when the system has no CA
/// certificates and the settings name none.
pub(super) fn configuration(mqtt: &config::Mqtt) -> anyhow::Result<TlsConfiguration> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(mqtt.ca_file.as_deref())?);
    let config = match (&mqtt.cert_file, &mqtt.key_file) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .with_context(|| {
                format!(
                    "{} and {} do not belong together",
                    cert.display(),
                    key.display()
                )
            })?,
        (None, None) => builder.with_no_client_auth(),
        _ => bail!("mqtt.cert_file and mqtt.key_file belong together: set both, or none"),
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

fn roots(ca_file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let (added, _) = roots.add_parsable_certificates(certificates(path)?);
            if added == 0 {
                bail!("{} holds no usable CA certificate", path.display());
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                bail!(
                    "this system has no CA certificates: install ca-certificates, or name the broker's with mqtt.ca_file"
                );
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not a PEM file", path.display()))?;
    if certificates.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    // The error of the parser is left out: nothing of a key file goes to a log.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| anyhow::anyhow!("{} holds no private key in PEM", path.display()))
}

/// Reads a file of limited size.
///
/// # Errors
/// When it cannot be read or is too large.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} is larger than {MAX_FILE} bytes", path.display());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path) -> config::Mqtt {
        config::Mqtt {
            host: "localhost".to_owned(),
            port: 8883,
            tls: true,
            ca_file: Some(dir.join("ca.pem")),
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
            keep_alive_seconds: 30,
            session_expiry_seconds: 60,
        }
    }

    #[test]
    fn faults_name_the_file_and_keys_stay_secret() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let error = |settings: &config::Mqtt| format!("{:#}", configuration(settings).unwrap_err());
        assert!(error(&settings).contains("cannot read"));
        std::fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
        assert!(error(&settings).contains("ca.pem holds no certificate"));

        let key = dir.path().join("node.key");
        std::fs::write(&key, "hunter2").unwrap();
        let error = private_key(&key).unwrap_err().to_string();
        assert!(error.contains("node.key") && !error.contains("hunter2"));
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("larger than"), "{error}");
    }
}
