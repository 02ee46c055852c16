//! What the hardware says of itself in sysfs: heat, power, wear, network.

use edge_agent_core::health::{Interface, Power};

use super::tree::Tree;

const THERMAL: &str = "sys/class/thermal";
const PLATFORM: &str = "sys/devices/platform";
const NETWORK: &str = "sys/class/net";
/// More than a board has; the rest would only make the payload large.
const MAX_INTERFACES: usize = 32;

/// °C of the hottest zone of the CPU or the chip that it is on; of all zones when none says so.
pub(super) fn temperature(tree: &Tree) -> Option<f64> {
    let zones: Vec<(String, f64)> = tree
        .names(THERMAL)
        .iter()
        .filter(|name| name.starts_with("thermal_zone"))
        .filter_map(|name| {
            let celsius = tree.number::<i64>(&format!("{THERMAL}/{name}/temp"))? as f64 / 1000.0;
            let kind = tree.text(&format!("{THERMAL}/{name}/type"))?;
            // A sensor that is not connected reads as something like -273 °C.
            (-60.0..=150.0)
                .contains(&celsius)
                .then_some((kind, celsius))
        })
        .collect();
    let hottest = |zones: &mut dyn Iterator<Item = f64>| zones.reduce(f64::max);
    let of_cpu = |kind: &str| ["cpu", "soc", "pkg"].iter().any(|part| kind.contains(part));
    hottest(
        &mut zones
            .iter()
            .filter(|zone| of_cpu(&zone.0))
            .map(|zone| zone.1),
    )
    .or_else(|| hottest(&mut zones.iter().map(|zone| zone.1)))
}

/// What the firmware says about power. "Throttled" is also a CPU whose frequency is capped; the
/// soft temperature limit of some boards is not, since it begins at 60 °C and costs little.
pub(super) fn power(tree: &Tree) -> Power {
    const UNDERVOLTAGE: u32 = 1;
    const THROTTLED: u32 = 1 << 1 | 1 << 2;
    const SINCE_BOOT: u32 = 16;
    let bits = firmware_bits(tree);
    let any = |mask: u32| bits.map(|bits| bits & mask != 0);
    let undervoltage = match (any(UNDERVOLTAGE), undervoltage_alarm(tree)) {
        (Some(a), Some(b)) => Some(a || b),
        (a, b) => a.or(b),
    };
    Power {
        undervoltage,
        throttled: any(THROTTLED),
        undervoltage_since_boot: any(UNDERVOLTAGE << SINCE_BOOT),
        throttled_since_boot: any(THROTTLED << SINCE_BOOT),
    }
}

/// `get_throttled` of the firmware, hexadecimal. It has the same bits as a question to `/dev/vcio`, which
/// would take a call that is not safe and a device that can change the firmware's settings: a kernel
/// without this file (Debian's own) tells of the voltage alone, in [`undervoltage_alarm`]. Where the firmware is in the tree of devices
/// differs by board and kernel: `soc/soc:firmware`, `soc@107c000000/soc@107c000000:firmware`.
fn firmware_bits(tree: &Tree) -> Option<u32> {
    let buses = tree.names(PLATFORM);
    let buses = buses.iter().filter(|name| name.starts_with("soc"));
    buses
        .flat_map(|bus| {
            let devices = tree.names(&format!("{PLATFORM}/{bus}"));
            devices
                .into_iter()
                .filter(|name| name.ends_with("firmware"))
                .map(move |name| format!("{PLATFORM}/{bus}/{name}/get_throttled"))
        })
        .find_map(|path| {
            let text = tree.text(&path)?;
            u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
        })
}

/// The alarm of the kernel's own watch on the supply, which polls every two seconds.
fn undervoltage_alarm(tree: &Tree) -> Option<bool> {
    const HWMON: &str = "sys/class/hwmon";
    let monitors = tree.names(HWMON);
    let monitor = monitors
        .iter()
        .find(|name| tree.text(&format!("{HWMON}/{name}/name")).as_deref() == Some("rpi_volt"))?;
    let alarm: u32 = tree.number(&format!("{HWMON}/{monitor}/in0_lcrit_alarm"))?;
    Some(alarm != 0)
}

/// Share of its rated life that an eMMC says it has used: the worse of its two kinds of memory,
/// and of its spare blocks. It speaks in tenths; the lower end counts, so that 1.0 means over. SD
/// cards and SATA or NVMe disks do not tell here.
pub(super) fn storage_life_used(tree: &Tree, device: &str) -> Option<f64> {
    let hexadecimal = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let text = tree.text(&format!("sys/block/{device}/device/life_time"))?;
    let tenths = text
        .split_whitespace()
        .filter_map(hexadecimal)
        // 0 is "not defined"; 1 is 0 to 10 %; 11 is more than the rated life.
        .filter(|step| (1..=11).contains(step))
        .map(|step| step - 1)
        .max();
    let spare = tree
        .text(&format!("sys/block/{device}/device/pre_eol_info"))
        .and_then(|text| hexadecimal(&text))
        .and_then(|step| match step {
            2 => Some(8),
            3 => Some(9),
            _ => None,
        });
    let tenths = tenths.into_iter().chain(spare).max()?;
    Some(f64::from(tenths) / 10.0)
}

/// The interfaces of the node itself, without loopback and those of containers and their networks.
pub(super) fn network(tree: &Tree) -> Vec<Interface> {
    const SKIPPED: [&str; 18] = [
        "veth",
        "cni",
        "flannel",
        "docker",
        "br-",
        "cali",
        "cilium",
        "lxc",
        "kube-",
        "vxlan",
        "tunl",
        "nodelocaldns",
        "virbr",
        "podman",
        "ifb",
        "dummy",
        "sit",
        "gre",
    ];
    tree.names(NETWORK)
        .into_iter()
        .filter(|name| name != "lo" && name != "bonding_masters")
        .filter(|name| !SKIPPED.iter().any(|prefix| name.starts_with(prefix)))
        .filter_map(|name| interface(tree, name))
        .take(MAX_INTERFACES)
        .collect()
}

/// `None` when it vanishes while it is being read.
fn interface(tree: &Tree, name: String) -> Option<Interface> {
    let file = |file: &str| format!("{NETWORK}/{name}/{file}");
    let up = match tree.text(&file("operstate"))?.as_str() {
        "up" => Some(true),
        // Tunnels and some modems do not keep a state, but they know whether they have a carrier.
        "unknown" => tree
            .number::<u8>(&file("carrier"))
            .map(|carrier| carrier == 1),
        _ => Some(false),
    };
    let counters = |names: [&str; 2]| {
        let [a, b] = names.map(|name| tree.number::<u64>(&file(&format!("statistics/{name}"))));
        Some(a?.saturating_add(b?))
    };
    Some(Interface {
        up,
        packets: counters(["rx_packets", "tx_packets"]),
        errors: counters(["rx_errors", "tx_errors"]),
        rx: tree.number(&file("statistics/rx_bytes"))?,
        tx: tree.number(&file("statistics/tx_bytes"))?,
        name,
    })
}
