"""Object files to specs: compiled ones, and small ones built here."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import LoadError
from anybpf.isa.insn import Insn, is_ld_imm64
from anybpf.libbpf import elf as e
from anybpf.libbpf import read_object
from anybpf.libbpf.read import definition_of, object_name_of
from anybpf.libbpf.spec import DataKind, ObjectSpec, Reference, RefKind, Variable
from conftest import Build
from objects.elfbuild import EXIT, MOV, ElfBuilder, smallest

LD64, HI = Insn(0x18, 1), Insn(0)
CALL = Insn(0x85, 0, uapi.BPF_PSEUDO_CALL, 0, -1)


def read(build: Build, source: str, **how: object) -> ObjectSpec:
    return read_object(build(source, **how).read_bytes(), "features")


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
@pytest.mark.parametrize("arch", ["bpfel", "bpfeb"])
def test_compiled_object(build: Build, arch: str, cpu: str) -> None:
    spec = read(build, "features.bpf.c", arch=arch, cpu=cpu)
    assert spec.byteorder == ("little" if arch == "bpfel" else "big")
    assert (spec.license, spec.version) == ("GPL", 0x060C00)
    assert set(spec.programs) == {"first", "second", "send", "tail", "jump", "nested",
                                  "not_by_itself"}
    assert all(p.type == uapi.BPF_PROG_TYPE_XDP for p in spec.programs.values()
               if p.section == "xdp")
    skipped = spec.programs["not_by_itself"]
    assert (skipped.section, skipped.autoload, skipped.type) == (
        "tc", False, uapi.BPF_PROG_TYPE_SCHED_CLS)


def test_both_byte_orders_say_the_same(build: Build) -> None:
    little, big = (read(build, "features.bpf.c", arch=a) for a in ("bpfel", "bpfeb"))
    for name, program in little.programs.items():
        other = big.programs[name]
        # numbers may differ: the compiler folds text into constants of its byte order
        assert [i[:4] for i in program.instructions] == [i[:4] for i in other.instructions]
        assert program.references == other.references
        assert program.linked.func_info == other.linked.func_info
        assert program.linked.line_info == other.linked.line_info
    assert {n: m.max_entries for n, m in little.maps.items()} == {
        n: m.max_entries for n, m in big.maps.items()}


def test_maps(build: Build) -> None:
    maps = read(build, "features.bpf.c").maps
    table = maps["table"]
    assert (table.type, table.key_size, table.value_size, table.max_entries) == (
        uapi.BPF_MAP_TYPE_HASH, 8, 24, 64)
    assert table.key_type_id
    assert table.value_type_id
    assert maps["plain"].flags == uapi.BPF_F_MMAPABLE
    assert (maps["plain"].key_type_id, maps["plain"].value_size) == (0, 8)
    assert maps["pinned"].pinning == 1
    assert maps["perf"].max_entries == 0
    outer, inner = maps["outer"], maps["outer"].inner
    assert outer.values == {0: "inner_a", 2: "inner_b"}
    assert inner is not None
    assert (inner.name, inner.type, inner.value_size) == ("outer.inner", 2, 8)
    assert maps["programs"].values == {1: "tail"}


def test_global_variables(build: Build) -> None:
    spec = read(build, "features.bpf.c")
    sections = {d.name: d for d in spec.data_sections}
    assert {n: d.kind for n, d in sections.items()} == {
        ".rodata": DataKind.RODATA, ".rodata.config": DataKind.RODATA, ".data": DataKind.DATA,
        ".data.cold": DataKind.DATA, ".bss": DataKind.BSS, ".bss.more": DataKind.BSS}
    assert sections[".data.cold"].attribute == "data_cold"
    limit = sections[".rodata"].variables["limit"]
    assert sections[".rodata"].content[limit.offset:limit.offset + 4] == b"\7\0\0\0"
    assert sections[".data"].variables["hidden_total"].is_static
    assert sections[".bss"].content == bytes(sections[".bss"].size)
    assert {m.name for m in spec.maps.values() if m.data} == {
        "features.rodata", ".rodata.config", "features.data", ".data.cold", "features.bss",
        ".bss.more"}
    assert spec.maps["features.rodata"].flags == uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_MMAPABLE


def test_functions_are_linked_in_the_order_of_calls(build: Build) -> None:
    linked = read(build, "features.bpf.c").programs["first"].linked
    assert list(linked.functions.values()) == ["first", "each", "twice", "add"]
    starts = {name: slot for slot, name in linked.functions.items()}
    calls = {slot + 1 + insn.imm for slot, insn in enumerate(linked.instructions)
             if (insn.code == 0x85 and insn.src == uapi.BPF_PSEUDO_CALL)
             or (is_ld_imm64(insn) and insn.src == uapi.BPF_PSEUDO_FUNC)}
    assert calls == {starts["each"], starts["twice"], starts["add"]}
    assert [row.insn for row in linked.func_info.rows] == list(linked.functions)
    lines = [row.insn for row in linked.line_info.rows]
    assert lines == sorted(set(lines))
    assert set(linked.functions) <= set(lines)


def test_references(build: Build) -> None:
    program = read(build, "features.bpf.c").programs["second"]
    named = {(r.kind, r.target) for r in program.references}
    assert named == {(RefKind.MAP, "table"), (RefKind.MAP, "per_cpu"),
                     (RefKind.MAP_VALUE, ".data.cold"), (RefKind.MAP_VALUE, ".bss.more"),
                     (RefKind.MAP_VALUE, ".rodata.config")}
    place = next(r for r in program.references if r.target == ".bss.more")
    assert place.offset == program.instructions[place.insn + 1].imm == 0
    assert program.instructions[place.insn].src == uapi.BPF_PSEUDO_MAP_VALUE


def test_without_debug_information(build: Build) -> None:
    spec = read(build, "legacy.bpf.c", debug=False, cpu="v1")
    assert spec.btf is None
    assert spec.maps["hits"].max_entries == 3
    assert spec.maps["names"].value_size == 16
    assert spec.programs["count"].type == uapi.BPF_PROG_TYPE_SOCKET_FILTER
    data = next(spec.data_sections)
    assert data.variables == {"step": Variable("step", 0, 4)}
    assert spec.maps["features.data"].flags == 0


def test_long_legacy_definitions(build: Build) -> None:
    spec = read(build, "legacy.bpf.c", options=("-DLONG_DEFINITION",))
    assert [(m.offset, m.extra) for m in spec.maps.values() if m.section == "maps"] == [
        (0, bytes(8)), (28, bytes(8))]


def test_externs(build: Build) -> None:
    spec = read(build, "externs.bpf.c")
    assert {n: (x.section, x.is_weak, x.is_func) for n, x in spec.externs.items()} == {
        "LINUX_KERNEL_VERSION": (".kconfig", False, False),
        "CONFIG_ON": (".kconfig", False, False), "CONFIG_THREE": (".kconfig", False, False),
        "CONFIG_TEXT": (".kconfig", False, False), "CONFIG_NUMBER": (".kconfig", True, False),
        "CONFIG_MISSING": (".kconfig", True, False), "bpf_prog_put": (".ksyms", True, False),
        "no_such_variable": (".ksyms", True, False), "bpf_no_such_kfunc": (".ksyms", True, True)}
    places = {n: x.offset for n, x in spec.externs.items() if x.section == ".kconfig"}
    assert places == {"CONFIG_NUMBER": 0, "CONFIG_MISSING": 8, "CONFIG_THREE": 12,
                      "LINUX_KERNEL_VERSION": 16, "CONFIG_TEXT": 20, "CONFIG_ON": 28}
    kinds = [r.kind for r in spec.programs["symbols"].references]
    assert kinds.count(RefKind.KFUNC) == 1
    assert RefKind.KSYM in kinds


@pytest.mark.parametrize(("path", "name"), [
    ("/x/y/firewall.bpf.o", "firewall"), ("a.o", "a"), ("", ""),
    ("a-very-long-object-name.o", "a-very-long-obj")])
def test_object_name(path: str, name: str) -> None:
    assert object_name_of(path) == name


def test_section_names_of_before_libbpf_1() -> None:
    found = definition_of("lirc_mode2/nec")
    assert found is not None
    assert found.prog_type == uapi.BPF_PROG_TYPE_LIRC_MODE2
    assert definition_of("no such section") is None


# built by hand

def test_smallest() -> None:
    spec = read_object(smallest().to_bytes())
    assert spec.programs["prog"].instructions == [MOV, EXIT]
    assert spec.btf is None


def test_a_function_alone_in_text_is_a_program() -> None:
    made = ElfBuilder()
    made.function("only", made.code(".text", [MOV, EXIT]), 0, 16)
    program = read_object(made.to_bytes()).programs["only"]
    assert (program.section, program.definition) == (".text", None)


def test_functions_without_type_and_size() -> None:
    made = ElfBuilder()
    code = made.code("xdp", [MOV, EXIT, MOV, MOV, EXIT])
    made.symbol("one", code, 0, kind=e.STT_NOTYPE)
    made.symbol("two", code, 16, kind=e.STT_NOTYPE)
    made.symbol("LBB0_1", code, 8, kind=e.STT_NOTYPE, bind=e.STB_LOCAL)
    spec = read_object(made.to_bytes())
    assert {n: len(p.instructions) for n, p in spec.programs.items()} == {"one": 2, "two": 3}


def test_section_of_any_name_becomes_a_map_if_code_refers_to_it() -> None:
    made = ElfBuilder()
    code = made.code("xdp", [LD64._replace(imm=4), HI, MOV, EXIT])
    data = made.section("mine", bytes(8), flags=e.SHF_ALLOC | e.SHF_WRITE)
    made.section("theirs", b"x")
    var = made.symbol("var", data, 0, 8)
    made.function("prog", code, 0, 32)
    made.relocate(code, (0, var, e.R_BPF_64_64))
    spec = read_object(made.to_bytes(), "obj")
    assert spec.maps["objmine"].data is not None
    assert spec.programs["prog"].references == [Reference(0, RefKind.MAP_VALUE, "objmine", 4)]
    assert spec.other == {"theirs": b"x"}


def test_pointers_in_data_are_recorded() -> None:
    made = smallest()
    data = made.section(".data", (16).to_bytes(8, "little"), flags=e.SHF_ALLOC | e.SHF_WRITE)
    made.relocate(data, (0, 1, e.R_BPF_64_ABS64))
    section = next(read_object(made.to_bytes()).data_sections)
    assert section.relocations == ((0, 8, "prog", 16),)


def test_long_call_chain_is_linked_without_recursion() -> None:
    count = 3000
    insns = [CALL, EXIT] * count
    made = ElfBuilder()
    text = made.code(".text", insns)
    main = made.code("xdp", [CALL, EXIT])
    made.function("main", main, 0, 16)
    functions = [made.function(f"f{i}", text, 16 * i, 16, e.STB_LOCAL) for i in range(count)]
    made.relocate(main, (0, functions[0], e.R_BPF_64_32))
    made.relocate(text, *((16 * i, functions[i + 1], e.R_BPF_64_32) for i in range(count - 1)),
                  (16 * (count - 1), functions[0], e.R_BPF_64_32))
    linked = read_object(made.to_bytes()).programs["main"].linked
    assert len(linked.functions) == count + 1
    assert linked.instructions[-2].imm == 2 - 6000 - 1


def test_a_program_of_over_a_million_slots() -> None:
    made = ElfBuilder()
    size = 8 * 300_000
    text = made.code(".text", bytes(size))
    main = made.code("xdp", [CALL] * 4 + [EXIT])
    made.function("main", main, 0, 40)
    for i in range(4):                  # four functions that overlap: more than the file holds
        made.function(f"f{i}", text, 8 * i, size - 8 * i, e.STB_LOCAL)
    made.relocate(main, *((8 * i, 2 + i, e.R_BPF_64_32) for i in range(4)))
    spec = read_object(made.to_bytes())
    with pytest.raises(LoadError, match="more than 1000000 instructions"):
        _ = spec.programs["main"].linked


def relocated(first: Insn, second: Insn, target: str, kind: int = e.R_BPF_64_64) -> bytes:
    """A program whose slot 0 is relocated against one of several symbols."""
    made = ElfBuilder()
    code = made.code("xdp", [first, second, MOV, EXIT])
    maps = made.section("maps", bytes(40), flags=e.SHF_ALLOC | e.SHF_WRITE)
    data = made.section(".data", bytes(8), flags=e.SHF_ALLOC | e.SHF_WRITE)
    debug = made.section(".debug_x", bytes(8), flags=0)
    symbols = {
        "prog": made.function("prog", code, 0, 32),
        "map": made.symbol("map", maps, 0, 20),
        "map2": made.symbol("map2", maps, 20, 20),
        "var": made.symbol("var", data, 0, 8),
        "debug": made.symbol("debug", debug, 0, 8),
        "common": made.symbol("common", e.SHN_COMMON, 8, 8),
        "maps": made.symbol("", maps, 0, 0, e.STT_SECTION, e.STB_LOCAL),
    }
    made.relocate(code, (0, symbols[target], kind))
    return made.to_bytes()


def test_static_map_by_its_section() -> None:
    spec = read_object(relocated(LD64._replace(imm=20), HI, "maps"))
    assert spec.programs["prog"].references == [Reference(0, RefKind.MAP, "map2")]
    assert spec.programs["prog"].instructions[0] == Insn(0x18, 1, uapi.BPF_PSEUDO_MAP_FD)


BAD = [
    ("map in the middle", LD64._replace(imm=3), HI, "map", "points to no map (offset 0x3 of"),
    ("call of data", CALL, EXIT, "var", "calls what is no function"),
    ("helper", CALL._replace(src=0, imm=1), EXIT, "prog", "is for a call of a helper"),
    ("call elsewhere", CALL._replace(imm=99), EXIT, "prog", "points to offset 0x320 of section"),
    ("not a load", MOV, EXIT, "var", "is for an instruction with opcode 0xb7"),
    ("no section", LD64, HI, "common", "has no section"),
    ("debug", LD64, HI, "debug", "points into section '.debug_x', which has no data"),
    ("before", LD64._replace(imm=-1), HI, "var", "points to offset -0x1 of '.data'"),
]


@pytest.mark.parametrize(("first", "second", "target", "message"), [b[1:] for b in BAD],
                         ids=[b[0] for b in BAD])
def test_bad_relocations(first: Insn, second: Insn, target: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_object(relocated(first, second, target))
    assert message in caught.value.message
    assert (caught.value.section, caught.value.offset) == ("xdp", 0)


def test_call_into_the_middle_of_a_function() -> None:
    made = ElfBuilder()
    made.function("prog", made.code("xdp", [CALL._replace(imm=1), MOV, EXIT]), 0, 24)
    with pytest.raises(LoadError, match="call of slot 2 of section 'xdp', where no function"):
        read_object(made.to_bytes())


def no_symbols() -> ElfBuilder:
    made = ElfBuilder()
    made._symbols.clear()
    return made


def static_program() -> ElfBuilder:
    made = ElfBuilder()
    made.function("prog", made.code("xdp", [MOV, EXIT]), 0, 16, e.STB_LOCAL)
    return made


def program(value: int, size: int) -> ElfBuilder:
    made = ElfBuilder()
    made.function("prog", made.code("xdp", [MOV, EXIT]), value, size)
    return made


def with_section(name: str, data: bytes, kind: int = e.SHT_PROGBITS,
                 size: int | None = None) -> ElfBuilder:
    made = smallest()
    made.section(name, data, kind, size=size)
    return made


def odd_code() -> ElfBuilder:
    made = ElfBuilder()
    made.code("xdp", bytes(12))
    made.symbol("x", 1)
    return made


@pytest.mark.parametrize(("made", "message"), [
    (no_symbols(), "no symbol table"),
    (static_program(), "static program 'prog' is not supported"),
    (program(4, 8), "function 'prog' is not made of whole instructions"),
    (program(8, 16), "function 'prog' crosses the section's end"),
    (odd_code(), "section 'xdp' offset 0x8: truncated instruction"),
    (with_section("version", b"123"), "section 'version': 3 bytes instead of 4"),
    (with_section(".bss", b"", e.SHT_NOBITS, 1 << 62), "bytes of variables are too many"),
    (with_section(".BTF", bytes(40)), "section '.BTF'"),
    (with_section(".maps", bytes(8)), "maps are defined by BTF, which this file lacks"),
])
def test_malformed(made: ElfBuilder, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        read_object(made.to_bytes())
    assert message in str(caught.value)
