# SPDX-License-Identifier: Apache-2.0
"""The peers' rounds and reports, with made-up engines."""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import peer_engines  # noqa: E402
import peer_report  # noqa: E402
import peers  # noqa: E402


class Engine:
    def __init__(self, name, rates, log):
        self.name, self.rates, self.log = name, iter(rates), log

    def measure(self, prompt, new):
        self.log.append(self.name)
        rate = next(self.rates)
        if rate is None:
            raise peer_engines.Absent("it broke")
        return rate


TESTS = [("prefill 4", 4, 0), ("decode 2 at depth 0", 1, 2)]
VOCABULARY = [(" the", 1), (" of", 2), (" and", 3)]


def test_prompts_in_a_row_begin_differently():
    make = peers.prompts(VOCABULARY)
    assert make(3) == (" of the the", [2, 1, 1]) and make(1) == (" and", [3]) and make(2) == (" of the", [2, 1])


def test_engines_take_turns_and_a_broken_one_is_named():
    log, absent = [], {}
    engines = [Engine("qwin", range(1, 9), log), Engine("other", [5, None], log)]
    samples = peers.measure(engines, absent, TESTS, 3, peers.prompts(VOCABULARY))
    assert log[:4] == ["qwin", "other", "qwin", "other"] and log[4:] == ["qwin"] * 4
    assert samples == {"prefill 4": {"qwin": [1, 3, 5]}, "decode 2 at depth 0": {"qwin": [2, 4, 6]}}
    assert absent == {"other": "it broke"}


REPORT = {
    "machine": {"cpu": "A <CPU>", "isa": "avx512", "threads": 2, "model": "m.gguf", "rounds": 3,
                "int8_gmacs": 460.0, "bf16_gmacs": 230.0, "read_gb_s": 60.0},
    "tests": {"prefill 4": {"qwin": {"median": 30.0, "low": 29.0, "high": 31.0}, "other": {"median": 10.0, "low": 9.0, "high": 12.0}},
              "decode 2 at depth 0": {"qwin": {"median": 4.0, "low": 4.0, "high": 4.0}}},
    "absent": {"third": "not given"},
}


def test_the_table_has_medians_ranges_and_ratios():
    text = peer_report.markdown(REPORT)
    assert "| prefill 4 | 30.0 (29.0 … 31.0) | 10.0 (9.0 … 12.0), qwin ×3.00 |" in text
    assert "| decode 2 at depth 0 | 4.0 (4.0 … 4.0) | – |" in text
    assert "- not measured: third: not given" in text


def test_the_chart_is_well_formed_and_bars_are_in_proportion():
    root = ElementTree.fromstring(peer_report.svg(REPORT))
    bars = [float(rect.get("width")) for rect in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert len(bars) == 3 and bars[0] == pytest.approx(3 * bars[1], rel=0.01)


def test_a_driver_that_fails_tells_why(tmp_path):
    with pytest.raises(peer_engines.Absent, match="No such file|can't open file"):
        peer_engines.Driver("x", tmp_path / "missing.py", sys.executable, "m", 1, 64)


def test_a_driver_answers_with_rates(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(peer_engines.DRIVERS)!r})\nimport driver\n"
                      "driver.serve(lambda model, threads, context: lambda prompt, new: (0.5, 0.25))\n")
    engine = peer_engines.Driver("fake", script, sys.executable, "m", 1, 64)
    prompt = peer_engines.Prompt("abcd", [1] * 4)
    assert engine.measure(prompt, 0) == 8 and engine.measure(prompt, 3) == 12
    engine.close()
