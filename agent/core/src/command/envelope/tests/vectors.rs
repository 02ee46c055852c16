//! Vectors of others, so that what we sign is what DSSE means: the example of its specification,
//! its published test vectors, and one of our own.

use super::*;
use crate::command::encoding::to_base64;
use crate::command::key::tests::from_hex;

const TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1"}"#;
const STATEMENT_BASE64: &str = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==";
const SIG_A: &str =
    "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==";
const SIG_B: &str =
    "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==";
const SIG_A_URL_SAFE: &str =
    "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==";
const SIG_A_NON_ASCII: &str =
    "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==";
const SIG_A_EMPTY: &str =
    "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==";
const SIG_A_NO_TYPE: &str =
    "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg==";

/// How many different keys have signed; `None` when the envelope is not even of this type.
fn signers(payload: &str, kind: &str, wanted: &str, signatures: &str) -> Option<usize> {
    let text =
        format!(r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{signatures}]}}"#);
    let envelope = Unverified::read(text.as_bytes()).unwrap();
    envelope.require_type(wanted).ok()?;
    let count = super::signers(&envelope, &keyring(), today()).map_or(0, |all| all.len());
    Some(count)
}

fn by(key_id: &str, signature: &str) -> String {
    format!(r#"{{"sig":"{signature}","keyid":"{key_id}"}}"#)
}

#[test]
fn the_encoding_of_the_specification() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    assert_eq!(
        pae(TYPE, STATEMENT.as_bytes()),
        from_hex(
            "445353457631203238206170706c69636174696f6e2f766e642e696e2d746f746f2b6a736f6e2034332\
             07b225f74797065223a2268747470733a2f2f696e2d746f746f2e696f2f53746174656d656e742f76312\
             27d"
        )
    );
}

#[test]
fn the_published_vectors_that_are_to_be_accepted() {
    let statement = |signatures: &str| signers(STATEMENT_BASE64, TYPE, TYPE, signatures);
    assert_eq!(statement(&by("A", SIG_A)), Some(1));
    assert_eq!(
        signers("-_-_Pj8=", TYPE, TYPE, &by("A", SIG_A_URL_SAFE)),
        Some(1)
    );
    let non_ascii = "application/vnd.exämple+json";
    assert_eq!(
        signers(
            STATEMENT_BASE64,
            non_ascii,
            non_ascii,
            &by("A", SIG_A_NON_ASCII)
        ),
        Some(1)
    );
    assert_eq!(signers("", TYPE, TYPE, &by("A", SIG_A_EMPTY)), Some(1));
    assert_eq!(
        statement(&format!("{},{}", by("A", SIG_A), by("B", SIG_B))),
        Some(2)
    );
    let nameless = format!(r#"{{"sig":"{SIG_A}"}},{{"sig":"{SIG_B}"}}"#);
    assert_eq!(statement(&nameless), Some(2));
}

#[test]
fn the_published_vectors_that_are_to_be_rejected() {
    // Another type than the one that was signed, even where it is supported.
    let other = "application/vnd.example.other+json";
    assert_eq!(
        signers(STATEMENT_BASE64, other, other, &by("A", SIG_A)),
        Some(0)
    );
    // No type at all: the signature would hold, but nobody takes the type.
    assert_eq!(
        signers(STATEMENT_BASE64, "", TYPE, &by("A", SIG_A_NO_TYPE)),
        None
    );
    assert_eq!(
        signers(STATEMENT_BASE64, "", "", &by("A", SIG_A_NO_TYPE)),
        Some(1)
    );
    // One key twice is one key.
    let twice = format!("{},{}", by("A", SIG_A), by("A", SIG_A));
    assert_eq!(signers(STATEMENT_BASE64, TYPE, TYPE, &twice), Some(1));
}

#[test]
fn we_sign_what_the_vectors_sign() {
    let sign =
        |key: &SigningKey, kind: &str, payload: &[u8]| to_base64(&key.sign(&pae(kind, payload)));
    assert_eq!(sign(&key_a(), TYPE, STATEMENT.as_bytes()), SIG_A);
    assert_eq!(sign(&key_b(), TYPE, STATEMENT.as_bytes()), SIG_B);
    assert_eq!(sign(&key_a(), TYPE, b""), SIG_A_EMPTY);
    // Ours.
    let payload = concat!(
        r#"{"v":1,"id":"01J0000000000000000000000A","aud":"device:pi-0001","seq":42,"#,
        r#""iat":1700000000,"exp":1700000600,"cmd":"rollback","#,
        r#""args":{"app":"web","revision":7}}"#
    );
    assert_eq!((payload.len(), COMMAND_TYPE.len()), (158, 42));
    let signature =
        "vXf3yU28elhyCQT2OYzEzLPJxLQnA0/cxf9D2i1gQJ54sMr5VE5IAU44hkX1A/UB3uQx8JqZYDODSPpSl1TMBQ==";
    assert_eq!(sign(&key_a(), COMMAND_TYPE, payload.as_bytes()), signature);
    // It is of an older form, so it is understood far enough to be answered, and no further.
    let bytes = seal(COMMAND_TYPE, payload.as_bytes(), &[("a", &key_a())]);
    assert!(
        String::from_utf8(bytes.clone())
            .unwrap()
            .contains(signature)
    );
    assert_eq!(refused(&bytes).refusal.code, RefusalCode::Malformed);
    assert_eq!(refused(&bytes).id, "01J0000000000000000000000A");
}
