"""The running kernel's side of a case: maps, types and the load."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anybpf import uapi
from anybpf.btf.types import Struct
from anybpf.isa.insn import Insn
from anybpf.linux import Linux
from kernel.both_verifiers import Answer, ask_kernel
from kernel.calls import Calls
from kernel.verdicts import GUEST, module_fd
from verifier.cases import MAPS, MODULE, OWN_TYPES, Case, MapKind, kernel_types

#: functions with five names each, more names than the kernel remembers
FUNCTIONS = 30


class Bench:
    """Loads cases; the maps that all cases share are made once."""

    def __init__(self) -> None:
        self.kernel = Linux()
        self.cpus = self.kernel.num_possible_cpus
        self.shared = Calls(self.kernel)
        self.fds = {name: self.shared.map(k.type, k.key_size, k.value_size, k.max_entries,
                                          map_flags=k.flags) for name, k in MAPS.items()}

    def close(self) -> None:
        self.shared.close()

    @contextmanager
    def setup(self, case: Case) -> Iterator[Setup]:
        """The case's own maps and types exist."""
        calls = Calls(self.kernel)
        try:
            case.load_modules()
            if self.names_matter(case):
                self.forget_candidates(calls)
            yield Setup(case, calls, dict(self.fds))
        finally:
            calls.close()

    @staticmethod
    def writes(case: Case) -> bool:
        """Whether this kernel's answer is what the case expects (`--update`)."""
        return case.needs_guest == (GUEST is not None)

    @staticmethod
    def refusal(case: Case) -> str:
        """Why this kernel's answer says nothing about the case; or nothing."""
        if case.needs_guest and GUEST is None:
            return "only the guest's kernel takes such programs (--kernel guest; docs/guest.md)"
        return ""

    @staticmethod
    def names_matter(case: Case) -> bool:
        """Whether the kernel looks for types of the case's by their names."""
        return any("trusted" in line for line in case.lines("types"))

    def forget_candidates(self, calls: Calls) -> None:
        """Let the kernel forget which types it found by name: its memory is small.

        It remembers names without kinds, so that what others loaded would change its answers.
        """
        case = _many_names()
        types = calls.btf(case.types.blob)
        count, size, records = case.table("func_info", {})
        calls.prog(case.insns({}), prog_type=case.prog_type, prog_btf_fd=types, func_info=records,
                   func_info_cnt=count, func_info_rec_size=size)


@cache
def _many_names() -> Case:
    """A program whose functions name many structs of the kernel."""
    names = sorted({one.name for _, one in kernel_types().types()
                    if isinstance(one, Struct) and one.name})
    chosen = names[::len(names) // (5 * FUNCTIONS)][:5 * FUNCTIONS]
    types = [f"struct {name} {{ int x; }};" for name in chosen]
    program = []
    for number in range(FUNCTIONS):
        params = (f"struct {name} *p{i} __arg_trusted __arg_nullable"
                  for i, name in enumerate(chosen[5 * number:5 * number + 5]))
        types.append(f"int f{number}({', '.join(params)});")
        program += [*(f"r{i} = 0" for i in range(1, 6)), f"call f{number}"]
    program += ["r0 = 0", "exit"]
    for number in range(FUNCTIONS):
        program += [f"f{number}:", "r0 = 0", "exit"]
    parts = {"prog": ("tc", tuple(program)),
             "types": ("", ("int main(struct __sk_buff *ctx);", *types))}
    return Case(Path(), "", parts, "", ())


class Setup:
    """What one case needs in the kernel."""

    def __init__(self, case: Case, calls: Calls, fds: dict[str, int]) -> None:
        self.case, self.calls, self.fds = case, calls, fds
        self.btf: int | None = None
        self.records: dict[str, Any] = {}
        case.line_info()  # names its strings
        if "types" in case.parts:
            self.btf = calls.btf(case.types.blob)
            self.records["prog_btf_fd"] = self.btf
        # maps that hold programs take those of one kind, that of their first user
        fds |= {name: self._map("", MAPS[name]) for name in ("progs", "devices")}
        for name, kind in case.own_maps.items():
            fds[name] = self._map(name, kind)
        for word in case.types_in_array:
            fds[word] = self.btf or 0 if word == OWN_TYPES else module_fd(
                word.removeprefix(MODULE))
        if self.btf is not None:
            self._records("func_info")
            self._records("line_info")
        self.attached = self._attached()

    def turn_to(self, case: Case) -> None:
        """Another case with the same maps and types."""
        self.case = case
        self.records = {"prog_btf_fd": self.btf}
        self._records("func_info")

    def _map(self, name: str, kind: MapKind) -> int:
        fields: dict[str, Any] = {"map_flags": kind.flags, "map_name": name.encode(),
                                  "map_extra": kind.extra}
        if kind.value_type:
            types = self.case.types
            fields |= {"btf_fd": self.btf, "btf_value_type_id": types.ids[kind.value_type],
                       "btf_key_type_id": types.ids["int"]}
        if kind.exclusive:
            fields |= {"excl_prog_hash": kind.exclusive, "excl_prog_hash_size": 32}
        if kind.inner:
            fields["inner_map_fd"] = self.fds[kind.inner]
        made = self.calls.map(kind.type, kind.key_size, kind.value_size, kind.max_entries, **fields)
        if kind.content:
            self.calls.call(uapi.BPF_MAP_UPDATE_ELEM, map_fd=made, key=bytes(kind.key_size),
                            value=kind.content.ljust(kind.value_size, b"\0"))
        if kind.frozen:
            self.calls.call(uapi.BPF_MAP_FREEZE, map_fd=made)
        return made

    def _records(self, part: str) -> None:
        count, size, data = self.case.table(part, self.fds)
        if count:
            self.records |= {part: data, f"{part}_cnt": count, f"{part}_rec_size": size}

    def _attached(self) -> int:
        """The descriptor of what is attached to: a program, or a module's types."""
        if self.case.attached is None:
            return module_fd(self.case.module) if self.case.module else 0
        there = Setup(self.case.attached, self.calls, dict(self.fds))
        return self.calls.must(uapi.BPF_PROG_LOAD, **there.fields(
            there.case, there.case.insns(there.fds), there.case.flags, there.records))

    def ask(self, level: int) -> Answer:
        """The kernel's verdict and log."""
        case = self.case
        return self.load(case, level, case.insns(self.fds), case.flags, self.records)

    def load(self, case: Case, level: int, insns: list[Insn], flags: int,
             records: dict[str, Any]) -> Answer:
        """The same of other instructions, attached as this case says."""
        calls = Calls(self.calls.backend)
        attr = calls.packed(self.fields(case, insns, flags, records))
        return ask_kernel(calls.backend, attr, level)

    def fields(self, case: Case, insns: list[Insn], flags: int,
               records: dict[str, Any]) -> dict[str, Any]:
        """What BPF_PROG_LOAD is given."""
        array = case.fd_array(self.fds)
        fields = dict(records)
        if array:
            fields |= {"fd_array": struct.pack(f"<{len(array)}i", *array),
                       "fd_array_cnt": case.bound}
        return self.calls.prog_fields(
            insns, prog_type=case.prog_type, prog_flags=flags, expected_attach_type=case.attach,
            attach_btf_id=case.target, attach_prog_fd=self.attached,
            license=b"GPL\0" if case.gpl else b"Proprietary\0", **fields)
