"""bpf(2) of the running kernel, as little of it as the BTF tests need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from functools import cache

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.linux import Linux

LINUX = Linux()


def bpf(cmd: int, attr: bytes) -> tuple[int, bytes]:
    """(result or negative errno, attr after the call)."""
    buffer = bytearray(attr)
    try:
        return LINUX.bpf(cmd, buffer), bytes(buffer)
    except BpfError as error:
        return -(error.errno or 0), bytes(buffer)


@cache
def refusal() -> str:
    """Why bpf(2) cannot be used here, "" if it can."""
    return Linux.probe() or ""


def need() -> None:
    if refusal():
        pytest.skip(refusal())


def need_reference() -> None:
    """Skip where the kernel is older than the one whose words and rules are the reference."""
    need()
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if release < (6, 18):
        pytest.skip(f"the reference is Linux 6.18; this is {platform.release()}")


def btf_load(data: bytes, log_size: int = 1 << 20) -> tuple[int, str]:
    """BTF_LOAD with log level 1: (fd or negative errno, log)."""
    blob = ctypes.create_string_buffer(data, len(data) or 1)
    log = ctypes.create_string_buffer(log_size)
    addresses = ctypes.addressof(blob), ctypes.addressof(log)
    got, _ = bpf(uapi.BPF_BTF_LOAD, struct.pack("<QQIII4x", *addresses, len(data), log_size, 1))
    return got, log.value.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def array_map(data: bytes, value_type: int, value: bytes, key_type: int = 1) -> Iterator[int]:
    """The id of a one-element array map with BTF types, holding `value`."""
    btf, log = btf_load(data)
    assert btf >= 0, log
    attr = bytearray(72)
    struct.pack_into("<4I", attr, 0, 2, 4, len(value), 1)
    struct.pack_into("<3I", attr, 48, btf, key_type, value_type)
    fd, _ = bpf(uapi.BPF_MAP_CREATE, bytes(attr))
    assert fd >= 0, os.strerror(-fd)
    try:
        _update(fd, value)
        yield _map_id(fd)
    finally:
        os.close(fd)
        os.close(btf)


def _update(fd: int, value: bytes) -> None:
    key, room = ctypes.create_string_buffer(4), ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(key), ctypes.addressof(room)
    got, _ = bpf(uapi.BPF_MAP_UPDATE_ELEM, struct.pack("<I4xQQQ", fd, *addresses, 0))
    assert got == 0, os.strerror(-got)


def lookup(fd: int, size: int) -> bytes:
    """The value of an array map's element 0."""
    key, room = ctypes.create_string_buffer(4), ctypes.create_string_buffer(size)
    addresses = ctypes.addressof(key), ctypes.addressof(room)
    got, _ = bpf(uapi.BPF_MAP_LOOKUP_ELEM, struct.pack("<I4xQQQ", fd, *addresses, 0))
    assert got == 0, os.strerror(-got)
    return room.raw


def _map_id(fd: int) -> int:
    info = ctypes.create_string_buffer(8)
    got, _ = bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, 8, ctypes.addressof(info)))
    assert got == 0, os.strerror(-got)
    return int.from_bytes(info.raw[4:8], "little")
