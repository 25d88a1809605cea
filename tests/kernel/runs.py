"""One program, one input, on any backend: what comes back, down to each number written."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anybpf import uapi
from anybpf.btf import types
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError, error_name
from anybpf.isa.asm import Pseudo, parse
from anybpf.isa.insn import encode
from anybpf.libbpf import bpf

TEST_ATTR = struct.Struct("<IIIIQQIIIIQQIII")
NOT_WRITTEN = 0xDEADBEEF
FILL = 0xA5
CTX_ROOM = 512
DATA_ROOM = 70000


class MapSpec(NamedTuple):
    """A map that a program uses, and its first contents."""

    map_type: int
    key_size: int
    value_size: int
    max_entries: int
    contents: Mapping[bytes, bytes] = {}
    flags: int = 0


@dataclass(frozen=True)
class Case:
    """A program (assembler text) and a call of BPF_PROG_TEST_RUN."""

    prog_type: int
    text: str
    data: bytes | None = bytes(60)
    ctx: bytes | None = None
    data_out: bool = True
    data_size_in: int | None = None
    data_size_out: int = 4096
    ctx_size_out: int = 0
    repeat: int = 0
    duration: int = 0
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    attach_type: int = 0
    prog_flags: int = 0
    bad_data: int = 0
    """An address to give in place of that of `data`."""
    maps: Mapping[str, MapSpec] = field(default_factory=dict)
    read: tuple[tuple[str, bytes], ...] = ()
    """(map, key) of the values to look up afterwards."""
    callbacks: tuple[str, ...] = ()
    """Labels where callbacks begin: the kernel wants BTF for them."""


class Outcome(NamedTuple):
    """What the call wrote; `error` is the errno's name or 0."""

    error: str | int
    retval: int
    data_size_out: int
    data: bytes
    ctx_size_out: int
    ctx: bytes
    ctx_in: bytes
    values: tuple[bytes | str, ...] = ()


def make_maps(backend: Any, specs: Mapping[str, MapSpec]) -> dict[str, int]:
    """Create and fill the maps; their descriptors by name."""
    fds = {}
    for name, spec in specs.items():
        fds[name] = bpf.map_create(backend, spec.map_type, spec.key_size, spec.value_size,
                                   spec.max_entries, map_flags=spec.flags)
        for key, value in spec.contents.items():
            bpf.map_update_elem(backend, fds[name], key, value)
        if spec.flags & uapi.BPF_F_RDONLY_PROG:
            bpf.map_freeze(backend, fds[name])
    return fds


def symbols_for(fds: Mapping[str, int]) -> dict[str, Any]:
    """NAME is the map, NAME_value its first value."""
    found: dict[str, Any] = {}
    for name, fd in fds.items():
        found[name] = Pseudo(uapi.BPF_PSEUDO_MAP_FD, fd)
        found[f"{name}_value"] = Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, fd)
    return found


def function_btf(backend: Any, names: tuple[str, ...]) -> tuple[int, list[int]]:
    """BTF of static functions `int name(void *ctx)`: its descriptor, the functions' ids."""
    builder = BtfBuilder()
    number = builder.add(types.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    pointer = builder.add(types.Ptr(0))
    proto = builder.add(types.FuncProto(number, (types.Param("ctx", pointer),)))
    ids = [builder.add(types.Func(name, proto, uapi.BTF_FUNC_STATIC)) for name in names]
    return bpf.btf_load(backend, builder.to_bytes()), ids


def load(backend: Any, case: Case, fds: Mapping[str, int]) -> int:
    """Load the case's program; the descriptor."""
    code = parse(case.text, symbols_for(fds))
    attr = bpf.ProgAttr(prog_type=case.prog_type, insns=encode(code.insns), license="GPL",
                        prog_flags=case.prog_flags, expected_attach_type=case.attach_type)
    if not case.callbacks:
        return load_attr(backend, attr)
    btf_fd, ids = function_btf(backend, ("main", *case.callbacks))
    starts = [0, *(code.labels[name] for name in case.callbacks)]
    info = b"".join(struct.pack("<II", *pair) for pair in zip(starts, ids, strict=True))
    try:
        return load_attr(backend, attr._replace(btf_fd=btf_fd, func_info=info))
    finally:
        backend.close(btf_fd)


def load_attr(backend: Any, attr: bpf.ProgAttr) -> int:
    try:
        return bpf.prog_load(backend, attr, log_level=1).fd
    except BpfError as err:
        raise AssertionError(f"{err}: {getattr(err, 'log', '')[-2000:]}") from err


def run(backend: Any, case: Case) -> Outcome:
    """Make the maps, load, run once, read the maps, close everything."""
    fds = make_maps(backend, case.maps)
    opened = list(fds.values())
    try:
        opened.append(load(backend, case, fds))
        outcome = call(backend, opened[-1], case)
        return outcome._replace(values=tuple(
            value_of(backend, fds[name], key, case.maps[name]) for name, key in case.read))
    finally:
        for fd in opened:
            backend.close(fd)


def value_of(backend: Any, fd: int, key: bytes, spec: MapSpec) -> bytes | str:
    try:
        return bpf.map_lookup_elem(backend, fd, key, spec.value_size)
    except BpfError as err:
        return err.name


def call(backend: Any, fd: int, case: Case) -> Outcome:
    """BPF_PROG_TEST_RUN with everything that it writes made visible."""
    data = ctypes.create_string_buffer(case.data or b"", len(case.data or b"") + 1)
    ctx = ctypes.create_string_buffer(case.ctx or b"", len(case.ctx or b"") + 1)
    out = ctypes.create_string_buffer(bytes([FILL]) * DATA_ROOM, DATA_ROOM)
    ctx_out = ctypes.create_string_buffer(bytes([FILL]) * CTX_ROOM, CTX_ROOM)
    size = len(case.data or b"") if case.data_size_in is None else case.data_size_in
    attr = bytearray(TEST_ATTR.pack(
        fd, NOT_WRITTEN, size, case.data_size_out,
        case.bad_data or (0 if case.data is None else ctypes.addressof(data)),
        ctypes.addressof(out) if case.data_out else 0, case.repeat, case.duration,
        len(case.ctx or b""), case.ctx_size_out, 0 if case.ctx is None else ctypes.addressof(ctx),
        ctypes.addressof(ctx_out) if case.ctx_size_out else 0, case.flags, case.cpu,
        case.batch_size))
    error: str | int = 0
    try:
        backend.bpf(uapi.BPF_PROG_TEST_RUN, attr)
    except BpfError as err:
        error = error_name(err.errno or 0)
    written = TEST_ATTR.unpack(attr)
    return Outcome(error, written[1], written[3], trim(out.raw), written[9], trim(ctx_out.raw),
                   ctx.raw[:len(case.ctx or b"")])


def trim(raw: bytes) -> bytes:
    """What was written of a buffer filled with FILL."""
    return raw.rstrip(bytes([FILL]))
