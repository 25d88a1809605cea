"""An object file's bytes to specs (tools/lib/bpf/libbpf.c, bpf_object__open).

The steps are libbpf's: collect sections, BTF, maps, externs, code, programs. No kernel is asked,
nothing outside the bytes is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from anybpf.btf.ext import BtfExt
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf import (
    arena,
    catchers,
    data_sections,
    externs,
    keymap,
    map_defs,
    open_log,
    struct_ops,
)
from anybpf.libbpf import code as c
from anybpf.libbpf.btf_fixup import fill_datasecs
from anybpf.libbpf.elf import SHF_ALLOC, SHT_NOBITS, SHT_PROGBITS, ElfFile, Section
from anybpf.libbpf.spec import (
    MAX_DATA_SIZE,
    CallTarget,
    Code,
    DataSection,
    FunctionSpec,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
)
from anybpf.proto import sections as section_names
from anybpf.proto.sections import SectionDef

TEXT, LICENSE, VERSION, BTF, BTF_EXT = ".text", "license", "version", ".BTF", ".BTF.ext"
NAME_SIZE = 15
INTERNAL = frozenset({LICENSE, VERSION, BTF, BTF_EXT, map_defs.MAPS})


def object_name_of(path: str) -> str:
    """The object's name as libbpf has it: the file name up to its first dot, 15 bytes."""
    return path.replace("\\", "/").rpartition("/")[2][:NAME_SIZE].partition(".")[0]


def read_object(data: bytes, name: str = "", *, relaxed_maps: bool = False,
                path: str = "") -> ObjectSpec:
    """Everything that the object file in `data` says.

    `name` begins the names of the maps for global variables; with `relaxed_maps` unknown members of
    map definitions are passed over. `path` is what the log calls the file. Raises LoadError, with
    section and offset, for a file that is no well-formed BPF object.
    """
    reader = _Reader(data, name, relaxed_maps)
    spec = reader.read()
    open_log.tell(reader.elf, spec, path or name)
    return spec


def definition_of(name: str) -> SectionDef | None:
    """What a section name means; as before libbpf 1.0, a rule's name may be followed by a slash."""
    found = section_names.find(name)
    if found is None and "/" in name:
        found = section_names.find(name.partition("/")[0])
    return found


class _Reader:
    def __init__(self, data: bytes, name: str, relaxed_maps: bool) -> None:
        self.relaxed_maps = relaxed_maps
        self.elf = ElfFile(data)
        self.spec = ObjectSpec(name, self.elf.byteorder)
        self.claimed: dict[int, DataSection] = {}
        self.codes: list[tuple[Section, Code]] = []
        self.by_section: dict[str, list[FunctionSpec]] = {}

    def read(self) -> ObjectSpec:
        spec = self.spec
        if not self.elf.symbols:
            raise LoadError("no symbol table")
        self._refuse_duplicates()
        spec.sections = [(s.name, s.size) for s in self.elf.sections[1:]]
        spec.license = self._text(LICENSE)
        spec.version = self._version()
        spec.btf = self._btf()
        self._maps()
        self._code()
        self._programs()
        struct_ops.collect(self.elf, spec)
        self._other()
        keymap.make_parameters(spec)
        return spec

    def _refuse_duplicates(self) -> None:
        """Code sections are told apart by name; two of one name are merged by no loader."""
        names: set[str] = set()
        for section in filter(lambda s: s.is_code, self.elf.sections):
            if section.name in names:
                raise section.error("two sections of code have this name")
            names.add(section.name)

    # small sections

    def _text(self, name: str) -> str:
        section = self.elf.find(name)
        if section is None:
            return ""
        return bytes(section.data[:64]).split(b"\0")[0].decode("utf-8", "backslashreplace")

    def _version(self) -> int:
        section = self.elf.find(VERSION)
        if section is None:
            return 0
        if len(section.data) != 4:
            raise section.error(f"{len(section.data)} bytes instead of 4")
        return int.from_bytes(section.data, self.elf.byteorder)

    def _btf(self) -> Btf | None:
        section = self.elf.find(BTF)
        if section is None or not section.data:
            return None
        btf = Btf(bytes(section.data))
        if btf.byteorder != self.elf.byteorder:
            raise section.error("byte order differs from the file's", 0)
        return fill_datasecs(btf, self.elf)

    # maps and variables

    def _maps(self) -> None:
        spec, elf = self.spec, self.elf
        spec.maps = map_defs.legacy_maps(elf, spec.btf)
        for made in map_defs.btf_maps(elf, spec.btf, relaxed=self.relaxed_maps).values():
            self._add_spec(made)
        for made in struct_ops.maps_of(elf, spec.btf):
            self._add_spec(made)
        arena.claim(elf, spec)
        for section in elf.sections:
            kind = data_sections.kind_of(section)
            if kind is not None and section.size:
                self._add_data(section, data_sections.read(elf, section, kind, spec.btf))
        spec.externs = externs.collect(elf, spec.btf)
        config = externs.kconfig_section(spec.externs, spec.btf)
        if config is not None:
            self._add_map(config)

    def _add_spec(self, made: MapSpec) -> None:
        if made.name in self.spec.maps:
            raise LoadError(f"two maps are called '{made.name}'", made.section, made.offset)
        self.spec.maps[made.name] = made

    def _add_data(self, section: Section, data: DataSection) -> str:
        self.claimed[section.index] = data
        if sum(d.size for d in self.claimed.values()) >= MAX_DATA_SIZE:
            raise section.error("variables are too large together")
        return self._add_map(data)

    def _add_map(self, data: DataSection) -> str:
        made = data_sections.as_map(data, self.spec.name, self.spec.btf)
        if made.name in self.spec.maps:
            raise LoadError(f"two maps are called '{made.name}'", data.name)
        self.spec.maps[made.name] = made
        return made.name

    def _claim(self, section: Section) -> str:
        """A section with a name of its own that code refers to: a map of variables too."""
        known = self.claimed.get(section.index)
        if known is not None:
            return data_sections.map_name(self.spec.name, known.name)
        kind = data_sections.custom_kind(section)
        return self._add_data(section,
                              data_sections.read(self.elf, section, kind, self.spec.btf))

    # code

    def _places(self) -> c.Places:
        elf, spec = self.elf, self.spec
        index = {s.name: s.index for s in elf.sections
                 if s.name == map_defs.MAPS or map_defs.is_legacy(s)}
        maps = {(index[m.section], m.offset): m.name for m in spec.maps.values()
                if m.section in index}
        data = {i: data_sections.map_name(spec.name, d.name) for i, d in self.claimed.items()}
        data |= {section.index: made.name for section in elf.sections
                 for made in spec.maps.values() if arena.holds(made, section)}
        kconfig = data_sections.map_name(spec.name, externs.KCONFIG)
        return c.Places(maps, frozenset(index.values()), data, self._claim, spec.externs, kconfig)

    def _code(self) -> None:
        places = self._places()
        for section in self.elf.sections:
            if section.is_code and section.size:
                code = c.read_code(self.elf, section, places)
                self.codes.append((section, code))
                self._add_functions(section, code)
        c.check_calls((code for _, code in self.codes), self.spec.functions)
        if self.spec.btf is not None:
            self.spec.functions.catchers = catchers.tags(self.spec.btf)
        self._infos()

    def _add_functions(self, section: Section, code: Code) -> None:
        found = c.functions_of(self.elf, section, code)
        self.by_section[section.name] = found
        for function in found:
            self.spec.functions.setdefault(CallTarget(section.name, function.start), function)

    def _infos(self) -> None:
        section = self.elf.find(BTF_EXT)
        if section is None or self.spec.btf is None or not section.data:
            return
        ext = BtfExt.parse(bytes(section.data), self.elf.byteorder)
        for _, code in self.codes:
            c.add_infos(code, ext, self.spec.btf)

    # programs

    def _programs(self) -> None:
        for function in self._entry_points():
            program = self._program(function)
            if program.name in self.spec.programs:
                raise LoadError(f"two programs are called '{program.name}'", program.section)
            self.spec.programs[program.name] = program

    def _entry_points(self) -> Iterator[FunctionSpec]:
        """All functions outside .text; and one in .text, if nothing else is there."""
        total = sum(len(found) for found in self.by_section.values())
        for section, found in self.by_section.items():
            if section == TEXT and total > 1:
                continue
            yield from found

    def _program(self, function: FunctionSpec) -> ProgramSpec:
        section = function.code.section
        if not function.is_global:
            raise LoadError(f"static program '{function.name}' is not supported", section,
                            c.SLOT * function.start)
        name = section.removeprefix("?")
        definition = definition_of(name)
        made = ProgramSpec(function.name, name, function, self.spec.functions, definition,
                           autoload=not section.startswith("?"))
        if definition is not None:
            made.type = definition.prog_type
            made.expected_attach_type = definition.expected_attach_type
            made.attach_target = definition.extras(name)
        return made

    # the rest

    def _other(self) -> None:
        for section in self.elf.sections:
            if self._is_other(section):
                self.spec.other[section.name] = bytes(section.data)

    def _is_other(self, section: Section) -> bool:
        return (section.type in (SHT_PROGBITS, SHT_NOBITS) and bool(section.flags & SHF_ALLOC)
                and not section.is_code and section.index not in self.claimed
                and section.name not in INTERNAL and not map_defs.is_legacy(section)
                and not struct_ops.is_struct_ops(section) and not arena.is_arena(section))
