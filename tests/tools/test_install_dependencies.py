# SPDX-License-Identifier: Apache-2.0
"""tools/install_dependencies.sh against stand-ins for dpkg-query, id and apt-get: nothing is installed."""

import os
import subprocess

import pytest


@pytest.fixture
def run(root, tmp_path):
    """run(groups, installed=…, uid=…) -> (the finished process, the apt-get calls it made)."""

    def execute(*groups, installed=(), uid=0, apt_get=""):
        calls = tmp_path / "apt-get-calls"
        scripts = {
            "dpkg-query": "\n".join(
                ["name=${@: -1}"] + [f'if [ "$name" = {package} ]; then echo "ii "; exit; fi' for package in installed]
            )
            + "\nexit 1",
            "id": f"echo {uid}",
            "apt-get": f'echo "$@" >> {calls}; {apt_get}',
        }
        for name, text in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
            (tmp_path / name).chmod(0o755)
        done = subprocess.run(
            [root / "tools" / "install_dependencies.sh", *groups],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return done, calls.read_text().splitlines() if calls.exists() else []

    return execute


def test_does_nothing_when_all_are_there(run):
    done, calls = run("test", installed=["libgtest-dev", "libgmock-dev"])
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])


def test_root_installs_only_what_is_missing(run):
    done, calls = run("test", installed=["libgtest-dev"])
    assert done.returncode == 0
    assert len(calls) == 2
    assert calls[0].endswith("update")
    assert calls[1].endswith("install -y --no-install-recommends libgmock-dev")


def test_others_are_told_the_packages_and_the_command(run):
    done, calls = run("test", uid=1000)
    assert done.returncode == 1
    assert calls == []
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends libgtest-dev libgmock-dev" in done.stderr


def test_check_only_tells(run):
    done, calls = run("--check", "test", installed=["libgmock-dev"])
    assert done.returncode == 1
    assert calls == []
    assert "  apt-get update && apt-get install --no-install-recommends libgtest-dev\n" in done.stderr


def test_what_apt_get_says_is_shown_when_it_fails(run):
    done, _ = run("test", apt_get="echo 'E: no network'; exit 100")
    assert done.returncode == 1
    assert "E: no network" in done.stderr
    assert "libgtest-dev libgmock-dev" in done.stderr


def test_an_unknown_group_is_a_mistake(run):
    done, calls = run("nonsense")
    assert done.returncode == 2
    assert "no group 'nonsense'" in done.stderr
    assert calls == []
