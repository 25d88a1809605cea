"""Programs before and after loading: what can be set, and what they attach to."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported, VerifierError
from anybpf.isa.insn import Insn
from anybpf.libbpf import Object, Program
from anybpf.libbpf.attach_target import attach_target
from anybpf.libbpf.kernel_btf import KernelBtf
from conftest import Build
from objects.elfbuild import EXIT, MOV, ElfBuilder, smallest

PACKET = bytes(64)
FIELDS = ("expected_attach_type", "flags", "log_level", "attach_prog_fd")


def program(section: str, code: list[Insn] | None = None) -> Object:
    insns = code or [MOV, EXIT]
    made = ElfBuilder()
    made.function("prog", made.code(section, insns), 0, 8 * len(insns))
    return Object.open(made.to_bytes())


def test_settings_until_loaded(backend: Any) -> None:
    obj = Object.open(smallest().to_bytes())
    made = obj.programs["prog"]
    made.flags = uapi.BPF_F_XDP_HAS_FRAGS
    made.log_level = 1
    made.instructions = [MOV._replace(imm=7), EXIT]
    with obj.load(backend):
        assert made.test_run(PACKET).retval == 7
        assert "processed 2 insns" in made.log or backend.name == "machine"
        for field in FIELDS:
            with pytest.raises(BpfError, match="prog 'prog': is loaded already") as caught:
                setattr(made, field, 1)
            assert caught.value.errno == errno.EBUSY
        for field, value, number in (("type", 1, errno.EBUSY), ("autoload", False, errno.EINVAL),
                                     ("instructions", [], errno.EBUSY)):
            with pytest.raises(BpfError) as caught:
                setattr(made, field, value)
            assert caught.value.errno == number
        with pytest.raises(BpfError) as caught:
            made.set_attach_target("f")
        assert caught.value.errno == errno.EINVAL
        made.type = uapi.BPF_PROG_TYPE_XDP                  # no change is no error
        made.autoattach = False
    made.type = uapi.BPF_PROG_TYPE_SOCKET_FILTER
    assert made.definition is None


def test_another_type_forgets_what_the_section_says(backend: Any) -> None:
    obj = program("xdp.frags")
    obj.programs["prog"].type = uapi.BPF_PROG_TYPE_SCHED_CLS
    obj.programs["prog"].expected_attach_type = 0
    with obj.load(backend):
        assert obj.programs["prog"].info()["type"] == uapi.BPF_PROG_TYPE_SCHED_CLS


def test_errors_name_the_object_and_the_program(linux: Any, build: Build) -> None:
    made = ElfBuilder()
    made.function("loose", made.code("xdp", [Insn(0xBF, 0, 3), EXIT]), 0, 16)
    with pytest.raises(VerifierError) as caught:
        Object.open(made.to_bytes(), name="shaky").load(linux)
    assert (caught.value.object, caught.value.program) == ("shaky", "loose")
    assert "object 'shaky': loose rejected:" in str(caught.value)


def test_names_in_errors_of_the_kernel(backend: Any) -> None:
    obj = program("xdp")
    obj.programs["prog"].flags = 1 << 31
    obj.spec.name = "odd"
    with pytest.raises(BpfError, match="object 'odd': prog 'prog': BPF program load failed: Inv"):
        obj.load(backend)


# attach targets

def test_no_target(backend: Any) -> None:
    with pytest.raises(BpfError, match="no BTF-based attach target is specified") as caught:
        program("fentry").load(backend)
    assert caught.value.errno == errno.EINVAL


def test_an_extension_without_its_program(backend: Any) -> None:
    with pytest.raises(BpfError, match="prog 'prog': attach program FD is not set"):
        program("freplace/f").load(backend)


def test_a_machine_without_types() -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    with pytest.raises(NotSupported, match="attaching to 'do_exit'"):
        program("fentry/do_exit").load(machine)


@pytest.mark.kernel
@pytest.mark.parametrize(("section", "name", "kind"), [
    ("fentry/bpf_fentry_test1", "bpf_fentry_test1", uapi.BTF_KIND_FUNC),
    ("fentry/vmlinux:bpf_fentry_test1", "bpf_fentry_test1", uapi.BTF_KIND_FUNC),
    ("tp_btf/sched_switch", "btf_trace_sched_switch", uapi.BTF_KIND_TYPEDEF),
    ("lsm/file_open", "bpf_lsm_file_open", uapi.BTF_KIND_FUNC),
    ("iter/bpf_map", "bpf_iter_bpf_map", uapi.BTF_KIND_FUNC),
])
def test_targets_in_the_running_kernel(linux: Any, section: str, name: str, kind: int) -> None:
    made = program(section).programs["prog"]
    kernel = KernelBtf(linux)
    vmlinux = kernel.vmlinux("a test")
    if not vmlinux.find(name, kind):
        pytest.skip(f"this kernel has no {name}")
    assert attach_target(made, kernel) == (0, vmlinux.find(name, kind))


@pytest.mark.kernel
@pytest.mark.parametrize("section", ["fentry/no_such_function", "fentry/vmlinux:no_such",
                                     "fentry/no_module:bpf_fentry_test1"])
def test_targets_that_are_not_there(linux: Any, section: str) -> None:
    wanted = section.partition("/")[2]
    with pytest.raises(BpfError, match=f"failed to find kernel BTF type ID of '{wanted}': -3"):
        program(section).load(linux)


@pytest.mark.kernel
def test_a_target_by_hand(linux: Any) -> None:
    obj = program("tp_btf")
    obj.programs["prog"].set_attach_target("sched_switch")
    with obj.load(linux):
        assert obj.programs["prog"].info()["attach_btf_id"]


@pytest.mark.parametrize(("function", "target"), [("", 0), ("f", -1), ("f", None)])
def test_targets_that_are_none(function: str, target: int | None) -> None:
    made = program("fentry").programs["prog"]
    given = target if target is not None else Program(made.spec)
    with pytest.raises(BpfError) as caught:
        made.set_attach_target(function, given)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.kernel
def test_an_extension_replaces_a_function(build: Build, linux: Any) -> None:
    with Object.open(build("kernel.bpf.c")).load(linux) as target:
        obj = Object.open(build("kernel.bpf.c"))
        for one in obj.programs.values():
            one.autoload = one.name == "replacement"
        obj.programs["replacement"].set_attach_target(program=target.programs["caller"])
        assert obj.programs["replacement"].attach_target == "replaceable"
        try:
            obj.load(linux)
        except BpfError as e:
            if e.errno == errno.EPERM:
                pytest.skip("this kernel lets nobody load programs that attach by trampoline")
            raise
        with obj:
            info = obj.programs["replacement"].info()
            assert info["type"] == uapi.BPF_PROG_TYPE_EXT


def test_a_machine_takes_what_attaches_to_its_programs(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    path = build("replaced.bpf.c")
    with machine, Object.open(path).load(machine) as target:
        for name, fits in (("replacement", True), ("misfit", False), ("traced", True)):
            obj = Object.open(path)
            for one in obj.programs.values():
                one.autoload = one.name == name
            obj.programs[name].set_attach_target(program=target.programs["caller"])
            if fits:
                obj.load(machine).close()
                continue
            with pytest.raises(VerifierError, match="has 2 args while"):
                obj.load(machine)
