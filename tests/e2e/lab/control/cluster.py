"""A small client of the Kubernetes API."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .waiting import LabError

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

# Seconds for one request.
REQUEST_LIMIT = 10.0


class Refused(OSError):
    """The API server answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(f"{status}: {message}")
        self.status = status


class Cluster:
    """The API server at `server`, asked as whoever the token stands for."""

    def __init__(self, server: str, authority: Path, token: str):
        self.server = server
        self._token = token
        self._opener = direct_opener(ssl.create_default_context(cafile=str(authority)))

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One request; returns the answer, decoded if it is JSON. Raises `Refused` or `OSError`.

        A body that is a string is sent as it is, anything else as JSON.
        """
        data = None
        if body is not None:
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
        request = urllib.request.Request(self.server + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        if data is not None:
            request.add_header("Content-Type", content)
        try:
            with self._opener.open(request, timeout=REQUEST_LIMIT) as answer:
                text = answer.read().decode()
                is_json = answer.headers.get_content_type() == "application/json"
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _message(error)) from None
        return json.loads(text) if is_json else text

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def merge(self, path: str, patch: Any) -> Any:
        return self.request("PATCH", path, patch, MERGE)

    def apply(self, manifest: Any) -> Any:
        """Applies one object on the server's side: a dictionary, or the text of one YAML document."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest, indent=2)
        heading = manifest if isinstance(manifest, dict) else _heading(text)
        return self.request("PATCH", self._path(heading) + "?fieldManager=edge-agent-lab&force=true", text, APPLY)

    def apply_file(self, path: Path) -> None:
        """Applies each document of a YAML file."""
        for document in re.split(r"(?m)^---\s*$", path.read_text()):
            if re.search(r"(?m)^kind:", document):
                self.apply(document)

    def _path(self, heading: dict) -> str:
        version = heading["apiVersion"]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        kind, metadata = heading["kind"], heading["metadata"]
        for resource in self.get(prefix)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                break
        else:
            raise LabError(f"the API server knows no {kind} in {version}")
        if resource["namespaced"]:
            prefix += f"/namespaces/{metadata.get('namespace') or 'default'}"
        return f"{prefix}/{resource['name']}/{urllib.parse.quote(metadata['name'])}"


def direct_opener(tls: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Opens URLs on this machine: never through a proxy that the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))


def _heading(document: str) -> dict:
    """What an object is and what it is called, read from its YAML.

    Python has no YAML in its standard library. This reads block style with two spaces, which is how
    the manifests of this project and the CRDs of Argo CD are written.
    """
    found = dict(re.findall(r"(?m)^(apiVersion|kind):[ \t]*[\"']?([^\s\"']+)", document))
    block = re.search(r"(?m)^metadata:[ \t]*\n((?:[ \t]+.*\n?|\n)+)", document)
    names = re.findall(r"(?m)^  (name|namespace):[ \t]*[\"']?([^\s\"']+)", block.group(1) if block else "")
    heading = {**found, "metadata": dict(names)}
    if "apiVersion" not in found or "kind" not in found or "name" not in heading["metadata"]:
        raise LabError(f"cannot read what this object is:\n{document[:400]}")
    return heading


def _message(error: urllib.error.HTTPError) -> str:
    text = error.read(10_000).decode(errors="replace")
    try:
        return json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return text.strip() or error.reason
