# SPDX-License-Identifier: Apache-2.0
"""tools/check_includes.py: which includes and which arrows it lets through."""

import pytest

ARROWS = {"core": [], "quant": ["core"], "kernels": ["core", "quant"]}


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("check_includes")


@pytest.mark.parametrize(
    "name, line",
    [
        ("src/core/a.cc", '#include "core/b.h"'),
        ("src/core/a.cc", '#include "qwin/error.h"'),
        ("src/quant/a.cc", "#  include <vector>"),
        ("src/kernels/a.cc", '#include "quant/q4.h"'),
        ("src/kernels/x86/gemm_avx2.cc", "#include <immintrin.h>"),
        ("src/kernels/x86/gemm_avx2.cc", '#include "kernels/cpu_kernels.h"'),
        ("src/kernels/arm/gemm_neon.cc", "#include <arm_neon.h>"),
        ("src/kernels/reference/norm.cc", "#include <algorithm>"),
        ("src/kernels/reference/norm.cc", '#include "core/half.h"'),
        ("include/qwin/engine.h", '#include "qwin/error.h"'),
        ("src/core/a.cc", '// #include "quant/q4.h"'),
    ],
)
def test_lets_through_what_is_drawn(tool, write_tree, name, line):
    assert tool.check_sources(write_tree({name: line + "\n"}), ARROWS) == []


@pytest.mark.parametrize(
    "name, line",
    [
        ("src/core/a.cc", '#include "quant/q4.h"'),
        ("src/quant/a.h", '#include "kernels/cpu_kernels.h"'),
        ("src/quant/a.h", '#include "q4.h"'),
        ("src/quant/a.h", '#include "../core/b.h"'),
        ("src/nowhere/a.cc", "int x;"),
        ("src/kernels/x86/gemm_avx2.cc", "#include <vector>"),
        ("src/kernels/x86/gemm_avx2.cc", "#include <cmath>"),
        ("src/kernels/x86/gemm_avx2.cc", '#include "core/half.h"'),
        ("src/kernels/arm/gemm_neon.cc", "#include <immintrin.h>"),
        ("src/kernels/reference/norm.cc", "#include <immintrin.h>"),
        ("include/qwin/engine.h", '#include "core/check.h"'),
    ],
)
def test_refuses_what_is_not_drawn(tool, write_tree, name, line):
    complaints = tool.check_sources(write_tree({name: "// first line\n" + line + "\n"}), ARROWS)
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{name}:{1 if 'nowhere' in name else 2}: ")


def test_a_complaint_names_the_allowed_rooms(tool, write_tree):
    complaints = tool.check_sources(write_tree({"src/quant/a.cc": '#include "kernels/k.h"\n'}), ARROWS)
    assert complaints == ["src/quant/a.cc:1: includes kernels/k.h: quant may include only core quant qwin"]


def test_reads_the_rooms_of_a_cmake_call(tool):
    assert tool.cmake_rooms("qwin_room(a ROOMS b c LIBRARIES X::y)\n") == ["b", "c"]
    assert tool.cmake_rooms("qwin_room(a LIBRARIES X::y\n  ROOMS b)") == ["b"]
    assert tool.cmake_rooms("qwin_room(core)") == []
    assert tool.cmake_rooms("add_library(a)") is None


def test_complains_when_cmake_and_the_table_differ(tool, write_tree):
    tree = write_tree(
        {
            "src/core/CMakeLists.txt": "qwin_room(core)\n",
            "src/quant/CMakeLists.txt": "qwin_room(quant ROOMS core kernels)\n",
            "src/extra/CMakeLists.txt": "qwin_room(extra)\n",
        }
    )
    complaints = tool.check_cmake(tree, ARROWS)
    assert [line.split(":")[0] for line in complaints] == [
        "src/extra/CMakeLists.txt",
        "src/quant/CMakeLists.txt",
        "tools/check_includes.py",
    ]


def test_the_arrows_form_no_circle(tool):
    done = set()
    while len(done) < len(tool.ARROWS):
        ready = {room for room, arrows in tool.ARROWS.items() if done >= set(arrows)} - done
        assert ready, f"a circle among {set(tool.ARROWS) - done}"
        done |= ready
