"""Specs to kernel objects: BTF, maps, programs (tools/lib/bpf/libbpf.c, bpf_object__load).

The order is libbpf's. What exists when something fails is given back; the error is the kernel's
(`VerifierError` with the log for a program that is refused).
"""

from __future__ import annotations

import errno
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from anybpf import uapi
from anybpf.btf.ext import CoreRelo
from anybpf.errors import BpfError, NotSupported, VerifierError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import bpf, core_local, keymap, ksyms
from anybpf.libbpf.bpf import Backend, ProgAttr
from anybpf.libbpf.btf_sanitize import sanitize
from anybpf.libbpf.data_sections import READ_ONLY
from anybpf.libbpf.map import HOLDS_FD, Map
from anybpf.libbpf.program import Program
from anybpf.libbpf.spec import InfoTable, MapSpec, ObjectSpec, Reference, RefKind
from anybpf.proto import sections

#: map types that refuse BTF types of key and value
NO_BTF = HOLDS_FD | frozenset({
    uapi.BPF_MAP_TYPE_STACK_TRACE, uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH,
    uapi.BPF_MAP_TYPE_CPUMAP, uapi.BPF_MAP_TYPE_XSKMAP, uapi.BPF_MAP_TYPE_SOCKMAP,
    uapi.BPF_MAP_TYPE_SOCKHASH, uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK,
    uapi.BPF_MAP_TYPE_ARENA,
})
RING_BUFFERS = frozenset({uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF})
PAGE = 4096
INSN_LINE = re.compile(r"^(\d+): \(", re.M)


@dataclass
class Loader:
    """Loads one object onto one backend."""

    backend: Backend
    spec: ObjectSpec
    programs: dict[str, Program]
    maps: dict[str, Map]
    log_level: int = 0
    pin_root: str | None = None
    btf_fd: int = 0
    _extra: list[int] = field(default_factory=list)      #: descriptors needed only while loading

    def run(self) -> None:
        """Create everything, or nothing. Raises BpfError, VerifierError, NotSupported."""
        self._check()
        try:
            self.btf_fd = self._load_btf()
            for made in self._wanted_maps():
                self._create(made)
            for made in self._wanted_maps():
                if made.type != uapi.BPF_MAP_TYPE_PROG_ARRAY:
                    self._set_values(made, self.maps)
            self._load_programs()
        except BaseException:
            self.close()
            raise
        finally:
            self._close_extra()

    def close(self) -> None:
        """Give back all that was created."""
        for program in self.programs.values():
            program.close()
        for made in self.maps.values():
            made.close()
        if self.btf_fd:
            self.backend.close(self.btf_fd)
            self.btf_fd = 0

    def _close_extra(self) -> None:
        while self._extra:
            self.backend.close(self._extra.pop())

    def _check(self) -> None:
        if self.spec.byteorder != sys.byteorder:
            raise NotSupported(f"loading a {self.spec.byteorder}-endian object on this machine")
        arena = next((s for s, _ in self.spec.sections if s.startswith(".addr_space")), None)
        if arena:
            raise NotSupported(f"variables in an arena (section '{arena}')")
        if any(name.lstrip("?").startswith(".struct_ops") for name in self.spec.other):
            raise NotSupported("struct_ops maps")

    def _wanted_maps(self) -> list[Map]:
        return [m for m in self.maps.values() if m.spec.autocreate]

    # BTF

    def _load_btf(self) -> int:
        """The descriptor of the object's BTF, 0 if there is none or it is refused.

        Only kernel functions make BTF a must, as in libbpf: old kernels go without.
        """
        if self.spec.btf is None:
            return 0
        data = sanitize(self.spec.btf, self.spec.externs).to_bytes()
        try:
            return bpf.btf_load(self.backend, data)
        except BpfError:
            if any(e.is_func for e in self.spec.externs.values()):
                raise
            return 0

    # maps

    def _create(self, made: Map) -> None:
        spec = made.spec
        if self.pin_root and spec.pinning and self._reuse_pinned(made):
            return
        inner = self._create_inner(spec)
        made.loaded(self.backend, self._create_map(spec, inner))
        if spec.data is not None:
            self._populate(made)
        if self.pin_root and spec.pinning:
            bpf.obj_pin(self.backend, made.fd or 0, f"{self.pin_root}/{spec.name}")

    def _reuse_pinned(self, made: Map) -> bool:
        try:
            fd = bpf.obj_get(self.backend, f"{self.pin_root}/{made.name}")
        except BpfError as e:
            if e.errno == errno.ENOENT:
                return False
            raise
        made.loaded(self.backend, fd)
        self._check_reuse(made)
        return True

    def _check_reuse(self, made: Map) -> None:
        info = made.info()
        made.spec.max_entries = self._max_entries(made.spec)
        for fact, wanted in reuse_facts(made.spec).items():
            if info[fact] != wanted:
                raise BpfError(errno.EINVAL, f"map '{made.name}': the pinned map's {fact} is "
                                             f"{info[fact]!r}, not {wanted}")

    def _create_inner(self, spec: MapSpec) -> int:
        """The template that a map of maps needs while it is created."""
        if spec.inner is None:
            return 0
        fd = self._create_map(spec.inner, 0)
        self._extra.append(fd)
        return fd

    def _create_map(self, spec: MapSpec, inner_fd: int) -> int:
        spec.max_entries = self._max_entries(spec)
        types = (0, 0) if spec.type in NO_BTF else (spec.key_type_id, spec.value_type_id)
        if self.btf_fd and any(types):
            try:
                return self._map_create(spec, inner_fd, self.btf_fd, types)
            except BpfError:
                pass                 # libbpf tries again without BTF, and so the error is that one
        return self._map_create(spec, inner_fd, 0, (0, 0))

    def _map_create(self, spec: MapSpec, inner_fd: int, btf_fd: int,
                    types: tuple[int, int]) -> int:
        try:
            return bpf.map_create(
                self.backend, spec.type, spec.key_size, spec.value_size, spec.max_entries,
                name=spec.name, map_flags=spec.flags, inner_map_fd=inner_fd,
                numa_node=spec.numa_node, map_extra=spec.map_extra, btf_fd=btf_fd,
                btf_key_type_id=types[0], btf_value_type_id=types[1])
        except BpfError as e:
            raise BpfError(e.errno or 0, f"map '{spec.name}': {e.strerror}") from None

    def _max_entries(self, spec: MapSpec) -> int:
        if spec.type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY and not spec.max_entries:
            return self.backend.num_possible_cpus
        if spec.type in RING_BUFFERS and spec.max_entries:
            return ring_size(spec.max_entries)
        return spec.max_entries

    def _populate(self, made: Map) -> None:
        data = made.spec.data
        if data is None:
            return
        if data.kind == "kconfig":
            ksyms.fill_kconfig(self.spec, data, self.backend)
        if data.kind != "bss" or any(data.content):
            made.update(bytes(4), bytes(data.content))
        if data.kind in READ_ONLY:
            made.freeze()

    def _set_values(self, made: Map, targets: dict[str, Map] | dict[str, Program]) -> None:
        for index, name in made.spec.values.items():
            target = targets.get(name)
            if target is None or target.fd is None:
                raise BpfError(errno.ENOENT, f"map '{made.name}': '{name}' is not loaded")
            key = bpf.to_bytes(index, 4).ljust(made.key_size, b"\0")[:made.key_size]
            made.update(key, bpf.to_bytes(target.fd, 4))

    # programs

    def _load_programs(self) -> None:
        for program in self.programs.values():
            if program.autoload:
                self._load_program(program)
        for made in self._wanted_maps():
            if made.type == uapi.BPF_MAP_TYPE_PROG_ARRAY:
                self._set_values(made, self.programs)

    def _load_program(self, program: Program) -> None:
        spec = program.spec
        if program.type == uapi.BPF_PROG_TYPE_UNSPEC:
            raise BpfError(errno.EINVAL, f"program '{program.name}': missing BPF prog type, "
                                         f"check ELF section name '{spec.section}'")
        attr = self._prog_attr(program)
        done = self._with_log_retry(program, attr)
        program.loaded(self.backend, done.fd, done.log)
        self._bind_rodata(done.fd)

    def _prog_attr(self, program: Program) -> ProgAttr:
        spec, linked = program.spec, program.spec.linked
        flags = spec.definition.prog_flags if spec.definition else 0
        attach_fd, attach_id = self._attach_target(program)
        has_funcs = bool(linked.func_info.rows)
        return ProgAttr(
            program.type, self._instructions(program), self.spec.license, program.name,
            spec.flags | flags, program.expected_attach_type, self.spec.version,
            attach_btf_id=attach_id, attach_fd=attach_fd, btf_fd=self.btf_fd,
            func_info=records(linked.func_info), func_info_rec_size=linked.func_info.record_size,
            line_info=records(linked.line_info) if has_funcs else b"",
            line_info_rec_size=linked.line_info.record_size,
            core_relos=self._core_relos(program))

    def _attach_target(self, program: Program) -> tuple[int, int]:
        """(attach_prog_fd, attach_btf_id) of programs that attach by BTF."""
        definition = program.spec.definition
        if definition is None or not definition.flags & sections.ATTACH_BTF:
            return 0, 0
        if program.attach_prog_fd:
            return ksyms.attach_program(self.backend, program)
        return 0, ksyms.attach_btf_id(self.backend, program)

    def _core_relos(self, program: Program) -> bytes:
        """The records for a kernel that resolves them itself; b"" if nothing is open."""
        btf, relos = self.spec.btf, program.spec.core_relos
        if btf is None or all(core_local.is_settled(btf, r) for r in relos):
            return b""
        if not getattr(self.backend, "resolves_core_relos", False):
            raise NotSupported(f"CO-RE relocations of program '{program.name}'")
        return core_records(relos)

    def _instructions(self, program: Program) -> bytes:
        insns = list(program.spec.instructions)
        for ref in program.spec.references:
            RESOLVE[ref.kind](self, insns, ref)
        return isa.encode(insns, sys.byteorder)

    def _map_fd(self, name: str) -> int:
        fd = self.maps[name].fd
        if fd is None:
            raise BpfError(errno.EBADF, f"map '{name}' is not created")
        return fd

    def _refer_to_map(self, insns: list[Insn], ref: Reference) -> None:
        insns[ref.insn] = insns[ref.insn]._replace(imm=self._map_fd(ref.target))

    def _put_parameter(self, insns: list[Insn], ref: Reference) -> None:
        keymap.put_parameter(self.spec, insns, ref)

    def _refer_to_ksym(self, insns: list[Insn], ref: Reference) -> None:
        low, high = ksyms.address_load(self.spec, self.backend, ref.target, insns[ref.insn])
        insns[ref.insn:ref.insn + 2] = low, high

    def _refer_to_kfunc(self, insns: list[Insn], ref: Reference) -> None:
        insns[ref.insn] = ksyms.kernel_call(self.spec, self.backend, ref.target, insns[ref.insn])

    def _bind_rodata(self, fd: int) -> None:
        """Keep .rodata alive with the program, for `bpftool prog` to read metadata from."""
        for made in self._wanted_maps():
            if made.spec.data is not None and made.spec.data.name == ".rodata":
                try:
                    bpf.prog_bind_map(self.backend, fd, made.fd or 0)
                except BpfError:
                    return           # kernels before 5.10 cannot; nothing is lost but metadata

    def _with_log_retry(self, program: Program, attr: ProgAttr) -> bpf.ProgLoad:
        """Load; what fails is loaded once more with the verifier's log on, as libbpf does."""
        try:
            return bpf.prog_load(self.backend, attr, log_level=self.log_level,
                                 log_size=bpf.LOG_SIZE_MAX if self.log_level else 1)
        except BpfError as e:
            if e.errno == errno.EAGAIN:
                raise
        return self._with_log(program, attr, bpf.LOG_SIZE_START)

    def _with_log(self, program: Program, attr: ProgAttr, size: int) -> bpf.ProgLoad:
        try:
            return bpf.prog_load(self.backend, attr, log_level=self.log_level or 1, log_size=size)
        except BpfError as e:
            if e.errno == errno.ENOSPC and size * 4 <= bpf.LOG_SIZE_MAX:
                return self._with_log(program, attr, size * 4)
            if not e.log:
                raise BpfError(e.errno or 0, f"program '{program.name}': {e.strerror}") from None
            raise VerifierError(e.errno or 0, e.log, last_insn(e.log), program.name) from None


RESOLVE: dict[RefKind, Callable[[Loader, list[Insn], Reference], None]] = {
    RefKind.MAP: Loader._refer_to_map,
    RefKind.MAP_VALUE: Loader._refer_to_map,
    RefKind.PARAMETER: Loader._put_parameter,
    RefKind.KSYM: Loader._refer_to_ksym,
    RefKind.KFUNC: Loader._refer_to_kfunc,
}


def reuse_facts(spec: MapSpec) -> dict[str, int]:
    """What must be the same, by members of `bpf_map_info`, to use a pinned map instead."""
    return {"type": spec.type, "key_size": spec.key_size, "value_size": spec.value_size,
            "max_entries": spec.max_entries, "map_flags": spec.flags,
            "map_extra": spec.map_extra}


def ring_size(wanted: int) -> int:
    """The next size that a ring buffer can have: a power of two of whole pages."""
    pages = -(-wanted // PAGE)
    size = PAGE << (pages - 1).bit_length()
    return size if size <= uapi.U32 else wanted


def records(table: InfoTable) -> bytes:
    """Records of .BTF.ext as BPF_PROG_LOAD takes them: instruction numbers, not bytes."""
    return b"".join(struct.pack("=I", row.insn) + row.rest for row in table.rows)


def core_records(relos: list[CoreRelo]) -> bytes:
    """CO-RE records for the kernel, whose offsets count bytes."""
    return b"".join(struct.pack("=4I", r.insn_off * isa.SLOT, r.type_id, r.access_str_off, r.kind)
                    for r in relos)


def last_insn(log: str) -> int | None:
    """The last instruction that the verifier's log looks at."""
    found = INSN_LINE.findall(log)
    return int(found[-1]) if found else None


