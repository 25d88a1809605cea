"""proto.progs against the running kernel: attach types, return ranges, capabilities, test runs."""

from __future__ import annotations

import ctypes
import errno

import pytest

from anybpf import uapi
from anybpf.errors import ENOTSUPP
from anybpf.proto import access, progs
from anybpf.proto.progs import Prog
from kernel.verdicts import (
    ATTACH,
    BY_BTF,
    EXIT,
    LINUX,
    Case,
    bpf,
    each_case,
    load,
    loadable,
    mov,
    need_type,
    open_program,
    packed,
    refusal,
    slot,
    with_caps,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

CAPS = {access.CAP_BPF: 39, access.CAP_PERFMON: 38, progs.CAP_NET_ADMIN: 12}
DIRECT = [p for p in progs.PROGS if p.type not in BY_BTF]


@pytest.mark.parametrize("prog", DIRECT, ids=lambda p: p.name)
def test_the_same_attach_types_are_accepted(prog: Prog) -> None:
    if not loadable(prog.type):
        pytest.skip(f"this kernel loads no {prog.name} programs")
    numbers = [n for _, n in uapi.BPF_ATTACH_TYPE] + [100]
    accepted = {n: load(Case(prog, n), EXIT).errno == 0 for n in numbers}
    assert accepted == {n: prog.accepts(n) for n in numbers}


@each_case
def test_the_same_values_may_be_returned(case: Case) -> None:
    need_type(case)
    allowed = case.prog.returned(case.attach or case.prog.default_attach)
    for value in (-4096, -1, 0, 1, 2, 3, 4, 10000):
        accepted = load(case, mov(0, value) + slot(0x95)).errno == 0
        assert accepted == (allowed is None or allowed.low <= value <= allowed.high), value


@pytest.mark.parametrize("held", [
    access.CAP_BPF, access.CAP_BPF | progs.CAP_NET_ADMIN, access.CAP_BPF | access.CAP_PERFMON,
    progs.CAP_NET_ADMIN])
def test_the_same_capabilities_are_needed(held: int) -> None:
    with open("/proc/sys/kernel/unprivileged_bpf_disabled") as file:
        if file.read().strip() == "0":
            pytest.skip("unprivileged BPF is on")
    code = """
import json
from kernel.test_prog_rows import DIRECT, permitted
print(json.dumps([p.type for p in DIRECT if permitted(p)]))
"""
    found = with_caps([number for bit, number in CAPS.items() if held & bit], code)
    assert found == [p.type for p in DIRECT
                     if p.needs & ~held == 0 or (p.config and held & access.CAP_BPF)]


def permitted(prog: Prog) -> bool:
    """True if loading fails for no want of capabilities."""
    return load(Case(prog, ATTACH.get(prog.type, 0)), EXIT).errno != errno.EPERM


@pytest.mark.parametrize("prog", DIRECT, ids=lambda p: p.name)
def test_the_same_types_run_in_a_test(prog: Prog) -> None:
    fd = open_program(Case(prog, ATTACH.get(prog.type, 0)), EXIT)
    if fd < 0:
        pytest.skip(f"this kernel loads no {prog.name} programs")
    data = ctypes.create_string_buffer(64)
    found = bpf(uapi.BPF_PROG_TEST_RUN, packed(
        (fd, 4), (0, 4), (64, 4), (0, 4), (ctypes.addressof(data), 8), (0, 8), (1, 4), (0, 4)))
    LINUX.close(fd)
    assert (found != -ENOTSUPP) == prog.test_run


@pytest.mark.parametrize("prog", [p for p in DIRECT if not p.sleepable], ids=lambda p: p.name)
def test_other_types_do_not_sleep(prog: Prog) -> None:
    if not loadable(prog.type):
        pytest.skip(f"this kernel loads no {prog.name} programs")
    code = ctypes.create_string_buffer(EXIT, len(EXIT))
    text = ctypes.create_string_buffer(b"GPL")
    found = bpf(uapi.BPF_PROG_LOAD, packed(
        (prog.type, 4), (len(EXIT) // 8, 4), (ctypes.addressof(code), 8),
        (ctypes.addressof(text), 8), (0, 4), (0, 4), (0, 8), (0, 4), (uapi.BPF_F_SLEEPABLE, 4),
        (0, 16), (0, 4), (ATTACH.get(prog.type, 0), 4)))
    assert found == -errno.EINVAL
