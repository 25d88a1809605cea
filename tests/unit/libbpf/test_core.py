"""CO-RE of whole objects: custom BTF, functions that programs share, what is left alone, logs."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_patch import POISON, POISON_INSN
from anybpf.btf.relo_spec import CoreError
from anybpf.errors import BpfError
from anybpf.libbpf import Object, core
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.read import read_object
from conftest import Build

TASK_PLACES = {"tgid": 40, "pid": 44, "__state": 100}


def kernel_btf(**places: int) -> Btf:
    """A kernel whose task_struct has unsigned members at these bytes."""
    made = BtfBuilder()
    number = made.add(t.Int("unsigned int", 4))
    made.add(t.Struct("task_struct", 4096, tuple(
        t.Member(name, number, 8 * at) for name, at in places.items())))
    return made.build()


def slots(obj: Object, name: str, relocated: core.Relocated) -> list[Any]:
    insns = list(obj.programs[name].instructions)
    relocated.apply(obj.programs[name].spec.linked, insns)
    return insns


def test_shared_functions_are_resolved_once(build: Build, caplog: Any) -> None:
    obj = Object.open(build("core_host.bpf.c"))
    with caplog.at_level(logging.DEBUG, logger="anybpf.libbpf"):
        done = core.relocate(obj.spec, Target(kernel_btf(**TASK_PLACES)))
    about = [m for m in caplog.messages if m.startswith("prog 'shared': relo #0:")]
    assert len([m for m in about if "patched insn" in m]) == 1
    for name in ("first", "second"):
        changed = [(a, b) for a, b in zip(obj.programs[name].instructions,
                                          slots(obj, name, done), strict=True) if a != b]
        assert 40 in [after.off or after.imm for _, after in changed]
        assert POISON_INSN in [after for _, after in changed]
    assert POISON_INSN not in obj.programs["first"].instructions


def test_programs_that_are_not_loaded_are_left_alone(build: Build) -> None:
    obj = Object.open(build("core_host.bpf.c"))
    target = Target(kernel_btf(**TASK_PLACES))
    done = core.relocate(obj.spec, target, frozenset({"direct", "fields"}))
    assert slots(obj, "direct", done) == obj.programs["direct"].instructions
    assert slots(obj, "missing", done) != obj.programs["missing"].instructions


def test_custom_btf(build: Build, tmp_path: Path) -> None:
    machine = pytest.importorskip("anybpf.machine")
    path = tmp_path / "types"
    path.write_bytes(kernel_btf(**TASK_PLACES).to_bytes())
    for btf in (path, str(path), kernel_btf(**TASK_PLACES)):
        obj = Object.open(build("core_host.bpf.c"), btf=btf)
        for name, program in obj.programs.items():
            program.autoload = name == "types"
        with obj.load(machine.Machine()):
            assert obj.programs["types"].fd is not None
            assert obj.bss.out == 0
            obj.programs["types"].test_run(ctx=bytes(8))
            assert obj.bss.out == 0                     # enum pid_type matches nothing there


def test_backend_btf(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine")
    obj = Object.open(build("core_host.bpf.c"))
    for name, program in obj.programs.items():
        program.autoload = name == "missing"
    with obj.load(machine.Machine(btf=kernel_btf(**TASK_PLACES), verify=False)):
        assert obj.programs["missing"].fd is not None


def test_without_any_btf(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine")
    obj = Object.open(build("core_host.bpf.c"))
    with pytest.raises(BpfError, match="no kernel BTF to relocate against") as refused:
        obj.load(machine.Machine())
    assert refused.value.errno == errno.ESRCH
    assert obj.backend is None


def test_refusal_names_the_record(build: Build) -> None:
    spec = read_object(build("core_host.bpf.c").read_bytes(), "core_host")
    made = BtfBuilder.extend(kernel_btf(tgid=40))
    made.add(t.Struct("task_struct___2", 8, (t.Member("tgid", 1, 0),)))
    with pytest.raises(CoreError) as refused:
        core.relocate(spec, Target(made.build()), frozenset(spec.programs) - {"direct"})
    assert refused.value.errno == errno.EINVAL
    assert refused.value.program in ("shared", "direct")
    assert f"relo #{refused.value.index}: field offset ambiguity: 0 != 320" in str(refused.value)


def test_big_endian_objects_resolve(build: Build) -> None:
    """Offsets do not know byte orders; the kernel here is little-endian all the same."""
    little, big = (read_object(build("core_host.bpf.c", arch=arch).read_bytes(), "core_host")
                   for arch in ("bpfel", "bpfeb"))
    target = kernel_btf(**TASK_PLACES)
    mine, theirs = (core.relocate(spec, Target(target)) for spec in (little, big))
    for place, insns in mine.functions.items():
        if place.section != "raw_tp/x":                  # shifts depend on the byte order
            assert theirs.functions[place] == insns
    assert mine.changed.keys() == theirs.changed.keys()


# modules

class Modules:
    """A backend with vmlinux, a module, a broken module and a program's BTF, by id."""

    name = "modules"
    num_possible_cpus = 1

    def __init__(self, refuse: int = 0) -> None:
        self.base = kernel_btf(pid=4)
        made = BtfBuilder(base=self.base)
        made.add(t.Struct("in_module", 8, (t.Member("pid", 1, 32),)))
        self.blobs = [("vmlinux", self.base.to_bytes(), 1), ("mod", made.to_bytes(), 1),
                      ("bad", b"\x9f\xeb\1\0", 1), ("", self.base.to_bytes(), 0)]
        self.refuse, self.closed = refuse, 0

    def kernel_btf(self) -> bytes:
        return self.base.to_bytes()

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if self.refuse:
            raise BpfError(self.refuse)
        first = int.from_bytes(attr[:4], "little")
        if cmd == uapi.BPF_BTF_GET_NEXT_ID:
            if first >= len(self.blobs):
                raise BpfError(errno.ENOENT)
            attr[4:8] = (first + 1).to_bytes(4, "little")
            return 0
        if cmd == uapi.BPF_BTF_GET_FD_BY_ID:
            return first + 100
        return self._info(first - 101, int.from_bytes(attr[8:16], "little"))

    def _info(self, index: int, address: int) -> int:
        import ctypes

        name, data, is_kernel = self.blobs[index]
        words = (ctypes.c_uint64 * 4).from_address(address)
        if words[0]:
            ctypes.memmove(words[0], data, len(data))
        if words[2]:
            ctypes.memmove(words[2], name.encode() + b"\0", len(name) + 1)
        words[1] = len(data) | (index + 1) << 32
        words[3] = is_kernel << 32 | (len(name) + 1)
        return 0

    def close(self, fd: int) -> None:
        self.closed += 1


def test_modules_of_a_backend() -> None:
    backend = Modules()
    target = core.find_target(KernelBtf(backend), None)
    assert target is not None
    assert [name for name, _ in target.loaded_modules()] == ["mod"]
    assert backend.closed == 4
    assert target.loaded_modules()[0][1].find("in_module") == len(backend.base)


def test_modules_that_may_not_be_seen() -> None:
    target = core.find_target(KernelBtf(Modules(errno.EPERM)), None)
    assert target is not None
    assert list(target.loaded_modules()) == []


def test_custom_btf_has_no_modules() -> None:
    target = core.find_target(KernelBtf(Modules()), kernel_btf(pid=4))
    assert target is not None
    assert target.loaded_modules() == ()


# logs

def explained(log: str) -> str:
    made = BtfBuilder()
    made.add(t.Int("int", 4))
    made.add(t.Struct("s", 4, (t.Member("a", 1, 0),)))
    access = made.string("0:0")
    return core.explain_log(made.build(), [CoreRelo(7, 2, access, 0), CoreRelo(8, 2, 0, 0)], log)


def test_log_of_a_poisoned_instruction() -> None:
    call = f"(85) call unknown#{POISON}\n"
    assert explained(f"0: x\n7: {call}invalid func unknown#{POISON}\nprocessed\n") == (
        "0: x\n7: <invalid CO-RE relocation>\n"
        "failed to resolve CO-RE relocation <byte_off> [2] struct s.a (0:0 @ offset 0)\n"
        "processed\n")
    for same in ("", "\n", f"invalid func unknown#{POISON}\n",
                 f"6: {call}invalid func unknown#{POISON}\n",
                 f"8: {call}invalid func unknown#{POISON}\n",
                 f"what\ninvalid func unknown#{POISON}\n",
                 f"7: {call}invalid func unknown#{POISON}\n" + "more\n" * 12):
        assert explained(same) == same
