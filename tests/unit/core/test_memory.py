"""What programs may touch: stack, regions, map values; copies from and to callers."""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import Any

import pytest

from anybpf import uapi
from anybpf.core.memory import (
    Region,
    RegionTable,
    copy_from_user,
    copy_to_user,
    describe,
    pipe_copy_works,
    read_memory,
    write_memory,
)
from anybpf.errors import BpfError, Fault

from .rig import Rig

READ, WRITE = 1, 2


def fault_of(rig: Rig, text: str, ctx: int = 0, **more: Any) -> Fault:
    with pytest.raises(Fault) as e:
        rig.run(text, ctx, **more)
    return e.value


@pytest.mark.parametrize("off", [-512, -8, -256])
def test_the_whole_frame_is_ours(rig: Rig, off: int) -> None:
    text = f"r1 = 7; *(u64 *)(r10 {off:+d}) = r1; r0 = *(u64 *)(r10 {off:+d}); exit"
    assert rig.run(text) == 7


@pytest.mark.parametrize(("off", "size"), [(0, 8), (-4, 8), (-513, 1), (-520, 8), (-516, 8),
                                           (8, 1), (32767, 1), (-32768, 8)])
def test_outside_the_frame_faults(rig: Rig, off: int, size: int) -> None:
    fault = fault_of(rig, f"r0 = *(u{size * 8} *)(r10 {off:+d}); exit")
    assert (fault.insn, fault.size) == (0, size)
    fault = fault_of(rig, f"r1 = 0; *(u{size * 8} *)(r10 {off:+d}) = r1; exit")
    assert (fault.insn, fault.size) == (1, size)


def test_a_callees_frame_is_gone_after_it_returns(rig: Rig) -> None:
    text = "call f; r0 = *(u64 *)(r0 - 8); exit; f: r0 = r10; exit"
    fault = fault_of(rig, text)
    assert "stack of frame 1 at fp-8" in str(fault)


@pytest.mark.parametrize("address", [0, 8, 0x1000, 1 << 47, (1 << 64) - 8])
def test_any_other_address_faults(rig: Rig, address: int) -> None:
    text = f"r1 = {address:#x} ll; r0 = *(u64 *)(r1 + 0); exit"
    assert fault_of(rig, text).address == address
    text = f"r1 = {address:#x} ll; *(u64 *)(r1 + 0) = r1; r0 = 0; exit"
    assert fault_of(rig, text).address == address


def test_an_access_that_wraps_around_faults(rig: Rig) -> None:
    fault = fault_of(rig, "r1 = -4; r0 = *(u64 *)(r1 + 0); exit")
    assert (fault.address, fault.size) == ((1 << 64) - 4, 8)


def test_regions_have_bounds_and_rights(rig: Rig) -> None:
    both = rig.memory(struct.pack("<QQ", 11, 22), name="both")
    rdonly = rig.memory(bytes(8), READ, name="rdonly")
    wronly = rig.memory(bytes(8), WRITE)
    assert rig.run("r0 = *(u64 *)(r1 + 8); exit", both) == 22
    assert "memory 'both'+16" in str(fault_of(rig, "r0 = *(u8 *)(r1 + 16); exit", both))
    assert "memory 'both'+9" in str(fault_of(rig, "r0 = *(u64 *)(r1 + 9); exit", both))
    assert rig.run("r0 = *(u32 *)(r1 + 0); exit", rdonly) == 0
    fault = fault_of(rig, "r2 = 1; *(u32 *)(r1 + 4) = r2; exit", rdonly)
    assert str(fault) == ("invalid write of 4 bytes at memory 'rdonly'+4, at instruction 1 in"
                          " program 'test'")
    assert (fault.address, fault.region, fault.program) == (rdonly + 4, "memory", "test")
    assert rig.run("r2 = 1; *(u32 *)(r1 + 4) = r2; r0 = 0; exit", wronly) == 0
    fault_of(rig, "r0 = *(u32 *)(r1 + 4); exit", wronly)


def test_a_removed_region_is_gone(rig: Rig) -> None:
    buffer = ctypes.create_string_buffer(8)
    token = rig.kernel.add_region(ctypes.addressof(buffer), 8)
    text = "r0 = *(u64 *)(r1 + 0); exit"
    assert rig.run(text, ctypes.addressof(buffer)) == 0
    rig.kernel.remove_region(token)
    fault_of(rig, text, ctypes.addressof(buffer))


def test_many_regions_are_found(rig: Rig) -> None:
    addresses = [rig.memory(struct.pack("<Q", i)) for i in range(200)]
    prog = rig.prog("r0 = *(u64 *)(r1 + 0); exit")
    assert [rig.run(prog, a) for a in addresses] == list(range(200))


def test_map_values_have_the_bounds_of_one_element(rig: Rig) -> None:
    array = rig.map(uapi.BPF_MAP_TYPE_ARRAY, value=12, entries=3, name="counters")
    for i in range(3):
        array.update(struct.pack("I", i), struct.pack("III", i, i + 10, i + 20))
    base = array.area[0]
    assert rig.run("r0 = *(u32 *)(r1 + 8); exit", base) == 20
    assert rig.run("r0 = *(u32 *)(r1 + 24); exit", base) == 21
    for off, size in ((12, 4), (9, 4), (8, 8), (-1, 1), (15, 1)):
        fault = fault_of(rig, f"r0 = *(u{size * 8} *)(r1 {off:+d}); exit", base)
        assert fault.size == size
    fault = fault_of(rig, "r2 = 0; *(u32 *)(r1 + 28) = r2; exit", base)
    assert "invalid write of 4 bytes at map value 'counters'[1]+12" in str(fault)
    assert fault.region == "map value"


def test_read_only_maps(rig: Rig) -> None:
    array = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1, map_flags=uapi.BPF_F_RDONLY_PROG)
    values = {"v": (array, 0)}
    assert rig.run(rig.prog("r1 = v ll; r0 = *(u64 *)(r1 + 0); exit", values)) == 0
    fault_of(rig, rig.prog("r1 = v ll; r2 = 1; *(u64 *)(r1 + 0) = r2; exit", values))


def test_a_map_itself_is_not_readable(rig: Rig) -> None:
    array = rig.map(uapi.BPF_MAP_TYPE_ARRAY, name="a")
    fault = fault_of(rig, rig.prog("r1 = a ll; r0 = *(u64 *)(r1 + 0); exit", {"a": (array, None)}))
    assert "invalid read of 8 bytes at map 'a'+0" in str(fault)


def test_a_removed_map_is_gone(rig: Rig) -> None:
    array = rig.map(uapi.BPF_MAP_TYPE_ARRAY, entries=1)
    prog = rig.prog("r1 = v ll; r0 = *(u64 *)(r1 + 0); exit", {"v": (array, 0)})
    assert rig.run(prog) == 0
    rig.kernel.remove_map(array)
    fault_of(rig, prog)


def test_the_region_table_is_sorted() -> None:
    table = RegionTable([Region(300, 1), Region(100, 1), Region(200, 1)])
    assert [row.base for row in table.rows] == [100, 200, 300]
    assert len(table) == 3


def test_describe_outside_a_run(rig: Rig) -> None:
    assert describe(rig.run_ctx, 0) == ("", "the null page")
    assert describe(rig.run_ctx, 1 << 40) == ("", "no memory of the program")


def test_python_helpers_read_and_write_what_the_program_may(rig: Rig) -> None:
    def helper(r1: int, r2: int, r3: int, r4: int, r5: int, run: Any) -> int:
        data = read_memory(run, r1, 8)
        write_memory(run, r1, data[::-1])
        for function in (lambda: read_memory(run, r1, 9), lambda: write_memory(run, 0, b"x")):
            with pytest.raises(BpfError) as e:
                function()
            assert e.value.name == "EFAULT"
        return 0

    rig.kernel.set_python_helper(5, helper)
    text = ("r1 = 1; *(u64 *)(r10 - 8) = r1; r1 = r10; r1 += -8; call 5;"
            "r0 = *(u64 *)(r10 - 8); exit")
    assert rig.run(text) == 1 << 56


# --- callers' memory ---

def test_copies_of_callers_memory() -> None:
    buffer = ctypes.create_string_buffer(b"hello", 16)
    address = ctypes.addressof(buffer)
    assert copy_from_user(address, 5) == b"hello"
    assert copy_from_user(address, 0) == b""
    copy_to_user(address + 5, bytearray(b" you"))
    assert buffer.value == b"hello you"


@pytest.mark.parametrize("address", [0, 1, 4095, 1 << 46, 1 << 63, (1 << 64) - 1])
def test_bad_addresses_give_efault(address: int) -> None:
    for call in (lambda: copy_from_user(address, 1), lambda: copy_to_user(address, b"x")):
        with pytest.raises(BpfError) as e:
            call()
        assert e.value.name == "EFAULT"


def test_a_copy_that_runs_into_a_hole_gives_efault() -> None:
    with mmap.mmap(-1, 2 * mmap.PAGESIZE) as pages:
        view = ctypes.c_char.from_buffer(pages)
        address = ctypes.addressof(view)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        edge = address + mmap.PAGESIZE
        assert copy_from_user(edge - 4, 4) == bytes(4)
        for call in (lambda: copy_from_user(edge - 4, 5), lambda: copy_to_user(edge - 4, bytes(5))):
            with pytest.raises(BpfError) as e:
                call()
            assert e.value.name == "EFAULT"
        del view


def test_huge_and_negative_sizes_give_efault() -> None:
    for size in (-1, 1 << 40, 1 << 62):
        with pytest.raises(BpfError) as e:
            copy_from_user(4096, size)
        assert e.value.name == "EFAULT"


def test_the_way_through_a_pipe_works_too() -> None:
    assert pipe_copy_works()
