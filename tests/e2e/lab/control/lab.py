"""A lab: a folder, and the processes that belong to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import credentials, images, node, ports, processes
from .cluster import Cluster
from .components import HOST, NODE, Component, describe
from .waiting import LabError, wait_for

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent.parent

NAMESPACE = "argocd"
# Without it the API server does not end for a long time.
STORE = "etcd"
DEFAULT_ARGOCD = "3.5"

# The repository server makes a Unix socket below the folder, and the name of one is limited to 107 bytes.
LONGEST_FOLDER = 90

# Only what edge-agent's account does: its requests with their bodies, so that a test can count them.
AUDIT_POLICY = f"""\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: Request
    users: [system:serviceaccount:{NAMESPACE}:edge-agent]
  - level: None
"""

# kwok's own stages are kept from the pods that stages.yaml steers.
STEERED = {
    "pod-ready.yaml": "never-ready crash image-pull by-hand",
    "pod-complete.yaml": "fail succeed",
}
SELECTOR = "    matchExpressions:\n"


class Lab:
    """The lab in `folder`. `tell` gets one line for each thing that happens."""

    def __init__(self, folder: Path, tell: Callable[[str], None] = print):
        self.folder = Path(os.path.realpath(folder))
        self.tell = tell
        self._begun = time.monotonic()

    # What there is.

    def exists(self) -> bool:
        return self._record.exists()

    def settings(self) -> dict:
        """What was decided when the lab was made: its Argo CD, ports and programs."""
        try:
            return json.loads(self._record.read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab in {self.folder}; `lab up` makes one") from None

    def cluster(self, token: str | None = None) -> Cluster:
        """The API server, as the administrator or as whoever the token stands for."""
        certificates = self.folder / "certificates"
        return Cluster(self.server, certificates / "ca.crt", token or credentials.admin_token(certificates))

    @property
    def server(self) -> str:
        return f"https://{HOST}:{self.settings()['ports']['apiserver']}"

    def components(self) -> dict[str, Component]:
        settings = self.settings()
        programs = {part: Path(folder) for part, folder in settings["programs"].items()}
        return describe(self.folder, settings["ports"], programs, self._node_ready)

    def is_ready(self, component: Component) -> bool:
        if processes.running(self.folder, component.name) is None:
            return False
        try:
            return bool(component.ready())
        except OSError:
            return False

    # Commands.

    def up(self, argocd: str | None, real_node: bool) -> None:
        """Brings the lab up, or what of it does not run. On an error everything is ended, and the
        folder stays for a look at the logs."""
        self._refuse_foreign()
        # Not under the lock: this can take minutes, and `down` need not wait for it.
        programs = {} if self.exists() else _build(argocd or DEFAULT_ARGOCD, real_node)
        self._begun = time.monotonic()
        with self._locked():
            self._make(argocd, programs)
            try:
                self._start_all()
            except BaseException:
                self._end()
                raise

    def stop(self, names: list[str], now: bool) -> None:
        """Ends some components, `now` by killing them; `up` brings them back, on the same ports and
        with the same data."""
        with self._locked():
            known = self.components()
            for name in names:
                if name not in known:
                    raise LabError(f"there is no component {name}; there are {', '.join(known)}")
            for name in names:
                processes.stop_component(self.folder, name, now)
                self._report(f"{name} stopped")

    def down(self) -> None:
        """Ends everything and removes the folder. Does nothing if there is no lab."""
        if not self.folder.exists():
            return
        self._refuse_foreign()
        with self._locked():
            self._end()
            used = self.settings()["ports"].values() if self.exists() else []
            wait_for("the ports of the lab to get free", lambda: all(map(ports.is_free, used)), 10)
            shutil.rmtree(self.folder)

    def agent_kubeconfig(self, hours: float) -> Path:
        """Gives edge-agent's ServiceAccount the rights that config/ gives it, and writes a kubeconfig
        that has them and no others."""
        cluster = self.cluster()
        for manifest in ("edge-agent.yaml", "edge-agent-policy.yaml"):
            cluster.apply_file(REPOSITORY / "config" / "k3s" / manifest)
        answer = cluster.request(
            "POST",
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/edge-agent/token",
            {"spec": {"expirationSeconds": int(hours * 3600)}},
        )
        token, kubeconfig = self.folder / "agent-token", self.folder / "agent-kubeconfig"
        credentials.write_private(token, answer["status"]["token"])
        authority = self.folder / "certificates" / "ca.crt"
        credentials.write_kubeconfig(kubeconfig, self.server, authority, {"tokenFile": str(token)}, NAMESPACE)
        return kubeconfig

    def image(self, name: str, content: str) -> str:
        """Makes an image and gives it to the real node; returns its reference."""
        if not self._has_real_node():
            raise LabError("this lab has no real node, so it needs no images; `lab up --real-node` makes one")
        path = self.folder / "tmp" / "image.tar"
        reference = images.archive(path, name, content)
        node.ctr(self.folder, "images", "import", "--no-unpack", str(path))
        path.unlink()
        return reference

    # How it comes up.

    def _has_real_node(self) -> bool:
        return "kubelet" in self.settings()["programs"]

    def _end(self) -> None:
        processes.stop_all(self.folder, last=STORE)
        node.clean(self.folder)

    @property
    def _record(self) -> Path:
        return self.folder / "lab.json"

    def _refuse_foreign(self) -> None:
        """Fails if the folder has things in it that are not a lab's."""
        found = {entry.name for entry in self.folder.iterdir()} if self.folder.exists() else set()
        if not self.exists() and not found <= {"lock", "lab.json.new"}:
            raise LabError(f"{self.folder} is not a lab and has other things in it; a lab needs a folder of its own")

    def _make(self, argocd: str | None, programs: dict[str, str]) -> None:
        if len(os.fsencode(self.folder)) > LONGEST_FOLDER:
            raise LabError(f"{self.folder} is too long a name; a lab's may have {LONGEST_FOLDER} bytes")
        if self.exists():
            made_with = self.settings()["argocd"]
            if argocd not in (None, made_with):
                raise LabError(f"the lab in {self.folder} has Argo CD {made_with}; take it down first")
        else:
            if not programs:
                raise LabError(f"the lab in {self.folder} was taken down meanwhile; run `lab up` again")
            settings = {"argocd": argocd or DEFAULT_ARGOCD, "ports": ports.choose(), "programs": programs}
            credentials.write_private(self._record, json.dumps(settings, indent=2) + "\n")

        for name in ("run", "logs", "tmp", "home"):
            (self.folder / name).mkdir(exist_ok=True)
        certificates = self.folder / "certificates"
        credentials.create(certificates)
        user = {"token": credentials.admin_token(certificates)}
        credentials.write_kubeconfig(self.folder / "kubeconfig", self.server, certificates / "ca.crt", user, NAMESPACE)
        (self.folder / "audit-policy.yaml").write_text(AUDIT_POLICY)
        if self._has_real_node():
            node.configure(self.folder, self.settings()["ports"])
        else:
            (self.folder / "kwok.yaml").write_text(_stages(Path(self.settings()["programs"]["kwok"])))
        self._write_environment()

    def _start_all(self) -> None:
        known = self.components()

        def start(*names: str) -> None:
            for name in names:
                self._start(known[name])

        def ready(*names: str) -> None:
            for name in names:
                self._await(known[name])

        start("etcd", "redis")
        ready("etcd")
        start("kube-apiserver", "argocd-repo-server")
        ready("kube-apiserver")
        start("kube-controller-manager", "kube-scheduler")
        self._prepare_argocd()
        start("argocd-application-controller")
        if self._has_real_node():
            start("containerd")
            ready("containerd")
            self.image(node.PAUSE, "pause")
            start("kubelet")
        else:
            self._prepare_node()
            start("kwok")
        ready(*known)
        self._report("the lab is up")

    def _start(self, component: Component) -> None:
        if processes.running(self.folder, component.name) is None:
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder / "tmp"),
                "LANG": "C.UTF-8",
                **component.environment,
            }
            processes.start(self.folder, component.name, component.argv, environment)

    def _await(self, component: Component) -> None:
        def look() -> bool:
            if processes.running(self.folder, component.name) is None:
                raise LabError(f"it ended; {self._end_of_log(component.name)}")
            return component.ready()

        try:
            wait_for("it did not get ready", look, component.limit)
        except LabError as error:
            raise LabError(f"{component.name}: {error}") from None
        self._report(f"{component.name} ready")

    def _prepare_argocd(self) -> None:
        cluster = self.cluster()
        for definition in sorted(Path(self.settings()["programs"]["argocd"], "crds").glob("*.yaml")):
            cluster.apply_file(definition)
        for manifest in _argocd_manifests():
            cluster.apply(manifest)
        wait_for("the API server to serve Argo CD's resources", lambda: _serves_argocd(cluster), 30)
        cluster.apply(_default_project())
        self._report("Argo CD's resources applied")

    def _prepare_node(self) -> None:
        self.cluster().apply({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": NODE,
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"},
            },
        })  # fmt: skip

    def _node_ready(self) -> bool:
        conditions = self.cluster().get(f"/api/v1/nodes/{NODE}").get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _write_environment(self) -> None:
        settings = self.settings()
        values = {
            "LAB_DIR": self.folder,
            "LAB_ARGOCD": settings["argocd"],
            "LAB_NAMESPACE": NAMESPACE,
            "LAB_NODE": NODE,
            "LAB_SERVER": self.server,
            "LAB_KUBECONFIG": self.folder / "kubeconfig",
            "LAB_AGENT_KUBECONFIG": self.folder / "agent-kubeconfig",
        }
        for name, port in settings["ports"].items():
            values[f"LAB_PORT_{name.upper().replace('-', '_')}"] = port
        text = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())
        credentials.write_private(self.folder / "env", text)

    def _end_of_log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines()[-8:] if path.exists() else []
        return f"the end of {path}:\n" + "\n".join(f"    {line[:300]}" for line in lines)

    def _report(self, what: str) -> None:
        self.tell(f"{time.monotonic() - self._begun:6.1f} s  {what}")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one command works on a lab at a time; others wait for it."""
        path = self.folder / "lock"
        while True:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                file = open(path, "a")
            except FileNotFoundError:
                continue
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever had the lock before may have removed the folder with it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    break
            file.close()
        try:
            yield
        finally:
            file.close()


def _build(argocd: str, real_node: bool) -> dict[str, str]:
    """Builds what is missing; returns the cache folder of each part."""
    argv = [HERE / "build", "--argocd", argocd, *(["--real-node"] if real_node else [])]
    done = subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise LabError("the programs of the lab could not be built")
    programs = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    if argocd == "3.2":
        programs["argocd"] = programs.pop("argocd-3.2")
    return programs


def _stages(kwok: Path) -> str:
    """kwok's configuration: its own stages and those of the lab."""
    documents = []
    for path in sorted((kwok / "stages").glob("*.yaml")):
        text = path.read_text().rstrip() + "\n"
        if path.name in STEERED:
            values = "\n".join(f"      - '{value}'" for value in STEERED[path.name].split())
            requirement = (
                """    - key: '.metadata.annotations["lab.edge-agent.test/pod"]'\n"""
                f"      operator: 'NotIn'\n      values:\n{values}\n"
            )
            if text.count(SELECTOR) != 1:
                raise LabError(f"{path} does not look as expected; the lab has to be adapted to this kwok")
            text = text.replace(SELECTOR, SELECTOR + requirement)
        documents.append(text)
    documents.append((HERE / "stages.yaml").read_text())
    return "---\n".join(documents)


def _argocd_manifests() -> list[dict]:
    labels = {"app.kubernetes.io/part-of": "argocd"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-cm", "namespace": NAMESPACE, "labels": labels},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "argocd-secret", "namespace": NAMESPACE, "labels": labels},
            "stringData": {"server.secretkey": "of-no-use-outside-the-lab"},
        },
    ]


def _default_project() -> dict:
    # Argo CD's API server would make it, and the lab has none.
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    }


def _serves_argocd(cluster: Cluster) -> bool:
    served = cluster.get("/apis/argoproj.io/v1alpha1")["resources"]
    return {"applications", "appprojects"} <= {resource["name"] for resource in served}
