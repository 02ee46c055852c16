//! What a registry answers when it wants to know who asks: `WWW-Authenticate`.

/// How one gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token of a server of tokens.
    Bearer {
        /// Where to get it.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
        /// Why a token that was shown will not do, such as `insufficient_scope`.
        error: Option<String>,
    },
    /// User name and password, with each request.
    Basic,
}

impl Challenge {
    /// Reads one value of the header; nothing when it is of another scheme or says not where the token
    /// is to be had.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |wanted: &str| {
            let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
            parameters
                .iter()
                .find(named)
                .map(|(_, value)| value.clone())
        };
        Some(Self::Bearer {
            realm: find("realm")?,
            service: find("service"),
            scope: find("scope"),
            error: find("error"),
        })
    }
}

/// `name="value", name=value`, with backslashes before quotes in a value.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']);
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, left) = after.split_at(end);
                (value.trim().to_owned(), left)
            }
        };
        parameters.push((name.to_owned(), value));
        rest = left;
    }
    parameters
}

/// The value to its closing quote, and what is behind that.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}
