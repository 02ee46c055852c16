//! Results: what the node answers, signed with its own key.

use super::dsse::{MAX_PAYLOAD_BYTES, RESULT_TYPE, Unverified, malformed, seal};
use super::encoding::{shorten, to_base64};
use super::key::{KEY_BYTES, SigningKey, verifies};
use super::object::Object;
use super::{Refusal, RefusalCode};
use crate::wire::{CommandResult, VERSION};

/// Signs a result. `key_id` names the node, as a hint. A message that would not fit is cut, so that
/// what comes out is always within the limits of an envelope.
#[must_use]
pub fn seal_result(result: &CommandResult, key_id: &str, key: &SigningKey) -> Vec<u8> {
    seal(RESULT_TYPE, &bounded_payload(result), &[(key_id, key)])
}

fn bounded_payload(result: &CommandResult) -> Vec<u8> {
    let mut result = result.clone();
    loop {
        // Every field has a JSON form.
        let payload = serde_json::to_vec(&result).unwrap_or_default();
        if payload.len() <= MAX_PAYLOAD_BYTES {
            return payload;
        }
        if result.message.len() > "…".len() {
            result.message = shorten(&result.message, result.message.len() / 2);
        } else {
            // The joined revisions of an application with many sources are what is left to cut.
            result.revision = result
                .revision
                .map(|revision| shorten(&revision, revision.len().min(1024)));
            return serde_json::to_vec(&result).unwrap_or_default();
        }
    }
}

/// Takes a result off the wire, for those who gave the command. `node_keys` are the public keys
/// that the node may have: that of its topic `identity`, or one from a safer place.
///
/// # Errors
/// `too_large`, `malformed`, `unsupported_type`, or `bad_signature` when none of the keys signed.
pub fn open_result(bytes: &[u8], node_keys: &[[u8; KEY_BYTES]]) -> Result<CommandResult, Refusal> {
    let envelope = Unverified::read(bytes)?;
    envelope.require_type(RESULT_TYPE)?;
    let (message, signatures) = envelope.signed();
    let signed = signatures.iter().any(|(_, signature)| {
        node_keys
            .iter()
            .any(|key| verifies(key, &message, signature))
    });
    if !signed {
        let keys: Vec<String> = node_keys.iter().map(|key| to_base64(key)).collect();
        return Err(Refusal::new(
            RefusalCode::BadSignature,
            format!(
                "the result is not signed by the node's key ({})",
                if keys.is_empty() {
                    "none is known".to_owned()
                } else {
                    keys.join(", ")
                }
            ),
        ));
    }
    let Object::<CommandResult>(result) = serde_json::from_slice(&envelope.payload)
        .map_err(|error| malformed(format!("the payload is not a result: {error}")))?;
    if result.v != VERSION {
        return Err(malformed(format!(
            "the result has version {}; this program knows {VERSION}",
            result.v
        )));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::envelope::MAX_ENVELOPE_BYTES;
    use crate::command::key::tests::{key_a, key_b};
    use crate::wire::ResultState;

    fn result(message: &str) -> CommandResult {
        CommandResult {
            v: 1,
            node: "pi-01".to_owned(),
            command: "01J0000000000000000000000A".to_owned(),
            digest: None,
            n: 2,
            state: ResultState::Succeeded,
            reason: None,
            message: message.to_owned(),
            application: Some("shop".to_owned()),
            revision: None,
            deploy_state: None,
            at: "2026-11-24T20:31:28Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_result_goes_there_and_back() {
        let sealed = seal_result(&result("done"), "pi-01", &key_a());
        let opened = open_result(&sealed, &[key_b().public(), key_a().public()]).unwrap();
        assert_eq!(opened, result("done"));
    }

    #[test]
    fn another_key_or_another_type_is_refused() {
        let sealed = seal_result(&result("done"), "pi-01", &key_a());
        for keys in [vec![], vec![key_b().public()], vec![[0; 32]]] {
            let refusal = open_result(&sealed, &keys).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadSignature);
        }
        // A command by the same key is no result, whatever it says.
        let payload = serde_json::to_vec(&result("done")).unwrap();
        let command = seal(
            crate::command::envelope::COMMAND_TYPE,
            &payload,
            &[("pi-01", &key_a())],
        );
        let refusal = open_result(&command, &[key_a().public()]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::UnsupportedType);
    }

    #[test]
    fn unknown_fields_are_ignored_and_another_version_is_not() {
        let text = String::from_utf8(serde_json::to_vec(&result("done")).unwrap()).unwrap();
        let newer = text.replacen('{', r#"{"later":[1],"#, 1);
        let sealed = seal(RESULT_TYPE, newer.as_bytes(), &[("", &key_a())]);
        assert_eq!(
            open_result(&sealed, &[key_a().public()]).unwrap(),
            result("done")
        );
        let other = text.replacen(r#""v":1"#, r#""v":2"#, 1);
        let sealed = seal(RESULT_TYPE, other.as_bytes(), &[("", &key_a())]);
        let refusal = open_result(&sealed, &[key_a().public()]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Malformed);
    }

    #[test]
    fn a_long_message_is_cut_to_fit() {
        for filling in ["x", "\u{1}", "ä"] {
            let sealed = seal_result(&result(&filling.repeat(9000)), "pi-01", &key_a());
            assert!(sealed.len() <= MAX_ENVELOPE_BYTES);
            let opened = open_result(&sealed, &[key_a().public()]).unwrap();
            assert!(opened.message.ends_with('…'), "{filling:?}");
            assert!(opened.message.len() > 300, "{}", opened.message.len());
        }
        let mut many = result("");
        many.revision = Some("0123456789,".repeat(1000));
        let sealed = seal_result(&many, "pi-01", &key_a());
        assert!(open_result(&sealed, &[key_a().public()]).is_ok());
    }
}
