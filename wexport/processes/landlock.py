"""Processes that can write no file, or make no connection, where the system has the means: Linux's Landlock."""

from __future__ import annotations

import ctypes
import struct
import sys

# From <linux/landlock.h>. What is handled and not allowed by a rule is refused, and there are no rules.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the numbers of the system calls, on every architecture
_VERSION = 1
_WRITE_FILE, _REMOVE_AND_MAKE, _REFER, _TRUNCATE = 1 << 1, 0b1_1111_1111 << 4, 1 << 13, 1 << 14
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_NO_NEW_PRIVILEGES = 38


def forbid_writing() -> bool:
    """From now on, this process opens no file for writing, makes, renames and removes none, and makes no connection.

    Files that are open stay as they are. It holds for the calling thread and for those that it starts, so it is called
    before libraries start theirs. Connections are those of TCP, since version 4 of Landlock (Linux 6.7). Returns
    whether the system does it.
    """
    return _forbid(writing=True)


def forbid_connections() -> bool:
    """From now on, this process makes no connection, and takes none; as `forbid_writing`, but for files."""
    return _forbid(writing=False)


def _forbid(*, writing: bool) -> bool:
    if sys.platform != "linux":
        return False
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < (1 if writing else 4):
        return False
    files = _WRITE_FILE | _REMOVE_AND_MAKE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    files = files if writing else 0
    rules = struct.pack("=QQ", files, _BIND_TCP | _CONNECT_TCP) if version >= 4 else struct.pack("=Q", files)
    ruleset = system.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0 or system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(system.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
