"""BTF record by record, as `bpftool btf dump ... format raw` shows it (tools/bpf/bpftool/btf.c).

Each type becomes a dict in bpftool's JSON form; the text lines are written from the same dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf

Row = dict[str, object]

ENCODINGS = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}
FUNC_LINKAGE = ("static", "global", "extern")
VAR_LINKAGE = ("static", "global", "extern")
#: keys whose value is a list of rows: one text line each
LISTS = ("members", "values", "params", "vars")


def anon(name: str) -> str:
    return name or "(anon)"


def describe(btf: Btf, type_id: int) -> Row:
    """A type as bpftool's JSON object."""
    made = btf.type(type_id)
    row: Row = {"id": type_id, "kind": made.kind_name, "name": anon(made.name)}
    return row | FIELDS[type(made)](btf, made)


def describe_all(btf: Btf) -> list[Row]:
    """All of a BTF's own types, as under "types" in bpftool's JSON."""
    return [describe(btf, type_id) for type_id in btf.ids()]


def text_lines(btf: Btf, type_id: int) -> Iterator[str]:
    """A type as bpftool's plain lines."""
    row = describe(btf, type_id)
    made = btf.type(type_id)
    joint = ", " if isinstance(made, t.Var) else " "
    plain = (f"{k}={v}" for k, v in row.items() if k not in ("id", "kind", "name", *LISTS))
    head = f"[{type_id}] {row['kind']} '{row['name']}'"
    yield (head + " " + joint.join(plain)).rstrip()
    for key in LISTS:
        parts = row.get(key, ())
        assert isinstance(parts, list | tuple)
        yield from (LINES[key](btf, made, part) for part in parts)


def dump_raw(btf: Btf) -> str:
    """All of a BTF's own types as text."""
    return "".join(line + "\n" for i in btf.ids() for line in text_lines(btf, i))


def linkage(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else "(unknown)"


def _int(btf: Btf, made: t.Int) -> Row:
    return {
        "size": made.size,
        "bits_offset": made.offset,
        "nr_bits": made.bits,
        "encoding": ENCODINGS.get(made.encoding, "UNKN"),
    }


def _array(btf: Btf, made: t.Array) -> Row:
    return {"type_id": made.type, "index_type_id": made.index_type, "nr_elems": made.nelems}


def _composite(btf: Btf, made: t.Composite) -> Row:
    rows = [_member(m) for m in made.members]
    return {"size": made.size, "vlen": len(rows), "members": rows}


def _member(m: t.Member) -> Row:
    row: Row = {"name": anon(m.name), "type_id": m.type, "bits_offset": m.bit_offset}
    return row | ({"bitfield_size": m.bitfield_size} if m.bitfield_size else {})


def _enum(btf: Btf, made: t.AnyEnum) -> Row:
    rows = [{"name": anon(v.name), "val": v.value} for v in made.values]
    encoding = "SIGNED" if made.signed else "UNSIGNED"
    return {"encoding": encoding, "size": made.size, "vlen": len(rows), "values": rows}


def _proto(btf: Btf, made: t.FuncProto) -> Row:
    rows = [{"name": anon(p.name), "type_id": p.type} for p in made.params]
    return {"ret_type_id": made.type, "vlen": len(rows), "params": rows}


def _datasec(btf: Btf, made: t.Datasec) -> Row:
    rows = [{"type_id": v.type, "offset": v.offset, "size": v.size} for v in made.vars]
    return {"size": made.size, "vlen": len(rows), "vars": rows}


def _func(btf: Btf, made: t.Func) -> Row:
    return {"type_id": made.type, "linkage": linkage(FUNC_LINKAGE, made.linkage)}


def _var(btf: Btf, made: t.Var) -> Row:
    return {"type_id": made.type, "linkage": linkage(VAR_LINKAGE, made.linkage)}


def _ref(btf: Btf, made: t.Ref | t.Typedef | t.TypeTag) -> Row:
    return {"type_id": made.type}


#: class of type -> its fields behind id, kind and name
FIELDS: dict[type[t.Type], Callable[..., Row]] = {
    t.Void: lambda btf, made: {},
    t.Int: _int,
    t.Ptr: _ref,
    t.Array: _array,
    t.Struct: _composite,
    t.Union: _composite,
    t.Enum: _enum,
    t.Fwd: lambda btf, made: {"fwd_kind": "union" if made.is_union else "struct"},
    t.Typedef: _ref,
    t.Volatile: _ref,
    t.Const: _ref,
    t.Restrict: _ref,
    t.Func: _func,
    t.FuncProto: _proto,
    t.Var: _var,
    t.Datasec: _datasec,
    t.Float: lambda btf, made: {"size": made.size},
    t.DeclTag: lambda btf, made: {"type_id": made.type, "component_idx": made.component},
    t.TypeTag: _ref,
    t.Enum64: _enum,
}


def _member_line(btf: Btf, made: t.Type, row: Row) -> str:
    bitfield = f" bitfield_size={row['bitfield_size']}" if row.get("bitfield_size") else ""
    return f"\t'{row['name']}' type_id={row['type_id']} bits_offset={row['bits_offset']}{bitfield}"


def _value_line(btf: Btf, made: t.Type, row: Row) -> str:
    suffix = ""
    if made.kind == uapi.BTF_KIND_ENUM64 and isinstance(made, t.Enum64):
        suffix = "LL" if made.signed else "ULL"
    return f"\t'{row['name']}' val={row['val']}{suffix}"


def _var_line(btf: Btf, made: t.Type, row: Row) -> str:
    type_id = row["type_id"]
    assert isinstance(type_id, int)
    var = btf.type(type_id)
    line = f"\ttype_id={type_id} offset={row['offset']} size={row['size']}"
    return f"{line} ({var.kind_name} '{anon(var.name)}')"


#: key of a list -> the text line of one row
LINES: dict[str, Callable[[Btf, t.Type, Row], str]] = {
    "members": _member_line,
    "values": _value_line,
    "params": lambda btf, made, row: f"\t'{row['name']}' type_id={row['type_id']}",
    "vars": _var_line,
}
