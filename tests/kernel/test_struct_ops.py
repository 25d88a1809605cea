"""struct_ops programs: every member, argument, field and call, by the whole log.

Every so many programs are tried; `ANYBPF_SWEEP=N` tries N times as many, `ANYBPF_SWEEP=10000` all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from kernel.struct_ops_programs import arguments, calls, fields, registered
from kernel.sweeps import Maps, Program, differences
from kernel.verdicts import refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: sweep -> how many programs go by for one that is tried
SWEEPS: dict[Callable[[Maps], Iterator[Program]], int] = {arguments: 7, fields: 223, calls: 199}


@pytest.fixture(scope="module")
def maps() -> Iterator[Maps]:
    made = Maps()
    yield made
    made.close()


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
