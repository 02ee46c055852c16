//! A Pi 4 and a Zero 2 W, beside those of the parent. Written from the formats that the kernels document:
//! `get_throttled` is of Raspberry Pi's own kernels (`drivers/firmware/raspberrypi.c`, hexadecimal without `0x`), the
//! alarm of the supply also of Debian's (`Documentation/hwmon/raspberrypi-hwmon.rst`), the rest of both
//! (`Documentation/ABI/testing/sysfs-class-thermal`, `sysfs-class-net-statistics`, `Documentation/accounting/psi.rst`,
//! proc(5)).

use super::*;

/// Raspberry Pi OS on a disk at USB; hot, and its supply was weak and is so again.
const PI4: &[(&str, &str)] = &[
    ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
    (
        "etc/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
    ),
    ("etc/debian_version", "12.8\n"),
    ("proc/uptime", "86400.00 300000.00\n"),
    ("proc/loadavg", "3.90 3.10 2.80 5/412 9001\n"),
    (
        "proc/self/mountinfo",
        "26 1 8:2 / / rw,noatime shared:1 - ext4 /dev/sda2 rw\n\
         45 26 8:1 / /boot/firmware rw,relatime shared:30 - vfat /dev/sda1 rw\n",
    ),
    ("proc/vmstat", "nr_free_pages 101010\noom_kill 0\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "81303\n"),
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
    // Under voltage, capped, at the soft limit; and all of it since boot.
    (
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "f000f\n",
    ),
    ("sys/devices/block/sda/sda2/partition", "2\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/statistics/rx_bytes", "9876543210\n"),
    ("sys/class/net/eth0/statistics/tx_bytes", "1234567890\n"),
    ("sys/class/net/wlan0/operstate", "down\n"),
    ("sys/class/net/wlan0/statistics/rx_bytes", "0\n"),
    ("sys/class/net/wlan0/statistics/tx_bytes", "0\n"),
    ("run/systemd/timesync/synchronized", ""),
];

/// Debian's kernel, which has no `get_throttled`, on an SD card, with WLAN and nothing else.
const ZERO_2_W: &[(&str, &str)] = &[
    ("proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0\0"),
    (
        "etc/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
    ),
    ("etc/debian_version", "13.1\n"),
    ("proc/uptime", "42.17 120.00\n"),
    ("proc/loadavg", "1.05 0.40 0.15 2/120 640\n"),
    (
        "proc/self/mountinfo",
        "25 1 179:2 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw,errors=remount-ro\n",
    ),
    (
        "proc/pressure/memory",
        "some avg10=31.00 avg60=22.00 avg300=9.00 total=5123456\n\
         full avg10=18.50 avg60=12.50 avg300=4.00 total=2034567\n",
    ),
    ("proc/vmstat", "nr_free_pages 2100\noom_kill 2\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
    ("sys/class/hwmon/hwmon0/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "0\n"),
    ("sys/devices/block/mmcblk0/mmcblk0p2/partition", "2\n"),
    ("sys/devices/block/mmcblk0/device/type", "SD\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("sys/class/net/wlan0/operstate", "up\n"),
    ("sys/class/net/wlan0/statistics/rx_bytes", "2048\n"),
    ("sys/class/net/wlan0/statistics/tx_bytes", "1024\n"),
];

fn recorded(files: &[(&str, &str)], number: &str, disk: &str, partition: &str) -> Recorded {
    let recorded = Recorded::new(files);
    let device = format!("sys/devices/block/{disk}");
    recorded.link(
        &format!("sys/dev/block/{number}"),
        &format!("{device}/{partition}"),
    );
    recorded.link(&format!("sys/block/{disk}"), &device);
    recorded
}

fn interfaces(sample: &Sample) -> Vec<(&str, Option<bool>)> {
    let network = sample.network.iter();
    network.map(|it| (it.name.as_str(), it.up)).collect()
}

#[test]
fn a_pi_4_that_is_hot_and_badly_supplied_says_so() {
    let recorded = recorded(PI4, "8:2", "sda", "sda2");
    let sample = SystemProbe::new(recorded.0.path()).sample();
    assert_eq!(sample.temperature_celsius, Some(81.303));
    assert_eq!(
        sample.power,
        Power {
            undervoltage: Some(true),
            throttled: Some(true),
            undervoltage_since_boot: Some(true),
            throttled_since_boot: Some(true),
        }
    );
    assert_eq!(sample.storage_device.as_deref(), Some("sda"));
    assert_eq!(
        sample.storage_life_used, None,
        "a disk at USB does not tell"
    );
    assert_eq!(sample.memory_pressure, None, "not without psi=1");
    assert_eq!(
        interfaces(&sample),
        [("eth0", Some(true)), ("wlan0", Some(false))]
    );
    assert_eq!(sample.network[0].rx, 9_876_543_210);
    assert_eq!(sample.clock_synchronized, Some(true));
    assert_eq!(sample.reboot_required, Some(false));
    let facts = identity(recorded.0.path());
    assert_eq!(
        facts.model.as_deref(),
        Some("Raspberry Pi 4 Model B Rev 1.4")
    );
}

#[test]
fn a_zero_2_w_under_debians_kernel_says_what_it_knows_and_nothing_else() {
    let recorded = recorded(ZERO_2_W, "179:2", "mmcblk0", "mmcblk0p2");
    let sample = SystemProbe::new(recorded.0.path()).sample();
    assert_eq!(sample.temperature_celsius, Some(48.312));
    assert_eq!(
        sample.power,
        Power {
            undervoltage: Some(false),
            throttled: None,
            // What the alarm has shown since the agent started is not what happened since boot.
            undervoltage_since_boot: None,
            throttled_since_boot: None,
        }
    );
    assert_eq!(sample.storage_device.as_deref(), Some("mmcblk0"));
    assert_eq!(sample.storage_life_used, None, "SD cards do not tell");
    assert_eq!(sample.memory_pressure, Some(0.125));
    assert_eq!(sample.oom_kills, Some(2));
    assert_eq!(interfaces(&sample), [("wlan0", Some(true))]);
    assert_eq!(sample.uptime_seconds, Some(42));
    let facts = identity(recorded.0.path());
    assert_eq!(
        facts.model.as_deref(),
        Some("Raspberry Pi Zero 2 W Rev 1.0")
    );
}
