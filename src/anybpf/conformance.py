"""Run one program on one piece of memory: the plugin contract of the public bpf_conformance suite.

    python -m anybpf.conformance [--engine NAME] [--elf] [MEMORY_HEX]

The program comes in hex on standard input; r1 is the address of the memory and r2 its length. r0
is printed in hex. What goes wrong is told on standard error, with exit code 1.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable

from anybpf.errors import BpfError, Fault, LoadError, NotSupported
from anybpf.isa.insn import Insn, decode, encode

#: how many instructions a program may execute
BUDGET = 10_000_000

Engine = Callable[[list[Insn], bytearray], int]


def run_semantics(insns: list[Insn], memory: bytearray) -> int:
    """The reference interpreter; the clock stands at zero and there is one CPU."""
    from anybpf import uapi
    from anybpf.isa import reference

    space = reference.Memory()
    args = (space.add("memory", memory), len(memory)) if memory else (0, 0)
    helpers: dict[int, reference.Helper] = {
        uapi.BPF_FUNC_ktime_get_ns: lambda *_: 0,
        uapi.BPF_FUNC_get_smp_processor_id: lambda *_: 0,
    }
    return reference.run(insns, memory=space, args=args, helpers=helpers, budget=BUDGET)


def _interpret(insns: list[Insn], memory: bytearray, checked: bool) -> int:
    from anybpf import uapi
    from anybpf.core.interpreter import run
    from anybpf.core.kernel import Kernel
    from anybpf.core.prog import Prog
    from anybpf.core.run_ctx import RunCtx

    kernel = Kernel(ncpus=1)
    kernel.set_python_helper(uapi.BPF_FUNC_ktime_get_ns, lambda *_: 0)
    kernel.set_python_helper(uapi.BPF_FUNC_get_smp_processor_id, lambda *_: 0)
    prog = Prog(encode(insns), kernel=kernel, name="conformance")
    context = RunCtx(kernel)
    if not memory:
        return int(run(prog, context, 0, checked=checked, budget=BUDGET, r2=0))
    native = (ctypes.c_char * len(memory)).from_buffer(memory)
    address = ctypes.addressof(native)
    kernel.add_region(address, len(memory), name="memory", owner=native)
    return int(run(prog, context, address, checked=checked, budget=BUDGET, r2=len(memory)))


def run_interpreter(insns: list[Insn], memory: bytearray) -> int:
    """The native interpreter, every access checked."""
    return _interpret(insns, memory, True)


def run_unchecked(insns: list[Insn], memory: bytearray) -> int:
    """The native interpreter as it runs verified programs, without checks.

    A wrong program could do anything there, so the reference interpreter must like it first.
    """
    run_semantics(insns, bytearray(memory))
    return _interpret(insns, memory, False)


ENGINES: dict[str, Engine] = {
    "interpreter": run_interpreter,
    "unchecked": run_unchecked,
    "semantics": run_semantics,
}


def parse_hex(text: str) -> bytearray:
    """Bytes from hex digits, with any white space between; raises `LoadError`."""
    try:
        return bytearray.fromhex("".join(text.split()))
    except ValueError:
        raise LoadError("not a sequence of bytes in hex") from None


def insns_of_elf(data: bytes) -> list[Insn]:
    """The first program of an object file, or the first function where all is in .text.

    Programs that refer to maps or kernel symbols raise `NotSupported`: there is none to refer to.
    """
    from anybpf.libbpf.read import read_object
    from anybpf.libbpf.relocate import link

    spec = read_object(data)
    if spec.programs:
        linked = next(iter(spec.programs.values())).linked
    elif spec.functions:
        linked = link(next(iter(spec.functions.values())), spec.functions)
    else:
        raise LoadError("no program in the object")
    if linked.references:
        raise NotSupported(f"references ({linked.references[0].target}) in a conformance program")
    return linked.instructions


def execute(
    program: str, memory: str = "", *, engine: str = "interpreter", elf: bool = False
) -> int:
    """Run a program given in hex and give r0; `elf`: the program is an object file."""
    data = bytes(parse_hex(program))
    insns = insns_of_elf(data) if elf else decode(data)
    if not insns:
        raise LoadError("no instructions")
    return ENGINES[engine](insns, parse_hex(memory))


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m anybpf.conformance", description=__doc__)
    parser.add_argument("memory", nargs="?", default="", metavar="MEMORY_HEX")
    parser.add_argument("options", nargs="?", default="", help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="interpreter")
    parser.add_argument("--elf", action="store_true", help="standard input is an object file")
    # the suite hands plugin options over as one argument, empty when there are none
    return parser.parse_args([word for arg in argv for word in _words(arg)])


def _words(argument: str) -> list[str]:
    return argument.split() if argument.startswith("-") else [argument]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 with r0 on standard output, or 1 with the reason on standard error."""
    args = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        r0 = execute(sys.stdin.read(), args.memory, engine=args.engine, elf=args.elf)
    except (BpfError, Fault, LoadError, NotSupported) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{r0:x}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
