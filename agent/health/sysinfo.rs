//! Memory, CPU and the sizes of file systems, by the crate sysinfo.

use std::path::Path;

use ::sysinfo::{DiskRefreshKind, Disks, System};

use super::disks::Space;

/// This machine. Only what is asked for is read: never processes, which cost a file descriptor each.
pub(super) struct Machine {
    system: Option<System>,
    disks: Option<Disks>,
    refreshes: u32,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            system: System::new().ok(),
            disks: Disks::new().ok(),
            refreshes: 0,
        }
    }

    pub(super) fn refresh(&mut self) {
        if let Some(system) = &mut self.system {
            system.refresh_memory();
            system.refresh_cpu_usage();
        }
        if let Some(disks) = &mut self.disks {
            disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        }
        self.refreshes = self.refreshes.saturating_add(1);
    }

    /// Share of all cores since the refresh before; `None` after the first, which has none before it.
    pub(super) fn cpu_usage(&self) -> Option<f64> {
        let system = self.system.as_ref()?;
        if self.refreshes < 2 || system.cpus().is_empty() {
            return None;
        }
        let usage = f64::from(system.global_cpu_usage()) / 100.0;
        usage.is_finite().then(|| usage.clamp(0.0, 1.0))
    }

    pub(super) fn cores(&self) -> Option<u32> {
        let count = u32::try_from(self.system.as_ref()?.cpus().len()).ok()?;
        (count > 0).then_some(count)
    }

    pub(super) fn memory_total(&self) -> Option<u64> {
        let total = self.system.as_ref()?.total_memory();
        (total > 0).then_some(total)
    }

    pub(super) fn memory_available(&self) -> Option<u64> {
        // Without a total nothing was read, and then zero is not an answer either.
        self.memory_total()?;
        Some(self.system.as_ref()?.available_memory())
    }

    /// How large the file system is that is mounted at `mount`.
    pub(super) fn space(&self, mount: &str) -> Option<Space> {
        let mut disks = self.disks.as_ref()?.iter();
        let disk = disks.find(|disk| disk.mount_point() == Path::new(mount))?;
        (disk.total_space() > 0).then(|| Space {
            total: disk.total_space(),
            available: disk.available_space(),
            inodes: inodes(mount),
        })
    }
}

/// sysinfo does not count files. btrfs and vfat make room for them as they go, and say 0.
fn inodes(mount: &str) -> Option<(u64, u64)> {
    let file_system = rustix::fs::statvfs(mount).ok()?;
    (file_system.f_files > 0).then_some((file_system.f_files, file_system.f_favail))
}
