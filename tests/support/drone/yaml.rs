//! YAML as Drone reads it: plain words become values by the rules of YAML 1.1 as its Go library has
//! them, quoted ones stay texts.

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

/// The documents of a text.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    loop {
        match next(&mut parser)? {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart | Event::DocumentEnd | Event::Nothing => {}
            begun => documents.push(value(&mut parser, begun)?),
        }
    }
}

type Source<'t> = Parser<std::str::Chars<'t>>;

fn next(parser: &mut Source<'_>) -> Result<Event, String> {
    let token = parser.next_token().map_err(|error| error.to_string())?;
    Ok(token.0)
}

fn value(parser: &mut Source<'_>, begun: Event) -> Result<Value, String> {
    match begun {
        Event::Scalar(text, TScalarStyle::Plain, _, _) => Ok(plain(&text)),
        Event::Scalar(text, ..) => Ok(Value::String(text)),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser)? {
                    Event::SequenceEnd => return Ok(Value::Array(items)),
                    item => items.push(value(parser, item)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let name = match next(parser)? {
                    Event::MappingEnd => return Ok(Value::Object(map)),
                    Event::Scalar(name, ..) => name,
                    other => return Err(format!("{other:?} is no key")),
                };
                let begun = next(parser)?;
                map.insert(name, value(parser, begun)?);
            }
        }
        other => Err(format!("{other:?} is not understood here")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let only = |digits: &str| !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if only(digits) {
        let octal = digits.len() > 1 && digits.starts_with('0');
        let number = i64::from_str_radix(text, if octal { 8 } else { 10 });
        return number.map_or_else(|_| Value::String(text.to_owned()), Value::from);
    }
    // Without a point it is a text: 1e3.
    let is_real = digits
        .split_once('.')
        .is_some_and(|(whole, part)| only(whole) && only(part));
    let real = text.parse().ok().filter(|_| is_real);
    real.and_then(Number::from_f64)
        .map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
