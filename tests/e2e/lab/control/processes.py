"""The processes of a lab: started each in its own group, found again, and ended.

A process belongs to a lab if its environment names the lab's folder. Children inherit that, also
those that change their process group, and a reused process id does not have it. The pid files only
tell which process is which component.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .waiting import PAUSE, LabError

MARK = "EDGE_AGENT_LAB_MEMBER"

# Seconds that processes have to end by themselves before they are killed.
GRACE = 5.0

# The shell notes its own process id before it becomes the component, so that the note is there even
# if whoever started it is killed at the same moment.
NOTE_AND_RUN = 'note=$1; shift; echo $$ >"$note.new" && mv "$note.new" "$note" && exec "$@"'


def start(folder: Path, name: str, argv: list[str], environment: dict[str, str]) -> int:
    """Starts component `name` of the lab in `folder`; returns its process id, also its group's."""
    with open(folder / "logs" / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", NOTE_AND_RUN, "sh", str(_note(folder, name)), *argv],
            env={**environment, MARK: str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + GRACE
    while _noted(folder, name) != process.pid:
        if process.poll() is not None or time.monotonic() >= deadline:
            raise LabError(f"{name} could not be started; see {folder / 'logs'}")
        time.sleep(0.005)
    return process.pid


def running(folder: Path, name: str) -> int | None:
    """The process id of component `name`, or None if it does not run."""
    pid = _noted(folder, name)
    if pid is None:
        return None
    if not _is_member(pid, folder):
        # While a process becomes another program its environment looks empty for an instant.
        time.sleep(0.01)
        if not _is_member(pid, folder):
            return None
    return pid


def members(folder: Path) -> list[int]:
    """All processes of the lab in `folder`, children of its components included."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if _is_member(pid, folder)]


def stop_component(folder: Path, name: str, now: bool) -> None:
    """Ends component `name`, with its process group; `now` kills it at once."""
    pid = running(folder, name)
    if pid is None:
        return
    if not now:
        _signal_group(pid, signal.SIGTERM)
    if now or not _gone(lambda: running(folder, name) is None):
        _signal_group(pid, signal.SIGKILL)
        if not _gone(lambda: running(folder, name) is None):
            raise LabError(f"{name} (process {pid}) does not end, not even when killed")
    _note(folder, name).unlink(missing_ok=True)


def stop_all(folder: Path, last: str) -> None:
    """Ends every process of the lab in `folder`, component `last` after the others."""
    kept = running(folder, last)
    _signal_each([pid for pid in members(folder) if pid != kept], signal.SIGTERM)
    _gone(lambda: set(members(folder)) <= {kept})
    _signal_each(members(folder), signal.SIGTERM)
    ended = _gone(lambda: not members(folder))
    # Again and again: what is asked to end may still start a child.
    if not ended and not _gone(lambda: not _signal_each(members(folder), signal.SIGKILL)):
        raise LabError(f"these processes do not end, not even when killed: {members(folder)}")
    for note in (folder / "run").glob("*.pid"):
        note.unlink(missing_ok=True)


def resident_bytes(pid: int) -> int:
    """The memory that a process has resident; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _note(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.pid"


def _noted(folder: Path, name: str) -> int | None:
    try:
        return int(_note(folder, name).read_text())
    except (OSError, ValueError):
        return None


def _is_member(pid: int, folder: Path) -> bool:
    # A zombie has an empty environment: it has ended, and only its parent can remove it.
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={folder}".encode() in environment.split(b"\0")


def _signal_each(pids: list[int], number: int) -> list[int]:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    return pids


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _gone(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GRACE
    while not look():
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True
