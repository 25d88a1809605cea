"""An object's BTF as the kernel takes it (tools/lib/bpf/libbpf.c, bpf_object__sanitize_btf).

The kernel knows no extern variables and functions. They are changed in place, so that ids and
string offsets, which .BTF.ext uses, stay; a dummy variable is added that stands for functions in
the section .ksyms.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.libbpf.externs import KCONFIG, KSYMS
from anybpf.libbpf.spec import ExternSpec

DUMMY = "dummy_ksym"
INFO, TYPE_OR_SIZE, REST = 4, 8, 12      #: offsets in a type's record


def sanitize(btf: Btf, externs: dict[str, ExternSpec]) -> Btf:
    """The same BTF without anything extern. Raises LoadError for types that do not exist."""
    if not externs:
        return btf
    builder = BtfBuilder.extend(btf)
    integer = btf.find("int", uapi.BTF_KIND_INT)
    if not integer:
        integer = builder.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    dummy = builder.add(t.Var(DUMMY, integer))
    blob = builder.build()
    patch = _Patch(blob, bytearray(blob.to_bytes()), integer, dummy, blob.string_offset(DUMMY))
    for extern in externs.values():
        patch.extern(extern)
    for name in (KSYMS, KCONFIG):
        section = btf.find(name, uapi.BTF_KIND_DATASEC)
        if section:
            patch.section(section, externs)
    return Btf(bytes(patch.data))


@dataclass
class _Patch:
    btf: Btf
    data: bytearray
    integer: int
    dummy: int
    dummy_name: int

    def put(self, type_id: int, at: int, *words: int) -> None:
        """Store words into a type's record, from byte `at` on."""
        prefix = "<" if self.btf.byteorder == "little" else ">"
        struct.pack_into(f"{prefix}{len(words)}I", self.data, self.btf.offset_of(type_id) + at,
                         *words)

    def extern(self, extern: ExternSpec) -> None:
        if extern.is_func:
            self.put(extern.btf_id, INFO, uapi.BTF_KIND_FUNC << 24 | uapi.BTF_FUNC_GLOBAL)
            self._name_params(self.btf.target(extern.btf_id))
            return
        if extern.section == KSYMS:
            self.put(extern.btf_id, TYPE_OR_SIZE, self.integer)
        self.put(extern.btf_id, REST, uapi.BTF_VAR_GLOBAL_ALLOCATED)

    def _name_params(self, proto: int) -> None:
        """A function that is no longer extern needs names for its parameters."""
        for i, param in enumerate(self.btf.expect(proto, t.FuncProto).params):
            if not param.name and param.type:
                self.put(proto, REST + 8 * i, self.dummy_name)

    def section(self, type_id: int, externs: dict[str, ExternSpec]) -> None:
        found = self.btf.expect(type_id, t.Datasec)
        rows = [self._row(i, row, externs) for i, row in enumerate(found.vars)]
        rows.sort(key=lambda row: row.offset)
        end = max((row.offset + row.size for row in rows), default=0)
        self.put(type_id, TYPE_OR_SIZE, end, *(word for row in rows for word in row))

    def _row(self, index: int, row: t.SecVar, externs: dict[str, ExternSpec]) -> t.SecVar:
        extern = externs.get(self.btf.type(row.type).name)
        if extern is not None and extern.section == KCONFIG:
            return t.SecVar(row.type, extern.offset, extern.size)
        is_func = self.btf.kind(row.type) == uapi.BTF_KIND_FUNC
        return t.SecVar(self.dummy if is_func else row.type, 4 * index, 4)
