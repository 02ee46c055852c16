//! `[cluster]`: where the API server is, and what of it is watched.

use edge_agent_core::application::is_kubernetes_name;

use super::files::Purpose;
use super::section::Section;
use super::{Cluster, default};

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Cluster {
    let settings = Cluster {
        enabled: section.boolean("enabled", default::CLUSTER_ENABLED),
        kubeconfig: section.file("kubeconfig", Purpose::Public),
        node_name: node_name(&mut section),
        namespaces: namespaces(&mut section),
        stale_after_seconds: section.integer(
            "stale_after_seconds",
            30..=86_400,
            default::STALE_AFTER_SECONDS,
        ),
        security_hooks: security_hooks(&mut section),
    };
    section.finish();
    settings
}

/// K3s, like the kubelet, takes the host name in small letters.
fn node_name(section: &mut Section<'_>) -> Option<String> {
    let Some(named) = section.text("node_name") else {
        let host_name = section.environment().host_name.as_deref();
        let name = host_name.map(str::to_lowercase);
        return name.filter(|name| is_kubernetes_name(name));
    };
    let valid = is_kubernetes_name(named.value);
    if !valid {
        let message = format!("{:?} is not the name of a node in Kubernetes", named.value);
        section.fault(Some(named.line), "node_name", message);
    }
    valid.then(|| named.value.to_owned())
}

fn namespaces(section: &mut Section<'_>) -> Vec<String> {
    let name = "namespaces";
    let Some(listed) = section.strings(name) else {
        return default::NAMESPACES
            .iter()
            .map(ToString::to_string)
            .collect();
    };
    if listed.is_empty() {
        let message = "is empty; to watch no cluster set cluster.enabled = false";
        section.fault(section.line_of(name), name, message);
    }
    let mut namespaces: Vec<String> = Vec::new();
    for namespace in listed {
        let text = namespace.value;
        if !is_dns_label(text) {
            let message = format!("{text:?} is not the name of a namespace");
            section.fault(Some(namespace.line), name, message);
        } else if namespaces.iter().any(|known| known == text) {
            section.fault(
                Some(namespace.line),
                name,
                format!("{text:?} is listed twice"),
            );
        } else {
            namespaces.push(text.to_owned());
        }
    }
    namespaces
}

fn security_hooks(section: &mut Section<'_>) -> Vec<String> {
    let name = "security_hooks";
    let Some(listed) = section.strings(name) else {
        return default::SECURITY_HOOKS
            .iter()
            .map(ToString::to_string)
            .collect();
    };
    for hook in &listed {
        if hook.value.is_empty() {
            section.fault(
                Some(hook.line),
                name,
                "holds an empty pattern, which matches nothing",
            );
        }
    }
    listed
        .into_iter()
        .map(|hook| hook.value.to_owned())
        .collect()
}

fn is_dns_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
