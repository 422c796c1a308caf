"""What a process does so that what visitors give it stays in its memory."""

from __future__ import annotations

import ctypes
import os
import resource

from vivant.errors import VivantError

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


class PrivacyError(VivantError):
    """A protection of visitors' photos that this system refuses."""


def forbid_dumps() -> None:
    """Keep memory out of core dumps, and away from other processes of the same user.

    The limit alone is not enough: the kernel pipes a core to a collector whatever the limit is.

    Raises:
        PrivacyError: the kernel refused.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        reason = os.strerror(ctypes.get_errno())
        raise PrivacyError(
            f"core dumps: cannot be forbidden ({reason}); allow prctl to this process"
        )


def give_memory_back() -> None:
    """Give the kernel what was freed, which empties it; takes some milliseconds.

    Left to itself, glibc keeps it for later use, with what was in it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none, and keeps little
        trim(0)
