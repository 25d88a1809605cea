"""Test runs without a kernel beside: limits, output room, faults, what is not modelled."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import helpers, uapi
from anybpf.core.kernel import Kernel
from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx
from anybpf.errors import BpfError, Fault, NotSupported
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode
from anybpf.net.context import context_table
from anybpf.net.dev import NetDevice
from anybpf.net.test_run import Input, TestRun, TestRunResult, test_run

XDP, CLS = uapi.BPF_PROG_TYPE_XDP, uapi.BPF_PROG_TYPE_SCHED_CLS
FRAME = bytes(range(60))


class Rig:
    """A kernel with all helpers, and programs given as text."""

    def __init__(self) -> None:
        self.kernel = Kernel(ncpus=2)
        for number, address in helpers.addresses().items():
            self.kernel.set_helper(number, address)

    def run(self, prog_type: int, text: str, **request: Any) -> TestRunResult:
        prog = Prog(encode(assemble(text)), kernel=self.kernel, prog_type=prog_type,
                    context=context_table(prog_type))
        request.setdefault("data_in", Input(FRAME))
        return test_run(self.kernel, prog, TestRun(**request))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_verdict_and_the_frame_come_back(rig: Rig) -> None:
    result = rig.run(XDP, "r0 = 2; exit")
    assert (result.retval, result.data_out, result.data_size_out) == (2, FRAME, 60)
    assert (result.error, result.ctx_out) == (0, None)


@pytest.mark.parametrize(("size", "number"), [(13, errno.EINVAL), (14, 0), (3520, 0)])
def test_xdp_data_has_an_ethernet_header(rig: Rig, size: int, number: int) -> None:
    if number:
        with pytest.raises(BpfError) as caught:
            rig.run(XDP, "r0 = 2; exit", data_in=Input(bytes(size)))
        assert caught.value.errno == number
    else:
        assert rig.run(XDP, "r0 = 2; exit", data_in=Input(bytes(size))).data_size_out == size


def test_too_little_room(rig: Rig) -> None:
    result = rig.run(XDP, "r0 = 2; exit", data_size_out=10)
    assert (result.error, result.data_out, result.data_size_out) == (errno.ENOSPC, FRAME[:10], 60)


def test_the_reader_is_asked_once_the_checks_passed(rig: Rig) -> None:
    def refuse(size: int) -> bytes:
        raise BpfError(errno.EFAULT)

    for size, number in ((5, errno.EINVAL), (60, errno.EFAULT)):
        with pytest.raises(BpfError) as caught:
            rig.run(CLS, "r0 = 0; exit", data_in=Input(size=size, reader=refuse))
        assert caught.value.errno == number


def test_a_fault_still_shows_its_run(rig: Rig) -> None:
    seen: list[RunCtx] = []
    with pytest.raises(Fault):
        rig.run(XDP, "r1 = *(u32 *)(r1 + 0); r0 = *(u8 *)(r1 + 60); exit", observer=seen.append)
    assert len(seen) == 1


@pytest.mark.parametrize("access", ["*(u8 *)(r2 + 59) = r0", "r0 = *(u8 *)(r2 + 0)"])
def test_the_packet_may_be_touched(rig: Rig, access: str) -> None:
    assert rig.run(XDP, f"r0 = 0; r2 = *(u32 *)(r1 + 0); {access}; exit").retval == 0


@pytest.mark.parametrize("access", ["*(u8 *)(r2 + 60) = r0", "r0 = *(u8 *)(r2 - 1)",
                                    "*(u32 *)(r1 + 0) = r0", "r0 = *(u32 *)(r1 + 24)"])
def test_but_nothing_beside_it(rig: Rig, access: str) -> None:
    with pytest.raises(Fault):
        rig.run(XDP, f"r0 = 0; r2 = *(u32 *)(r1 + 0); {access}; exit")


def test_old_pointers_end_with_the_packet(rig: Rig) -> None:
    """After a helper moved the packet's end, what was there is out of bounds."""
    with pytest.raises(Fault):
        rig.run(XDP, """
            r6 = r1; r7 = *(u32 *)(r1 + 0); r2 = -10
            call 65
            r0 = *(u8 *)(r7 + 55)
            exit
        """)


def test_socket_filters_and_cgroup_programs_may_not_write(rig: Rig) -> None:
    text = "r2 = *(u32 *)(r1 + 76); r0 = 1; *(u8 *)(r2 + 0) = r0; exit"
    assert rig.run(CLS, text).retval == 1
    for prog_type in (uapi.BPF_PROG_TYPE_CGROUP_SKB, uapi.BPF_PROG_TYPE_SOCKET_FILTER):
        with pytest.raises(Fault):
            rig.run(prog_type, text)


def test_devices_of_the_kernel(rig: Rig) -> None:
    mac = bytes([2, 0, 0, 0, 0, 9])
    rig.kernel.devices = {1: NetDevice(1, "lo"), 5: NetDevice(5, "veth5", mac, b"\xff" * 6, 2)}
    ctx = bytearray(192)
    ctx[40] = 5
    text = "r0 = *(u32 *)(r1 + 4); r0 <<= 8; r1 = *(u32 *)(r1 + 40); r0 += r1; exit"
    for to, kind in ((mac, 0), (b"\xff" * 6, 1), (b"\1" * 6, 2)):
        result = rig.run(CLS, text, data_in=Input(to + bytes(50)), ctx_in=Input(bytes(ctx)))
        assert result.retval == kind << 8 | 5


def test_a_redirect_is_recorded(rig: Rig) -> None:
    result = rig.run(XDP, "r1 = 7; r2 = 0; call 23; exit")
    assert result.retval == 4
    assert result.run is not None
    assert result.run.redirect == (uapi.BPF_FUNC_redirect, 7, 0, 0)


@pytest.mark.parametrize(("prog_type", "request_"), [
    (uapi.BPF_PROG_TYPE_SK_LOOKUP, {}), (XDP, {"flags": uapi.BPF_F_TEST_XDP_LIVE_FRAMES})])
def test_what_is_not_modelled_says_so(rig: Rig, prog_type: int, request_: dict[str, int]) -> None:
    with pytest.raises(NotSupported):
        rig.run(prog_type, "r0 = 2; exit", **request_)


def test_a_type_without_test_run(rig: Rig) -> None:
    with pytest.raises(BpfError) as caught:
        rig.run(uapi.BPF_PROG_TYPE_KPROBE, "r0 = 0; exit")
    assert caught.value.errno == 524


def test_repeat_goes_on_with_the_same_packet(rig: Rig) -> None:
    result = rig.run(CLS, "r2 = *(u32 *)(r1 + 76); r0 = *(u8 *)(r2 + 0); r0 += 1; "
                          "*(u8 *)(r2 + 0) = r0; exit", repeat=5)
    assert result.retval == 5
