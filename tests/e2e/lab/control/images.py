"""Images for a real node, made here: a busybox and a file, in an OCI archive."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
from pathlib import Path

from .waiting import LabError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(path: Path, name: str, content: str) -> str:
    """Writes an archive with one image at `path`: a static busybox, and `content` in the file /content.
    Returns its reference: `name` if that has a tag, else `name` with the digest, which is the same for
    the same content."""
    blobs: dict[str, bytes] = {}

    def add(data: bytes, media: str) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = _layer(content)
    layer_entry = add(layer, "layer.v1.tar")
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_entry["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add(_json(config), "config.v1+json"),
        "layers": [layer_entry],
    }
    manifest_entry = add(_json(manifest), "manifest.v1+json")
    has_tag = ":" in name.rpartition("/")[2]
    reference = name if has_tag else f"{name}@{manifest_entry['digest']}"
    named = {**manifest_entry, "annotations": {"io.containerd.image.name": reference}}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [named]}),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            _add_file(tar, name, data, 0o644)
    return reference


def _layer(content: str) -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("there is no busybox; install busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_file(tar, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        _add_file(tar, "content", content.encode(), 0o644)
    return buffer.getvalue()


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _json(value: dict) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
