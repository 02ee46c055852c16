use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rumqttc::tokio_rustls::TlsAcceptor;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::gate::tests::QUICK;
use crate::gate::tests::double::{Double, Reply};

const LONG: Duration = Duration::from_secs(30);

/// An HTTPS server that answers everything with `ok`, and the CA that its certificate is of.
async fn encrypted() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = params.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust it hangs up here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, ca.pem())
}

async fn get(web: &Web, url: &str) -> Result<Answer, Fault> {
    let ask = Ask::get(address(url).unwrap(), 1000);
    web.ask(&ask, Instant::now() + LONG).await
}

#[tokio::test]
async fn who_is_not_trusted_is_not_asked_again_and_a_ca_file_makes_the_difference() {
    let (url, ca) = encrypted().await;
    let fault = get(&Web::new(None, QUICK).unwrap(), &url)
        .await
        .unwrap_err();
    let Fault::Broken(why) = fault else {
        panic!("that may work later: {fault}");
    };
    assert!(why.contains("--ca-file"), "{why}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let web = Web::new(Some(&file), QUICK).unwrap();
    assert_eq!(get(&web, &url).await.unwrap().body, b"ok");
    let by_name = url.replace("127.0.0.1", "localhost");
    let fault = get(&web, &by_name).await.unwrap_err();
    assert!(
        matches!(fault, Fault::Broken(_)),
        "of another name: {fault}"
    );
}

#[tokio::test]
async fn a_secret_stays_with_its_host_and_with_tls() {
    let other = Double::start(|_, _| Reply::status(200)).await;
    let to = other.url();
    let server = Double::start(move |_, _| Reply::moved(302, &to)).await;
    let web = Web::new(None, QUICK).unwrap();
    let ask = Ask::get(address(&server.url()).unwrap(), 1000)
        .header("accept", "x/y")
        .secret("authorization", "Bearer hunter2")
        .even_elsewhere();
    assert!(!format!("{ask:?}").contains("hunter2"), "{ask:?}");
    web.ask(&ask, Instant::now() + LONG).await.unwrap();
    assert_eq!(
        server.seen()[0].header("authorization"),
        Some("Bearer hunter2")
    );
    assert_eq!(other.seen()[0].header("authorization"), None);
    assert_eq!(other.seen()[0].header("accept"), Some("x/y"));

    let (from, to) = ("https://a.example/".parse(), "http://b.example/".parse());
    let weaker = may_follow(&ask, &from.unwrap(), &to.unwrap());
    assert!(weaker.unwrap_err().contains("without TLS"));
}

#[test]
fn paths_are_put_together_with_each_part_encoded() {
    let base = address("https://gitlab.example/git/").unwrap();
    let url = below(&base, &["api", "projects", "acme/shop?x"]);
    assert_eq!(
        url.as_str(),
        "https://gitlab.example/git/api/projects/acme%2Fshop%3Fx"
    );
    assert_eq!(
        host(&address("http://h.example:81/secret").unwrap()),
        "h.example:81"
    );
}

proptest! {
    #[test]
    fn any_text_is_an_address_or_a_fault_that_does_not_repeat_it(text in "(https?://)?.{0,40}hunter2.{0,40}") {
        if let Err(error) = address(&text) {
            prop_assert!(!error.contains("hunter2"), "{}", error);
        }
    }
}
