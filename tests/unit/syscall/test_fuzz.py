"""Whatever a caller passes, a Machine answers with an errno or names what is not modelled."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anybpf import uapi as u
from anybpf.errors import BpfError, NotSupported
from anybpf.machine import Machine
from anybpf.syscall import COMMANDS
from anybpf.syscall.attr import FIELDS, LAST_FIELD, SIZE
from kernel.calls import Calls
from kernel.errno_cases import BTF

#: commands that run programs are left out: how long a run takes is the caller's choice
FUZZED = sorted(set(COMMANDS) - {u.BPF_PROG_TEST_RUN})
#: numbers for fields of 32 bits
SMALL = st.one_of(st.integers(0, 8), st.integers(0, 31).map(lambda n: 1 << n),
                  st.integers(0, u.U32), st.sampled_from([0x7FFF_FFFF, u.U32, 4096, 5000]))
#: numbers for fields of 64 bits: flags, and addresses where nothing of this process can lie
LARGE = st.one_of(st.integers(0, 4095), st.integers(1 << 48, u.U64))
POINTERS = st.binary(min_size=1, max_size=300)


def fields_of(cmd: int) -> list[str]:
    """The fields that lie before the end of the command's last one."""
    end = FIELDS[LAST_FIELD[cmd]].end
    return [name for name, field in FIELDS.items() if field.end <= end and field.codec]


@st.composite
def call(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A command with some of its fields."""
    cmd = draw(st.sampled_from(FUZZED))
    names = draw(st.lists(st.sampled_from(fields_of(cmd)), max_size=8, unique=True))
    return cmd, {name: draw(SMALL if size_of(name) == 4 else LARGE | POINTERS) for name in names}


def size_of(name: str) -> int:
    """The bytes of a field."""
    return FIELDS[name].end - FIELDS[name].start


def machine_with_objects() -> Calls:
    """Descriptors 3 to 8: maps, a program, BTF."""
    calls = Calls(Machine())
    calls.map(u.BPF_MAP_TYPE_HASH)
    calls.map()
    calls.prog()
    calls.btf(BTF)
    calls.map(u.BPF_MAP_TYPE_PROG_ARRAY, 4, 4)
    calls.map(u.BPF_MAP_TYPE_PERCPU_ARRAY)
    return calls


@settings(max_examples=150, deadline=None)
@given(st.lists(call(), min_size=1, max_size=8))
def test_fields(rows: list[tuple[int, dict[str, Any]]]) -> None:
    calls = machine_with_objects()
    for cmd, values in rows:
        with contextlib.suppress(BpfError, NotSupported):
            calls.backend.bpf(cmd, calls.packed(values))
    calls.backend.shutdown()    # type: ignore[attr-defined]


@settings(max_examples=150, deadline=None)
@given(st.integers(-1, 40), st.binary(max_size=SIZE + 20))
def test_bytes_that_are_no_addresses(cmd: int, attr: bytes) -> None:
    calls = machine_with_objects()
    attr = bytes(byte | (at % 8 == 7) << 7 for at, byte in enumerate(attr))
    with contextlib.suppress(BpfError, NotSupported):
        calls.backend.bpf(cmd, bytearray(attr))
