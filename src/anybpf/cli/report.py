"""What `anybpf run` prints for a person: the report of a run as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

#: entries of one map (and trace lines), and bytes of one packet, shown before "... more"
MAX_ENTRIES = 16
MAX_DUMP = 256


def text(report: dict[str, Any]) -> str:
    """The whole report, one section after another."""
    sections = [table(report) if "verdicts" in report else result(report),
                packet(report), trace(report), *maps(report)]
    return "\n".join(line for section in sections for line in section)


def result(report: dict[str, Any]) -> list[str]:
    name = f" ({report['verdict']})" if report["verdict"] else ""
    return [f"{report['program']}: returned {report['retval']}{name} in {report['duration_ns']} ns"]


def table(report: dict[str, Any]) -> list[str]:
    """Verdicts of a replay, most frequent first, with shares and bytes."""
    total = max(1, report["packets"])
    rows = [("verdict", "packets", "share", "bytes")]
    for row in report["verdicts"]:
        share = f"{100 * row['packets'] / total:.1f}%"
        rows.append((row["verdict"], str(row["packets"]), share, str(row["bytes"])))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(
        row[1:], widths[1:], strict=True))]) for row in rows]
    rate = report["packets"] / report["seconds"] if report["seconds"] else 0
    summary = f"{report['packets']} packets through {report['program']}"
    return [f"{summary} in {report['seconds']:.3f} s ({rate:,.0f} packets/s)", *lines]


def packet(report: dict[str, Any]) -> list[str]:
    before, after = report.get("data_in"), report.get("data_out")
    if after is None or before == after:
        return []
    old, new = bytes.fromhex(before or ""), bytes.fromhex(after)
    return [f"packet changed, {len(old)} -> {len(new)} bytes:", *hexdump(new)]


def hexdump(data: bytes) -> Iterator[str]:
    """Lines of sixteen bytes: offset, hex, printable characters."""
    for at in range(0, min(len(data), MAX_DUMP), 16):
        row = data[at : at + 16]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        yield f"  {at:04x}  {row.hex(' '):<47}  {shown}"
    if len(data) > MAX_DUMP:
        yield f"  ... {len(data) - MAX_DUMP} more bytes"


def trace(report: dict[str, Any]) -> list[str]:
    lines = [f"trace: {line}" for line in report["trace"][:MAX_ENTRIES]]
    hidden = len(report["trace"]) - len(lines)
    return [*lines, f"trace: ... {hidden} more lines"] if hidden else lines


def maps(report: dict[str, Any]) -> Iterator[list[str]]:
    for name, entries in report["maps"].items():
        if entries:
            yield [f"map {name}:", *entry_lines(entries)]


def entry_lines(entries: list[Any]) -> Iterator[str]:
    for entry in itertools.islice(entries, MAX_ENTRIES):
        yield f"  {entry_text(entry)}"
    if len(entries) > MAX_ENTRIES:
        yield f"  ... {len(entries) - MAX_ENTRIES} more"


def entry_text(entry: Any) -> str:
    if not (isinstance(entry, dict) and "key" in entry):
        return value_text(entry)
    value = per_cpu_text(entry["values"]) if "values" in entry else value_text(entry["value"])
    return f"{value_text(entry['key'])}: {value}"


def per_cpu_text(values: list[Any]) -> str:
    """The values of the CPUs that have one other than zero."""
    used = [v for v in values if not is_zero(v["value"])]
    if not used:
        return f"zero on all {len(values)} CPUs"
    return ", ".join(f"cpu{v['cpu']} {value_text(v['value'])}" for v in used)


def is_zero(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(is_zero, value.values()))
    if isinstance(value, list):
        return all(map(is_zero, value))
    return not value or (isinstance(value, str) and not value.strip("0"))


def value_text(value: Any) -> str:
    """A decoded value in one line, structs as `{a 1, b 2}`, per-CPU lists in brackets."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {value_text(x)}" for name, x in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return str(value)
