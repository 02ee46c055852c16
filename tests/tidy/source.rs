//! Rust sources as the repository checks see them: without comments, texts and test code.

use std::fs;
use std::path::Path;

/// One Rust file.
pub(super) struct Source {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments, strings and characters blanked, line for line.
    pub(super) code: String,
    /// The code with the items under `#[cfg(test)]` blanked as well; of a file of tests nothing is
    /// left.
    pub(super) shipped: String,
    /// How many lines of the file are not test code.
    pub(super) shipped_lines: usize,
}

/// One word of the code: an identifier, keyword or number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'c> {
    pub(super) text: &'c str,
    /// From 1.
    pub(super) line: usize,
    /// The code before the word, and after it.
    pub(super) before: &'c str,
    pub(super) after: &'c str,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = without_texts(text);
        let lines = text.lines().count();
        let (shipped, shipped_lines) = if is_test_file(path) {
            (String::new(), 0)
        } else {
            let (shipped, test_lines) = without_tests(&code);
            (shipped, lines - test_lines)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            shipped,
            shipped_lines,
        }
    }

    /// Every Rust file below a directory of the repository.
    pub(super) fn all(root: &Path, directory: &str) -> Vec<Self> {
        let mut sources = Vec::new();
        let mut waiting = vec![root.join(directory)];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                if path.is_dir() && !name.ends_with("target") {
                    waiting.push(path.clone());
                } else if name.ends_with(".rs") {
                    sources.push(Self::new(name, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        sources
    }

    /// Whether the file is the module `module`, such as `agent/mqtt`, or in its folder.
    pub(super) fn is_in(&self, module: &str) -> bool {
        self.path
            .strip_prefix(module)
            .is_some_and(|rest| rest == ".rs" || rest.is_empty() || rest.starts_with('/'))
    }
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

/// The words of some code.
pub(super) fn words(code: &str) -> impl Iterator<Item = Word<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut end = 0;
    let mut line = 1;
    std::iter::from_fn(move || {
        let start = end + code[end..].find(is_part)?;
        line += code[end..start].matches('\n').count();
        let rest = &code[start..];
        end = start + rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        Some(Word {
            text: &code[start..end],
            line,
            before: &code[..start],
            after: &code[end..],
        })
    })
}

/// Blanks comments, strings and characters; line breaks stay.
fn without_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = text_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |c| if c == '\n' { '\n' } else { ' ' };
            code.extend(rest[..length].chars().map(blank));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment, string or character that starts here; 0 when none does.
fn text_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return 0;
    }
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    let opening = prefix + hashes;
    if prefix > 2 || !rest[opening..].starts_with('"') {
        return 0;
    }
    let raw = rest[..prefix].contains('r');
    if !raw && hashes > 0 {
        return 0;
    }
    opening + 1 + string_length(&rest[opening + 1..], raw, hashes)
}

/// The length of a string from behind its opening quote to behind its closing one.
fn string_length(rest: &str, raw: bool, hashes: usize) -> usize {
    let closing = format!("\"{}", "#".repeat(hashes));
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(&closing) {
            return at + closing.len();
        }
        let mut chars = rest[at..].chars();
        let first = chars.next().map_or(1, char::len_utf8);
        let escaped = if !raw && rest[at..].starts_with('\\') {
            chars.next().map_or(0, char::len_utf8)
        } else {
            0
        };
        at += first + escaped;
    }
    rest.len()
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a character; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let inner = &rest[1..];
    if inner.starts_with('\\') {
        let after = &inner[2..];
        return after.find('\'').map_or(0, |end| 1 + 2 + end + 1);
    }
    let Some(first) = inner.chars().next() else {
        return 0;
    };
    if inner[first.len_utf8()..].starts_with('\'') {
        1 + first.len_utf8() + 1
    } else {
        0
    }
}

/// Blanks the items under `#[cfg(test)]`, and tells how many lines they are.
fn without_tests(code: &str) -> (String, usize) {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut shipped = String::with_capacity(code.len());
    let mut lines = 0;
    let mut rest = code;
    while let Some(start) = rest.find(ATTRIBUTE) {
        let item = &rest[start..];
        let length = ATTRIBUTE.len() + item_length(&item[ATTRIBUTE.len()..]);
        shipped.push_str(&rest[..start]);
        let breaks = item[..length].matches('\n').count();
        shipped.push_str(&"\n".repeat(breaks));
        lines += breaks + 1;
        rest = &item[length..];
    }
    shipped.push_str(rest);
    (shipped, lines)
}

/// The length of an item: to its semicolon, or to the brace that closes it.
fn item_length(code: &str) -> usize {
    let is_import = words(code).next().is_some_and(|word| word.text == "use");
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' && !is_import {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn texts_are_no_code() {
    let code = |text: &str| Source::new("agent/x.rs", text).code;
    assert_eq!(code("a // b\nc"), "a     \nc");
    assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
    assert_eq!(
        code(r#"f("b\"c", 'd', '\'', 'e)"#),
        "f(      ,    ,     , 'e)"
    );
    assert_eq!(code("r#\"a\"b\"# c br\"d\" e"), "         c       e");
    assert_eq!(code("<'a>(x: &'a str)"), "<'a>(x: &'a str)");
    assert_eq!(code("for\"x\""), "for\"x\"");
}

#[test]
fn tests_are_not_shipped() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { c }\n}\nfn d() {}\n\
                #[cfg(test)]\nuse x::{y, z};\n#[cfg(test)]\nmod e;\nfn f() {}\n";
    let source = Source::new("agent/x.rs", text);
    let left: Vec<_> = words(&source.shipped).map(|word| word.text).collect();
    assert_eq!(left, ["fn", "a", "fn", "d", "fn", "f"]);
    assert_eq!(source.shipped_lines, 3);
    let last = words(&source.shipped).last().unwrap();
    assert_eq!(last.line, 11);
    assert_eq!(Source::new("agent/x/tests.rs", text).shipped_lines, 0);
}
