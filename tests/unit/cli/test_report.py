"""What a person sees of a run."""

from __future__ import annotations

from typing import Any

from anybpf.cli import report

RUN: dict[str, Any] = {
    "program": "fw", "retval": 1, "verdict": "XDP_DROP", "duration_ns": 42,
    "data_in": "00", "data_out": "00", "trace": ["hello"], "maps": {},
}


def test_result_and_trace() -> None:
    assert report.text(RUN).splitlines() == [
        "fw: returned 1 (XDP_DROP) in 42 ns", "trace: hello"]


def test_changed_packet_is_dumped() -> None:
    lines = report.text(RUN | {"data_out": b"abc\x00".hex()}).splitlines()
    assert lines[1] == "packet changed, 1 -> 4 bytes:"
    assert lines[2].split() == ["0000", "61", "62", "63", "00", "abc."]


def test_long_dump_says_what_is_left() -> None:
    assert report.text(RUN | {"data_out": bytes(300).hex()}).splitlines()[-2] == (
        "  ... 44 more bytes")


def test_maps() -> None:
    entries = [{"key": i, "value": {"a": [i, 2]}} for i in range(18)]
    lines = report.text(RUN | {"maps": {"m": entries, "empty": []}}).splitlines()
    assert lines[2:4] == ["map m:", "  0: {a [0, 2]}"]
    assert lines[-1] == "  ... 2 more"


def test_table() -> None:
    replay = {"program": "fw", "packets": 4, "seconds": 2.0, "trace": [], "maps": {},
              "verdicts": [{"verdict": "XDP_PASS", "packets": 3, "bytes": 300},
                           {"verdict": "XDP_DROP", "packets": 1, "bytes": 60}]}
    lines = report.text(replay).splitlines()
    assert lines[0] == "4 packets through fw in 2.000 s (2 packets/s)"
    assert lines[2].split() == ["XDP_PASS", "3", "75.0%", "300"]


def test_per_cpu_values_show_the_cpus_that_have_some() -> None:
    values = [{"cpu": i, "value": {"n": n}} for i, n in enumerate((0, 5, 0))]
    zero = [{"cpu": 0, "value": 0}, {"cpu": 1, "value": "00"}]
    entries = [{"key": 1, "values": values}, {"key": 2, "values": zero}]
    lines = report.text(RUN | {"maps": {"m": entries}}).splitlines()
    assert lines[3:] == ["  1: cpu1 {n 5}", "  2: zero on all 2 CPUs"]


def test_long_traces_are_cut() -> None:
    lines = report.text(RUN | {"trace": ["x"] * 20}).splitlines()
    assert lines[-1] == "trace: ... 4 more lines"
