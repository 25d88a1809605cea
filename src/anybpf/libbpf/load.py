"""Specs to kernel objects: BTF, maps, programs (tools/lib/bpf/libbpf.c, bpf_object__load).

The order is libbpf's. What exists when something fails is given back; the error is the kernel's
(`VerifierError` with the log for a program that is refused), and names the object.
"""

from __future__ import annotations

import errno
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, NotSupported, VerifierError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.libbpf import arg_tags, bpf, core, keymap, log, log_fixup
from anybpf.libbpf.attach_target import AttachTarget, attach_target
from anybpf.libbpf.bpf import Backend, ProgAttr
from anybpf.libbpf.btf_sanitize import sanitize
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.ksyms import DEFAULT_VERSION, Ksyms
from anybpf.libbpf.map import Map
from anybpf.libbpf.map_create import MapLoader
from anybpf.libbpf.program import Program
from anybpf.libbpf.spec import InfoTable, ObjectSpec, Reference, RefKind

INSN_LINE = re.compile(r"^(\d+): [(<]", re.M)


@dataclass
class Loader:
    """Loads one object onto one backend."""

    backend: Backend
    spec: ObjectSpec
    programs: dict[str, Program]
    maps: dict[str, Map]
    log_level: int = 0
    pin_root: str | None = None
    target_btf: Btf | None = None                        #: CO-RE's, instead of the kernel's own
    btf_fd: int = 0
    _relocated: core.Relocated = field(default_factory=core.Relocated)

    def __post_init__(self) -> None:
        self._kernel = KernelBtf(self.backend)
        self._map_loader = MapLoader(self.backend, self.spec, self.maps, self._kernel,
                                     pin_root=self.pin_root)
        self._ksyms = Ksyms(self.spec, self.backend, self._kernel)
        self._func_infos: dict[str, InfoTable] = {}

    def run(self) -> None:
        """Create everything, or nothing. Raises BpfError, VerifierError, NotSupported."""
        try:
            self._run()
        except BaseException as e:
            self.close()
            log.warning("failed to load object '%s'", self.spec.name)
            if isinstance(e, BpfError):
                raise named(e, self.spec.name) from e.__cause__
            raise
        finally:
            self._map_loader.close()
            self._kernel.close()

    def _run(self) -> None:
        self._check()
        self._ksyms.resolve(self._needed_externs())
        self._map_loader.fit_struct_ops()
        self._choose_struct_ops_programs()
        self._relocated = core.relocate_for(
            self.spec, self._kernel, self.target_btf,
            frozenset(name for name, p in self.programs.items() if not p.autoload))
        self._map_loader.btf_fd = self.btf_fd = self._load_btf()
        self._map_loader.create_all()
        self._load_programs()

    def close(self) -> None:
        """Give back all that was created."""
        for program in self.programs.values():
            program.close()
        for made in self.maps.values():
            made.close()
        if self.btf_fd:
            self.backend.close(self.btf_fd)
            self.btf_fd = 0

    def _check(self) -> None:
        if self.spec.byteorder != sys.byteorder:
            raise NotSupported(f"loading a {self.spec.byteorder}-endian object on this machine")

    def _needed_externs(self) -> set[str]:
        """All symbols, as with libbpf; where there are no types, those that will be loaded."""
        wanted = {name for name, e in self.spec.externs.items() if e.section == ".ksyms"}
        if not wanted or self._kernel.has_types:
            return wanted
        return wanted & {ref.target for p in self.programs.values() if p.autoload
                         for ref in p.spec.references}

    # struct_ops

    def _choose_struct_ops_programs(self) -> None:
        """A program is loaded for the first hook that names it; one that none names, not at all."""
        hooks = [(made, hook) for made in self._map_loader.wanted if made.fitted
                 for hook in made.fitted.hooks]
        chosen: set[str] = set()
        for made, hook in hooks:
            assert made.fitted is not None
            program = self.programs[hook.program]
            mine = (made.fitted.type_id, hook.index)
            if hook.program in chosen \
                    and mine != (program.struct_ops_id, program.expected_attach_type):
                log.fail(errno.EINVAL, f"struct_ops reloc {made.name}: cannot use prog "
                                       f"{program.name} in sec {program.section} with type "
                                       f"{program.type} attach_btf_id {program.struct_ops_id} "
                                       f"expected_attach_type {program.expected_attach_type} "
                                       f"for func ptr {hook.index}")
            program.struct_ops_id, program.expected_attach_type = mine
            chosen.add(hook.program)
        named_by_any = {name for m in self.maps.values() if m.spec.struct_ops
                        for name in m.spec.struct_ops.programs.values()}
        self._unused_struct_ops = frozenset(named_by_any - chosen)

    # BTF

    def _load_btf(self) -> int:
        """The descriptor of the object's BTF, 0 if there is none or it is refused.

        Only kernel functions make BTF a must, as in libbpf: old kernels go without.
        """
        btf = self.spec.btf
        if btf is None:
            return 0
        if getattr(self.backend, "kernel_version", DEFAULT_VERSION) < arg_tags.NATIVE_SINCE:
            btf, self._func_infos = arg_tags.fix_up(
                btf, [p.spec for p in self.programs.values() if p.autoload])
        try:
            return bpf.btf_load(self.backend, sanitize(btf, self.spec.externs).to_bytes())
        except BpfError as e:
            log.warning("BTF loading error: %d", log.number(e))
            log.warning("Error loading .BTF into kernel: %d. BTF is optional, ignoring.",
                        log.number(e))
            if any(e.is_func for e in self.spec.externs.values()):
                raise
            return 0

    # programs

    def _load_programs(self) -> None:
        for program in self.programs.values():
            if not program.autoload or program.name in self._unused_struct_ops:
                log.debug("prog '%s': skipped loading", program.name)
            else:
                self._load_program(program)
        for made in self._map_loader.wanted:
            if made.type == uapi.BPF_MAP_TYPE_PROG_ARRAY:
                self._map_loader.fill_slots(made, self.programs)
            if made.fitted is not None:
                made.fitted.value[:] = made.fitted.filled(
                    {name: p.fd for name, p in self.programs.items() if p.fd is not None})

    def _load_program(self, program: Program) -> None:
        spec = program.spec
        if program.type == uapi.BPF_PROG_TYPE_UNSPEC:
            log.fail(errno.EINVAL, f"prog '{program.name}': missing BPF prog type, check ELF "
                                   f"section name '{spec.section}'")
        done = self._with_log_retry(program, self._prog_attr(program))
        program.loaded(self.backend, done.fd, done.log)
        self._bind_rodata(program)

    def _prog_attr(self, program: Program) -> ProgAttr:
        linked = program.spec.linked
        flags = program.definition.prog_flags if program.definition else 0
        target = self._attach_target(program)
        func_info = self._func_infos.get(program.name, linked.func_info)
        if program.is_replaced:
            func_info = InfoTable(func_info.record_size)
        return ProgAttr(
            program.type, self._instructions(program), self.spec.license, program.name,
            program.flags | flags, program.expected_attach_type, self.spec.version,
            attach_btf_id=target.btf_id, attach_fd=target.fd, btf_fd=self.btf_fd,
            func_info=records(func_info), func_info_rec_size=func_info.record_size,
            line_info=records(linked.line_info) if func_info.rows else b"",
            line_info_rec_size=linked.line_info.record_size,
            fd_array=self._ksyms.fd_array())

    def _attach_target(self, program: Program) -> AttachTarget:
        if program.struct_ops_id:
            return AttachTarget(self._struct_ops_fd(program), program.struct_ops_id)
        return attach_target(program, self._kernel)

    def _struct_ops_fd(self, program: Program) -> int:
        """The BTF of the module that has the struct, 0 for vmlinux's."""
        modules = (made.fitted.module for made in self.maps.values() if made.fitted
                   for hook in made.fitted.hooks if hook.program == program.name)
        module = next(modules, None)
        return self._kernel.fd_of(module) if module else 0

    def _instructions(self, program: Program) -> bytes:
        insns = list(program.instructions)
        if not program.is_replaced:
            self._relocated.apply(program.spec.linked, insns)
            for ref in program.spec.references:
                RESOLVE[ref.kind](self, insns, ref)
        return isa.encode(insns, sys.byteorder)

    def _refer_to_map(self, insns: list[Insn], ref: Reference) -> None:
        fd = self.maps[ref.target].fd
        if fd is not None:
            insns[ref.insn] = insns[ref.insn]._replace(imm=fd)
            return
        number = log_fixup.POISON_MAP_BASE + list(self.maps).index(ref.target)
        log.debug("prog: insn #%d: map '%s' wasn't created, poisoning", ref.insn, ref.target)
        insns[ref.insn:ref.insn + 2] = [log_fixup.poison(number)] * 2

    def _put_parameter(self, insns: list[Insn], ref: Reference) -> None:
        keymap.put_parameter(self.spec, insns, ref)

    def _refer_to_ksym(self, insns: list[Insn], ref: Reference) -> None:
        insns[ref.insn:ref.insn + 2] = self._ksyms.address_load(ref.target, insns[ref.insn])

    def _refer_to_kfunc(self, insns: list[Insn], ref: Reference) -> None:
        insns[ref.insn] = self._ksyms.kernel_call(ref.target, insns[ref.insn])

    def _bind_rodata(self, program: Program) -> None:
        """Keep .rodata alive with the program, for `bpftool prog` to read metadata from."""
        for made in self._map_loader.wanted:
            if made.spec.data is not None and made.spec.data.name == ".rodata":
                try:
                    bpf.prog_bind_map(self.backend, program.fd or 0, made.fd or 0)
                except BpfError as e:            # kernels before 5.10 cannot; only metadata is lost
                    log.warning("prog '%s': failed to bind map '%s': %s", program.name, made.name,
                                log.reason(e))
                    return

    # the verifier's log

    def _with_log_retry(self, program: Program, attr: ProgAttr) -> bpf.ProgLoad:
        """Load; what fails is loaded once more with the verifier's log on, as libbpf does."""
        level = program.log_level or self.log_level
        try:
            return bpf.prog_load(self.backend, attr, log_level=level,
                                 log_size=bpf.LOG_SIZE_MAX if level else 1)
        except BpfError as e:
            if e.errno == errno.EAGAIN:
                raise
        return self._with_log(program, attr, level or 1, bpf.LOG_SIZE_START)

    def _with_log(self, program: Program, attr: ProgAttr, level: int, size: int) -> bpf.ProgLoad:
        try:
            return bpf.prog_load(self.backend, attr, log_level=level, log_size=size)
        except BpfError as e:
            if e.errno == errno.ENOSPC and size * 4 <= bpf.LOG_SIZE_MAX:
                return self._with_log(program, attr, level, size * 4)
            raise self._refusal(program, e) from None

    def _refusal(self, program: Program, error: BpfError) -> BpfError:
        """The kernel's answer, with the program's name and the log explained."""
        message = f"prog '{program.name}': BPF program load failed: {log.reason(error)}"
        log.warning("%s", message)
        if not error.log:
            return BpfError(error.errno or 0, message)
        text = log_fixup.explain(self.spec, program.spec.linked, error.log)
        log.warning("prog '%s': -- BEGIN PROG LOAD LOG --\n%s-- END PROG LOAD LOG --",
                    program.name, text)
        return VerifierError(error.errno or 0, text, last_insn(text), program.name)


RESOLVE: dict[RefKind, Callable[[Loader, list[Insn], Reference], None]] = {
    RefKind.MAP: Loader._refer_to_map,
    RefKind.MAP_VALUE: Loader._refer_to_map,
    RefKind.PARAMETER: Loader._put_parameter,
    RefKind.KSYM: Loader._refer_to_ksym,
    RefKind.KFUNC: Loader._refer_to_kfunc,
}


def named(error: BpfError, name: str) -> BpfError:
    """The same error that says which object it is about."""
    if not name:
        return error
    if isinstance(error, VerifierError):
        return VerifierError(error.errno or 0, error.log, error.insn, error.program, name)
    error.strerror = f"object '{name}': {error.strerror}"
    error.args = (error.errno, error.strerror)
    return error


def records(table: InfoTable) -> bytes:
    """Records of .BTF.ext as BPF_PROG_LOAD takes them: instruction numbers, not bytes."""
    return b"".join(struct.pack("=I", row.insn) + row.rest for row in table.rows)


def last_insn(text: str) -> int | None:
    """The last instruction that the verifier's log looks at."""
    found = INSN_LINE.findall(text)
    return int(found[-1]) if found else None
