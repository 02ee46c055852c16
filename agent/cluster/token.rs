//! The token file of a kubeconfig.
//!
//! kube sends what is in it as it is, with the newline that `kubectl create token` and editors leave at
//! its end, which no header may have; and it looks at the file once a minute only. Here it is read for
//! every request, of which there are a few a minute: a new token is taken up at once.

use std::path::Path;

use http::HeaderValue;
use tokio::io::AsyncReadExt as _;

use super::ClusterError;

/// A larger file is no token, bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// What the header `Authorization` is to say; marked as not to be logged.
///
/// # Errors
/// [`ClusterError::Unauthorized`] with the file and what is wrong with it.
pub(super) async fn authorization(path: &Path) -> Result<HeaderValue, ClusterError> {
    let unusable =
        |why: &str| ClusterError::Unauthorized(format!("the token file {}: {why}", path.display()));
    let read = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_TOKEN + 1).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read.await.map_err(|e| unusable(&e.to_string()))?;
    if text.len() as u64 > MAX_TOKEN {
        return Err(unusable("it is too large for a token"));
    }
    let token = text.trim();
    if token.is_empty() {
        return Err(unusable("it is empty"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| unusable("it holds more than one line, or what no token has"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(text: &[u8]) -> Result<HeaderValue, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, text).unwrap();
        authorization(&path).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn white_space_around_a_token_is_no_part_of_it() {
        for text in ["abc.def", "abc.def\n", " abc.def\r\n\n"] {
            let header = of(text.as_bytes()).await.unwrap();
            assert_eq!(header.to_str().unwrap(), "Bearer abc.def");
            assert!(header.is_sensitive());
        }
    }

    #[tokio::test]
    async fn what_is_no_token_is_told_with_its_file_and_without_what_it_holds() {
        let long = vec![b'a'; 70_000];
        for (text, why) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"secret\nsecond", "more than one line"),
            (b"\xff", "utf-8"),
            (&long, "too large"),
        ] {
            let error = of(text).await.unwrap_err();
            assert!(error.contains("token") && error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = authorization(Path::new("/nowhere/token"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/token"), "{error}");
    }
}
