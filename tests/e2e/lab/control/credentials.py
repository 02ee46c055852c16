"""Keys, certificates, tokens and kubeconfig files of a lab."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from pathlib import Path

from .waiting import LabError

DAYS = 3650

SERVER_EXTENSIONS = """\
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost, DNS:kubernetes.default.svc
"""


def create(folder: Path) -> None:
    """Makes what is not there yet in `folder`: a CA, the API server's certificate, the key that signs
    the tokens of service accounts, and the administrator's token."""
    folder.mkdir(exist_ok=True)
    if (folder / "tokens.csv").exists():
        return
    for key in ("ca", "server", "accounts"):
        _openssl(folder, f"ecparam -name prime256v1 -genkey -noout -out {key}.key")
    _openssl(folder, "ec -in accounts.key -pubout -out accounts.pub")
    _openssl(
        folder,
        f"req -x509 -new -key ca.key -subj /CN=edge-agent-lab -days {DAYS}"
        " -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt",
    )
    (folder / "server.extensions").write_text(SERVER_EXTENSIONS)
    _openssl(folder, "req -new -key server.key -subj /CN=kube-apiserver -out server.csr")
    _openssl(
        folder,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial"
        f" -days {DAYS} -extfile server.extensions -out server.crt",
    )
    # Last, since its presence says that the rest is there.
    write_private(folder / "tokens.csv", f'{secrets.token_hex(24)},admin,admin,"system:masters"\n')


def admin_token(folder: Path) -> str:
    return (folder / "tokens.csv").read_text().split(",", 1)[0]


def write_kubeconfig(path: Path, server: str, authority: Path, user: dict[str, str], namespace: str) -> None:
    """Writes a kubeconfig with one context; `user` is its way to authenticate, by kubeconfig field."""
    certificate = base64.b64encode(authority.read_bytes()).decode()
    fields = "\n".join(f'      {field}: "{value}"' for field, value in user.items())
    text = f"""\
apiVersion: v1
kind: Config
current-context: lab
clusters:
  - name: lab
    cluster:
      server: {server}
      certificate-authority-data: {certificate}
users:
  - name: lab
    user:
{fields}
contexts:
  - name: lab
    context:
      cluster: lab
      user: lab
      namespace: {namespace}
"""
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Replaces a file by one that only its owner can read; nobody sees half of it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _openssl(folder: Path, arguments: str) -> None:
    command = ["openssl", *arguments.split()]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise LabError("openssl is missing; run the lab's build script as root, or install it") from None
    if done.returncode != 0:
        raise LabError(f"'{' '.join(command)}' failed in {folder}: {done.stderr.strip()}")
