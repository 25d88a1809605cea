"""libbpf's own btf__dedup, where its shared library is installed."""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import cache

import pytest

from anybpf.btf.parse import Btf

#: resolving declarations by name came with this version
NEEDED = (1, 1)


@cache
def library() -> ctypes.CDLL:
    """libbpf.so; the test is skipped where it is missing or old."""
    name = find_library("bpf")
    if not name:
        pytest.skip("libbpf's shared library is not installed")
    lib = ctypes.CDLL(name)
    version = (lib.libbpf_major_version(), lib.libbpf_minor_version())
    if version < NEEDED:
        pytest.skip(f"libbpf {version} merges less")
    lib.btf__new.restype = lib.btf__raw_data.restype = ctypes.c_void_p
    lib.btf__new.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    lib.btf__raw_data.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)]
    lib.btf__dedup.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.btf__free.argtypes = [ctypes.c_void_p]
    lib.btf__free.restype = None
    return lib


def dedup(btf: Btf) -> Btf:
    """What btf__dedup makes of it."""
    lib = library()
    handle = lib.btf__new(btf.data, len(btf.data))
    assert handle
    try:
        assert lib.btf__dedup(handle, None) == 0
        size = ctypes.c_uint32()
        address = lib.btf__raw_data(handle, ctypes.byref(size))
        return Btf(ctypes.string_at(address, size.value))
    finally:
        lib.btf__free(handle)
