"""Errors for people, and waiting with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Seconds between two looks at something that is waited for.
PAUSE = 0.05


class LabError(Exception):
    """Something went wrong; the message says what, where and what to do about it."""


def wait_for(what: str, look: Callable[[], Found], limit: float) -> Found:
    """Looks until `look` returns something true, and returns that.

    An `OSError` (nobody listens yet, an answer that is an error) counts as "not yet"; a `LabError`
    ends the waiting. After `limit` seconds it is a `LabError` that tells the last thing seen.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            found = look()
            seen = f"the last look showed {found!r}"
        except OSError as error:
            found, seen = None, f"the last look failed: {error}"
        if found:
            return found
        if time.monotonic() >= deadline:
            raise LabError(f"{what}: not within {limit:g} s; {seen}")
        time.sleep(PAUSE)
