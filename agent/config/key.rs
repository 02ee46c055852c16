//! The names of keys: how their paths read, and what an unknown one was meant to be.

/// The path of a key; a name that is not a bare TOML key is quoted, which also keeps it on one line.
pub(super) fn joined(path: &str, name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        dotted(path, name)
    } else {
        dotted(path, &format!("{name:?}"))
    }
}

/// A path as it is, one name longer.
pub(super) fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Names the known key that was most likely meant, or all there are.
pub(super) fn unknown(name: &str, known: &[&'static str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let secret = if name.contains("password") {
        " (secrets stand in files of their own)"
    } else {
        ""
    };
    match nearest {
        Some((_, nearest)) => format!("unknown key; did you mean {nearest}?{secret}"),
        None => format!("unknown key; known here: {}{secret}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_its_nearest_neighbour() {
        let known = ["keep_alive_seconds", "password_file", "url"];
        assert_eq!(
            unknown("keepalive_seconds", &known),
            "unknown key; did you mean keep_alive_seconds?"
        );
        assert_eq!(
            unknown("password", &known),
            "unknown key; did you mean password_file? (secrets stand in files of their own)"
        );
        assert_eq!(
            unknown("zebra", &known),
            "unknown key; known here: keep_alive_seconds, password_file, url"
        );
    }

    #[test]
    fn key_paths_stay_on_one_line() {
        assert_eq!(joined("mqtt", "url"), "mqtt.url");
        assert_eq!(joined("applications", "shop-*"), "applications.\"shop-*\"");
        assert_eq!(joined("", "a\nb"), "\"a\\nb\"");
    }
}
