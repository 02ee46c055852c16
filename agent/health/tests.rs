//! Recorded trees of machines, as far as the probe reads them.

mod boards;

use super::*;
use edge_agent_core::health::Disk;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

struct Recorded(TempDir);

impl Recorded {
    fn new(files: &[(&str, &str)]) -> Self {
        let recorded = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            recorded.write(path, text);
        }
        recorded
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A link at `path` to `target`, both below the root.
    fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(target), path).unwrap();
    }

    fn tree(&self) -> Tree {
        Tree::new(self.0.path())
    }

    fn disks(&self) -> Vec<Disk> {
        disks::disks(&disks::mounts(&self.tree()), |_| {
            Some(disks::Space {
                total: 1000,
                available: 400,
                inodes: Some((64, 32)),
            })
        })
    }

    fn root_device(&self) -> Option<String> {
        disks::root_device(&self.tree(), &disks::mounts(&self.tree()))
    }
}

const PI5_MOUNTS: &str = "\
22 27 0:21 / /proc rw,nosuid - proc proc rw
27 1 179:2 / / ro,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
40 27 179:1 / /boot/firmware ro,relatime shared:40 - vfat /dev/mmcblk0p1 rw,errors=remount-ro
50 27 0:52 / /run/k3s/containerd/x/rootfs rw - overlay overlay rw,lowerdir=/x
60 27 179:2 /var/lib/edge-agent /var/lib/edge-agent rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
61 27 0:60 / /mnt/share rw - nfs4 nas:/share rw,vers=4.2
62 27 8:1 / /media/usb\\040stick rw - ext4 /dev/sda1 ro,noatime
63 27 8:17 / /var/lib/kubelet/pods/1/volumes/x rw - ext4 /dev/sdb1 rw
64 27 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
";

const PI5_FILES: &[(&str, &str)] = &[
    (
        "proc/device-tree/model",
        "Raspberry Pi Compute Module 5 Rev 1.0\0",
    ),
    (
        "etc/os-release",
        "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
    ),
    (
        "proc/sys/kernel/random/boot_id",
        "0b7e1c3a-7e51-4f43-9a3f-5d4b3c2a1f00\n",
    ),
    ("proc/uptime", "3601.22 14000.10\n"),
    ("proc/loadavg", "0.42 0.30 0.20 1/300 1234\n"),
    (
        "proc/self/status",
        "Name:\tedge-agent\nVmRSS:\t    9216 kB\n",
    ),
    (
        "proc/self/stat",
        "77 (edge) agent) S 1 77 77 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 3 0 100 1 1\n",
    ),
    ("proc/self/mountinfo", PI5_MOUNTS),
    (
        "proc/pressure/memory",
        "some avg10=4.10 avg60=2.50 avg300=0.80 total=8123456\n\
             full avg10=2.04 avg60=1.25 avg300=0.40 total=4034567\n",
    ),
    (
        "proc/vmstat",
        "nr_free_pages 20811\noom_kill 3\npgmigrate_success 0\n",
    ),
    ("run/reboot-required", "*** System restart required ***\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "58250\n"),
    ("sys/class/thermal/thermal_zone1/type", "rp1_adc\n"),
    ("sys/class/thermal/thermal_zone1/temp", "61000\n"),
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon2/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "0\n"),
    (
        "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
        "50000\n",
    ),
    ("sys/devices/block/mmcblk0/mmcblk0p2/partition", "2\n"),
    ("sys/devices/block/mmcblk0/device/life_time", "0x02 0x09\n"),
    ("sys/devices/block/mmcblk0/device/pre_eol_info", "0x01\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("sys/class/net/cni0/operstate", "up\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/statistics/rx_bytes", "123\n"),
    ("sys/class/net/eth0/statistics/tx_bytes", "45\n"),
    ("sys/class/net/eth0/statistics/rx_packets", "7\n"),
    ("sys/class/net/eth0/statistics/tx_packets", "5\n"),
    ("sys/class/net/eth0/statistics/rx_errors", "2\n"),
    ("sys/class/net/eth0/statistics/tx_errors", "1\n"),
    ("sys/class/net/wlan0/operstate", "down\n"),
    ("sys/class/net/wlan0/statistics/rx_bytes", "0\n"),
    ("sys/class/net/wlan0/statistics/tx_bytes", "0\n"),
    ("run/systemd/timesync/synchronized", ""),
    ("etc/systemd/system/k3s.service", ""),
    (
        "sys/fs/cgroup/system.slice/k3s.service/cgroup.events",
        "populated 1\nfrozen 0\n",
    ),
    (
        "sys/fs/cgroup/system.slice/k3s.service/memory.current",
        "612368384\n",
    ),
    (
        "sys/fs/cgroup/system.slice/k3s.service/memory.events",
        "low 0\nhigh 0\nmax 0\noom 1\noom_kill 1\noom_group_kill 0\n",
    ),
];

/// A Compute Module 5 with eMMC and K3s, inside the sandbox of the service.
fn pi5() -> Recorded {
    let recorded = Recorded::new(PI5_FILES);
    recorded.link("sys/dev/block/179:2", "sys/devices/block/mmcblk0/mmcblk0p2");
    recorded.link("sys/block/mmcblk0", "sys/devices/block/mmcblk0");
    recorded.link("run/systemd/units/invocation:k3s.service", "nowhere");
    recorded
}

#[test]
fn a_pi_5_is_read_in_full() {
    let recorded = pi5();
    let sample = SystemProbe::new(recorded.0.path()).sample();
    assert_eq!(sample.uptime_seconds, Some(3601));
    assert_eq!(sample.load1, Some(0.42));
    assert_eq!(sample.temperature_celsius, Some(58.25));
    assert_eq!(
        sample.power,
        Power {
            undervoltage: Some(false),
            throttled: Some(false),
            undervoltage_since_boot: Some(true),
            throttled_since_boot: Some(true),
        }
    );
    assert_eq!(sample.storage_device.as_deref(), Some("mmcblk0"));
    assert_eq!(sample.storage_life_used, Some(0.8));
    let network: Vec<_> = sample
        .network
        .iter()
        .map(|i| (i.name.as_str(), i.up, i.rx, i.tx))
        .collect();
    assert_eq!(
        network,
        [("eth0", Some(true), 123, 45), ("wlan0", Some(false), 0, 0)]
    );
    assert_eq!(sample.clock_synchronized, Some(true));
    assert_eq!(sample.k3s.service, Some(true));
    assert_eq!(sample.k3s.memory, Some(612_368_384));
    assert_eq!(sample.k3s.oom_kills, Some(1));
    assert_eq!(sample.memory_pressure, Some(0.0125));
    assert_eq!(sample.oom_kills, Some(3));
    assert_eq!(sample.reboot_required, Some(true));
    assert_eq!(
        (sample.network[0].packets, sample.network[0].errors),
        (Some(12), Some(3))
    );
    assert_eq!(
        (sample.network[1].packets, sample.network[1].errors),
        (None, None)
    );
    assert_eq!(sample.agent_rss_bytes, Some(9216 * 1024));
    assert_eq!(sample.agent_cpu_seconds, Some(1.75));
    assert_eq!(
        identity(recorded.0.path()),
        NodeFacts {
            model: Some("Raspberry Pi Compute Module 5 Rev 1.0".to_owned()),
            os: Some("Debian GNU/Linux 13 (trixie)".to_owned()),
            boot: Some("0b7e1c3a-7e51-4f43-9a3f-5d4b3c2a1f00".to_owned()),
        }
    );
}

#[test]
fn disks_are_real_ones_once_each_and_read_only_by_their_file_system() {
    let disks = pi5().disks();
    let seen: Vec<_> = disks
        .iter()
        .map(|d| (d.mount.as_str(), d.read_only))
        .collect();
    assert_eq!(
        seen,
        [
            ("/", false),
            ("/boot/firmware", false),
            ("/media/usb stick", true)
        ]
    );
    assert_eq!((disks[0].total, disks[0].available), (1000, 400));
    assert_eq!(disks[0].inodes, Some((64, 32)));
}

#[test]
fn what_the_board_said_once_is_remembered_until_the_agent_ends() {
    let recorded = pi5();
    let firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
    recorded.write(firmware, "0\n");
    let mut probe = SystemProbe::new(recorded.0.path());
    let quiet = Power {
        undervoltage: Some(false),
        throttled: Some(false),
        undervoltage_since_boot: Some(false),
        throttled_since_boot: Some(false),
    };
    assert_eq!(probe.sample().power, quiet);
    recorded.write("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "1\n");
    recorded.write(firmware, "4\n");
    let power = probe.sample().power;
    assert_eq!(
        (power.undervoltage, power.throttled),
        (Some(true), Some(true))
    );
    recorded.write("sys/class/hwmon/hwmon2/in0_lcrit_alarm", "0\n");
    recorded.write(firmware, "0\n");
    let power = probe.sample().power;
    assert_eq!(
        (power.undervoltage, power.throttled),
        (Some(false), Some(false))
    );
    assert_eq!(
        (power.undervoltage_since_boot, power.throttled_since_boot),
        (Some(true), Some(true))
    );
}

#[test]
fn a_pi_3_with_an_sd_card_has_no_wear_to_tell() {
    let recorded = Recorded::new(&[
        (
            "sys/firmware/devicetree/base/model",
            "Raspberry Pi 3 Model B Rev 1.2\0",
        ),
        (
            "proc/self/mountinfo",
            "27 1 179:2 / / rw - ext4 /dev/root ro,noatime\n",
        ),
        (
            "sys/devices/platform/soc/soc:firmware/get_throttled",
            "80008\n",
        ),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "-273000\n"),
        ("sys/devices/block/mmcblk0/mmcblk0p2/partition", "2\n"),
        ("sys/class/net/wwan0/operstate", "unknown\n"),
        ("sys/class/net/wwan0/carrier", "1\n"),
        ("sys/class/net/wwan0/statistics/rx_bytes", "1\n"),
        ("sys/class/net/wwan0/statistics/tx_bytes", "2\n"),
        ("lib/systemd/system/k3s-agent.service", ""),
    ]);
    recorded.link("sys/dev/block/179:2", "sys/devices/block/mmcblk0/mmcblk0p2");
    fs::create_dir_all(recorded.path("run/systemd/timesync")).unwrap();
    let sample = SystemProbe::new(recorded.0.path()).sample();
    assert_eq!(sample.storage_device.as_deref(), Some("mmcblk0"));
    assert_eq!(sample.storage_life_used, None);
    assert_eq!(
        sample.temperature_celsius, None,
        "a sensor that is not there"
    );
    // The soft temperature limit is not throttling.
    assert_eq!(sample.power.throttled, Some(false));
    assert_eq!(sample.power.undervoltage, Some(false));
    assert_eq!(sample.clock_synchronized, Some(false));
    assert_eq!(sample.k3s.service, Some(false));
    assert_eq!(sample.network[0].up, Some(true));
    assert!(
        recorded.disks()[0].read_only,
        "an ext4 that gave up is read-only itself"
    );
    let model = identity(recorded.0.path()).model;
    assert_eq!(model.as_deref(), Some("Raspberry Pi 3 Model B Rev 1.2"));
}

#[test]
fn a_machine_with_nothing_to_read_says_nothing() {
    let recorded = Recorded::new(&[]);
    let sample = SystemProbe::new(recorded.0.path()).sample();
    assert_eq!(sample.power, Power::default());
    assert_eq!(sample.k3s, edge_agent_core::health::K3s::default());
    assert_eq!((sample.memory_pressure, sample.oom_kills), (None, None));
    assert_eq!(sample.reboot_required, None);
    assert_eq!(sample.clock_synchronized, None);
    assert_eq!(sample.temperature_celsius, None);
    assert_eq!(sample.uptime_seconds, None);
    assert!(sample.disks.is_empty() && sample.network.is_empty());
    assert_eq!(identity(recorded.0.path()), NodeFacts::default());
}

#[test]
fn this_machine_has_memory_and_cores_and_a_usage_from_the_second_sample() {
    let mut probe = SystemProbe::new(Path::new("/"));
    let first = probe.sample();
    assert_eq!(first.cpu_usage, None);
    let (total, available) = (first.memory_total.unwrap(), first.memory_available.unwrap());
    assert!(available > 0 && available <= total);
    assert!(first.cores.unwrap() > 0);
    assert!(first.agent_rss_bytes.unwrap() > 1024 * 1024);
    let usage = probe.sample().cpu_usage.unwrap();
    assert!((0.0..=1.0).contains(&usage));
}

#[test]
fn a_stopped_k3s_whose_containers_live_on_is_not_running() {
    let recorded = pi5();
    let service = || system::k3s(&recorded.tree()).service;
    assert_eq!(service(), Some(true));
    fs::remove_file(recorded.path("run/systemd/units/invocation:k3s.service")).unwrap();
    assert_eq!(service(), Some(false));
    // Without systemd's word, the cgroup alone must do.
    fs::remove_dir_all(recorded.path("run/systemd/units")).unwrap();
    assert_eq!(service(), Some(true));
    recorded.write(
        "sys/fs/cgroup/system.slice/k3s.service/cgroup.events",
        "populated 0\n",
    );
    assert_eq!(service(), Some(false));
    recorded.write(
        "sys/fs/cgroup/systemd/system.slice/k3s.service/cgroup.procs",
        "812\n",
    );
    assert_eq!(service(), Some(true), "cgroups of version 1");
    recorded.write(
        "sys/fs/cgroup/systemd/system.slice/k3s.service/cgroup.procs",
        "",
    );
    assert_eq!(service(), Some(false));
    fs::remove_file(recorded.path("etc/systemd/system/k3s.service")).unwrap();
    assert_eq!(service(), None, "not installed");
}

#[test]
fn the_wear_of_an_emmc_is_the_worst_that_it_says() {
    let life = |life_time: &str, pre_eol: &str| {
        let recorded = Recorded::new(&[
            ("sys/block/mmcblk0/device/life_time", life_time),
            ("sys/block/mmcblk0/device/pre_eol_info", pre_eol),
        ]);
        board::storage_life_used(&recorded.tree(), "mmcblk0")
    };
    assert_eq!(life("0x01 0x01", "0x01"), Some(0.0));
    assert_eq!(life("0x0b 0x01", "0x01"), Some(1.0));
    assert_eq!(life("0x02 0x02", "0x03"), Some(0.9));
    assert_eq!(life("0x00 0x00", "0x00"), None);
    assert_eq!(life("junk", ""), None);
}

#[test]
fn the_disk_below_an_encrypted_root_is_found() {
    let recorded = Recorded::new(&[
        (
            "proc/self/mountinfo",
            "27 1 253:0 / / rw - ext4 /dev/mapper/root rw\n",
        ),
        ("sys/devices/virtual/block/dm-0/dev", "253:0\n"),
        ("sys/devices/pci/nvme0n1/nvme0n1p2/partition", "2\n"),
    ]);
    recorded.link("sys/dev/block/253:0", "sys/devices/virtual/block/dm-0");
    recorded.link(
        "sys/class/block/nvme0n1p2",
        "sys/devices/pci/nvme0n1/nvme0n1p2",
    );
    recorded.link(
        "sys/devices/virtual/block/dm-0/slaves/nvme0n1p2",
        "sys/devices/pci/nvme0n1/nvme0n1p2",
    );
    assert_eq!(recorded.root_device().as_deref(), Some("nvme0n1"));
}

#[test]
fn subvolumes_of_btrfs_are_one_disk_and_its_device_is_found_by_name() {
    let recorded = Recorded::new(&[
        (
            "proc/self/mountinfo",
            "30 1 0:31 /@home /home rw - btrfs /dev/sda2 rw\n\
             27 1 0:30 /@ / rw - btrfs /dev/sda2 rw\n",
        ),
        ("dev/sda2", ""),
        ("sys/devices/pci/sda/sda2/partition", "2\n"),
    ]);
    recorded.link("sys/class/block/sda2", "sys/devices/pci/sda/sda2");
    assert_eq!(recorded.disks().len(), 1);
    assert_eq!(recorded.disks()[0].mount, "/");
    assert_eq!(recorded.root_device().as_deref(), Some("sda"));
}
