"""Sections of variables of another size than the file says (tools/lib/bpf/libbpf.c).

The last variable must be an array; it gets as many elements as fit. Where that cannot be, the
section has the wanted size all the same, but its map no types: as with libbpf.
"""

from __future__ import annotations

import errno
import struct

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.libbpf import log
from anybpf.libbpf.spec import MAX_DATA_SIZE, DataSection, MapSpec, ObjectSpec

RECORD = 12                          #: bytes before a type's own words, and of one variable


def resize(spec: ObjectSpec, made: MapSpec, size: int) -> None:
    """Set the size in bytes of a data section's map. Raises BpfError (EINVAL)."""
    data = made.data
    assert data is not None
    if not 0 < size < MAX_DATA_SIZE:
        raise BpfError(errno.EINVAL, f"map '{made.name}': cannot be resized to {size} bytes")
    content = bytes(data.content[:size])
    made.value_size = data.size = size
    data.__dict__["content"] = bytearray(content.ljust(size, b"\0"))
    why = _unfit(spec.btf, made, size)
    if why:
        log.warning("map '%s': cannot be resized, %s", made.name, why)
        log.warning("map '%s': failed to adjust resized BTF, clearing BTF key/value info: %d",
                    made.name, -errno.EINVAL)
        made.key_type_id = made.value_type_id = 0
    elif spec.btf is not None:
        spec.btf = _longer(spec.btf, data, made, size)
    _cut(data, size)


def _last(btf: Btf, made: MapSpec) -> tuple[t.SecVar, t.Var, t.Type] | None:
    rows = btf.expect(made.value_type_id, t.Datasec).vars
    if not rows:
        return None
    var = btf.expect(rows[-1].type, t.Var)
    return rows[-1], var, btf.type(btf.resolve(var.type))


def _unfit(btf: Btf | None, made: MapSpec, size: int) -> str:
    """Why the section's types cannot follow; empty if they can."""
    if btf is None or not made.value_type_id \
            or btf.kind(made.value_type_id) != uapi.BTF_KIND_DATASEC:
        return "map is not a datasec"
    last = _last(btf, made)
    if last is None:
        return "datasec is empty"
    row, _, array = last
    if not isinstance(array, t.Array):
        return "last var must be an array"
    element = btf.size_of(array.type)
    if not element or size <= row.offset or (size - row.offset) % element:
        return f"element size ({element}) doesn't align with new datasec size ({size})"
    return ""


def _longer(btf: Btf, data: DataSection, made: MapSpec, size: int) -> Btf:
    """The same BTF where the section's last variable is an array of another length."""
    last = _last(btf, made)
    assert last is not None
    row, var, array = last
    assert isinstance(array, t.Array)
    count = (size - row.offset) // btf.size_of(array.type)
    builder = BtfBuilder.extend(btf)
    new_array = builder.add(t.Array(array.type, array.index_type, count))
    new_var = builder.add(t.Var(var.name, new_array, var.linkage))
    known = data.variables.get(var.name)
    if known is not None:
        data.variables[var.name] = known._replace(size=size - row.offset, type_id=new_array)
    rows = btf.expect(made.value_type_id, t.Datasec).vars
    return _patched(builder, btf, made.value_type_id, size, len(rows) - 1,
                    t.SecVar(new_var, row.offset, size - row.offset))


def _patched(builder: BtfBuilder, btf: Btf, section: int, size: int, index: int,
             row: t.SecVar) -> Btf:
    made = builder.build()
    raw = bytearray(made.to_bytes())
    prefix = "<" if btf.byteorder == "little" else ">"
    at = made.offset_of(section)
    struct.pack_into(prefix + "I", raw, at + 8, size)
    struct.pack_into(prefix + "3I", raw, at + RECORD * (index + 1), *row)
    return Btf(bytes(raw))


def _cut(data: DataSection, size: int) -> None:
    """Variables that the section no longer holds are gone."""
    for name, var in list(data.variables.items()):
        if var.offset + var.size > size:
            del data.variables[name]
