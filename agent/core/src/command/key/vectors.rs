//! Vectors of others for the verification of signatures. Where the standards agree, we must; where
//! they leave the answer open, ours is written down here, so that it does not change in silence.

use std::collections::BTreeSet;

use super::tests::from_hex;
use super::{ED25519, KEY_BYTES, UnparsedPublicKey, is_small_order, verifies};

const WYCHEPROOF: &str = include_str!("wycheproof_ed25519.txt");
const SPECCHECK: &str = include_str!("speccheck.txt");

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    from_hex(hex)
}

fn public(hex: &str) -> [u8; KEY_BYTES] {
    from_hex(hex).try_into().unwrap()
}

#[test]
fn every_case_of_wycheproof() {
    let mut key = None;
    let (mut valid, mut invalid) = (0, 0);
    for line in lines(WYCHEPROOF) {
        match line[..] {
            ["key", hex] => key = Some(public(hex)),
            [number, result, message, signature] => {
                let holds = verifies(&key.unwrap(), &bytes(message), &bytes(signature));
                assert_eq!(holds, result == "valid", "case {number}");
                *(if holds { &mut valid } else { &mut invalid }) += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// ring takes 0, 1, 2, 3 and 11. Of these, 0, 1 and 11 are by keys of small order, for which anybody
/// can sign, and which we never take. What is left are a signature with an R of small order and one
/// with key and R of mixed order: neither can be made without the private key.
#[test]
fn the_cases_of_speccheck_stay_as_they_are() {
    let (mut by_ring, mut by_us, mut small) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (number, line) in lines(SPECCHECK).enumerate() {
        let [message, key, signature] = line[..] else {
            panic!("{line:?}")
        };
        let (message, key, signature) = (bytes(message), public(key), bytes(signature));
        let ring = UnparsedPublicKey::new(&ED25519, key).verify(&message, &signature);
        by_ring.extend(ring.is_ok().then_some(number));
        by_us.extend(verifies(&key, &message, &signature).then_some(number));
        small.extend(is_small_order(&key).then_some(number));
    }
    assert_eq!(by_ring, BTreeSet::from([0, 1, 2, 3, 11]));
    assert_eq!(small, BTreeSet::from([0, 1, 10, 11]));
    assert_eq!(by_us, BTreeSet::from([2, 3]));
}
