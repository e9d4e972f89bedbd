#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file includes a room that no arrow leads to, or when CMake draws other arrows than the table below.

An include is checked against the arrows of its own room alone: what a room reaches through another one it must not
name, since each room has a vocabulary of its own.
"""

import re
import sys
from pathlib import Path

# Room -> the rooms it may include. docs/architecture.md says why; src/ROOM/CMakeLists.txt must list the same ones.
ARROWS = {
    "core": [],
    "io": ["core"],
    "quant": ["core"],
    "tokenizer": ["core", "io"],
    "chat": ["core", "io"],
    "hub": ["core", "io"],
    "kernels": ["core", "quant"],
    "ops": ["core", "quant", "kernels"],
    "kv_cache": ["core"],
    "kv_store": ["core", "kv_cache", "ops"],
    "scheduler": ["core", "kv_cache"],
    "model": ["core", "io", "quant", "ops"],
    "sampling": ["core"],
    "runner": ["core", "io", "model", "ops", "kv_store"],
    "bench": ["core", "io", "tokenizer", "kernels", "ops", "model", "runner"],
    "compress": ["core", "io", "tokenizer", "sampling", "quant", "kernels", "ops", "model", "runner", "eval"],
    "engine": ["core", "io", "tokenizer", "chat", "sampling", "kv_cache", "scheduler", "ops", "kv_store", "model", "runner"],
    "document": ["core", "tokenizer", "hub"],
    "eval": ["sampling", "engine"],
    "server": ["core"],
    "cli": ["core", "io", "model", "tokenizer", "chat", "sampling", "engine", "document", "eval", "bench", "compress", "hub", "server"],
}

# Files compiled for one instruction set: an inline function shared with another file would be kept once by the linker,
# perhaps in the form that this processor cannot run.
ISA_FOLDERS = {"kernels/x86": {"immintrin.h"}, "kernels/arm": {"arm_neon.h", "arm_sve.h"}}
PLAIN_HEADERS = {"stdint.h", "stddef.h", "string.h", "cstdint", "cstddef", "cstring"}
# The specification the others are compared with is plain C++: no intrinsics.
REFERENCE_FOLDER = "kernels/reference"
INTRINSICS = re.compile(r"\w*intrin\.h|arm_\w+\.h")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".cc", ".cuh", ".cu", ".inc"}


def includes(path):
    """(line number, "<" or '"', name) of every include of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = ((number, INCLUDE.match(line)) for number, line in enumerate(lines, 1))
    return [(number, match[1], match[2]) for number, match in found if match]


def check_isa_file(folder, bracket, name):
    """The complaint about one include of a file compiled for one instruction set, or None."""
    allowed = PLAIN_HEADERS | ISA_FOLDERS[folder]
    if bracket == "<" and name in allowed or bracket == '"' and name.startswith("kernels/"):
        return None
    return f"{folder} may include only kernels/ and <{'> <'.join(sorted(allowed))}>"


def check_room_file(room, arrows, bracket, name):
    """The complaint about one include of an ordinary file of a room, or None."""
    if bracket == "<":
        return None
    first = name.split("/")[0] if "/" in name else None
    allowed = {room, "qwin", *arrows[room]}
    if first in allowed:
        return None
    if first is None or first not in arrows:
        return f'write it from src/ or include/: "{room}/{name}"'
    return f"{room} may include only {' '.join(sorted(allowed))}"


def check_sources(root, arrows):
    """Complaints about the files of src/, include/qwin and python/src."""
    complaints = []

    def complain(path, number, name, why):
        if why:
            complaints.append(f"{path.relative_to(root)}:{number}: includes {name}: {why}")

    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in SOURCES:
            continue
        relative = path.relative_to(root / "src").as_posix()
        room, folder = relative.split("/")[0], "/".join(relative.split("/")[:2])
        if room not in arrows:
            complaints.append(f"src/{relative}:1: no room '{room}' in the table of tools/check_includes.py")
            continue
        for number, bracket, name in includes(path):
            if folder in ISA_FOLDERS:
                complain(path, number, name, check_isa_file(folder, bracket, name))
            elif folder == REFERENCE_FOLDER and INTRINSICS.fullmatch(name):
                complain(path, number, name, f"{folder} is plain C++, without intrinsics")
            else:
                complain(path, number, name, check_room_file(room, arrows, bracket, name))
    for path in sorted((root / "include").rglob("*.h")):
        for number, bracket, name in includes(path):
            if bracket == '"' and not name.startswith("qwin/"):
                complain(path, number, name, "a public header may include only qwin/ and the standard library")
    for path in sorted((root / "python" / "src").glob("*")):
        for number, bracket, name in includes(path):
            if bracket == '"' and "/" in name and not name.startswith("qwin/"):
                complain(path, number, name, "the extension may include only qwin/ and its own headers")
    return complaints


def cmake_rooms(text):
    """The ROOMS of the qwin_room(...) call of a CMakeLists.txt, or None when it has no such call."""
    call = re.search(r"qwin_room\(\s*(\w+)([^)]*)\)", text)
    if not call:
        return None
    words, rooms, keyword = call[2].split(), [], None
    for word in words:
        if word in ("ROOMS", "LIBRARIES"):
            keyword = word
        elif keyword == "ROOMS":
            rooms.append(word)
    return rooms


def check_cmake(root, arrows):
    """Complaints where CMake and the table disagree."""
    complaints = []
    for path in sorted((root / "src").glob("*/CMakeLists.txt")):
        room = path.parent.name
        linked = cmake_rooms(path.read_text(encoding="utf-8"))
        if linked is None or room not in arrows:
            complaints.append(f"src/{room}/CMakeLists.txt:1: no qwin_room() call, or no '{room}' in the table")
        elif sorted(linked) != sorted(arrows[room]):
            complaints.append(
                f"src/{room}/CMakeLists.txt:1: ROOMS {' '.join(linked) or '(none)'}, "
                f"but tools/check_includes.py draws {' '.join(arrows[room]) or '(none)'}"
            )
    built = {path.parent.name for path in (root / "src").glob("*/CMakeLists.txt")}
    complaints += [f"tools/check_includes.py:1: no src/{room}/CMakeLists.txt" for room in arrows if room not in built]
    return complaints


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    complaints = check_sources(root, ARROWS) + check_cmake(root, ARROWS)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"check_includes: {len(ARROWS)} rooms, {len(complaints)} wrong includes or arrows")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
