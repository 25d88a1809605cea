"""Sweeps over program types: contexts, results, helpers, maps, pointers; the whole log is compared.

Every so many programs are tried; `ANYBPF_SWEEP=N` tries N times as many, `ANYBPF_SWEEP=1000` all,
which takes half an hour where the verifier is compiled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from guest_differences import explained
from kernel.sweep_programs import (
    context_sweep,
    effect_sweep,
    helper_sweep,
    map_sweep,
    pointer_sweep,
    result_sweep,
)
from kernel.sweeps import Maps, Program, differences
from kernel.verdicts import GUEST, SLEEPING, TARGETED, Case, cases, need_type, refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

#: sweep -> how many programs go by for one that is tried
SWEEPS: dict[Callable[[Case, Maps], Iterator[Program]], int] = {
    context_sweep: 211, result_sweep: 5, helper_sweep: 751, map_sweep: 401,
    pointer_sweep: 1009, effect_sweep: 503,
}
CASES = [*cases(), *SLEEPING, *TARGETED]


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_log(case: Case, sweep: Callable[[Case, Maps], Iterator[Program]],
                  maps: Maps) -> None:
    need_type(case)
    # these remember the type of the programs that use them
    for name in ("progs", "devices", "devices_hash", "cpus"):
        maps.renew(name)
    step = max(SWEEPS[sweep] // int(os.environ.get("ANYBPF_SWEEP", "1")), 1)
    start = (case.prog.type + case.attach) % step
    found = {program.name: text
             for program, text in differences(islice(sweep(case, maps), start, None, step), maps)
             if GUEST is None or not explained(program.name)}
    assert found == {}
