"""A real node: containerd and the kubelet in the place of kwok, so that pods run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .ports import BLOCK
from .waiting import LabError

# What the kubelet and its network change on the machine; `clean` puts it back.
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")

# The image of the container that holds a pod's namespaces.
PAUSE = "lab.edge-agent.test/pause:1"

# Where Debian's containernetworking-plugins has its programs.
PLUGINS = "/usr/lib/cni"

_CGROUPS = Path("/sys/fs/cgroup")

# Where runc notes its containers, whatever containerd is told.
_RUNC = Path("/run/containerd/runc/k8s.io")


def configure(folder: Path, ports: dict[str, int]) -> None:
    """Writes what containerd and the kubelet read, and keeps what they will change."""
    if os.geteuid() != 0:
        raise LabError("a real node needs root: it mounts, and makes namespaces and cgroups")
    network = folder / "network"
    network.mkdir(exist_ok=True)
    registries(folder).mkdir(exist_ok=True)
    _write(network / "10-lab.conflist", json.dumps(_network(folder, ports)))
    _write(folder / "containerd.toml", _containerd(folder))
    _write(folder / "kubelet.yaml", json.dumps(_kubelet(folder, ports)))
    kept = folder / "sysctls.json"
    if not kept.exists():
        _write(kept, json.dumps({name: _sysctl(name).read_text() for name in SYSCTLS}))


def socket(folder: Path) -> Path:
    """Where containerd listens."""
    return folder / "run" / "containerd"


def registries(folder: Path) -> Path:
    """Whom containerd trusts at which registry: `<host:port>/hosts.toml`, which it reads at each pull."""
    return folder / "registries"


def ctr(folder: Path, *arguments: str) -> str:
    """Runs containerd's own client on the images and containers of Kubernetes; returns what it says."""
    argv = ["ctr", "--address", str(socket(folder)), "--namespace", "k8s.io", *arguments]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def clean(folder: Path) -> None:
    """Takes away what a node leaves behind when its processes have been ended: containers, mounts,
    cgroups, and changed settings of the kernel. Without a node it does nothing."""
    containers = set(_containers(folder))
    for container, pid in containers:
        if pid is not None and container in _read(Path(f"/proc/{pid}/cgroup")):
            os.kill(pid, signal.SIGKILL)
    for mount in reversed(_mounts(folder)):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    for container, _ in containers:
        shutil.rmtree(_RUNC / container, ignore_errors=True)
    if containers:
        for group in _CGROUPS.glob("**/k8s.io"):
            _remove_group(group)
    kept = folder / "sysctls.json"
    if kept.exists():
        for name, value in json.loads(kept.read_text()).items():
            _sysctl(name).write_text(value)


def _network(folder: Path, ports: dict[str, int]) -> dict:
    # Each lab has other ports, so labs that are up at the same time have other addresses, too.
    block = ports["etcd"] // BLOCK
    subnet = f"10.{64 + block // 256 % 64}.{block % 256}.0/24"
    # A pair of ends for each pod, and no bridge that would stay.
    return {
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": str(folder / "network" / "addresses"),
                "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    }  # fmt: skip


def _containerd(folder: Path) -> str:
    return f"""\
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = "{socket(folder)}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{registries(folder)}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "{folder}/network"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _kubelet(folder: Path, ports: dict[str, int]) -> dict:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": ports["kubelet"],
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": ports["kubelet-health"],
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(folder / "certificates" / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{socket(folder)}",
        "volumePluginDir": str(folder / "kubelet" / "plugins"),
        "podLogsDir": str(folder / "logs" / "pods"),
        "failSwapOn": False,
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        # How full the disk of this machine is does not matter here.
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
    }


def _containers(folder: Path) -> Iterator[tuple[str, int | None]]:
    """The id of each container, and the process that it began with."""
    bundles = folder / "containerd" / "state" / "io.containerd.runtime.v2.task" / "k8s.io"
    if bundles.is_dir():
        for bundle in bundles.iterdir():
            text = _read(bundle / "init.pid").strip()
            yield bundle.name, int(text) if text.isdigit() else None


def _mounts(folder: Path) -> list[str]:
    """What is mounted below the folder, in the order in which it was mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(f"{folder}/")]


def _remove_group(group: Path) -> None:
    """Removes a cgroup and those in it, but for what somebody else's container is in."""
    for inner, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(inner)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    path.write_text(text)
