# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/ against the binary they are for: its flags, its metrics, its libraries, the folders it needs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONFINED = ROOT / "tests/deploy/confined.py"
sys.path.insert(0, str(ROOT / "tests/server"))
from serve_process import BINARY, Served  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("home"), ROOT / "tests/testdata/tiny/qwen2_tied", "--config", DEPLOY / "qwin.toml", "--port", "0")
    yield served
    assert served.stop() == 0


def test_the_configuration_is_taken(server):
    assert server.ask("/v1/models")[2]["data"][0]["id"] == "qwen2.5-coder"


def commands():
    """file -> the part of it that speaks to qwin."""
    docker = (DEPLOY / "docker/Dockerfile").read_text().splitlines()
    yield "Dockerfile", "\n".join(line for line in docker if line.startswith(("ENV", "CMD", "ENTRYPOINT")))
    for name in ("systemd/qwin.service", "kubernetes/qwin.yaml", "pai-eas/service.json"):
        lines = (DEPLOY / name).read_text().splitlines()
        yield name, "\n".join(line for line in lines if not line.startswith("#"))


def test_every_flag_and_variable_is_one_of_serve():
    help_text = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"--[a-z][a-z-]+", help_text))
    for name, text in commands():
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        named |= {"--" + v.lower().replace("_", "-") for v in re.findall(r"QWIN_(\w+)", text) if v not in ("HOME", "API_KEY")}
        assert named and named <= known, f"{name}: {named - known}"


def test_every_metric_is_served(server):
    server.ask("/v1/completions", {"prompt": "a", "max_tokens": 2, "ignore_eos": True})
    served = set(re.findall(r"^# TYPE (\w+)", server.ask("/metrics")[2], re.MULTILINE))
    for path in (DEPLOY / "monitoring").iterdir():
        if path.suffix == ".yml" and "rules" not in path.name:
            continue
        named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"qwin_[a-z_]+(?=[\[\s\"]|$)", path.read_text(), re.M)}
        assert named and named <= served, f"{path.name}: {named - served}"


def test_the_dashboard_is_whole():
    board = json.loads((DEPLOY / "monitoring/grafana_qwin.json").read_text())
    assert board["schemaVersion"] >= 36 and len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(cells)) == len(cells)
    assert all(target["expr"] and panel["title"] for panel in board["panels"] for target in panel["targets"])


def test_kubernetes_objects_fit_together():
    yaml = pytest.importorskip("yaml")
    found = {item["kind"]: item for item in yaml.safe_load_all((DEPLOY / "kubernetes/qwin.yaml").read_text())}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels == found["Service"]["spec"]["selector"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["initContainers"] + pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["securityContext"]["readOnlyRootFilesystem"] and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}
    probes = {name: pod["containers"][0][name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert [probe["path"] for probe in probes.values()] == ["/readyz", "/readyz", "/livez"]
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    assert {probe["port"] for probe in probes.values()} | {found["Service"]["spec"]["ports"][0]["targetPort"]} <= ports
    assert pod["terminationGracePeriodSeconds"] > 31  # the drain, and a second
    assert found["PersistentVolumeClaim"]["metadata"]["name"] in {v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}


def test_pai_eas_service_asks_for_the_right_port():
    service = json.loads((DEPLOY / "pai-eas/service.json").read_text())
    container = service["containers"][0]
    checks = [container[name]["http_get"] for name in ("startup_check", "readiness_check", "liveness_check")]
    assert {check["port"] for check in checks} == {container["port"]}
    assert re.fullmatch(r"[a-z0-9_]{3,63}", service["metadata"]["name"])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_is_sound_and_confined(tmp_path):
    unit = tmp_path / "qwin.service"
    unit.write_text((DEPLOY / "systemd/qwin.service").read_text().replace("/usr/local/bin/qwin", BINARY))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "qwin.service" not in done.stderr, done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", str(unit)], capture_output=True, text=True, timeout=60)
    exposure = re.search(r"exposure level for qwin\.service: ([\d.]+)", done.stdout)
    assert exposure and float(exposure[1]) < 2, done.stdout[-400:]


@pytest.mark.skipif(not shutil.which("dpkg"), reason="this is no Debian system")
def test_the_image_has_the_libraries_that_the_binary_needs():
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", subprocess.run(["readelf", "-d", BINARY], capture_output=True, text=True).stdout)
    text = (DEPLOY / "docker/Dockerfile").read_text()
    for library in needed:
        owners = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True).stdout
        packages = {line.split(":")[0] for line in owners.splitlines()}
        base = any(p.startswith(("libc6", "libgcc-s", "libstdc++", "lib32")) for p in packages)
        assert base or any(p in text for p in packages), f"{library} of {packages}"


@pytest.mark.long
@pytest.mark.parametrize("tool, path", [("hadolint", "docker/Dockerfile"), ("kubernetes-validate", "kubernetes/qwin.yaml")])
def test_its_own_checker_has_no_complaint(tool, path):
    checker = Path(sys.executable).parent / tool
    if not checker.exists():
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([checker, DEPLOY / path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def confined(tmp_path):
    """Runs a program as the unit confines the server; only tmp_path/own may be written."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / "own").mkdir()
    (tmp_path / "else").write_text("another's")

    def run(program, *arguments, **options):
        environment = {**os.environ, "CONFINED_BINARY": str(program), "CONFINED_FOLDERS": f"{tmp_path / 'own'}:/dev/null"}
        return subprocess.run([CONFINED, *map(str, arguments)], capture_output=True, text=True, env=environment, **options)

    probe = run("/bin/true")
    if "landlock" in probe.stderr or "libseccomp" in probe.stderr:
        pytest.skip(probe.stderr.splitlines()[-1])
    assert probe.returncode == 0, probe.stderr
    return run


def test_the_confinement_confines(confined, tmp_path):
    assert confined("/bin/sh", "-c", f"echo ours > {tmp_path}/own/x").returncode == 0
    assert "denied" in confined("/bin/sh", "-c", f"cat {tmp_path}/else").stderr
    assert "denied" in confined("/bin/sh", "-c", f"echo > {tmp_path}/x").stderr
    assert "not permitted" in confined("/bin/sh", "-c", "unshare --mount true").stderr


@pytest.mark.long
def test_all_of_the_server_works_inside_the_units_confinement(confined, tmp_path):
    """Its seccomp filter and, by Landlock, its folders around every server that the suite starts."""
    environment = {**os.environ, "QWIN_BINARY": str(CONFINED), "CONFINED_BINARY": BINARY, "CONFINED_FOLDERS": f"{tmp_path / 'own'}:/dev/null"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "not long", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'own/tests'}",
                           # These look at the binary itself, and want shared memory for a library of their own.
                           "--deselect", "tests/server/test_faults.py::test_the_binary_is_hardened",
                           "--deselect", "tests/server/test_faults.py::test_a_clock_that_is_set_ends_nothing", "tests/server"],
                          capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:]
