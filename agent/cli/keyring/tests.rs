use clap::Parser;
use edge_agent_core::command::envelope::SigningKey;
use edge_agent_core::command::keyring::Key;
use edge_agent_core::command::update::verify_update;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    keyring: Args,
}

fn public(seed: u8) -> String {
    SigningKey::from_seed(&[seed; 32]).unwrap().public_base64()
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn do_it(line: &[&str]) -> anyhow::Result<Exit> {
    let words = std::iter::once("keyring").chain(line.iter().copied());
    run(&Cli::try_parse_from(words)?.keyring, now())
}

/// A keyring as a person writes it.
fn file(directory: &Path) -> PathBuf {
    let path = directory.join("keyring.toml");
    let text = format!(
        "# Ours.\nversion = 7 # grows\n\n[[root]]\nid = \"root\"\npublic = \"{}\"\n\n# Drone.\n\
         [[key]]\nid = \"drone\"\npublic = \"{}\"\nallow = [\n  \"ping\",\n]\n\n# Anna.\n[[key]]\n\
         id = \"anna\"\npublic = \"{}\"\nallow = [\"rollback\"]\napplications = [\"*\"]\n",
        public(1),
        public(2),
        public(3)
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> (String, Keyring) {
    let text = std::fs::read_to_string(path).unwrap();
    let keyring = Keyring::parse(&text).unwrap();
    (text, keyring)
}

#[test]
fn a_key_is_taken_out_and_the_rest_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let name = path.to_str().unwrap();
    do_it(&["revoke", name, "drone"]).unwrap();
    let (text, keyring) = read(&path);
    assert_eq!(keyring.version(), 8);
    let ids: Vec<_> = keyring.keys().map(Key::id).collect();
    assert_eq!(ids, ["anna"]);
    assert!(
        text.contains("version = 8 # grows\n") && text.contains("# Anna.\n[[key]]"),
        "{text}"
    );
    let error = do_it(&["revoke", name, "drone"]).unwrap_err();
    assert!(error.to_string().contains("no key `drone`"), "{error}");
    // The last root key: the file would need no version any more, and that is fine.
    do_it(&["revoke", name, "root"]).unwrap();
    assert_eq!(read(&path).1.roots().count(), 0);
}

#[test]
fn a_key_is_added_and_a_faulty_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let name = path.to_str().unwrap();
    let key = public(4);
    let line = [
        "add",
        name,
        "--id",
        "ben",
        "--public",
        &key,
        "--application",
        "shop-*",
    ];
    let limits = ["--allow", "rollout,rollback", "--not-after", "2027-12-31"];
    do_it(&[&line[..], &limits[..]].concat()).unwrap();
    let (before, keyring) = read(&path);
    let ben = keyring.keys().find(|key| key.id() == "ben").unwrap();
    assert_eq!(ben.allow(), ["rollout", "rollback"]);
    assert_eq!(
        ben.valid_until(),
        Some("2028-01-01T00:00:00Z".parse().unwrap())
    );
    assert!(
        table_of(&keyring).contains("until 2028-01-01"),
        "{}",
        table_of(&keyring)
    );

    let twice = do_it(&line).unwrap_err();
    assert!(twice.to_string().contains("nothing was changed"), "{twice}");
    assert_eq!(read(&path).0, before);
    assert!(
        do_it(&["add", name, "--id", "x", "--public", &key]).is_err(),
        "which applications?"
    );
    let root = public(5);
    do_it(&["add", name, "--root", "--id", "root-2", "--public", &root]).unwrap();
    assert_eq!(read(&path).1.roots().count(), 2);
}

fn table_of(keyring: &Keyring) -> String {
    show::table(keyring, now())
}

#[test]
fn a_table_says_who_may_what() {
    let directory = tempfile::tempdir().unwrap();
    let keyring = read(&file(directory.path())).1;
    let table = table_of(&keyring);
    assert!(
        table.starts_with("version 7\nchanged over the air by 1 of root\n"),
        "{table}"
    );
    assert!(
        table.contains("drone:") && table.contains("does not expire"),
        "{table}"
    );
    let none = table_of(&Keyring::empty());
    assert!(
        none.contains("nobody may command") && none.contains("cannot be changed"),
        "{none}"
    );
}

#[test]
fn what_is_signed_is_what_a_node_takes() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    let current = read(&path).1;
    do_it(&["revoke", path.to_str().unwrap(), "drone"]).unwrap();
    let text = read(&path).0;
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let bytes = seal_update("u1", &[EVERY_NODE.to_owned()], &text, &[("root", &key)]).unwrap();
    let update = verify_update(&bytes, &current).unwrap();
    assert_eq!(update.keyring().version(), 8);
}
