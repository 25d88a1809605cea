"""bpf(2) commands as functions over a backend (tools/lib/bpf/bpf.c).

Every function takes the backend first, fills the binary `union bpf_attr` by the member table of
`uapi_structs`, and raises BpfError with the kernel's error number. User pointers are addresses of
ctypes buffers of this process. Keys and values are plain bytes of exactly the kernel's size.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from anybpf import uapi, uapi_structs
from anybpf.errors import BpfError, NotSupported

SIZES = {"__u32": 4, "__s32": 4, "__u64": 8, "char[16]": 16}
ATTR = {m.name: (m.offset, SIZES[m.type])
        for m in uapi_structs.STRUCTS["bpf_attr"].members if m.type in SIZES}
#: the union's `test`, which is read and written often: prog_fd ... batch_size
TEST = struct.Struct("=4I2Q4I2Q3I")
LOG_SIZE_START, LOG_SIZE_MAX = 1 << 16, 0xFFFF_FFFF >> 8


class Backend(Protocol):
    """Whatever answers bpf(2): the Machine, or the running kernel (`anybpf.linux.Linux`)."""

    @property
    def name(self) -> str:
        """What messages call this backend."""

    @property
    def num_possible_cpus(self) -> int:
        """How many elements a per-CPU value has."""

    def bpf(self, cmd: int, attr: bytearray) -> int:
        """Run one command; `attr` is updated in place. Raises BpfError."""

    def close(self, fd: int) -> None:
        """Give a file descriptor back."""


class Attr:
    """One `union bpf_attr`, with the buffers that its pointers name kept alive."""

    def __init__(self, last: str) -> None:
        offset, size = ATTR[last]
        self.bytes = bytearray(offset + size)
        self._buffers: list[object] = []

    def set(self, **fields: int | bytes) -> Attr:
        """Store numbers (and names as bytes); a member of a nested struct is `test__ctx_in`."""
        for name, value in fields.items():
            self.put(name.replace("__", "."), value)
        return self

    def put(self, name: str, value: int | bytes) -> None:
        offset, size = ATTR[name]
        raw = value if isinstance(value, bytes) else to_bytes(value, size)
        self.bytes[offset:offset + size] = raw.ljust(size, b"\0")[:size]

    def point(self, name: str, buffer: ctypes.Array[ctypes.c_char] | None) -> None:
        """Store the address of `buffer` (None leaves a null pointer)."""
        if buffer is not None:
            self._buffers.append(buffer)
            self.put(name, ctypes.addressof(buffer))

    def point_bytes(self, name: str, data: bytes | None) -> None:
        """Store the address of a copy of `data` (None leaves a null pointer)."""
        self.point(name, None if data is None else buffer_of(data))

    def get(self, name: str) -> int:
        offset, size = ATTR[name]
        return int.from_bytes(self.bytes[offset:offset + size], sys.byteorder)

    def run(self, backend: Backend, cmd: int) -> int:
        return backend.bpf(cmd, self.bytes)


def to_bytes(value: int, size: int) -> bytes:
    """The low `size` bytes of `value` as this machine stores them."""
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, sys.byteorder)


def buffer_of(data: bytes) -> ctypes.Array[ctypes.c_char]:
    """A ctypes buffer with these bytes (at least one byte long, so that it has an address)."""
    return ctypes.create_string_buffer(data, max(len(data), 1))


def address_of(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """The buffer's address, for pointers inside structs; keep the buffer alive."""
    return ctypes.addressof(buffer)


def new_buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * max(size, 1))()


def object_name(name: str) -> bytes:
    """A name as the kernel takes it: at most 15 bytes, letters, digits, '_' and '.'."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
    return kept.encode()[:uapi.BPF_OBJ_NAME_LEN - 1]


# maps

def map_create(backend: Backend, map_type: int, key_size: int, value_size: int, max_entries: int,
               *, name: str = "", map_flags: int = 0, inner_map_fd: int = 0, numa_node: int = 0,
               map_extra: int = 0, btf_fd: int = 0, btf_key_type_id: int = 0,
               btf_value_type_id: int = 0, btf_vmlinux_value_type_id: int = 0,
               value_type_btf_obj_fd: int = 0) -> int:
    """BPF_MAP_CREATE: the new map's file descriptor."""
    attr = Attr("value_type_btf_obj_fd" if value_type_btf_obj_fd else "map_extra").set(
        map_type=map_type, key_size=key_size, value_size=value_size, max_entries=max_entries,
        map_flags=map_flags, inner_map_fd=inner_map_fd, numa_node=numa_node, map_extra=map_extra,
        map_name=object_name(name), btf_fd=btf_fd, btf_key_type_id=btf_key_type_id,
        btf_value_type_id=btf_value_type_id, btf_vmlinux_value_type_id=btf_vmlinux_value_type_id)
    if value_type_btf_obj_fd:
        attr.put("value_type_btf_obj_fd", value_type_btf_obj_fd)
    return attr.run(backend, uapi.BPF_MAP_CREATE)


def _element(backend: Backend, cmd: int, fd: int, key: bytes | None,
             value: ctypes.Array[ctypes.c_char] | None, flags: int) -> int:
    attr = Attr("flags").set(map_fd=fd, flags=flags)
    attr.point_bytes("key", key)
    attr.point("value", value)
    return attr.run(backend, cmd)


def map_lookup_elem(backend: Backend, fd: int, key: bytes | None, value_size: int,
                    flags: int = 0) -> bytes:
    """BPF_MAP_LOOKUP_ELEM: `value_size` is the size for user space (per-CPU: of all copies)."""
    value = new_buffer(value_size)
    _element(backend, uapi.BPF_MAP_LOOKUP_ELEM, fd, key, value, flags)
    return value.raw[:value_size]


def map_lookup_and_delete_elem(backend: Backend, fd: int, key: bytes | None, value_size: int,
                               flags: int = 0) -> bytes:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM (hash maps, queues and stacks)."""
    value = new_buffer(value_size)
    _element(backend, uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, flags)
    return value.raw[:value_size]


def map_update_elem(backend: Backend, fd: int, key: bytes | None, value: bytes,
                    flags: int = 0) -> None:
    """BPF_MAP_UPDATE_ELEM."""
    _element(backend, uapi.BPF_MAP_UPDATE_ELEM, fd, key, buffer_of(value), flags)


def map_delete_elem(backend: Backend, fd: int, key: bytes) -> None:
    """BPF_MAP_DELETE_ELEM."""
    _element(backend, uapi.BPF_MAP_DELETE_ELEM, fd, key, None, 0)


def map_get_next_key(backend: Backend, fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """BPF_MAP_GET_NEXT_KEY: the first key for None; None after the last."""
    following = new_buffer(key_size)
    try:
        _element(backend, uapi.BPF_MAP_GET_NEXT_KEY, fd, key, following, 0)
    except BpfError as e:
        if e.errno == errno.ENOENT:
            return None
        raise
    return following.raw[:key_size]


def map_freeze(backend: Backend, fd: int) -> None:
    """BPF_MAP_FREEZE: no more writes through bpf(2)."""
    Attr("map_fd").set(map_fd=fd).run(backend, uapi.BPF_MAP_FREEZE)


class Batch(NamedTuple):
    """One answer of a batch lookup: keys and values, and where to go on (None at the end)."""

    keys: list[bytes]
    values: list[bytes]
    next: bytes | None


def map_lookup_batch(backend: Backend, fd: int, key_size: int, value_size: int, count: int,
                     after: bytes | None = None, *, delete: bool = False, elem_flags: int = 0,
                     flags: int = 0) -> Batch:
    """BPF_MAP_LOOKUP_BATCH (or LOOKUP_AND_DELETE_BATCH): up to `count` elements.

    `after` is the `next` of the answer before, None to begin. A batch that ends the map has
    `next` None (the kernel's ENOENT).
    """
    keys, values = new_buffer(count * key_size), new_buffer(count * value_size)
    token = new_buffer(max(key_size, 4))
    attr = Attr("batch.flags").set(batch__count=count, batch__map_fd=fd,
                                   batch__elem_flags=elem_flags, batch__flags=flags)
    attr.point_bytes("batch.in_batch", after)
    for name, buffer in (("out_batch", token), ("keys", keys), ("values", values)):
        attr.point(f"batch.{name}", buffer)
    cmd = uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH if delete else uapi.BPF_MAP_LOOKUP_BATCH
    last = _ends(functools.partial(attr.run, backend, cmd))
    got = attr.get("batch.count")
    return Batch(_split(keys.raw, key_size, got), _split(values.raw, value_size, got),
                 None if last else token.raw)


def _ends(call: functools.partial[int]) -> bool:
    """Run a batch call; True if the kernel says there is nothing after it."""
    try:
        call()
    except BpfError as e:
        if e.errno == errno.ENOENT:
            return True
        raise
    return False


def _split(raw: bytes, size: int, count: int) -> list[bytes]:
    return [raw[i * size:(i + 1) * size] for i in range(count)]


def map_update_batch(backend: Backend, fd: int, keys: Sequence[bytes], values: Sequence[bytes],
                     *, elem_flags: int = 0, flags: int = 0) -> int:
    """BPF_MAP_UPDATE_BATCH: how many elements were written."""
    attr = Attr("batch.flags").set(batch__count=len(keys), batch__map_fd=fd,
                                   batch__elem_flags=elem_flags, batch__flags=flags)
    attr.point_bytes("batch.keys", b"".join(keys))
    attr.point_bytes("batch.values", b"".join(values))
    attr.run(backend, uapi.BPF_MAP_UPDATE_BATCH)
    return attr.get("batch.count")


def map_delete_batch(backend: Backend, fd: int, keys: Sequence[bytes], *, elem_flags: int = 0,
                     flags: int = 0) -> int:
    """BPF_MAP_DELETE_BATCH: how many elements were deleted."""
    attr = Attr("batch.flags").set(batch__count=len(keys), batch__map_fd=fd,
                                   batch__elem_flags=elem_flags, batch__flags=flags)
    attr.point_bytes("batch.keys", b"".join(keys))
    attr.run(backend, uapi.BPF_MAP_DELETE_BATCH)
    return attr.get("batch.count")


# BTF

def btf_load(backend: Backend, data: bytes, log_level: int = 0) -> int:
    """BPF_BTF_LOAD: the file descriptor. With a `log_level` the log is in the error's message."""
    attr = Attr("btf_log_level").set(btf_size=len(data), btf_log_level=log_level)
    attr.point_bytes("btf", data)
    log = new_buffer(LOG_SIZE_START)
    if log_level:
        attr.point("btf_log_buf", log)
        attr.put("btf_log_size", LOG_SIZE_START)
    try:
        return attr.run(backend, uapi.BPF_BTF_LOAD)
    except BpfError as e:
        text = log.value.decode("utf-8", "replace").strip()
        raise BpfError(e.errno or 0, text) from None


# programs

class ProgAttr(NamedTuple):
    """What BPF_PROG_LOAD takes. `insns` are the bytes of all instructions, in host byte order."""

    prog_type: int
    insns: bytes
    license: str
    name: str = ""
    prog_flags: int = 0
    expected_attach_type: int = 0
    kern_version: int = 0
    prog_ifindex: int = 0
    attach_btf_id: int = 0
    attach_fd: int = 0                 #: attach_prog_fd or attach_btf_obj_fd
    btf_fd: int = 0
    func_info: bytes = b""
    func_info_rec_size: int = 8
    line_info: bytes = b""
    line_info_rec_size: int = 16
    core_relos: bytes = b""
    core_relo_rec_size: int = 16
    fd_array: tuple[int, ...] = ()


class ProgLoad(NamedTuple):
    """The loaded program's file descriptor and the verifier's log ("" with log level 0)."""

    fd: int
    log: str


INFO_ARRAYS = (("func_info", "func_info_cnt"), ("line_info", "line_info_cnt"),
               ("core_relos", "core_relo_cnt"))


def _prog_attr(prog: ProgAttr) -> Attr:
    attr = Attr("log_true_size").set(
        prog_type=prog.prog_type, insn_cnt=len(prog.insns) // 8, prog_flags=prog.prog_flags,
        prog_name=object_name(prog.name), kern_version=prog.kern_version,
        prog_ifindex=prog.prog_ifindex, expected_attach_type=prog.expected_attach_type,
        attach_btf_id=prog.attach_btf_id, attach_prog_fd=prog.attach_fd)
    attr.point_bytes("insns", prog.insns)
    attr.point_bytes("license", prog.license.encode() + b"\0")
    if prog.fd_array:
        attr.point_bytes("fd_array", struct.pack(f"={len(prog.fd_array)}i", *prog.fd_array))
    if prog.btf_fd:
        attr.put("prog_btf_fd", prog.btf_fd)
        for name, count in INFO_ARRAYS:
            _put_info(attr, prog, name, count)
    return attr


def _put_info(attr: Attr, prog: ProgAttr, name: str, count: str) -> None:
    data: bytes = getattr(prog, name)
    record = name.removesuffix("s") + "_rec_size"
    size: int = getattr(prog, record)
    if data:
        attr.point_bytes(name, data)
        attr.put(count, len(data) // size)
        attr.put(record, size)


def prog_load(backend: Backend, prog: ProgAttr, *, log_level: int = 0,
              log_size: int = LOG_SIZE_START) -> ProgLoad:
    """BPF_PROG_LOAD. Raises BpfError; its `log` attribute is the verifier's log, if asked for."""
    attr = _prog_attr(prog)
    log = new_buffer(log_size)
    if log_level:
        attr.point("log_buf", log)
        attr.set(log_level=log_level, log_size=log_size)
    try:
        fd = attr.run(backend, uapi.BPF_PROG_LOAD)
    except BpfError as e:
        e.log = _log_text(log)
        raise
    return ProgLoad(fd, _log_text(log))


def _log_text(log: ctypes.Array[ctypes.c_char]) -> str:
    return log.value.decode("utf-8", "replace")


def prog_bind_map(backend: Backend, prog_fd: int, map_fd: int) -> None:
    """BPF_PROG_BIND_MAP: the program keeps the map alive."""
    attr = Attr("prog_bind_map.flags").set(prog_bind_map__prog_fd=prog_fd,
                                           prog_bind_map__map_fd=map_fd)
    attr.run(backend, uapi.BPF_PROG_BIND_MAP)


class TestRun(NamedTuple):
    """The answer of BPF_PROG_TEST_RUN; `duration` is nanoseconds of one run, on average."""

    retval: int
    data: bytes
    ctx: bytes
    duration: int


TestRun.__test__ = False  # type: ignore[attr-defined]    # not a pytest class


def prog_test_run(backend: Backend, fd: int, *, data: bytes | None = None,
                  ctx: bytes | None = None, data_size_out: int | None = None,
                  ctx_size_out: int | None = None, repeat: int = 0, flags: int = 0, cpu: int = 0,
                  batch_size: int = 0) -> TestRun:
    """BPF_PROG_TEST_RUN. None as a size means: no such output is wanted.

    A context that the program changed in place (syscall programs) comes back as `ctx` too.
    """
    data_in, ctx_in = _given(data), _given(ctx)
    data_out, ctx_out = _room(data_size_out), _room(ctx_size_out)
    attr = bytearray(TEST.pack(
        fd, 0, len(data or b""), data_size_out or 0, _address(data_in), _address(data_out), repeat,
        0, len(ctx or b""), ctx_size_out or 0, _address(ctx_in), _address(ctx_out), flags, cpu,
        batch_size))
    backend.bpf(uapi.BPF_PROG_TEST_RUN, attr)
    _, retval, _, data_size, _, _, _, duration, ctx_size, ctx_size_new, *_ = TEST.unpack(attr)
    if ctx_out is None and ctx_in is not None:
        changed = _output(ctx_in, ctx_size)
    else:
        changed = _output(ctx_out, ctx_size_new)
    return TestRun(retval, _output(data_out, data_size), changed, duration)


def _given(data: bytes | None) -> ctypes.Array[ctypes.c_char] | None:
    return None if data is None else buffer_of(data)


def _room(size: int | None) -> ctypes.Array[ctypes.c_char] | None:
    return None if size is None else new_buffer(size)


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _output(buffer: ctypes.Array[ctypes.c_char] | None, size: int) -> bytes:
    return b"" if buffer is None else ctypes.string_at(buffer, size)


# names, ids, information

def get_next_id(backend: Backend, cmd: int, start: int) -> int | None:
    """One step of BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID: the id after `start`, None at the end."""
    attr = Attr("open_flags").set(start_id=start)
    try:
        attr.run(backend, cmd)
    except BpfError as e:
        if e.errno == errno.ENOENT:
            return None
        raise
    return attr.get("next_id")


def ids(backend: Backend, cmd: int) -> Iterable[int]:
    """All ids, lowest first, of BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID."""
    current = get_next_id(backend, cmd, 0)
    while current is not None:
        yield current
        current = get_next_id(backend, cmd, current)


def get_fd_by_id(backend: Backend, cmd: int, object_id: int) -> int:
    """BPF_{PROG,MAP,BTF,LINK}_GET_FD_BY_ID."""
    return Attr("open_flags").set(start_id=object_id).run(backend, cmd)


def obj_get_info_by_fd(backend: Backend, fd: int, size: int, fill: bytes = b"") -> bytes:
    """BPF_OBJ_GET_INFO_BY_FD: the info struct's bytes; `fill` is what it holds before the call
    (pointers and lengths for the arrays wanted)."""
    info = ctypes.create_string_buffer(fill.ljust(size, b"\0"), size)
    attr = Attr("info.info").set(info__bpf_fd=fd, info__info_len=size)
    attr.point("info.info", info)
    attr.run(backend, uapi.BPF_OBJ_GET_INFO_BY_FD)
    return info.raw[:attr.get("info.info_len")]


def btf_bytes(backend: Backend, fd: int) -> bytes:
    """The bytes of a loaded BTF."""
    fields = uapi_structs.STRUCTS["bpf_btf_info"]
    size = obj_info(backend, fd, "bpf_btf_info")["btf_size"]
    assert isinstance(size, int)
    data = new_buffer(size)
    fill = struct.pack("=QI", ctypes.addressof(data), size)
    obj_get_info_by_fd(backend, fd, fields.size, fill)
    return data.raw[:size]


def obj_info(backend: Backend, fd: int, struct_name: str) -> dict[str, int | bytes]:
    """The numbers and names of `bpf_prog_info`, `bpf_map_info` or `bpf_btf_info` by member."""
    layout = uapi_structs.STRUCTS[struct_name]
    raw = obj_get_info_by_fd(backend, fd, layout.size).ljust(layout.size, b"\0")
    return {m.name: _member(raw, m) for m in layout.members if not m.bits}


def _member(raw: bytes, member: uapi_structs.Member) -> int | bytes:
    if member.type in SIZES and member.type != "char[16]":
        end = member.offset + SIZES[member.type]
        return int.from_bytes(raw[member.offset:end], sys.byteorder,
                              signed=member.type.startswith("__s"))
    length = int(member.type.partition("[")[2].rstrip("]") or 0)
    return raw[member.offset:member.offset + length].split(b"\0")[0] \
        if member.type.startswith("char") else raw[member.offset:member.offset + length]


def dup(backend: Backend, fd: int) -> int:
    """Another file descriptor for the same object. Raises BpfError (EBADF), NotSupported."""
    copy: Callable[[int], int] | None = getattr(backend, "dup", None)
    if copy is None:
        raise NotSupported(f"a second descriptor for an object of backend {backend.name}")
    return copy(fd)


class Memory(Protocol):
    """Mapped memory, such as an `mmap.mmap`: read and written by slices."""

    def __getitem__(self, where: slice, /) -> bytes: ...

    def __setitem__(self, where: slice, data: bytes, /) -> None: ...

    def close(self) -> None: ...


def map_memory(backend: Backend, fd: int, size: int, address: int = 0) -> Memory:
    """mmap(2) of a map's memory, shared and writable, at `address` if that is not 0.

    Raises BpfError (EEXIST: something else is there), NotSupported.
    """
    name = "mmap_at" if address else "mmap"
    open_mapping: Callable[..., Memory] | None = getattr(backend, name, None)
    if open_mapping is None:
        where = f" at the fixed address {address:#x}" if address else ""
        raise NotSupported(f"memory of maps{where} on backend {backend.name}")
    return open_mapping(fd, size, address) if address else open_mapping(fd, size, writable=True)


def obj_pin(backend: Backend, fd: int, path: str) -> None:
    """BPF_OBJ_PIN: give the object a name in a bpffs."""
    attr = Attr("file_flags").set(bpf_fd=fd)
    attr.point_bytes("pathname", path.encode() + b"\0")
    attr.run(backend, uapi.BPF_OBJ_PIN)


def make_parent(backend: Backend, path: str) -> None:
    """Make the directory that `path` lies in, if it is not there and the backend can."""
    make: Callable[[str], None] | None = getattr(backend, "mkdir", None)
    parent = path.rpartition("/")[0]
    if make is None or not parent:
        return
    try:
        make(parent)
    except BpfError as e:
        if e.errno != errno.EEXIST:
            raise


def unlink(backend: Backend, path: str) -> None:
    """Take the name of an object away. Raises BpfError (ENOENT), NotSupported."""
    remove: Callable[[str], None] | None = getattr(backend, "unlink", None)
    if remove is None:
        raise NotSupported(f"unpinning on backend {backend.name}")
    remove(path)


def obj_get(backend: Backend, path: str, file_flags: int = 0) -> int:
    """BPF_OBJ_GET: a new file descriptor for the object pinned at `path`."""
    attr = Attr("file_flags").set(file_flags=file_flags)
    attr.point_bytes("pathname", path.encode() + b"\0")
    return attr.run(backend, uapi.BPF_OBJ_GET)
