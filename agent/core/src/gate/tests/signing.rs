use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::gate::digest::Digest;
use crate::gate::image::Manifest;
use crate::gate::signature::{ImageKey, P256, claims, judge, tag};

/// A key pair with its public key as cosign writes it.
fn signer() -> (EcdsaKeyPair, ImageKey) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let digits: Vec<u32> = prefix.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let mut der: Vec<u8> = digits
        .chunks(2)
        .map(|it| u8::try_from(it[0] * 16 + it[1]).unwrap())
        .collect();
    der.extend_from_slice(pair.public_key().as_ref());
    let body = STANDARD.encode(der);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
        &body[..64],
        &body[64..]
    );
    (pair, ImageKey::from_pem(&pem).unwrap())
}

#[test]
fn a_signature_is_of_the_image_by_a_known_key() {
    let (pair, key) = signer();
    let (_, stranger) = signer();
    let image = Digest::of(b"image");
    let payload = |digest: &str, kind: &str| {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.example/shop"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
        )
    };
    let sign = |payload: &str| {
        let signature = pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        signature.as_ref().to_vec()
    };
    let kind = "cosign container image signature";
    let good = payload(&image.to_string(), kind);
    let signature = sign(&good);
    let told = |keys: &[&ImageKey], payload: &str, signature: &[u8]| {
        let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
        judge(&keys, &image, payload.as_bytes(), signature)
    };
    assert_eq!(told(&[&stranger, &key], &good, &signature), Ok(()));
    assert!(
        told(&[&stranger], &good, &signature)
            .unwrap_err()
            .contains("another key")
    );
    assert!(told(&[], &good, &signature).is_err());
    assert!(told(&[&key], &good.replace("shop", "shoq"), &signature).is_err());
    let other = payload(&Digest::of(b"other").to_string(), kind);
    assert!(
        told(&[&key], &other, &sign(&other))
            .unwrap_err()
            .contains("another image")
    );
    let attestation = payload(&image.to_string(), "attestation");
    assert!(
        told(&[&key], &attestation, &sign(&attestation))
            .unwrap_err()
            .contains("attestation")
    );
    assert!(told(&[&key], "[]", &sign("[]")).is_err());

    assert!(tag(&image).starts_with("sha256-") && tag(&image).ends_with(".sig"));
    let layer = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{image}"}},"layers":[
        {{"digest":"{image}"}},
        {{"digest":"{image}","annotations":{{"dev.cosignproject.cosign/signature":"{}"}}}},
        {{"digest":"{image}","annotations":{{"dev.cosignproject.cosign/signature":"%"}}}}]}}"#,
        STANDARD.encode(&signature)
    );
    let Ok(Manifest::Image { layers, .. }) = Manifest::parse(layer.as_bytes()) else {
        panic!()
    };
    assert_eq!(claims(&layers), [(image, signature)]);
}

#[test]
fn keys_that_are_none_are_told_why() {
    let pem = |body: &[u8]| {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            STANDARD.encode(body)
        )
    };
    let told = |text: &str| ImageKey::from_pem(text).unwrap_err();
    assert!(told("nothing").contains("holds no"));
    assert!(told(&pem(b"RSA")).contains("neither"));
    assert!(told(&pem(&[&P256[..], b"short"].concat())).contains("length"));
    assert!(told("-----BEGIN PUBLIC KEY-----\n%\n-----END PUBLIC KEY-----").contains("PEM"));
}
