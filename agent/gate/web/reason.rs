//! Why a request failed, in words for a person.

use std::error::Error;
use std::io;

/// The last cause, which says the most.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// What is wrong with the server's certificate, if that is why.
pub(super) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let fault = tls_fault(error)?;
    let rustls::Error::InvalidCertificate(what) = fault else {
        return None;
    };
    let hint = match what {
        rustls::CertificateError::UnknownIssuer => {
            ": nobody who is trusted here has issued it; name its CA with --ca-file (or ca_file)"
        }
        _ => "",
    };
    Some(format!("its certificate does not hold: {what}{hint}"))
}

fn tls_fault<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(fault);
        }
        // An I/O error passes over the one that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(inner) = wrapped {
            return tls_fault(inner);
        }
        next = error.source();
    }
    None
}

/// A status with its meaning, such as `503 Service Unavailable`.
pub(super) fn status(status: u16) -> String {
    let known = reqwest::StatusCode::from_u16(status).ok();
    let meaning = known.and_then(|status| status.canonical_reason());
    match meaning {
        Some(meaning) => format!("{status} {meaning}"),
        None => status.to_string(),
    }
}
