# SPDX-License-Identifier: Apache-2.0
"""`pip install .` into a fresh environment gives the command and the package, of the version the header names."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def environment(root, tmp_path_factory):
    """The bin/ folder of a virtual environment that holds qwin alone."""
    folder = tmp_path_factory.mktemp("wheel") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", root]
    done = subprocess.run(install, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def version(root):
    return re.search(r'kVersion = "([0-9.]+)"', (root / "include" / "qwin" / "version.h").read_text())[1]


def output(folder, *command):
    """What a command prints, run outside the checkout with only its own environment on PATH."""
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.long
def test_the_command_runs(environment, version):
    assert output(environment, "qwin", "--version") == f"qwin {version}"
    assert output(environment, "python", "-m", "qwin", "--version") == f"qwin {version}"


@pytest.mark.long
def test_the_package_knows_its_version_and_its_command(environment, version):
    script = "import qwin; print(qwin.__version__); print(qwin.binary_path())"
    assert output(environment, "python", "-c", script).splitlines() == [version, str((environment / "qwin").resolve())]
