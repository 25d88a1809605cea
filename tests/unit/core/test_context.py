"""Context access through rows: sizes, offsets, rights, pointers."""

from __future__ import annotations

import ctypes
import struct

import pytest

from anybpf import uapi
from anybpf.core.context import ContextTable, compile_context
from anybpf.errors import Fault
from anybpf.proto import contexts

from .rig import Rig

POINTER, VALUE, BYTES = 0x1122_3344_5566_7788, 0x8182_8384, bytes(range(16))
#: offset -> (loads, stores, source, bytes left, pointer): a pointer in 4 bytes, a number with
#: narrow loads, a writable number, 16 bytes of which parts may be stored
RULES = {0: (4, 0, 32, 8, True)}
RULES |= {4 + i: (7 if i == 0 else 1, 0, 8 + i, 4 - i, False) for i in range(4)}
RULES |= {8: (4, 4, 12, 4, False)}
RULES |= {16 + i: (15, 15, 16 + i, 16 - i, False) for i in range(0, 16, 8)}


class Native:
    """A native context struct: u64, u32 VALUE at 8, u32 at 12, 16 bytes at 16, pointer at 32."""

    def __init__(self, rig: Rig) -> None:
        self.buffer = ctypes.create_string_buffer(
            struct.pack("<QII16sQ", 0, VALUE, 5, BYTES, POINTER), 48)
        self.address = ctypes.addressof(self.buffer)
        self.table = ContextTable(32, RULES)
        self.rig = rig

    def run(self, text: str, checked: bool = True) -> int:
        return self.rig.run(text, self.address, checked=checked, context=self.table)


@pytest.fixture
def native(rig: Rig) -> Native:
    return Native(rig)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(("load", "value"), [
    ("*(u32 *)(r1 + 0)", POINTER),
    ("*(u32 *)(r1 + 4)", VALUE),
    ("*(u16 *)(r1 + 4)", VALUE & 0xFFFF),
    ("*(u8 *)(r1 + 7)", VALUE >> 24),
    ("*(u32 *)(r1 + 8)", 5),
    ("*(u64 *)(r1 + 24)", int.from_bytes(BYTES[8:], "little")),
    ("*(u16 *)(r1 + 16)", 0x0100),
])
def test_loads(native: Native, load: str, value: int, checked: bool) -> None:
    assert native.run(f"r0 = {load}; exit", checked) == value


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(("off", "size"), [
    (0, 8), (0, 1), (2, 2), (4, 8), (5, 2), (12, 4), (31, 1)])
def test_loads_that_no_row_allows(native: Native, off: int, size: int, checked: bool) -> None:
    with pytest.raises(Fault, match=rf"invalid read of {size} bytes? at context\+{off}") as e:
        native.run(f"r0 = *(u{size * 8} *)(r1 + {off}); exit", checked)
    assert e.value.region == "context"


@pytest.mark.parametrize("checked", [True, False])
def test_stores(native: Native, checked: bool) -> None:
    text = "r2 = 0x01020304; *(u32 *)(r1 + 8) = r2; *(u8 *)(r1 + 24) = r2; r0 = 0; exit"
    native.run(text, checked)
    assert native.buffer.raw[12:16] == bytes([4, 3, 2, 1])
    assert native.buffer.raw[16:32] == BYTES[:8] + b"\x04" + BYTES[9:]
    for off, size in ((0, 4), (4, 4), (8, 1), (8, 8), (12, 4)):
        with pytest.raises(Fault, match="invalid write"):
            native.run(f"r2 = 1; *(u{size * 8} *)(r1 + {off}) = r2; exit", checked)


def test_atomics_and_helper_memory_do_not_reach_the_context(native: Native) -> None:
    with pytest.raises(Fault, match="context"):
        native.run("r2 = 1; lock *(u32 *)(r1 + 8) += r2; exit")
    native.rig.kernel.set_python_helper(6, lambda *args: 0)
    with pytest.raises(Fault, match=r"R1 of helper bpf_trace_printk#6 is wrong: context\+8"):
        native.run("r1 += 8; r2 = 4; call 6; exit")


def test_behind_the_context_is_nothing(native: Native) -> None:
    with pytest.raises(Fault):
        native.run("r0 = *(u32 *)(r1 + 32); exit")


def test_a_table_refuses_offsets_outside() -> None:
    with pytest.raises(ValueError, match="context offset 4 of 4"):
        ContextTable(4, {4: (1, 0, 0, 1, False)})


def layout_of(name: str) -> dict[str, tuple[int, int]]:
    """A layout with every member at eight times its offset."""
    return {f.source: (8 * f.offset, max(f.size, 8 if f.kind != contexts.SCALAR else 1))
            for f in contexts.CONTEXTS[name].fields}


@pytest.mark.parametrize("prog_type", [uapi.BPF_PROG_TYPE_XDP, uapi.BPF_PROG_TYPE_SCHED_CLS,
                                       uapi.BPF_PROG_TYPE_SOCKET_FILTER,
                                       uapi.BPF_PROG_TYPE_CGROUP_SKB])
def test_rows_decide_every_offset_and_size(rig: Rig, prog_type: int) -> None:
    view = contexts.VIEWS[prog_type]
    table = compile_context(view, layout_of(view.context))
    native = ctypes.create_string_buffer(8 * table.size + 64)
    for off in range(table.size):
        for size in (1, 2, 4, 8):
            for allowed, text in (
                    (contexts.load(view, off, size), f"r0 = *(u{8 * size} *)(r1 + {off}); exit"),
                    (contexts.store(view, off, size), f"r0 = 0; *(u{8 * size} *)(r1 + {off}) = r0;"
                                                      "exit")):
                prog = rig.prog(text, context=table)
                if allowed is not None:
                    assert rig.run(prog, ctypes.addressof(native)) == 0
                elif off + size <= table.size:
                    with pytest.raises(Fault):
                        rig.run(prog, ctypes.addressof(native))


def test_fields_without_a_place_cannot_be_accessed(rig: Rig) -> None:
    view = contexts.VIEWS[uapi.BPF_PROG_TYPE_XDP]
    table = compile_context(view, {"xdp_buff.rx_queue_index": (0, 4)})
    native = ctypes.create_string_buffer(struct.pack("<II", 3, 4), 32)
    address = ctypes.addressof(native)
    assert rig.run(rig.prog("r0 = *(u32 *)(r1 + 16); exit", context=table), address) == 3
    with pytest.raises(Fault):
        rig.run(rig.prog("r0 = *(u32 *)(r1 + 12); exit", context=table), address)
