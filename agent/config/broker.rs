//! The address of the broker: `mqtt://host[:port]` or `mqtts://host[:port]`.

use std::net::{IpAddr, Ipv6Addr};

use super::default;

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    /// A name or an address; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// # Errors
/// What is wrong with the address. The text never repeats it: it may hold a password.
pub(super) fn parse(url: &str) -> Result<Broker, String> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")?;
    let (tls, default_port) = match scheme {
        "mqtt" => (false, default::MQTT_PORT),
        "mqtts" => (true, default::MQTTS_PORT),
        _ => return Err("the scheme must be mqtt or mqtts".to_owned()),
    };
    if rest.contains('@') {
        return Err(
            "holds a user name or password; use mqtt.username and mqtt.password_file, \
             because secrets stand in files of their own"
                .to_owned(),
        );
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => default_port,
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("the port must be a number from 1 to 65535")?,
    };
    Ok(Broker { host, port, tls })
}

fn split_port(authority: &str) -> Result<(String, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        address
            .parse::<Ipv6Addr>()
            .map_err(|_| "between brackets stands an IPv6 address")?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some(port) => Some(port),
            None => return Err("after the bracket stands :PORT or nothing".to_owned()),
        };
        return Ok((address.to_owned(), port));
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands between brackets".to_owned());
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if host.len() > 253 || !host.bytes().all(allowed) {
        return Err(
            "the host must be a name or an address, and nothing but a port may follow it"
                .to_owned(),
        );
    }
    Ok((host.to_owned(), port))
}

/// The URL that [`parse`] would take.
#[must_use]
pub(super) fn url(host: &str, port: u16, tls: bool) -> String {
    let scheme = if tls { "mqtts" } else { "mqtt" };
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("{scheme}://[{address}]:{port}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broker(host: &str, port: u16, tls: bool) -> Result<Broker, String> {
        Ok(Broker {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    #[test]
    fn the_port_follows_from_the_scheme() {
        assert_eq!(parse("mqtt://broker"), broker("broker", 1883, false));
        assert_eq!(
            parse("mqtts://broker.example/"),
            broker("broker.example", 8883, true)
        );
        assert_eq!(
            parse("mqtt://10.0.0.1:1884"),
            broker("10.0.0.1", 1884, false)
        );
        assert_eq!(parse("mqtts://[::1]:1885"), broker("::1", 1885, true));
        assert_eq!(parse("mqtts://[fe80::1]"), broker("fe80::1", 8883, true));
    }

    #[test]
    fn what_is_not_an_address_is_told_why() {
        let cases = [
            ("broker:1883", "must be mqtt://"),
            ("http://broker", "scheme"),
            ("mqtt://", "host is missing"),
            ("mqtt://:1883", "host is missing"),
            ("mqtt://broker:0", "port"),
            ("mqtt://broker:65536", "port"),
            ("mqtt://broker:", "port"),
            ("mqtt://broker/path", "host must be"),
            ("mqtt://bro ker", "host must be"),
            ("mqtt://::1", "between brackets"),
            ("mqtt://[::1", "not closed"),
            ("mqtt://[::1]1883", "after the bracket"),
            ("mqtt://[broker]", "IPv6"),
        ];
        for (url, why) in cases {
            let error = parse(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let error = parse("mqtt://pi:hunter2@broker").unwrap_err();
        assert!(error.contains("password_file"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_a_fault(url in ".{0,80}") {
            let _ = parse(&url);
        }

        #[test]
        fn an_address_survives_being_written(
            host in "[a-z][a-z0-9.-]{0,20}", port in 1_u16.., tls: bool,
        ) {
            prop_assert_eq!(parse(&url(&host, port, tls)), broker(&host, port, tls));
        }
    }
}
