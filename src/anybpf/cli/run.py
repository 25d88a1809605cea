"""`anybpf run`: load an object into a Machine and run one of its programs (bpftool prog run)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from anybpf import uapi
from anybpf.cli import files, mapfile
from anybpf.errors import LoadError, reading
from anybpf.proto import progs, retvals

if TYPE_CHECKING:
    from anybpf.btf.parse import Btf
    from anybpf.libbpf.map import Map
    from anybpf.libbpf.object import Object
    from anybpf.libbpf.program import Program
    from anybpf.machine import Machine

#: a frame long enough for every program type, when the caller gives none
DEFAULT_FRAME = bytes(64)
ARRAYS = frozenset({uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY})
#: longer arrays are printed without the elements that are all zero
LONG_ARRAY = 64
#: maps that are read once, record by record
STREAMS = frozenset({uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY})
#: maps without keys, whose values are taken out one by one
QUEUES = frozenset({uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK})
#: maps that bpf(2) does not read
UNREADABLE = frozenset({uapi.BPF_MAP_TYPE_BLOOM_FILTER, uapi.BPF_MAP_TYPE_CGROUP_ARRAY})


@click.command()
@click.argument("obj", metavar="OBJ", type=click.Path(exists=True, dir_okay=False))
@click.option("--prog", metavar="NAME", help="The program to run (needed if there are several).")
@click.option("--checked", is_flag=True,
              help="Do not verify the program: only test each access at run time.")
@click.option("--data", metavar="HEX|@FILE", help="The packet: hex digits, or a file of bytes.")
@click.option("--ctx", metavar="HEX|@FILE", help="The context, as BPF_PROG_TEST_RUN takes it.")
@click.option("--pcap", metavar="IN", type=click.Path(exists=True, dir_okay=False),
              help="Run once for each packet of a pcap or pcapng file.")
@click.option("--pcap-out", metavar="OUT", type=click.Path(dir_okay=False, writable=True),
              help="Write the packets that the program lets pass, as it left them.")
@click.option("--repeat", metavar="N", type=click.IntRange(1, 2**31 - 1), default=1,
              show_default=True, help="Run so many times; the duration is the mean.")
@click.option("--map", "maps", metavar="NAME=FILE", multiple=True,
              help="Fill map NAME from a JSON file before the run.")
@click.option("--record", "records", metavar="NAME=TYPE", multiple=True,
              help="Decode the records of ring buffer NAME as the struct TYPE.")
@click.option("--btf", metavar="FILE|vmlinux",
              help="The kernel's types (default: the running kernel's, where they are needed).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(obj: str, prog: str | None, checked: bool, data: str | None, ctx: str | None,
        pcap: str | None, pcap_out: str | None, repeat: int, maps: tuple[str, ...],
        records: tuple[str, ...], btf: str | None, as_json: bool) -> None:
    """Load OBJ, an object file or a C source, into a kernel in memory and run a program of it.

    A program that the kernel's verifier refuses is not run, unless --checked asks for that.
    Prints the return value with its name, the packet if it changed, the program's trace lines,
    and the maps decoded by their types. With --pcap: a table of verdicts and rates.
    """
    if pcap and (data or ctx):
        raise click.UsageError("--pcap gives the packets; leave --data and --ctx out")
    if pcap_out and not pcap:
        raise click.UsageError("--pcap-out needs --pcap")
    types = dict(name_and_rest("--record NAME=TYPE", option) for option in records)
    machine, loaded = load(obj, btf, verify=not checked)
    with loaded:
        program = choose(loaded, prog)
        for name in types:
            check_map(loaded, name)
        fill_maps(loaded, maps)
        if pcap:
            report = replayed(machine, program, pcap, pcap_out, quiet=as_json)
        else:
            report = once(machine, program, bytes_of(data), bytes_of(ctx), repeat)
        report["maps"] = {m.name: contents(m, types.get(m.name)) for m in loaded.maps.values()
                          if m.fd is not None}
    echo(report, as_json)


def load(path: str, btf: str | None, verify: bool = True) -> tuple[Machine, Object]:
    from anybpf.libbpf.object import Object
    from anybpf.libbpf.read import object_name_of
    from anybpf.machine import Machine

    data = files.object_bytes(path)
    with reading(path):
        opened = Object.open(data, name=object_name_of(path))
    machine = Machine(btf=types_for(opened, btf), verify=verify)
    return machine, opened.load(machine)


def types_for(opened: Object, choice: str | None) -> Btf | None:
    """The kernel's types: those asked for, else the running kernel's if the object needs any."""
    from anybpf.btf import kernel
    from anybpf.cli.btf import load as load_types

    if choice is not None:
        return load_types(choice)
    if not any(p.core_relos or p.attach_target for p in opened.spec.programs.values()):
        return None
    with contextlib.suppress(OSError, LoadError):
        return kernel.load_vmlinux()
    return None


def choose(loaded: Object, name: str | None) -> Program:
    """The program called `name`, or the only one there is."""
    if name is not None and name in loaded.programs:
        return loaded.programs[name]
    names = ", ".join(loaded.programs) or "none"
    if name is not None:
        raise click.UsageError(f"no program '{name}'; the object has: {names}")
    if len(loaded.programs) != 1:
        raise click.UsageError(f"choose a program with --prog; the object has: {names}")
    return next(iter(loaded.programs.values()))


def fill_maps(loaded: Object, options: tuple[str, ...]) -> None:
    for option in options:
        name, path = name_and_rest("--map NAME=FILE", option)
        check_map(loaded, name)
        for key, value in mapfile.read(path):
            put(loaded.maps[name], key, value)


def check_map(loaded: Object, name: str) -> None:
    if name not in loaded.maps:
        raise click.UsageError(f"no map '{name}'; the object has: {', '.join(loaded.maps)}")


def put(target: Map, key: Any, value: Any) -> None:
    """Store one entry; a single value of a per-CPU map goes to every CPU."""
    if target.is_per_cpu and not isinstance(value, list):
        value = [value] * target.backend.num_possible_cpus
    try:
        target[key] = value
    except (ValueError, TypeError, LookupError) as error:
        raise LoadError(f"map '{target.name}', key {key}: {error}") from None


def name_and_rest(form: str, option: str) -> tuple[str, str]:
    name, equals, rest = option.partition("=")
    if not (name and equals and rest):
        raise click.UsageError(f"{form} is the form, not '{option}'")
    return name, rest


def bytes_of(option: str | None) -> bytes | None:
    """The bytes that `HEX` or `@FILE` stands for."""
    if option is None:
        return None
    if option.startswith("@"):
        return files.read(option[1:])
    try:
        return bytes.fromhex(option)
    except ValueError:
        raise click.UsageError(f"not hex digits: '{option[:40]}'") from None


def once(machine: Machine, program: Program, data: bytes | None, ctx: bytes | None,
         repeat: int) -> dict[str, Any]:
    """Run `program` on one packet; what happened, as a report."""
    packet = DEFAULT_FRAME if data is None and takes_packet(program) else data
    result = program.test_run(data=packet, ctx=ctx, repeat=repeat)
    report: dict[str, Any] = {
        "program": program.name,
        "retval": result.retval,
        "verdict": retvals.name(program.type, result.retval),
        "duration_ns": result.duration,
        "trace": [line.text for line in machine.take_trace()],
    }
    if packet is not None:
        report["data_in"] = packet.hex()
        report["data_out"] = (result.data or b"").hex()
    return report


def takes_packet(program: Program) -> bool:
    return progs.BY_TYPE[program.type].context in {"xdp_md", "__sk_buff"}


def replayed(machine: Machine, program: Program, source: str, out: str | None,
             quiet: bool) -> dict[str, Any]:
    from anybpf.cli.replay import replay

    if not takes_packet(program):
        raise click.UsageError(f"program '{program.name}' takes no packets")
    return replay(machine, program, source, out, quiet)


def contents(item: Map, record_type: str | None) -> list[Any]:
    """What a map holds, ready for JSON: its entries, or the records sent through it."""
    if item.type in STREAMS:
        return [mapfile.printable(record) for record in records_of(item, record_type)]
    if item.type in QUEUES:
        return [mapfile.printable(value) for value in drained(item)]
    if item.type in UNREADABLE:
        return []
    return [{"key": mapfile.printable(item.decode_key(key)), **value_of(item, value)}
            for key, value in item.raw.items() if not is_filler(item, value)]


def drained(item: Map) -> Iterator[Any]:
    """The values of a queue or stack, in the order in which they come out."""
    with contextlib.suppress(KeyError):              # it is empty
        while True:
            yield item.pop()


def value_of(item: Map, raw: bytes) -> dict[str, Any]:
    """One value as bpftool's JSON has it: per-CPU values are a list of their own."""
    decoded = mapfile.printable(item.decode_value(raw))
    if not item.is_per_cpu:
        return {"value": decoded}
    return {"values": [{"cpu": cpu, "value": one} for cpu, one in enumerate(decoded)]}


def is_filler(item: Map, value: bytes) -> bool:
    """Whether an element of a long array was never written: all zero."""
    return item.type in ARRAYS and item.max_entries > LONG_ARRAY and not any(value)


def records_of(item: Map, record_type: str | None) -> Iterator[Any]:
    try:
        yield from item.records(record_type)
    except KeyError:
        raise click.UsageError(f"no type '{record_type}' in the object's BTF, which has the types "
                               "that variables, maps and functions name") from None


def echo(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    from anybpf.cli.report import text

    click.echo(text(report))
