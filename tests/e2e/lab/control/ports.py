"""The TCP ports of a lab."""

from __future__ import annotations

import errno
import random
import socket

from .waiting import LabError

NAMES = (
    "etcd",
    "etcd-peer",
    "apiserver",
    "controller-manager",
    "scheduler",
    "redis",
    "repo-server",
    "repo-server-metrics",
    "controller-metrics",
    "kubelet",
    "kubelet-health",
)

# Below the ports that Linux gives to outgoing connections, so that none of those takes a port of a
# component that is stopped for a while.
FIRST, LAST = 20000, 31988
# At least as many as there are names.
BLOCK = 12


def choose() -> dict[str, int]:
    """A port for each name, in one block, none of them in use."""
    for _ in range(200):
        first = random.randrange(FIRST, LAST, BLOCK)
        ports = {name: first + offset for offset, name in enumerate(NAMES)}
        if all(is_free(port) for port in ports.values()):
            return ports
    raise LabError(f"no {len(NAMES)} free ports in a row between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port, on any address."""
    with socket.socket() as probe:
        # Connections that ended a moment ago do not keep a server from listening again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True
