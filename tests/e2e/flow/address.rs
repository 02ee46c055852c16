//! Where the services listen that both this machine and the pods of a real node ask.

use std::net::Ipv4Addr;
use std::process::Command;

/// An address of this machine that is no address of loopback: registries at those are asked without TLS, and
/// a pod has a loopback interface of its own.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 1);

/// Gives this machine the address, unless it has it.
pub(super) fn take() {
    let address = format!("{ADDRESS}/32");
    let ip = |arguments: &[&str]| Command::new("ip").args(arguments).output().unwrap();
    let shown = ip(&["-4", "-o", "address", "show", "dev", "lo"]);
    // It stays: another run may use it at the same time, and nobody is told of a route.
    if !String::from_utf8_lossy(&shown.stdout).contains(&address) {
        super::held("ip", &ip(&["address", "add", &address, "dev", "lo"]));
    }
}
