"""The selftests' kernel module, built for the guest from where its source lies (kernel/module).

Debian packages no bpf_testmod, and no headers to build it with. What verifying programs needs of a
module are its types, its lists of kernel functions and its struct_ops; the rest is never run. So
`selftest_kernel.h` stands for the kernel's headers, together with a vmlinux.h of the guest's types;
functions that it calls and that are not needed return 0. gcc writes the types, from which those
that vmlinux has are taken away (`selftest_module_btf.py`).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from anybpf.btf.parse import Btf
from anybpf.proto.kfuncs import Kfunc
from anybpf.proto.struct_ops import StructOps
from anybpf.toolchain import vmlinux
from guest.backend import Guest
from guest.modules import Modules, information, insert, remove
from kernel.selftest_module_btf import Module, operations, rows
from kernel.selftest_sources import Tree

NAME = "bpf_testmod"
HERE = Path(__file__).parent
#: where the trees have the source
FOLDERS = ("test_kmods", "bpf_testmod")
INCLUDED = re.compile(r"#\s*include\s*<([^>]+)>")
#: they are there as they are
LEFT = ("vmlinux.h", "bpf/")
#: newer kernels add this to the names of tracepoints
TRACEPOINT_SUFFIX = re.compile(r"trace_\w+_tp\(")
OPTIONS = ("-std=gnu11", "-w", "-O1", "-gbtf", "-fms-extensions", "-fno-pic", "-mcmodel=kernel",
           "-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector", "-ffreestanding",
           "-fno-ipa-sra", "-fcf-protection=branch", "-fno-asynchronous-unwind-tables",
           "-fno-common")
#: functions of the kernel that are called in earnest, where it exports them
NEEDED = re.compile(r"register_|__register_|bpf_|btf_|mem|kernel_kobj")
STRUCT_OPS = re.compile(r"register_bpf_struct_ops\(&\w+, (\w+)\)")
#: trees whose kernel had parts of the module -> a tree that has them in the module
IN_VMLINUX = {"6.1": "6.12"}
EXPORT = "__ksymtab_"


def source(tree: Tree) -> Path | None:
    """The module's source in a tree."""
    paths = (tree.selftests / folder / f"{NAME}.c" for folder in FOLDERS)
    return next(filter(Path.exists, paths), None)


def owner(tree: Tree, known: Sequence[Tree]) -> Tree:
    """The tree whose module a tree's programs want: in 6.1, vmlinux had part of what is there."""
    return next((other for other in known if other.name == IN_VMLINUX.get(tree.name)), tree)


class Built(NamedTuple):
    """A module's file, its kernel functions and its structs of functions."""

    image: bytes
    kfuncs: dict[str, Kfunc]
    struct_ops: dict[str, StructOps]


def built(guest: Guest, path: Path, folder: Path) -> Built:
    """Compile the module; `folder` is for what is made on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    kernel = Btf(guest.kernel_btf())
    made = folder / f"{NAME}.o"
    _forward(path, folder / "include")
    whole = folder / "whole.c"
    whole.write_text(_whole(path))
    _run("gcc", *OPTIONS, *_definitions(guest, path), f"-I{folder / 'include'}", f"-I{HERE}",
         f"-I{path.parent}", f"-I{vmlinux.cached(kernel, folder)}", "-c", whole, "-o", made)
    whole = folder / "whole.o"
    _run("ld", "-r", "-o", whole, made, _stubs(made, exported(guest), folder))
    found = Module(whole.read_bytes(), symbols(whole, "--defined-only"), kernel)
    (folder / "types").write_bytes(found.types())
    (folder / "ids").write_bytes(found.ids())
    _run("objcopy", f"--update-section=.BTF={folder / 'types'}", "--remove-section=.ids",
         f"--update-section=.BTF_ids={folder / 'ids'}", whole, folder / f"{NAME}.ko")
    text = path.read_text()
    return Built((folder / f"{NAME}.ko").read_bytes(), rows(text, found.sets), operations(text))


def _run(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True,
                          timeout=120).stdout


def _whole(path: Path) -> str:
    """The source, and what it has inside of functions, where gcc would not write the types."""
    values = STRUCT_OPS.findall(path.read_text())
    return "".join([f'#include "{path}"\n', *(f"STRUCT_OPS({name})\n" for name in values)])


def _forward(path: Path, folder: Path) -> None:
    """Every header of the kernel's that the source includes is ours."""
    texts = (other.read_text() for other in path.parent.glob(f"{NAME}*.[ch]"))
    for name in {name for text in texts for name in INCLUDED.findall(text)}:
        if not name.startswith(LEFT):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(
                "" if name.startswith("trace/") else '#include "selftest_kernel.h"\n')


def _definitions(guest: Guest, path: Path) -> Iterator[str]:
    suffix = "##_tp" if TRACEPOINT_SUFFIX.search(path.read_text()) else ""
    yield f"-DDECLARED(call)=call{suffix}"
    yield f'-DMODULE_NAME="{NAME}"'
    yield f'-DVERMAGIC="{vermagic(guest)}"'


def vermagic(guest: Guest) -> str:
    """What all modules of the guest's kernel say they are for."""
    known = Modules(guest.kernel)
    return dict(information(known.image(known.names[0])))["vermagic"]


def exported(guest: Guest) -> set[str]:
    """The functions and variables that modules may use."""
    lines = guest.there.read_file("/proc/kallsyms").decode().splitlines()
    names = (line.split()[2] for line in lines)
    return {name.removeprefix(EXPORT) for name in names if name.startswith(EXPORT)}


def symbols(path: Path, which: str) -> set[str]:
    return {line.split()[-1] for line in _run("nm", which, path).splitlines()}


def _stubs(made: Path, exports: set[str], folder: Path) -> Path:
    """An object with a function for each that is not needed."""
    wanted = symbols(made, "--undefined-only")
    absent = sorted(name for name in wanted
                    if not NEEDED.match(name) or name not in exports)
    (folder / "stubs.c").write_text("".join(_stub(absent)))
    _run("gcc", *OPTIONS[2:3], "-fno-pic", "-mcmodel=kernel", "-fcf-protection=branch",
         "-ffreestanding", "-w", "-c", folder / "stubs.c", "-o", folder / "stubs.o")
    return folder / "stubs.o"


def _stub(names: Iterable[str]) -> Iterator[str]:
    return (f"long {name}(void) {{ return 0; }}\n" for name in names)


def load(guest: Guest, tree: Tree, folder: Path) -> Built:
    """Build the module of a tree and bring it into the guest, in the place of another tree's.

    Raises BpfError where the guest does not take it, CalledProcessError where it is not built.
    """
    path = source(tree)
    assert path is not None
    made = built(guest, path, folder)
    remove(guest.there, NAME)
    insert(guest.there, made.image)
    return made
