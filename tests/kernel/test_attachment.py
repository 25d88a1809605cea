"""Programs attached to the kernel's functions and hooks, reading what there is to read.

Verdict and whole log are compared, where the kernel takes such programs: in the guest. Some hooks
and functions are tried; `ANYBPF_SWEEP=1` tries every hook and one function of twenty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest

from anybpf import uapi
from anybpf.btf.types import Func, FuncProto
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode
from anybpf.proto import progs
from kernel.sweeps import Maps, Program, differences
from kernel.verdicts import Case, kernel_btf, need_type, refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

TRACING, LSM = progs.BY_NAME["tracing"], progs.BY_NAME["lsm"]
ALL = bool(os.environ.get("ANYBPF_SWEEP"))
#: how many functions and hooks go by for one that is tried
FUNCTIONS, HOOKS = (20, 1) if ALL else (2003, 23)
RESULTS = ("r0 = 0", "r0 = 1", "r0 = -1", "r0 = -4096", "w0 = -1", "r0 = r1", "r2 = 0")
WORD = 8


@cache
def functions() -> list[str]:
    """The functions that the kernel's types name once."""
    return sorted({one.name for _, one in kernel_btf().types() if isinstance(one, Func)})


def arguments(name: str) -> int:
    """How many there are; each is taken for one word, though some are larger."""
    btf = kernel_btf()
    func = btf.expect(btf.find(name, uapi.BTF_KIND_FUNC), Func)
    return len(btf.expect(func.type, FuncProto).params)


def program(case: Case, text: str) -> Program:
    return Program(case, encode(assemble(text)), f"{case} {text}")


def reads(case: Case) -> Iterator[Program]:
    """Each argument, the result, and what is behind; and what the pointers among them point to."""
    count = arguments(case.target)
    for number in range(count + 2):
        yield program(case, f"r6 = *(u64 *)(r1 + {WORD * number})\nr0 = 0\nexit")
    yield program(case, "".join(
        f"r6 = *(u64 *)(r1 + {WORD * number})\nr7 = *(u64 *)(r6 + 0)\n"
        for number in range(count)) + "r0 = 0\nexit")
    yield program(case, f"r6 = *(u32 *)(r1 + {WORD * count})\nr0 = 0\nexit")


def results(case: Case) -> Iterator[Program]:
    """What the program gives back."""
    for text in (*RESULTS, f"r0 = *(u64 *)(r1 + {WORD * arguments(case.target)})"):
        yield program(case, f"{text}\nexit")


def compare(case: Case, maps: Maps) -> None:
    found = {one.name: text for sweep in (reads, results)
             for one, text in differences(sweep(case), maps)}
    assert found == {}


@pytest.mark.parametrize("attach", ["TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"])
@pytest.mark.parametrize("sleepable", [False, True], ids=["", "sleeps"])
def test_functions(attach: str, sleepable: bool, maps: Maps) -> None:
    need_type(Case(TRACING, uapi.BPF_TRACE_FENTRY, "bpf_fentry_test1"))
    # a prime start, so that each attach type gets other functions
    for name in functions()[len(attach)::FUNCTIONS]:
        compare(Case(TRACING, getattr(uapi, f"BPF_{attach}"), name, sleepable), maps)


@pytest.mark.parametrize("attach", ["LSM_MAC", "LSM_CGROUP"])
@pytest.mark.parametrize("sleepable", [False, True], ids=["", "sleeps"])
def test_hooks(attach: str, sleepable: bool, maps: Maps) -> None:
    need_type(Case(LSM, uapi.BPF_LSM_MAC, "bpf_lsm_file_open"))
    hooks = [name for name in functions() if name.startswith("bpf_lsm_")]
    for name in hooks[len(attach)::HOOKS] if HOOKS > 1 else hooks:
        compare(Case(LSM, getattr(uapi, f"BPF_{attach}"), name, sleepable), maps)


def test_what_programs_may_change(maps: Maps) -> None:
    need_type(Case(TRACING, uapi.BPF_TRACE_FENTRY, "bpf_fentry_test1"))
    asked = [name for name in functions() if name.startswith("security_")]
    for name in asked[::1 if ALL else 31]:
        compare(Case(TRACING, uapi.BPF_MODIFY_RETURN, name), maps)
