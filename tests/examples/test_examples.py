"""Every example prints what it promises, with each compiler and on both kernels."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import anybpf
from anybpf import Object, toolchain
from anybpf.proto import retvals
from conftest import linux_backend, machine_backend

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXPECTED = {
    "xdp_drop": """\
UDP to port 53: XDP_PASS
UDP to port 80: XDP_PASS
UDP to port 9999: XDP_DROP
dropped: 10 packets, 470 bytes
passed: 20 packets, 940 bytes
""",
    "tc_rewrite": """\
new destination: 192.0.2.7
checksums right: True
""",
    "socket_filter": """\
SYN: 64
SYN+ACK: 0
ACK: 0
UDP: 0
too short: 0
""",
    "tail_calls": """\
IPv4: XDP_PASS
IPv6: XDP_TX
ARP: XDP_DROP
IPv6 without a handler: XDP_DROP
seen: 1 IPv4, 1 IPv6, 2 other
""",
    "ringbuf_events": """\
from 10.0.0.1: protocol 17, 47 bytes
from 10.0.0.9: protocol 6, 54 bytes
trace: packet of 47 bytes
trace: packet of 54 bytes
170 records kept, 30 lost
""",
    "loop": """\
rounds: 152 of 152
0x61 'a': 50 times
0x00 '\\x00': 22 times
0x62 'b': 20 times
""",
}


def run_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python examples/<name>.py` does."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def need_compiler() -> None:
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")


@pytest.mark.parametrize("name", list(EXPECTED))
def test_on_a_machine(name: str, monkeypatch: pytest.MonkeyPatch,
                      capsys: pytest.CaptureFixture[str]) -> None:
    need_compiler()
    machine_backend()
    run_example(name, monkeypatch)
    assert capsys.readouterr().out == EXPECTED[name]


@pytest.mark.kernel
@pytest.mark.parametrize("name", [n for n in EXPECTED if n != "ringbuf_events"])
def test_on_the_running_kernel(name: str, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    """The scripts as they are, with the kernel in place of the Machine; its verifier agrees, too.

    (The trace lines of ringbuf_events are read from a Machine only.)
    """
    need_compiler()
    linux = linux_backend()
    monkeypatch.setattr(anybpf, "Machine", lambda: linux, raising=False)
    run_example(name, monkeypatch)
    assert capsys.readouterr().out == EXPECTED[name]


@pytest.mark.kernel
def test_events_on_the_running_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    need_compiler()
    monkeypatch.syspath_prepend(EXAMPLES)
    packets: Any = runpy.run_path(str(EXAMPLES / "packets.py"))
    with Object.open(EXAMPLES / "ringbuf_events.bpf.c").load(linux_backend()) as obj:
        program = obj.programs["ringbuf_events"]
        result = program.test_run(data=packets["udp"](53))
        assert retvals.name(program.type, result.retval) == "XDP_PASS"
        [event] = obj.maps["events"].records("event")
        assert (event["protocol"], event["length"]) == (17, 47)


def test_core_task_opens(monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    need_compiler()
    run_example("core_task", monkeypatch)
    program, relocations = capsys.readouterr().out.splitlines()
    assert program.startswith("on_exec (tp_btf/sched_process_exec): ")
    assert int(relocations.split()[0]) >= 9


def test_every_example_is_here() -> None:
    assert {p.name.partition(".")[0] for p in EXAMPLES.glob("*.bpf.c")} == {*EXPECTED, "core_task"}
