"""`anybpf inspect`: what an object file holds, without any kernel (bpftool gen, llvm-readelf)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click

from anybpf.btf import types as t
from anybpf.btf import values
from anybpf.btf.dump import declaration as declare
from anybpf.btf.parse import Btf
from anybpf.cli import files
from anybpf.errors import LoadError, reading
from anybpf.libbpf.read import object_name_of, read_object
from anybpf.libbpf.spec import (
    DataSection,
    ExternSpec,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    RefKind,
    Variable,
)
from anybpf.proto import attach, maps, progs

#: references that the kernel itself must satisfy
KERNEL = frozenset({RefKind.KSYM, RefKind.KFUNC})
#: bytes of a variable without type that are shown
MAX_BYTES = 16
#: the largest variable whose value is shown
MAX_VALUE = 1024


@click.command()
@click.argument("obj", metavar="OBJ", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(obj: str, as_json: bool) -> None:
    """Show what the object file OBJ (or the C source OBJ, compiled) holds.

    Programs with type, size and what they call; maps with types and sizes; global variables with
    their initial values; what the kernel must provide; a summary of BTF, licence and sections.
    """
    data = files.object_bytes(obj)
    with reading(obj):
        spec = read_object(data, object_name_of(obj))
    facts = describe(spec, obj)
    click.echo(json.dumps(facts, indent=2) if as_json else printable("\n".join(text(facts))))


def printable(line: str) -> str:
    """Names in a file may hold any bytes; what is not UTF-8 is escaped."""
    return line.encode("utf-8", "backslashreplace").decode()


# facts

def describe(spec: ObjectSpec, path: str = "") -> dict[str, Any]:
    """All facts about an object, ready for JSON."""
    return {
        "file": path, "name": spec.name, "byteorder": spec.byteorder, "license": spec.license,
        "version": spec.version,
        "programs": [program(p) for p in spec.programs.values()],
        "maps": [map_facts(spec.btf, m) for m in spec.maps.values()],
        "globals": {d.name: variables(spec.btf, d) for d in spec.data_sections},
        "externs": [extern(e) for e in spec.externs.values()],
        "btf": btf_facts(spec.btf),
        "sections": [{"name": name, "size": size} for name, size in spec.sections],
    }


def program(spec: ProgramSpec) -> dict[str, Any]:
    row = progs.BY_TYPE.get(spec.type)
    kind = spec.expected_attach_type
    named = attach.BY_TYPE.get(kind) if kind else None
    calls = [name for slot, name in spec.linked.functions.items() if slot]
    return {
        "name": spec.name, "section": spec.section, "type": row.name if row else None,
        "attach_type": named.name if named else None, "attach_target": spec.attach_target,
        "autoload": spec.autoload, "instructions": len(spec.instructions), "functions": calls,
        "maps": sorted({r.target for r in spec.references if r.kind not in KERNEL}),
        "kernel": sorted({r.target for r in spec.references if r.kind in KERNEL}),
        "core_relocations": len(spec.core_relos),
    }


def map_facts(btf: Btf | None, spec: MapSpec) -> dict[str, Any]:
    row = maps.BY_TYPE.get(spec.type)
    return {
        "name": spec.name, "type": row.name if row else str(spec.type), "section": spec.section,
        "key_size": spec.key_size, "value_size": spec.value_size,
        "max_entries": spec.max_entries, "flags": spec.flags, "map_extra": spec.map_extra,
        "pinning": spec.pinning, "key": type_name(btf, spec.key_type_id),
        "value": type_name(btf, 0 if spec.data else spec.value_type_id),
        "inner": map_facts(btf, spec.inner) if spec.inner else None,
        "values": {str(i): name for i, name in spec.values.items()},
    }


def type_name(btf: Btf | None, type_id: int) -> str | None:
    """A type as C writes it; None where nothing is known."""
    return declare(btf, type_id, "").strip() if btf is not None and type_id else None


def variables(btf: Btf | None, data: DataSection) -> list[dict[str, Any]]:
    return [{"name": v.name, "offset": v.offset, "size": v.size, "static": v.is_static,
             "type": declare(btf, v.type_id, v.name) if btf and v.type_id else None,
             "value": initial(btf, data, v)} for v in data.variables.values()]


def initial(btf: Btf | None, data: DataSection, var: Variable) -> str:
    """A variable's initial value as text; of a large one only its size."""
    if var.size > MAX_VALUE:
        return f"({var.size} bytes)"
    raw = bytes(data.content[var.offset:var.offset + var.size])
    if btf is not None and var.type_id:
        try:
            return str(values.format_value(btf, var.type_id, raw))
        except LoadError:
            pass                                   # a type without values: bytes will do
    shown = raw[:MAX_BYTES].hex(" ")
    return shown + " ..." if len(raw) > MAX_BYTES else shown


def extern(found: ExternSpec) -> dict[str, Any]:
    return {"name": found.name, "section": found.section, "weak": found.is_weak,
            "function": found.is_func}


def btf_facts(btf: Btf | None) -> dict[str, Any] | None:
    if btf is None:
        return None
    kinds = Counter(t.KIND_NAMES[btf.kind(i)] for i in btf.ids())
    return {"types": len(btf) - 1, "strings": len(btf.strings),
            "kinds": dict(sorted(kinds.items()))}


# text

def text(facts: dict[str, Any]) -> Iterator[str]:
    """The facts for a person, one block after another."""
    licence = facts["license"] or "none"
    yield f"{facts['file']}: {facts['byteorder']}-endian, license {licence}"
    for title, lines in (("Programs", program_lines(facts["programs"])),
                         ("Maps", map_lines(facts["maps"])),
                         ("Global variables", variable_lines(facts["globals"])),
                         ("From the kernel", extern_lines(facts["externs"])),
                         ("BTF", btf_lines(facts["btf"])),
                         ("Sections", section_lines(facts["sections"]))):
        shown = list(lines)
        if shown:
            yield from ("", f"{title}:", *(f"  {line}" for line in shown))


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def program_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(p["name"], p["section"], p["type"] or "unknown type",
             f"{p['instructions']} instructions", notes(p)) for p in found]
    return table(rows) if rows else iter(())


def notes(found: dict[str, Any]) -> str:
    """What else there is to say about a program."""
    parts = [] if found["autoload"] else ["not loaded by itself"]
    for key, title in (("functions", "calls"), ("maps", "maps"), ("kernel", "kernel")):
        if found[key]:
            parts.append(f"{title} {', '.join(found[key])}")
    if found["core_relocations"]:
        parts.append(f"{found['core_relocations']} CO-RE relocations")
    return "; ".join(parts)


def map_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(m["name"], m["type"], f"key {side(m, 'key')}", f"value {side(m, 'value')}",
             f"{m['max_entries']} entries", map_notes(m)) for m in found]
    return table(rows) if rows else iter(())


def side(found: dict[str, Any], which: str) -> str:
    size = f"{found[which + '_size']} B"
    return f"{found[which]} ({size})" if found[which] else size


def map_notes(found: dict[str, Any]) -> str:
    parts = [f"flags {found['flags']:#x}"] if found["flags"] else []
    if found["pinning"]:
        parts.append("pinned by name")
    if found["inner"]:
        parts.append(f"of {found['inner']['type']}")
    if found["values"]:
        parts.append(", ".join(f"[{i}] = {name}" for i, name in found["values"].items()))
    return "; ".join(parts)


def variable_lines(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for section, members in found.items():
        for var in members:
            yield f"{section}: {var['type'] or var['name']} = {var['value']}"


def extern_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    for e in found:
        kind = "function" if e["function"] else "variable"
        yield f"{e['section']}: {kind} {e['name']}{' (weak)' if e['weak'] else ''}"


def btf_lines(found: dict[str, Any] | None) -> Iterator[str]:
    if found:
        yield f"{found['types']} types, {found['strings']} bytes of strings"
        yield ", ".join(f"{count} {kind}" for kind, count in found["kinds"].items())


def section_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(str(s["size"]), s["name"]) for s in found if s["name"]]
    width = max((len(size) for size, _ in rows), default=0)
    return (f"{size.rjust(width)}  {name}" for size, name in rows)
