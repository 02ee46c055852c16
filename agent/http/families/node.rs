//! Metrics of the node's health.

use edge_agent_core::wire::{Health, K3s};

use super::{Collection, label};

/// Adds every metric that a sample tells.
pub(super) fn of(all: &mut Collection, health: &Health) {
    board(all, health);
    memory(all, health);
    storage(all, health);
    network(all, health);
    surroundings(all, health);
}

fn board(all: &mut Collection, health: &Health) {
    all.gauge(
        "edge_agent_health_status",
        "The judged health: 0 ok, 1 warning, 2 critical",
        Some(health.status),
    );
    all.gauges(
        "edge_agent_health_reason",
        "A check that is not ok: 1 warning, 2 critical",
        health
            .reasons
            .iter()
            .map(|reason| (label("check", &reason.check), reason.status)),
    );
    all.gauge(
        "edge_agent_node_uptime_seconds",
        "Time since the node was booted",
        health.uptime_seconds,
    );
    all.gauge(
        "edge_agent_cpu_usage_ratio",
        "Share of all cores that is busy, 0 to 1",
        health.cpu.usage,
    );
    all.gauge("edge_agent_cpu_cores", "Logical cores", health.cpu.cores);
    all.gauge(
        "edge_agent_load1",
        "Load average over one minute",
        health.cpu.load1,
    );
    all.gauge(
        "edge_agent_temperature_celsius",
        "Temperature of the CPU",
        health.temperature_celsius,
    );
    let power = &health.power;
    all.gauges(
        "edge_agent_power_condition",
        "What the board says about its power supply: 1 where the condition holds",
        [
            ("undervoltage", power.undervoltage),
            ("throttled", power.throttled),
            ("undervoltage_since_boot", power.undervoltage_since_boot),
            ("throttled_since_boot", power.throttled_since_boot),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((label("condition", name), value?))),
    );
}

fn memory(all: &mut Collection, health: &Health) {
    all.gauge(
        "edge_agent_memory_total_bytes",
        "Memory of the node",
        health.memory.total_bytes,
    );
    all.gauge(
        "edge_agent_memory_available_bytes",
        "Memory that can be had without swapping",
        health.memory.available_bytes,
    );
    all.gauge(
        "edge_agent_memory_pressure_ratio",
        "Share of the last minute in which everything waited for memory, 0 to 1",
        health.memory.pressure,
    );
    all.counters(
        "edge_agent_oom_kills",
        "Processes that the kernel killed for want of memory since boot",
        health.memory.oom_kills.map(|count| (Vec::new(), count)),
    );
}

fn storage(all: &mut Collection, health: &Health) {
    let disks = || {
        health
            .disks
            .iter()
            .map(|disk| (label("mount", &disk.mount), disk))
    };
    all.gauges(
        "edge_agent_disk_total_bytes",
        "Size of a file system",
        disks().map(|(labels, disk)| (labels, disk.total_bytes)),
    );
    all.gauges(
        "edge_agent_disk_available_bytes",
        "Space that an unprivileged process may still write",
        disks().map(|(labels, disk)| (labels, disk.available_bytes)),
    );
    all.gauges(
        "edge_agent_disk_inodes_used_ratio",
        "Share of the files that a file system has room for, 0 to 1",
        disks().filter_map(|(labels, disk)| Some((labels, disk.inodes_used?))),
    );
    all.gauges(
        "edge_agent_disk_read_only",
        "1 for a file system that takes no writes",
        disks().map(|(labels, disk)| (labels, disk.read_only)),
    );
    let device = health.storage.device.clone().unwrap_or_default();
    all.gauges(
        "edge_agent_storage_life_used_ratio",
        "Share of its rated life that the storage says it has used, 0 to 1",
        health
            .storage
            .life_used
            .map(|used| (label("device", device), used)),
    );
}

fn network(all: &mut Collection, health: &Health) {
    let interfaces = || {
        health
            .network
            .iter()
            .map(|interface| (label("interface", &interface.interface), interface))
    };
    all.gauges(
        "edge_agent_network_up",
        "Whether an interface has a link",
        interfaces().filter_map(|(labels, interface)| Some((labels, interface.up?))),
    );
    all.counters(
        "edge_agent_network_errors",
        "Packets of an interface that were damaged or could not be sent, since boot",
        interfaces().filter_map(|(labels, interface)| Some((labels, interface.errors?))),
    );
    all.counters(
        "edge_agent_network_receive_bytes",
        "Received by an interface since boot",
        interfaces().map(|(labels, interface)| (labels, interface.rx_bytes)),
    );
    all.counters(
        "edge_agent_network_transmit_bytes",
        "Sent by an interface since boot",
        interfaces().map(|(labels, interface)| (labels, interface.tx_bytes)),
    );
}

fn kubernetes(all: &mut Collection, k3s: &K3s) {
    all.gauges(
        "edge_agent_k3s_node_pressure",
        "Whether pods are evicted from this node for want of something",
        [("memory", k3s.memory_pressure), ("disk", k3s.disk_pressure)]
            .into_iter()
            .filter_map(|(of, value)| Some((label("of", of), value?))),
    );
    all.gauge("edge_agent_k3s_pods", "Pods on this node", k3s.pods);
    all.gauge(
        "edge_agent_k3s_pods_not_ready",
        "Pods on this node that are not ready",
        k3s.pods_not_ready,
    );
    all.gauge(
        "edge_agent_k3s_memory_bytes",
        "Memory of the K3s service itself",
        k3s.memory_bytes,
    );
    all.counters(
        "edge_agent_k3s_oom_kills",
        "Processes of the K3s service that the kernel killed for want of memory",
        k3s.oom_kills.map(|count| (Vec::new(), count)),
    );
}

fn surroundings(all: &mut Collection, health: &Health) {
    all.gauge(
        "edge_agent_clock_synchronized",
        "Whether the system clock is synchronized",
        health.clock.synchronized,
    );
    all.gauge(
        "edge_agent_k3s_service_up",
        "Whether the K3s service runs",
        health.k3s.service,
    );
    all.gauge(
        "edge_agent_k3s_api_up",
        "Whether the API server of K3s is ready",
        health.k3s.api,
    );
    all.gauge(
        "edge_agent_k3s_node_ready",
        "Whether Kubernetes has this node as ready",
        health.k3s.node_ready,
    );
    kubernetes(all, &health.k3s);
    all.gauge(
        "edge_agent_reboot_required",
        "Whether an update waits for a reboot",
        health.reboot_required,
    );
    all.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the agent",
        health.agent.rss_bytes,
    );
    all.counters(
        "process_cpu_seconds",
        "CPU time that the agent has used",
        health
            .agent
            .cpu_seconds
            .map(|seconds| (Vec::new(), seconds)),
    );
}
