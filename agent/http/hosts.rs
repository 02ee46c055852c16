//! The names that the page answers to.
//!
//! A foreign web page can make its own name resolve to 127.0.0.1 and then read our answers as its
//! own (DNS rebinding). The browser still sends that name as the host, so it is refused here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The hosts that requests may name.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    /// Whatever is asked for.
    any: bool,
    bound: IpAddr,
    /// In lower case.
    names: Vec<String>,
}

/// What a request says about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is ours.
    Ours,
    /// It names nothing, or nothing that can be read.
    Missing,
    /// It names another machine.
    Foreign,
}

impl Hosts {
    /// Those of a page that listens on `bound` on a machine with these names.
    pub(super) fn new(bound: SocketAddr, hostnames: &[String]) -> Self {
        let mut names = vec!["localhost".to_owned()];
        for name in hostnames {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            if !name.is_empty() {
                names.push(format!("{name}.local"));
                names.push(name);
            }
        }
        Self {
            any: false,
            bound: bound.ip().to_canonical(),
            names,
        }
    }

    /// Every one: for what a foreign web page may as well know.
    pub(super) fn any() -> Self {
        Self {
            any: true,
            bound: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            names: Vec::new(),
        }
    }

    /// Judges a request. The port is left out of it: behind a tunnel it is another one.
    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Verdict::Missing;
        };
        let Ok(authority) = Authority::try_from(host.as_bytes()) else {
            return Verdict::Missing;
        };
        if self.any {
            return Verdict::Ours;
        }
        let named = uri.host().is_none_or(|host| self.is_ours(host));
        if named && self.is_ours(authority.host()) {
            Verdict::Ours
        } else {
            Verdict::Foreign
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return self.is_our_address(address.to_canonical());
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.names.contains(&host)
    }

    /// An address cannot be rebound to another machine, so listening on all takes all.
    fn is_our_address(&self, address: IpAddr) -> bool {
        self.bound.is_unspecified()
            || address == self.bound
            || (self.bound.is_loopback() && address.is_loopback())
    }
}

/// Where others find a page that listens there; `None` when it is for this machine alone.
#[must_use]
pub fn page_for_others(listen: SocketAddr, hostname: &str) -> Option<String> {
    if listen.ip().is_unspecified() {
        // With `.local` behind it a name is found without a DNS server, and the page answers to it.
        let suffix = if hostname.contains('.') { "" } else { ".local" };
        return Some(format!("http://{hostname}{suffix}:{}/", listen.port()));
    }
    (!listen.ip().is_loopback()).then(|| format!("http://{listen}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bound: &str, host: &str) -> Verdict {
        let hosts = Hosts::new(bound.parse().unwrap(), &["Pi-01".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        hosts.judge(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn names_of_this_machine_are_ours_with_any_port() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "localhost.:9750",
            "pi-01",
            "pi-01:80",
            "PI-01.local:9750",
            "127.0.0.1:9750",
            "[::1]:9750",
        ] {
            assert_eq!(judge("127.0.0.1:9750", host), Verdict::Ours, "{host}");
        }
    }

    #[test]
    fn other_names_and_addresses_are_foreign() {
        for host in [
            "evil.example",
            "pi-01.evil.example",
            "localhost.evil.example:9750",
            "192.0.2.1:9750",
            "169.254.169.254",
        ] {
            assert_eq!(judge("127.0.0.1:9750", host), Verdict::Foreign, "{host}");
        }
    }

    #[test]
    fn listening_on_all_addresses_takes_all_addresses_but_no_other_names() {
        assert_eq!(judge("[::]:9750", "192.0.2.1:9750"), Verdict::Ours);
        assert_eq!(judge("0.0.0.0:9750", "[2001:db8::1]"), Verdict::Ours);
        assert_eq!(judge("0.0.0.0:9750", "evil.example"), Verdict::Foreign);
        assert_eq!(judge("192.0.2.1:9750", "192.0.2.1"), Verdict::Ours);
        assert_eq!(judge("192.0.2.1:9750", "192.0.2.2"), Verdict::Foreign);
    }

    #[test]
    fn others_are_told_an_address_that_is_answered() {
        let url = |listen: &str, name| page_for_others(listen.parse().unwrap(), name);
        assert_eq!(url("127.0.0.1:9750", "pi-01"), None);
        assert_eq!(url("[::1]:9750", "pi-01"), None);
        for (listen, name, expected) in [
            ("0.0.0.0:9750", "pi-01", "http://pi-01.local:9750/"),
            ("[::]:80", "pi-01.lan", "http://pi-01.lan:80/"),
            ("192.0.2.1:9750", "pi-01", "http://192.0.2.1:9750/"),
        ] {
            let told = url(listen, name).unwrap();
            assert_eq!(told, expected);
            let authority = told.trim_start_matches("http://").trim_end_matches('/');
            let hosts = Hosts::new(listen.parse().unwrap(), &[name.to_owned()]);
            assert!(hosts.is_ours(authority.rsplit_once(':').unwrap().0));
        }
    }

    #[test]
    fn a_target_with_a_foreign_host_is_foreign_whatever_the_header_says() {
        let hosts = Hosts::new("127.0.0.1:1".parse().unwrap(), &[]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let target = Uri::from_static("http://evil.example/");
        assert_eq!(hosts.judge(&target, &headers), Verdict::Foreign);
    }

    #[test]
    fn no_host_two_hosts_and_nonsense_are_missing() {
        let hosts = Hosts::new("127.0.0.1:1".parse().unwrap(), &[]);
        let uri = Uri::from_static("/");
        let mut headers = HeaderMap::new();
        assert_eq!(hosts.judge(&uri, &headers), Verdict::Missing);
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(hosts.judge(&uri, &headers), Verdict::Missing);
        assert_eq!(judge("127.0.0.1:1", "a b"), Verdict::Missing);
        assert_eq!(judge("127.0.0.1:1", ""), Verdict::Missing);
    }
}
