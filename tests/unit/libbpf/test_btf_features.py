"""Objects on kernels whose BTF is older: what is tried, what the kernel then gets."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Collection
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import sanitize
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf import Object, bpf, btf_features, read_object
from anybpf.libbpf.btf_externs import without_externs
from anybpf.machine import Machine
from conftest import Build

FUNC_INFO = bpf.ATTR["func_info_cnt"]
KINDS = {"func": {uapi.BTF_KIND_FUNC, uapi.BTF_KIND_FUNC_PROTO},
         "datasec": {uapi.BTF_KIND_VAR, uapi.BTF_KIND_DATASEC},
         "float": {uapi.BTF_KIND_FLOAT}, "decl_tag": {uapi.BTF_KIND_DECL_TAG},
         "type_tag": {uapi.BTF_KIND_TYPE_TAG}, "enum64": {uapi.BTF_KIND_ENUM64}}
EVERY_KIND = (
    t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED),
    t.FuncProto(1, (t.Param("a", 1),)),
    t.Func("f", 2, uapi.BTF_FUNC_GLOBAL),
    t.Var("v", 1, uapi.BTF_VAR_GLOBAL_ALLOCATED),
    t.Datasec("?.ops", 4, (t.SecVar(4, 0, 4),)),
    t.Float("double", 8),
    t.DeclTag("tag", 4),
    t.TypeTag("user", 1),
    t.Ptr(8),
    t.Enum("e", 4, (t.EnumValue("M", -1),), signed=True),
    t.Enum64("e64", 8, (t.EnumValue("X", 1 << 40),)),
)


class OldKernel:
    """A Machine whose BTF_LOAD refuses what an older kernel does not know."""

    name = "old kernel"

    def __init__(self, lacking: Collection[str]) -> None:
        self.machine, self.lacking = Machine(verify=False), lacking
        self.num_possible_cpus = self.machine.num_possible_cpus
        self.blobs: list[Btf] = []
        self.func_infos: list[int] = []
        self.loads = 0

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_BTF_LOAD:
            self._look_at(attr)
        if cmd == uapi.BPF_PROG_LOAD:
            self.func_infos.append(struct.unpack_from("=I", attr, FUNC_INFO[0])[0])
        return self.machine.bpf(cmd, attr)

    def close(self, fd: int) -> None:
        self.machine.close(fd)

    def _look_at(self, attr: bytearray) -> None:
        self.loads += 1
        address, = struct.unpack_from("=Q", attr, bpf.ATTR["btf"][0])
        size, = struct.unpack_from("=I", attr, bpf.ATTR["btf_size"][0])
        btf = Btf(ctypes.string_at(address, size))
        if any(self._unknown(made) for _, made in btf.types()):
            raise BpfError(errno.EINVAL, "kind is not known")
        self.blobs.append(btf)

    def _unknown(self, made: t.Type) -> bool:
        if isinstance(made, t.Func) and made.linkage and "global_func" in self.lacking:
            return True
        if isinstance(made, t.Enum) and made.signed and "enum64" in self.lacking:
            return True
        if made.name.startswith("?") and "qmark_datasec" in self.lacking:
            return isinstance(made, t.Datasec)
        return any(made.kind in KINDS.get(name, ()) for name in self.lacking)


@pytest.mark.parametrize("lacking", [*([name] for name in sanitize.ALL), [], sorted(sanitize.ALL)])
def test_lacks_are_found(lacking: list[str]) -> None:
    old = OldKernel(lacking)
    if "func" in lacking or "datasec" in lacking:      # what is built on it fails with it
        assert sanitize.ALL - btf_features.supported(old) >= set(lacking)
    else:
        assert sanitize.ALL - btf_features.supported(old) == set(lacking)


def test_each_is_tried_once() -> None:
    old = OldKernel(["float"])
    btf_features.supported(old, ("float", "func"))
    btf_features.supported(old, ("func", "float"))
    assert old.loads == 2
    btf_features.supported(OldKernel(["func"]), ("func",))     # another kernel is asked anew
    assert old.loads == 2


@pytest.mark.parametrize("lacking", [*([name] for name in sorted(sanitize.ALL)),
                                     sorted(sanitize.ALL)])
def test_an_old_kernel_takes_every_kind(lacking: list[str]) -> None:
    old = OldKernel(lacking)
    made = blob(*EVERY_KIND)
    with pytest.raises(BpfError):
        bpf.btf_load(old, made.to_bytes())
    older = btf_features.sanitized(old, made)
    assert older.strings.startswith(made.strings)
    old.close(bpf.btf_load(old, older.to_bytes()))


def btf_fd(obj: Object) -> int:
    assert obj._loader is not None
    return obj._loader.btf_fd


def blob(*types: t.Type) -> Btf:
    builder = BtfBuilder()
    builder.add_all(types)
    return builder.build()


def test_nothing_changes(backend: Any, build: Build) -> None:
    made = blob(*EVERY_KIND)
    assert btf_features.supported(backend) == sanitize.ALL
    assert btf_features.sanitized(backend, made) is made
    spec = read_object(build("features.bpf.c").read_bytes())
    assert spec.btf is not None
    with Object.open(build("features.bpf.c")) as obj:
        obj.load(backend)
        assert bpf.btf_bytes(backend, btf_fd(obj)) == without_externs(
            spec.btf, spec.externs).to_bytes()


@pytest.mark.parametrize("lacking", [["global_func"], ["decl_tag", "type_tag", "enum64", "float"],
                                     ["datasec"], ["datasec", "global_func", "float"]])
def test_objects_load_on_old_kernels(lacking: list[str], build: Build) -> None:
    old = OldKernel(lacking)
    with Object.open(build("features.bpf.c")) as obj:
        obj.load(old)
        assert btf_fd(obj)
    assert all(old.func_infos)
    shown = {made.kind for _, made in old.blobs[-1].types()}
    assert not any(shown & KINDS.get(name, set()) for name in lacking)


def test_kernels_without_functions_get_no_func_info(build: Build) -> None:
    """Pointers to functions without parameter names become enums that no kernel takes, as with
    libbpf: then the object goes without BTF."""
    for source, has_btf in (("resize.bpf.c", True), ("features.bpf.c", False)):
        old = OldKernel(sanitize.ALL)
        with Object.open(build(source)) as obj:
            obj.load(old)
            assert bool(btf_fd(obj)) == has_btf
        assert old.func_infos
        assert not any(old.func_infos)


def test_bad_btf_is_still_refused() -> None:
    """All that is lacking is replaced, and the rest is the kernel's to refuse."""
    old = OldKernel([])
    broken = blob(t.Ptr(7))
    assert btf_features.sanitized(old, broken) is broken
