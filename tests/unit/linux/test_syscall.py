"""The running kernel as a backend, and what is known without it."""

from __future__ import annotations

import errno
import mmap
import platform

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf import bpf
from anybpf.linux import Linux
from anybpf.linux.syscall import parse_cpu_list, possible_cpus, read_or_none


@pytest.mark.parametrize(("text", "count"), [("0\n", 1), ("0-3\n", 4), ("0,2-5,9", 10)])
def test_cpu_list(text: str, count: int) -> None:
    assert parse_cpu_list(text) == count


def test_probe_names_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "m68k")
    assert Linux.probe() == "the number of bpf(2) on m68k is not known"
    with pytest.raises(OSError, match="m68k") as caught:
        Linux()
    assert caught.value.errno == errno.ENOSYS


def test_probe_of_a_kernel_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Linux, cmd: int, attr: bytearray) -> int:
        raise BpfError(errno.EPERM)

    monkeypatch.setattr(Linux, "bpf", refuse)
    if Linux._unsupported() is None:
        assert Linux.probe() == "bpf(2) is refused: Operation not permitted (EPERM)"


def test_missing_files() -> None:
    assert read_or_none("/nonexistent") is None
    assert possible_cpus() >= 1


@pytest.mark.kernel
def test_errors(linux: Linux) -> None:
    with pytest.raises(BpfError) as caught:
        linux.bpf(9999, bytearray(16))
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(BpfError) as caught:
        linux.close(1 << 20)
    assert caught.value.errno == errno.EBADF


@pytest.mark.kernel
def test_mapping_is_the_maps_own_memory(linux: Linux) -> None:
    fd = bpf.map_create(linux, uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 4, map_flags=uapi.BPF_F_MMAPABLE)
    with linux.mmap(fd, mmap.PAGESIZE) as memory:
        memory[8:16] = b"ABCDEFGH"
        assert bpf.map_lookup_elem(linux, fd, b"\1\0\0\0", 8) == b"ABCDEFGH"
    with pytest.raises(BpfError) as caught:
        linux.mmap(fd, 1 << 30)
    assert caught.value.errno == errno.EINVAL
    linux.close(fd)


@pytest.mark.kernel
def test_facts(linux: Linux) -> None:
    assert linux.kernel_version >= (4, 4, 0)
    assert linux.symbol_address("no_such_symbol_here") is None
    types = linux.kernel_btf()
    assert types is None or types[:2] in (b"\x9f\xeb", b"\xeb\x9f")


@pytest.mark.kernel
def test_mapping_at_an_address(linux: Linux) -> None:
    fd = bpf.map_create(linux, uapi.BPF_MAP_TYPE_ARRAY, 4, mmap.PAGESIZE, 1,
                        map_flags=uapi.BPF_F_MMAPABLE)
    address = 1 << 44
    memory = linux.mmap_at(fd, mmap.PAGESIZE, address)
    memory[0:4] = b"abcd"
    assert memory[0:8] == b"abcd\0\0\0\0"
    assert bpf.map_lookup_elem(linux, fd, bytes(4), mmap.PAGESIZE)[:4] == b"abcd"
    with pytest.raises(BpfError) as caught:
        linux.mmap_at(fd, mmap.PAGESIZE, address)
    assert caught.value.errno == errno.EEXIST
    memory.close()
    memory.close()
    with pytest.raises(ValueError, match="not mapped any more"):
        memory[0:4]
    linux.close(fd)


@pytest.mark.kernel
def test_names_in_the_file_system_that_cannot_be(linux: Linux) -> None:
    for act in (lambda: linux.mkdir("/no/such/place"), lambda: linux.unlink("/no/such/place")):
        with pytest.raises(BpfError) as caught:
            act()
        assert caught.value.errno == errno.ENOENT
    with pytest.raises(BpfError) as caught:
        linux.dup(99999)
    assert caught.value.errno == errno.EBADF


@pytest.mark.kernel
def test_many_symbols_at_once(linux: Linux) -> None:
    names = ["bpf_prog_put", "no_such_symbol_here"]
    found = linux.symbol_addresses(names)
    assert "no_such_symbol_here" not in found
    assert linux.symbol_address("bpf_prog_put") == (found.get("bpf_prog_put") or [None])[0]
