//! Whom to trust.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The largest file that is read, in bytes: bundles of certificates stay far below.
const MAX_FILE: u64 = 1024 * 1024;

/// The certificates of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured) and those of a file.
/// An image without any certificates is no fault: it may talk to servers without TLS only.
pub(super) fn configuration(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let own = certificates(path)?;
        let (added, _) = roots.add_parsable_certificates(own);
        if added == 0 {
            bail!("{} holds no usable CA certificate", path.display());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = path.display();
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut pem))
        .with_context(|| format!("cannot read {shown}"))?;
    if pem.len() as u64 > MAX_FILE {
        bail!("{shown} is larger than {MAX_FILE} bytes");
    }
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{shown} is not a PEM file"))
}
