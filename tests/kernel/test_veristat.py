"""`anybpf.verify`, a Machine and the running kernel: the same verdict, errno and log.

Every program of an object is loaded by itself, at log level 2. The objects are Debian's, and ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anybpf import BpfError, Machine, NotSupported, Object, VerifierError, verify
from anybpf.btf import kernel as kernel_btf
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.linux import Linux
from anybpf.proto import maps
from anybpf.veristat import LOAD_ERROR, UNSUPPORTED
from conftest import Build
from kernel.both_verifiers import Answer, masked

pytestmark = pytest.mark.kernel

TOOLS = ("execsnoop", "filetop", "hardirqs", "llcstat", "mountsnoop", "opensnoop", "runqlat",
         "sigsnoop", "tcpconnect", "tcprtt", "tcpsynbl")
LIBXDP = ("xdp-dispatcher", "xdpdump_bpf", "xdpdump_xdp", "xdpfilt_alw_eth", "xsk_def_xdp_prog")
OWN = ("careless.bpf.c", "features.bpf.c", "loops.bpf.c", "meaning.bpf.c",
       "unguarded.bpf.c", "words.bpf.c")
#: maps that the tools size before they load
SIZED_LATER = 128


@pytest.fixture(scope="module")
def types() -> Btf:
    """The running kernel's types."""
    try:
        return kernel_btf.load_vmlinux()
    except (OSError, LoadError) as error:
        pytest.skip(f"no kernel BTF: {error}")


def opened(source: Path | bytes, name: str) -> Object:
    """The object as its tool prepares it: no map is left without a size."""
    obj = Object.open(source, name=name)
    for made in obj.maps.values():
        if not made.max_entries and maps.BY_TYPE[made.type].name != "perf_event_array":
            made.max_entries = SIZED_LATER
    return obj


def answer(backend: Any, obj: Object, name: str) -> Answer | None:
    """What a backend says of one program; None: it does not come as far as the verifier."""
    for program in obj.programs.values():
        program.autoload = program.name == name
    try:
        with obj.load(backend, log_level=2):
            return Answer("OK", masked(obj.programs[name].log))
    except VerifierError as error:
        return Answer(error.name, masked(error.log))
    except (BpfError, NotSupported):
        return None


def offline(obj: Object, name: str, types: Btf, host: Linux) -> Answer | None:
    """The same from `anybpf.verify`."""
    (found,) = verify(obj, program=name, log_level=2, btf=types, host=host,
                      cpus=host.num_possible_cpus)
    if found.verdict in (UNSUPPORTED, LOAD_ERROR):
        return None
    return Answer(found.errno or "OK", masked(found.log))


def compared(source: Path | bytes, name: str, types: Btf,
             linux: Linux) -> Iterator[tuple[str, Answer, Answer, Answer | None]]:
    """For each program that the verifier models: its name and what the three say."""
    machine = Machine(btf=types, cpus=linux.num_possible_cpus)
    for program in opened(source, name).programs:
        ours = offline(opened(source, name), program, types, linux)
        theirs = answer(linux, opened(source, name), program)
        if ours is not None and theirs is not None:
            yield program, theirs, ours, answer(machine, opened(source, name), program)


def check(source: Path | bytes, name: str, types: Btf, linux: Linux) -> int:
    """How many programs were compared."""
    count = 0
    for program, theirs, ours, machines in compared(source, name, types, linux):
        assert ours == theirs, program
        # a Machine has not every type of map
        assert machines in (theirs, None), program
        count += 1
    return count


@pytest.mark.parametrize("name", TOOLS)
def test_libbpf_tools(name: str, embedded_objects: dict[str, bytes], types: Btf,
                      linux: Linux) -> None:
    if name not in embedded_objects:
        pytest.skip(f"libbpf-tools has no {name}")
    assert check(embedded_objects[name], name, types, linux) > 0


@pytest.mark.parametrize("name", LIBXDP)
def test_libxdp(name: str, libxdp_objects: list[Path], types: Btf, linux: Linux) -> None:
    path = next((p for p in libxdp_objects if p.stem == name), None)
    if path is None:
        pytest.skip(f"libxdp1 has no {name}.o")
    check(path, name, types, linux)


@pytest.mark.parametrize("name", OWN)
def test_our_own(name: str, build: Build, types: Btf, linux: Linux) -> None:
    assert check(build(name), name.partition(".")[0], types, linux) > 0
