use edge_agent_core::command::envelope::SigningKey;
use edge_agent_core::command::update::{seal_update, verify_update};

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn text(version: u64, root: u8) -> String {
    format!(
        "version = {version}\n[[root]]\nid = \"root-{root}\"\npublic = \"{}\"\n",
        key(root).public_base64()
    )
}

fn keyring(version: u64, root: u8) -> Keyring {
    Keyring::parse(&text(version, root)).unwrap()
}

/// An update to a version with the root key 1, signed by it.
fn update(version: u64, root: u8, current: &Keyring) -> KeyringUpdate {
    let (one, other) = (key(1), key(root));
    let bytes = seal_update(
        "u",
        &["*".to_owned()],
        &text(version, root),
        &[("", &one), ("", &other)],
    )
    .unwrap();
    verify_update(&bytes, current).unwrap()
}

#[test]
fn the_newer_of_the_two_is_in_force_and_the_configured_one_when_equal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("configured.toml");
    std::fs::write(&file, text(2, 1)).unwrap();
    let in_force = || newest(configured(&file).unwrap(), directory.path());
    assert_eq!(in_force().unwrap().path, file);
    for (version, stored) in [(1, false), (2, false), (3, true)] {
        write(directory.path(), &text(version, 2)).unwrap();
        assert_eq!(in_force().unwrap().path != file, stored, "{version}");
    }
    // A damaged one does not give revoked keys their rights back.
    std::fs::write(directory.path().join(FILE_NAME), "version = ").unwrap();
    let error = in_force().unwrap_err().to_string();
    assert!(error.contains("keyring.toml: not TOML"), "{error}");
}

#[tokio::test]
async fn an_update_is_on_the_medium_before_it_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let first = keyring(1, 1);
    let sender = watch::Sender::new(Arc::new(first.clone()));
    let second = update(2, 1, &first);
    let installed = install(directory.path(), &sender, &second).await.unwrap();
    assert_eq!(installed, Ok(()));
    assert_eq!(**sender.borrow(), keyring(2, 1));
    let stored = directory.path().join(FILE_NAME);
    assert_eq!(read(&stored).unwrap(), keyring(2, 1));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&stored).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The same one again, as after a crash before it was acknowledged.
    let again = install(directory.path(), &sender, &second).await.unwrap();
    assert_eq!(again, Ok(()));

    let nowhere = directory.path().join("gone");
    let third = update(3, 1, &keyring(2, 1));
    let failed = install(&nowhere, &sender, &third).await.unwrap();
    assert!(
        matches!(failed, Err(KeyringFault::NotWritten(_))),
        "{failed:?}"
    );
    assert_eq!(
        **sender.borrow(),
        keyring(2, 1),
        "the old one stays in force"
    );
}

#[tokio::test]
async fn who_lost_the_right_in_the_meantime_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = keyring(1, 1);
    let sender = watch::Sender::new(Arc::new(first.clone()));
    // Both hold against the first keyring; the first of them takes the root key away.
    let (rotated, late) = (update(2, 2, &first), update(3, 1, &first));
    let result = install(directory.path(), &sender, &rotated).await.unwrap();
    assert_eq!(result, Ok(()));
    let result = install(directory.path(), &sender, &late).await.unwrap();
    assert!(
        matches!(result, Err(KeyringFault::Refused(_))),
        "{result:?}"
    );
    assert_eq!(sender.borrow().version(), 2);
}
