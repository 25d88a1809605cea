"""The objects inside the programs of Debian's libbpf-tools: reading all, loading what can be.

They are tracing programs for any kernel, so the Machine is given the running kernel's types. This
is about the loader: `kernel/test_verifier_objects.py` is about what the verifier says of them.
Whatever does not load must say why: an attach point that this kernel lacks, or what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import kernel
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported, VerifierError
from anybpf.isa import disasm, insn
from anybpf.isa.check import check_insns
from anybpf.libbpf import Object, Program
from anybpf.linux import Linux
from anybpf.machine import Machine

#: what stands between a program and a Machine: a part of the message
REASONS = ("failed to find kernel BTF type ID of", "map type stack_trace",
           "programs of type tracing")
#: maps that the tools size before they load
SIZED_LATER = 128


@pytest.fixture
def objects(embedded_objects: dict[str, bytes]) -> dict[str, Object]:
    return {name: Object.open(data, name=name) for name, data in embedded_objects.items()}


@pytest.fixture(scope="module")
def types() -> Btf:
    """The running kernel's types."""
    try:
        return kernel.load_vmlinux()
    except (OSError, LoadError) as error:
        pytest.skip(f"no kernel BTF: {error}")


def programs(objects: dict[str, Object]) -> Iterator[tuple[str, Program]]:
    return ((f"{name}: {p.name}", p) for name, obj in objects.items()
            for p in obj.programs.values())


def sized(obj: Object) -> Object:
    """The object as its tool prepares it: no map is left without a size."""
    for made in obj.maps.values():
        if not made.max_entries and made.type != uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            made.max_entries = SIZED_LATER
    return obj


def alone(data: bytes, name: str, program: str) -> Object:
    """The object with one of its programs only."""
    obj = sized(Object.open(data, name=name))
    for p in obj.programs.values():
        p.autoload = p.name == program
    return obj


def unverified(types: Btf) -> Machine:
    """A Machine with the kernel's types that takes what the loader makes as it is."""
    return Machine(btf=types, verify=False)


def outcome(obj: Object, backend: Any) -> str:
    """"" if it loads, else why not; an error that is none of the known reasons comes through."""
    try:
        with obj.load(backend):
            return ""
    except (BpfError, NotSupported) as reason:
        known = [text for text in REASONS if text in str(reason)]
        if not known:
            raise
        return known[0]


def test_all_open(objects: dict[str, Object]) -> None:
    assert len(objects) > 40
    for name, obj in objects.items():
        assert obj.programs, name
        assert obj.license in ("GPL", "Dual BSD/GPL"), name
        assert obj.btf is not None, name
        assert len(obj.btf) > 10, name


def test_all_programs_have_a_type_and_code(objects: dict[str, Object]) -> None:
    seen: Counter[int] = Counter()
    for label, program in programs(objects):
        assert program.type != uapi.BPF_PROG_TYPE_UNSPEC, label
        seen[program.type] += 1
        check_insns(program.instructions)
        raw = insn.encode(program.instructions)
        assert insn.decode(raw) == program.instructions, label
        text = "\n".join(disasm.disasm(program.instructions))
        assert "exit" in text, label
        assert "BUG" not in text, label
    assert sum(seen.values()) > 200
    assert {uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_TRACING,
            uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_PERF_EVENT} <= set(seen)


def test_all_references_name_something(objects: dict[str, Object]) -> None:
    for label, program in programs(objects):
        owner = objects[label.partition(":")[0]]
        for ref in program.spec.references:
            assert ref.target in owner.maps or ref.target in owner.spec.externs, label
            assert insn.is_ld_imm64(program.instructions[ref.insn]), label


def test_all_btf_survives(objects: dict[str, Object]) -> None:
    for name, obj in objects.items():
        assert obj.btf is not None
        again = Btf(obj.btf.to_bytes())
        assert len(again) == len(obj.btf), name
        assert [again.type(i) for i in range(1, len(again), 7)] == \
            [obj.btf.type(i) for i in range(1, len(again), 7)], name


def test_global_variables_are_there(objects: dict[str, Object]) -> None:
    """The filters of the tools are constants to set before loading."""
    named = {f"{name}.{variable}" for name, obj in objects.items()
             for section in obj.globals.values() for variable in section}
    assert {"opensnoop.targ_pid", "execsnoop.max_args", "biolatency.targ_ms"} <= named
    objects["opensnoop"].rodata.targ_pid = 17
    assert objects["opensnoop"].rodata.targ_pid == 17


def test_objects_on_a_machine(objects: dict[str, Object], types: Btf) -> None:
    counted = Counter(outcome(sized(obj), unverified(types)) for obj in objects.values())
    assert counted[""] >= 20
    assert sum(counted.values()) == len(objects)


def test_programs_on_a_machine(embedded_objects: dict[str, bytes], objects: dict[str, Object],
                               types: Btf) -> None:
    """Each program alone: more load than whole objects do."""
    counted: Counter[str] = Counter()
    for name, obj in objects.items():
        for program in obj.programs:
            only = alone(embedded_objects[name], name, program)
            counted[outcome(only, unverified(types))] += 1
    assert counted[""] >= 200


def test_without_types(objects: dict[str, Object]) -> None:
    with pytest.raises(BpfError, match="has no kernel BTF to relocate against") as caught:
        sized(objects["opensnoop"]).load(Machine())
    assert caught.value.name == "ESRCH"


def test_size_left_to_the_tool(objects: dict[str, Object], types: Btf) -> None:
    """cpudist sizes a map when it knows how many CPUs there are; before, it is refused."""
    obj = objects["cpudist"]
    for program in obj.programs.values():
        program.autoload = program.type != uapi.BPF_PROG_TYPE_TRACING
    with pytest.raises(BpfError, match="map 'start'") as caught:
        obj.load(unverified(types))
    assert caught.value.name == "EINVAL"


def refused_by_policy(error: BpfError, obj: Object) -> bool:
    """Whether the kernel lets nobody load such programs, before its verifier says anything."""
    return error.name == "EPERM" and any(
        p.type == uapi.BPF_PROG_TYPE_TRACING for p in obj.programs.values())


@pytest.mark.kernel
def test_what_loads_on_a_machine_loads_on_the_kernel(
        embedded_objects: dict[str, bytes], linux: Linux, types: Btf) -> None:
    """But for what only the verifier can know."""
    tried, logs = 0, list[str]()
    for name, data in embedded_objects.items():
        if outcome(sized(Object.open(data, name=name)), unverified(types)) == "":
            opened = sized(Object.open(data, name=name))
            try:
                with opened.load(linux) as obj:
                    assert all(p.fd is not None for p in obj.programs.values() if p.autoload)
                    tried += 1
            except VerifierError as error:
                logs.append(error.log)
            except BpfError as error:
                if not refused_by_policy(error, opened):
                    raise
    assert tried >= 20
    assert all("failed to resolve CO-RE relocation" in log for log in logs)
