"""`anybpf core`: what each kernel's BTF makes of an object's CO-RE relocations, and why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from anybpf.btf import kernel, relo_spec
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_explain import why, why_not_wide
from anybpf.btf.relo_spec import Spec
from anybpf.btf.relo_value import Answer
from anybpf.cli import files
from anybpf.cli.inspect import printable
from anybpf.errors import BpfError, LoadError, reading
from anybpf.libbpf.core import Relocated, Site, sites
from anybpf.libbpf.read import object_name_of, read_object
from anybpf.libbpf.spec import ObjectSpec

#: what a relocation came to -> how a table shows it (None: by its value)
SHOWN = {"ok": None, "no": None, "missing": "missing", "bad width": "bad width",
         "refused": "refused"}
YES_NO = frozenset({relo_spec.FIELD_EXISTS, relo_spec.TYPE_EXISTS, relo_spec.TYPE_MATCHES,
                    relo_spec.ENUMVAL_EXISTS})
#: kinds whose value says little: the compiler's own numbers
QUIET = frozenset({relo_spec.TYPE_ID_LOCAL, relo_spec.TYPE_ID_TARGET})


class Kernel(NamedTuple):
    """One BTF to relocate against, under a name that is short and unlike the others'."""

    name: str
    target: Target


@click.command()
@click.argument("obj", metavar="OBJ", type=click.Path(exists=True, dir_okay=False))
@click.option("--btf", "first", metavar="FILE...", multiple=True,
              type=click.Path(exists=True, dir_okay=False),
              help="BTF of a kernel: bare, ELF or vmlinuz. Several make a table. "
                   "Default: the running kernel's.")
@click.argument("more", nargs=-1, metavar="", type=click.Path(exists=True, dir_okay=False))
@click.option("--program", "-p", metavar="NAME", help="Only relocations of this function.")
@click.option("--misses", is_flag=True, help="Only relocations that some kernel cannot satisfy.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def core(obj: str, first: Sequence[str], more: Sequence[str], program: str | None, misses: bool,
         as_json: bool) -> None:
    """Show what kernels' BTF makes of each CO-RE relocation of the object file OBJ.

    A relocation that finds nothing ("missing") makes its instruction one that must not be
    reached; the reason is given in words. Exit code 1: some kernel's BTF makes libbpf refuse the
    object altogether.
    """
    if more and not first:
        raise click.UsageError("BTF files are given with --btf")
    data = files.object_bytes(obj)
    with reading(obj):
        spec = read_object(data, object_name_of(obj))
    facts = describe(spec, kernels([*first, *more]), program)
    if misses:
        facts["relocations"] = [r for r in facts["relocations"] if has_miss(r)]
    click.echo(json.dumps({"file": obj} | facts, indent=2) if as_json
               else printable("\n".join(text(facts))))
    if any(k["refused"] for k in facts["kernels"]):
        raise click.exceptions.Exit(1)


def kernels(paths: Sequence[str]) -> list[Kernel]:
    """The BTF files given, or the running kernel's."""
    if not paths:
        return [running()]
    return [Kernel(name, Target(kernel.load(path)))
            for name, path in zip(short_names(paths), paths, strict=True)]


def running() -> Kernel:
    """The running kernel with its modules; a broken module is warned of."""
    base = kernel.load_vmlinux()

    def modules() -> list[tuple[str, Btf]]:
        return list(kernel.load_modules(base, lambda text: click.echo(text, err=True)).items())

    return Kernel("running kernel", Target(base, modules))


def short_names(paths: Sequence[str]) -> list[str]:
    """File names, with as many folders as it takes to tell them apart."""
    for depth in range(1, max(len(Path(p).parts) for p in paths) + 1):
        names = ["/".join(Path(p).parts[-depth:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


# facts

def describe(spec: ObjectSpec, against: Sequence[Kernel],
             program: str | None = None) -> dict[str, Any]:
    """All facts, ready for JSON: a row for each relocation with a result for each kernel."""
    chosen = [s for s in sites(spec) if program in (None, s.function.name)]
    if program is not None and not any(f.name == program for f in spec.functions.values()):
        raise LoadError(f"no function '{program}'")
    columns = [results(spec, k, chosen) for k in against]
    rows = [row(spec, site) | {"results": [column[i] for column in columns]}
            for i, site in enumerate(chosen)]
    return {"kernels": [summary(k.name, column) for k, column in zip(against, columns,
                                                                     strict=True)],
            "relocations": rows}


def row(spec: ObjectSpec, site: Site) -> dict[str, Any]:
    """What the object asks for."""
    asked = parsed(spec, site)
    return {
        "program": site.function.name, "section": site.function.code.section,
        "number": site.number, "insn": site.slot, "kind": relo_spec.kind_text(site.relo.kind),
        "target": what(spec, site, asked),
        "access": spec.btf.string(site.relo.access_str_off) if spec.btf else "",
    }


def parsed(spec: ObjectSpec, site: Site) -> Spec | None:
    assert spec.btf is not None
    try:
        return relo_spec.parse(spec.btf, site.relo)
    except BpfError:
        return None


def what(spec: ObjectSpec, site: Site, asked: Spec | None) -> str:
    """The type or field that is asked for, as C writes it."""
    assert spec.btf is not None
    name = spec.btf.type(site.relo.type_id).name if site.relo.type_id else "void"
    head = f"{relo_spec.type_text(spec.btf, site.relo.type_id)} {name or '<anon>'}"
    if asked is None or asked.kind in relo_spec.TYPE_KINDS:
        return head
    return head + (f"::{asked.steps[0].name}" if asked.kind in relo_spec.ENUM_KINDS
                   else asked.path)


def results(spec: ObjectSpec, against: Kernel, chosen: Sequence[Site]) -> list[dict[str, Any]]:
    """What one kernel makes of the relocations, in order."""
    if spec.btf is None:
        return []
    relocator, done = Relocator(spec.btf, against.target), Relocated()
    reasons: dict[tuple[int, str, bool], str] = {}
    return [result(relocator, done, site, reasons) for site in chosen]


def result(relocator: Relocator, done: Relocated, site: Site,
           reasons: dict[tuple[int, str, bool], str]) -> dict[str, Any]:
    """What one kernel makes of one relocation."""
    try:
        answer = relocator.resolve(site.relo, site.where)
        poisoned = done.patch(site, answer)
    except (BpfError, LoadError) as e:
        message = e.strerror if isinstance(e, BpfError) else e.message
        return {"status": "refused", "value": None,
                "reason": str(message).removeprefix(f"{site.where}: ")}
    status = status_of(answer, poisoned)
    made = {"status": status, "old": answer.old, "value": None if poisoned else answer.new}
    if answer.old_size != answer.new_size and answer.target is not None:
        made |= {"old_size": answer.old_size, "size": answer.new_size}
    if answer.target is not None:
        made["candidate"] = str(answer.target)
        made["in"] = answer.origin
    if status == "bad width" and answer.target is not None:
        made["reason"] = why_not_wide(answer.local, answer.target)
    elif not answer.matched:
        key = (site.relo.type_id, answer.local.path or str(answer.local),
               site.relo.kind == relo_spec.TYPE_MATCHES)
        if key not in reasons:
            reasons[key] = why(answer.local, relocator.target)
        made["reason"] = reasons[key]
    return made


def status_of(answer: Answer, poisoned: bool) -> str:
    if poisoned:
        return "missing" if answer.poison else "bad width"
    return "ok" if answer.matched else "no"


def summary(name: str, column: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts = {status: sum(r["status"] == status for r in column) for status in SHOWN}
    return {"name": name, "ok": counts["ok"], "no": counts["no"],
            "missing": counts["missing"] + counts["bad width"], "refused": counts["refused"]}


def has_miss(row: dict[str, Any]) -> bool:
    return any(r["status"] != "ok" for r in row["results"])


# text

def text(facts: dict[str, Any]) -> Iterator[str]:
    """A table with a column for each kernel, then the reasons, then the sums."""
    if not facts["relocations"]:
        yield "no CO-RE relocations" if not any(
            sum(v for v in k.values() if isinstance(v, int)) for k in facts["kernels"]) \
            else "no misses"
    else:
        yield from table(facts)
        yield from reasons_of(facts)
    yield ""
    yield from map(sums, facts["kernels"])


def table(facts: dict[str, Any]) -> Iterator[str]:
    """Rows under the name of their function, each column as wide as it must be."""
    names = [k["name"] for k in facts["kernels"]]
    lines = [["", "insn", "kind", "of", "object", *names]]
    lines += [cells(r) for r in facts["relocations"]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    yield aligned(lines[0], widths)
    before = None
    for row, line in zip(facts["relocations"], lines[1:], strict=True):
        if (row["section"], row["program"]) != before:
            before = row["section"], row["program"]
            yield f"{row['program']} ({row['section']}):"
        yield aligned(line, widths)


def cells(row: dict[str, Any]) -> list[str]:
    old = next((r["old"] for r in row["results"] if "old" in r), None)
    number = relo_spec.KIND_TEXTS.index(row["kind"]) if row["kind"] != "unknown" else -1
    return [f"  #{row['number']}", str(row["insn"]), row["kind"], row["target"],
            value_text(number, old), *(cell(number, r) for r in row["results"])]


def cell(kind: int, made: dict[str, Any]) -> str:
    named = SHOWN[made["status"]]
    shown = value_text(kind, made["value"]) if named is None else named
    return f"{shown} ({made['size']} bytes)" if "size" in made and named is None else shown


def value_text(kind: int, value: int | None) -> str:
    if value is None:
        return "-"
    if kind in YES_NO:
        return "yes" if value else "no"
    return f"[{value}]" if kind in QUIET and value else str(value)


def aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()


def reasons_of(facts: dict[str, Any]) -> Iterator[str]:
    """Each reason once, with the kernels that it holds for."""
    holds: dict[tuple[str, str], list[str]] = {}
    for row in facts["relocations"]:
        for column, made in zip(facts["kernels"], row["results"], strict=True):
            if "reason" in made:
                names = holds.setdefault((row["target"], made["reason"]), [])
                if column["name"] not in names:
                    names.append(column["name"])
    if holds:
        yield ""
    for (target, reason), names in holds.items():
        where = f" [{', '.join(names)}]" if len(facts["kernels"]) > 1 else ""
        yield f"{target}: {reason}{where}"


def sums(column: dict[str, Any]) -> str:
    parts = [f"{column[key]} {words}" for key, words in (
        ("ok", "relocated"), ("no", "answered with no"), ("missing", "missing"),
        ("refused", "refused (libbpf would not load the object)")) if column[key]]
    return f"{column['name']}: {', '.join(parts) or 'nothing to relocate'}"
