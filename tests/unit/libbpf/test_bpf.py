"""bpf(2) wrappers, on both backends."""

from __future__ import annotations

import errno
import struct
import sys
from typing import Any

import pytest

from anybpf import uapi, uapi_structs
from anybpf.errors import BpfError
from anybpf.isa.insn import Insn, encode
from anybpf.libbpf import bpf

KEYS = [struct.pack("=I", i) for i in range(4)]
VALUES = [struct.pack("=Q", 10 * i) for i in range(4)]
RETURN_5 = encode([Insn(0xB7, imm=5), Insn(0x95)])


@pytest.fixture
def table(backend: Any) -> Any:
    fd = bpf.map_create(backend, uapi.BPF_MAP_TYPE_HASH, 4, 8, 16, name="a table!")
    yield fd
    backend.close(fd)


def test_elements(backend: Any, table: int) -> None:
    bpf.map_update_elem(backend, table, KEYS[1], VALUES[1])
    assert bpf.map_lookup_elem(backend, table, KEYS[1], 8) == VALUES[1]
    assert bpf.map_get_next_key(backend, table, None, 4) == KEYS[1]
    assert bpf.map_get_next_key(backend, table, KEYS[1], 4) is None
    with pytest.raises(BpfError) as caught:
        bpf.map_update_elem(backend, table, KEYS[1], VALUES[1], uapi.BPF_NOEXIST)
    assert (caught.value.errno, caught.value.name) == (errno.EEXIST, "EEXIST")
    assert bpf.map_lookup_and_delete_elem(backend, table, KEYS[1], 8) == VALUES[1]
    with pytest.raises(BpfError) as caught:
        bpf.map_delete_elem(backend, table, KEYS[1])
    assert caught.value.errno == errno.ENOENT


def test_batches(backend: Any, table: int) -> None:
    assert bpf.map_update_batch(backend, table, KEYS, VALUES) == 4
    batch = bpf.map_lookup_batch(backend, table, 4, 8, 16)
    assert sorted(zip(batch.keys, batch.values, strict=True)) == sorted(
        zip(KEYS, VALUES, strict=True))
    assert batch.next is None
    assert bpf.map_delete_batch(backend, table, KEYS[:2]) == 2
    rest = bpf.map_lookup_batch(backend, table, 4, 8, 16, delete=True)
    assert sorted(rest.keys) == KEYS[2:]
    assert bpf.map_get_next_key(backend, table, None, 4) is None


def test_freeze(backend: Any, table: int) -> None:
    bpf.map_freeze(backend, table)
    with pytest.raises(BpfError) as caught:
        bpf.map_update_elem(backend, table, KEYS[0], VALUES[0])
    assert caught.value.errno == errno.EPERM


def test_info_and_ids(backend: Any, table: int) -> None:
    info = bpf.obj_info(backend, table, "bpf_map_info")
    assert info["name"] == b"a_table_"
    assert (info["type"], info["key_size"], info["max_entries"]) == (1, 4, 16)
    number = info["id"]
    assert isinstance(number, int)
    assert number in bpf.ids(backend, uapi.BPF_MAP_GET_NEXT_ID)
    again = bpf.get_fd_by_id(backend, uapi.BPF_MAP_GET_FD_BY_ID, number)
    assert again != table
    backend.close(again)
    with pytest.raises(BpfError) as caught:
        bpf.get_fd_by_id(backend, uapi.BPF_MAP_GET_FD_BY_ID, 0x7FFFFFFF)
    assert caught.value.errno == errno.ENOENT


def test_program(backend: Any) -> None:
    prog = bpf.ProgAttr(uapi.BPF_PROG_TYPE_SOCKET_FILTER, RETURN_5, "GPL", "five")
    fd = bpf.prog_load(backend, prog).fd
    answer = bpf.prog_test_run(backend, fd, data=bytes(20), data_size_out=64, repeat=2)
    assert answer.retval == 5
    assert len(answer.data) == 20
    info = bpf.obj_info(backend, fd, "bpf_prog_info")
    assert (info["name"], info["type"]) == (b"five", 1)
    assert isinstance(info["tag"], bytes)
    backend.close(fd)
    with pytest.raises(BpfError) as caught:
        bpf.prog_test_run(backend, fd, data=bytes(20))
    assert caught.value.errno == errno.EBADF


def test_refused_program_and_btf(backend: Any) -> None:
    bad = bpf.ProgAttr(uapi.BPF_PROG_TYPE_SOCKET_FILTER, encode([Insn(0xB7, src=1)]), "GPL")
    with pytest.raises(BpfError) as caught:
        bpf.prog_load(backend, bad, log_level=1)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(BpfError) as caught:
        bpf.btf_load(backend, b"no BTF")
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(("name", "kept"), [
    ("plain.name_1", b"plain.name_1"), ("a-b c", b"a_b_c"), ("x" * 40, b"x" * 15),
    ("größe", b"gr__e")])
def test_object_name(name: str, kept: bytes) -> None:
    assert bpf.object_name(name) == kept


def test_attr() -> None:
    attr = bpf.Attr("map_name").set(map_type=2, map_name=b"abc", map_flags=-1)
    assert len(attr.bytes) == 44
    assert attr.get("map_type") == 2
    assert attr.get("map_flags") == 0xFFFFFFFF
    assert bytes(attr.bytes[28:32]) == b"abc\0"


def test_the_layout_of_a_test_run() -> None:
    """Its members one after the other, without gaps."""
    members = [bpf.ATTR[m.name] for m in uapi_structs.STRUCTS["bpf_attr"].members
               if m.name.startswith("test.")]
    ends = [offset + size for offset, size in members]
    assert [offset for offset, _ in members] == [0, *ends[:-1]]
    assert ends[-1] == bpf.TEST.size
    numbers = range(1, len(members) + 1)
    raw = bpf.TEST.pack(*numbers)
    assert [int.from_bytes(raw[at:at + size], sys.byteorder) for at, size in members] == [*numbers]
