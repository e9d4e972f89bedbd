# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from serve_process import TINY, Served  # noqa: E402


@pytest.fixture
def serve(tmp_path):
    """serve("--flag", …) -> a Served; stopped at the end of the test."""
    started = []

    def start(*arguments, model=TINY, env=None):
        started.append(Served(tmp_path, model, *arguments, env=env))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for the tests that change nothing in it."""
    served = Served(tmp_path_factory.mktemp("home"))
    yield served
    assert served.stop() == 0, "".join(served.log)
