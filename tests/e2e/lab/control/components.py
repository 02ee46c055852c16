"""What a lab runs: the command line of each component, and how to see that it is ready."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import node
from .cluster import direct_opener

HOST = "127.0.0.1"

# The name of the only node.
NODE = "lab"

# What edge-agent's account has asked for, one JSON object a line.
AUDIT_LOG = "audit.log"

# Those that Deployments, Jobs and Argo CD need. With all of them the start takes six seconds more.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "cronjob-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
    "node-lifecycle-controller",
    "root-ca-certificate-publisher-controller",
)


@dataclass
class Component:
    """One process of a lab."""

    name: str
    argv: list[str]
    # Returns true when the component does its work. An OSError means "not yet".
    ready: Callable[[], bool]
    # Seconds that it may take to get ready; several times what a machine of two cores needs.
    limit: float
    environment: dict[str, str] = field(default_factory=dict)


def describe(
    folder: Path, ports: dict[str, int], programs: dict[str, Path], node_ready: Callable[[], bool]
) -> dict[str, Component]:
    """All components of the lab in `folder`, by name. `programs` has the cache folder of each part."""
    listed = [
        _etcd(folder, ports, programs["kube"]),
        _apiserver(folder, ports, programs["kube"]),
        _controller_manager(folder, ports, programs["kube"]),
        _scheduler(folder, ports, programs["kube"]),
        *_node(folder, programs, node_ready),
        _redis(ports),
        _repo_server(folder, ports, programs["argocd"], programs["kustomize"]),
        _application_controller(folder, ports, programs["argocd"]),
    ]
    return {component.name: component for component in listed}


def _etcd(folder: Path, ports: dict[str, int], kube: Path) -> Component:
    client, peer = f"http://{HOST}:{ports['etcd']}", f"http://{HOST}:{ports['etcd-peer']}"
    argv = [
        str(kube / "kube"), "etcd", "--name", "lab", "--data-dir", str(folder / "etcd"),
        "--unsafe-no-fsync", "--log-level", "warn",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"lab={peer}",
    ]  # fmt: skip
    return Component("etcd", argv, lambda: answers(f"{client}/readyz"), 30)


def _apiserver(folder: Path, ports: dict[str, int], kube: Path) -> Component:
    certificates = folder / "certificates"
    argv = [
        str(kube / "kube"), "kube-apiserver",
        "--etcd-servers", f"http://{HOST}:{ports['etcd']}",
        "--bind-address", HOST, "--advertise-address", HOST, "--secure-port", str(ports["apiserver"]),
        "--tls-cert-file", str(certificates / "server.crt"),
        "--tls-private-key-file", str(certificates / "server.key"),
        "--client-ca-file", str(certificates / "ca.crt"),
        "--token-auth-file", str(certificates / "tokens.csv"),
        "--authorization-mode", "RBAC",
        "--service-account-issuer", "https://kubernetes.default.svc",
        "--service-account-signing-key-file", str(certificates / "accounts.key"),
        "--service-account-key-file", str(certificates / "accounts.pub"),
        "--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none",
        "--audit-policy-file", str(folder / "audit-policy.yaml"),
        "--audit-log-path", str(folder / "logs" / AUDIT_LOG),
    ]  # fmt: skip
    ready = lambda: answers(f"https://{HOST}:{ports['apiserver']}/readyz")
    return Component("kube-apiserver", argv, ready, 60)


def _controller_manager(folder: Path, ports: dict[str, int], kube: Path) -> Component:
    certificates = folder / "certificates"
    argv = [
        str(kube / "kube"), "kube-controller-manager", "--kubeconfig", str(folder / "kubeconfig"),
        "--leader-elect=false", "--bind-address", HOST, "--secure-port", str(ports["controller-manager"]),
        "--service-account-private-key-file", str(certificates / "accounts.key"),
        "--root-ca-file", str(certificates / "ca.crt"),
        "--kube-api-qps", "500", "--kube-api-burst", "1000", "--controllers", ",".join(CONTROLLERS),
    ]  # fmt: skip
    ready = lambda: answers(f"https://{HOST}:{ports['controller-manager']}/healthz")
    return Component("kube-controller-manager", argv, ready, 60)


def _scheduler(folder: Path, ports: dict[str, int], kube: Path) -> Component:
    argv = [
        str(kube / "kube"), "kube-scheduler", "--kubeconfig", str(folder / "kubeconfig"),
        "--leader-elect=false", "--bind-address", HOST, "--secure-port", str(ports["scheduler"]),
    ]  # fmt: skip
    return Component("kube-scheduler", argv, lambda: answers(f"https://{HOST}:{ports['scheduler']}/readyz"), 60)


def _node(folder: Path, programs: dict[str, Path], node_ready: Callable[[], bool]) -> list[Component]:
    """A real one if its kubelet was built, else one that kwok plays."""
    if "kubelet" in programs:
        return [_containerd(folder), _kubelet(folder, programs["kubelet"], node_ready)]
    return [_kwok(folder, programs["kwok"], node_ready)]


def _containerd(folder: Path) -> Component:
    argv = ["containerd", "--config", str(folder / "containerd.toml")]
    return Component("containerd", argv, lambda: bool(node.ctr(folder, "version")), 30)


def _kubelet(folder: Path, kubelet: Path, node_ready: Callable[[], bool]) -> Component:
    argv = [
        str(kubelet / "kubelet"), "--config", str(folder / "kubelet.yaml"),
        "--kubeconfig", str(folder / "kubeconfig"), "--root-dir", str(folder / "kubelet"),
        "--cert-dir", str(folder / "kubelet" / "certificates"), "--hostname-override", NODE,
    ]  # fmt: skip
    return Component("kubelet", argv, node_ready, 60)


def _kwok(folder: Path, kwok: Path, node_ready: Callable[[], bool]) -> Component:
    argv = [
        str(kwok / "kwok"), "--kubeconfig", str(folder / "kubeconfig"), "--config", str(folder / "kwok.yaml"),
        "--manage-all-nodes=true", "--cidr", "10.1.0.1/24", "--node-ip", HOST, "--node-lease-duration-seconds", "40",
    ]  # fmt: skip
    return Component("kwok", argv, node_ready, 60)


def _redis(ports: dict[str, int]) -> Component:
    argv = [
        "redis-server", "--port", str(ports["redis"]), "--bind", HOST, "--save", "", "--appendonly", "no",
        # Its title would be written over its environment, which says that it belongs to the lab.
        "--set-proc-title", "no",
    ]  # fmt: skip
    return Component("redis", argv, lambda: _redis_answers(ports["redis"]), 20)


def _repo_server(folder: Path, ports: dict[str, int], argocd: Path, kustomize: Path) -> Component:
    argv = [
        str(argocd / "argocd"), "--address", HOST, "--port", str(ports["repo-server"]),
        "--metrics-address", HOST, "--metrics-port", str(ports["repo-server-metrics"]),
        "--redis", f"{HOST}:{ports['redis']}", "--disable-tls",
        # Else a new commit is seen after three minutes only, however often applications are compared.
        "--revision-cache-expiration", "3s",
    ]  # fmt: skip
    if not _version(argocd).startswith("v3.2."):
        # Its default is a file, which does not go together with the TLS that is switched off.
        argv.append("--client-ca-path=")
    environment = {
        "ARGOCD_BINARY_NAME": "argocd-repo-server",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_ASK_PASS_SOCK": str(folder / "run" / "ask"),
        "PATH": f"{argocd / 'bin'}:{kustomize}:{os.environ['PATH']}",
    }
    metrics = f"http://{HOST}:{ports['repo-server-metrics']}"
    ready = lambda: answers(f"{metrics}/healthz?full=true") and _listens(ports["repo-server"])
    return Component("argocd-repo-server", argv, ready, 60, environment)


def _application_controller(folder: Path, ports: dict[str, int], argocd: Path) -> Component:
    argv = [
        str(argocd / "argocd"), "--namespace", "argocd", "--redis", f"{HOST}:{ports['redis']}",
        "--repo-server", f"{HOST}:{ports['repo-server']}", "--repo-server-plaintext",
        "--app-resync", "10", "--app-resync-jitter", "0",
        # This one listens on all addresses and cannot be told otherwise.
        "--metrics-port", str(ports["controller-metrics"]),
    ]  # fmt: skip
    environment = {
        "ARGOCD_BINARY_NAME": "argocd-application-controller",
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    ready = lambda: answers(f"http://{HOST}:{ports['controller-metrics']}/healthz")
    return Component("argocd-application-controller", argv, ready, 60, environment)


def answers(url: str) -> bool:
    """Whether a GET gets a good answer; an `OSError` if not."""
    # The controllers make certificates for themselves, and nothing secret goes to a health page.
    with direct_opener(ssl._create_unverified_context()).open(url, timeout=2) as answer:
        return answer.status == 200


def _redis_answers(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


def _listens(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=2):
        return True


def _version(argocd: Path) -> str:
    return (argocd / "version").read_text().strip()
