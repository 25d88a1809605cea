"""Programs: what they are made from and what stays unresolved."""

from __future__ import annotations

import ctypes

import pytest

from anybpf.core.prog import Prog
from anybpf.errors import BpfError, Fault, NotSupported

from .rig import Rig

EXIT = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("code", [b"", b"\x95", EXIT + b"\0" * 4])
def test_no_whole_instruction(rig: Rig, code: bytes) -> None:
    with pytest.raises(BpfError) as e:
        Prog(code, kernel=rig.kernel)
    assert e.value.name == "EINVAL"


def test_what_a_program_says_of_itself(rig: Rig) -> None:
    prog = Prog(EXIT * 3, kernel=rig.kernel, name="a_name_that_is_long", prog_type=6, gpl=True)
    assert len(prog) == 3
    assert (prog.name, prog.prog_type, prog.gpl, prog.id) == ("a_name_that_is_long", 6, True, 0)
    assert prog.insns == EXIT * 3
    prog.id = 9
    assert prog.id == 9
    assert prog.address


def test_64_bit_immediates(rig: Rig) -> None:
    assert rig.both("r0 = 0xfedcba9876543210 ll; exit") == 0xFEDC_BA98_7654_3210


@pytest.mark.parametrize("src", [1, 2, 3, 5, 6, 7])
def test_an_unresolved_reference_faults_when_reached(rig: Rig, src: int) -> None:
    code = bytes([0x18, src << 4]) + bytes(14) + EXIT
    with pytest.raises(Fault, match="no valid instruction"):
        rig.run(Prog(code, kernel=rig.kernel))


def test_symbols_and_kernel_functions_by_address(rig: Rig) -> None:
    value = rig.memory((1234).to_bytes(8, "little"))
    symbol = bytes([0x18, 3 << 4 | 1]) + bytes(14)
    load = bytes([0x79, 0x10, 0, 0, 0, 0, 0, 0])
    prog = Prog(symbol + load + EXIT, kernel=rig.kernel, addresses={0: value})
    assert rig.run(prog) == 1234
    signature = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 6)
    native = signature(lambda a, b, c, d, e, run: a + 1)
    address = ctypes.cast(native, ctypes.c_void_p).value or 0
    call = bytes([0x85, 0x20, 0, 0, 1, 0, 0, 0])
    assert rig.run(Prog(call + EXIT, kernel=rig.kernel, addresses={0: address}), 41) == 42
    with pytest.raises(NotSupported, match="kernel function, called at instruction 0"):
        rig.run(Prog(call + EXIT, kernel=rig.kernel))


def test_a_native_helper_by_address(rig: Rig) -> None:
    signature = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 6)
    native = signature(lambda a, b, c, d, e, run: 5)
    rig.kernel.set_helper(7, ctypes.cast(native, ctypes.c_void_p).value or 0)
    assert rig.both("call 7; exit") == 5
    rig.kernel.set_helper(7, 0)
    with pytest.raises(NotSupported, match="bpf_get_prandom_u32#7"):
        rig.run("call 7; exit")
