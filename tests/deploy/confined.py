#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs $CONFINED_BINARY with these arguments as deploy/systemd/qwin.service confines it: the unit's SystemCallFilter by
seccomp, its folders by Landlock ($CONFINED_FOLDERS, separated by colons, may be written; the system may be read)."""

import ctypes
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).resolve().parents[2] / "deploy/systemd/qwin.service"
READABLE = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev")

libc = ctypes.CDLL(None, use_errno=True)
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
ALL_OF_FILES = (1 << 15) - 1  # every access of Landlock's ABI 3
READ, EXECUTE, READ_DIR = 1 << 2, 1 << 0, 1 << 3
OF_ONE_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # execute, write, read, truncate


def check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def restrict_files(readable, writable):
    attributes = struct.pack("=Q", ALL_OF_FILES)
    ruleset = check(libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    for paths, access in ((readable, READ | EXECUTE | READ_DIR), (writable, ALL_OF_FILES)):
        for path in paths:
            if not os.path.exists(path):
                continue
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = access if os.path.isdir(path) else access & OF_ONE_FILE
            check(libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, folder), 0), f"landlock_add_rule {path}")
            os.close(folder)
    check(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")


def calls_of(group):
    """The system calls of a group as systemd knows it."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True).stdout
    names = set()
    for word in (line.split("#")[0].strip() for line in text.splitlines()[1:]):
        names |= calls_of(word) if word.startswith("@") else {word} if word else set()
    return names


def allowed_calls():
    """Of the unit's SystemCallFilter lines: groups, and with ~ those taken away again."""
    allowed = calls_of("@default")
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            for group in words.lstrip("~").split():
                allowed = allowed - calls_of(group) if words.startswith("~") else allowed | calls_of(group)
    return allowed


def restrict_calls(names):
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    context = ctypes.c_void_p(seccomp.seccomp_init(refuse))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # negative: not of this architecture
            assert seccomp.seccomp_rule_add(context, allow, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    binary = os.environ["CONFINED_BINARY"]
    names = allowed_calls()
    check(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    restrict_files([*READABLE, binary, *sys.argv[2:3]], os.environ["CONFINED_FOLDERS"].split(":"))
    restrict_calls(names)
    os.execv(binary, [binary, *sys.argv[1:]])
