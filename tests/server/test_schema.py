# SPDX-License-Identifier: Apache-2.0
"""/openapi.json says the truth: generated requests meet no 5xx and no answer it does not describe."""

import pytest

pytestmark = pytest.mark.long
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


def test_generated_requests_get_described_answers(serve, tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    server = serve("--max-choices", "2", "--request-timeout", "5")  # a window and no max_tokens: that may have no end
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json", "--max-examples", "320",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
               "--phases", "examples,coverage,fuzzing", "--request-timeout", "300", "--no-color", "--suppress-health-check", "all"]
    done = subprocess.run(command, capture_output=True, timeout=1500, cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()[-8000:]
    assert server.process.poll() is None
