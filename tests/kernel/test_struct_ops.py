"""struct_ops programs: every member, argument, field and call, by the whole log.

Every so many programs are tried; `ANYBPF_SWEEP=N` tries N times as many, `ANYBPF_SWEEP=10000` all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from anybpf import uapi, veristat
from anybpf.libbpf import Object
from anybpf.libbpf.object import file_bytes
from kernel.both_verifiers import Both
from kernel.struct_ops_programs import arguments, calls, fields, registered
from kernel.sweeps import Maps, Program, differences
from kernel.verdicts import LINUX, kernel_btf, refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: sweep -> how many programs go by for one that is tried
SWEEPS: dict[Callable[[Maps], Iterator[Program]], int] = {arguments: 7, fields: 223, calls: 199}


OBJECTS = Path(__file__).resolve().parents[1] / "objects"
#: our own objects -> the struct that their programs are for
OURS = {"congestion": "tcp_congestion_ops", "qdisc": "Qdisc_ops", "schedulers": "sched_ext_ops"}
#: programs of maps that are created only if asked for
LEFT_OUT = {"qdisc": {"careless_enqueue": "no struct_ops map that is created names it"}}


def opened(name: str) -> Object:
    """One of our own objects, compiled for the kernel's types."""
    if OURS[name] not in registered():
        pytest.skip(f"this kernel has no programs for struct {OURS[name]}")
    data = file_bytes(OBJECTS / f"{name}.bpf.c", kernel_btf())
    return Object.open(data, name=name, btf=kernel_btf())


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.__name__)
def test_same_log(sweep: Callable[[Maps], Iterator[Program]], maps: Maps) -> None:
    step = max(SWEEPS[sweep] // int(os.environ.get("ANYBPF_SWEEP", "1")), 1)
    programs = islice(sweep(maps), None, None, step)
    found = {f"{program.case} {program.name}": text
             for program, text in differences(programs, maps)}
    assert found == {}


def test_structs_of_functions() -> None:
    """These two need no option of the kernel's but the network."""
    assert {"bpf_dummy_ops", "tcp_congestion_ops"} <= set(registered())


@pytest.mark.parametrize("name", sorted(OURS))
def test_programs_of_our_own(name: str) -> None:
    """Whole struct_ops maps: what the loader finds for each program, and what both say of it."""
    both = Both(uapi.BPF_LOG_LEVEL2)
    with opened(name).load(both):
        assert len(both.pairs) > 4
    assert [f"{pair.name}: {pair.unsupported or pair.first_difference}" for pair in both.pairs
            if not pair.same_verdict or pair.first_difference] == []


@pytest.mark.parametrize("name", sorted(OURS))
def test_programs_without_a_kernel(name: str) -> None:
    """The offline loader finds the same; what it creates no map for, it does not load."""
    made = opened(name)
    results = veristat.verify(made, btf=kernel_btf(), cpus=LINUX.num_possible_cpus)
    refused = {one.program: one.message for one in results if not one.accepted}
    assert refused == LEFT_OUT.get(name, {})
