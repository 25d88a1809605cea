"""What a stopped run says: fault numbers to Fault errors (include/linux/bpf_verifier.h)."""

from __future__ import annotations

from collections.abc import Callable

from anybpf.core.memory import describe
from anybpf.core.run_ctx import FAULTS, RunCtx
from anybpf.errors import Fault, NotSupported
from anybpf.proto import helpers


def helper_name(helper: int) -> str:
    """`bpf_map_lookup_elem#1`, or the number alone where there is no row."""
    row = helpers.BY_ID.get(helper)
    return f"bpf_{row.name}#{helper}" if row is not None else f"#{helper}"


def _access(run: RunCtx, verb: str) -> tuple[str, str]:
    """(message, region kind) of an access that went wrong."""
    address, size = run.fault_facts[4:]
    kind, where = describe(run, address)
    return f"invalid {verb} of {size} byte{'s' * (size != 1)} at {where}", kind


def _argument(run: RunCtx) -> tuple[str, str]:
    _, _, helper, arg, address, size = run.fault_facts
    kind, where = describe(run, address)
    wanted = f" ({size} bytes wanted)" if size else ""
    return f"R{arg} of helper {helper_name(helper)} is wrong: {where}{wanted}", kind


def _plain(text: str) -> tuple[str, str]:
    return text, ""


_MESSAGES: dict[str, Callable[[RunCtx], tuple[str, str]]] = {
    "READ": lambda run: _access(run, "read"),
    "WRITE": lambda run: _access(run, "write"),
    "CONTEXT": lambda run: _access(run, "context access"),
    "ALIGNMENT": lambda run: _access(run, "misaligned atomic"),
    "ARGUMENT": _argument,
    "BAD_INSN": lambda run: _plain("no valid instruction"),
    "STACK_DEPTH": lambda run: _plain("the call stack of 8 frames is too deep"),
    "BUDGET": lambda run: _plain("the instruction budget is used up"),
    "PROG_TYPE": lambda run: _plain("program of this type cannot use helper "
                                    + helper_name(run.fault_facts[2])),
    "FUNCTION": lambda run: _plain(f"no function of the program: {run.fault_facts[4]:#x}"),
}


def to_fault(run: RunCtx) -> Exception:
    """The error to raise for the run's fault: Fault, or NotSupported for an unmodelled helper."""
    fault, insn, helper, _, address, size = run.fault_facts
    name = FAULTS[fault]
    program = run.fault_program
    if name == "UNKNOWN_HELPER":
        what = f"helper {helper_name(helper)}" if helper else "kernel function"
        return NotSupported(f"{what}, called at instruction {insn} of '{program}'")
    message, region = _MESSAGES[name](run)
    where = f" in program '{program}'" if program else ""
    return Fault(f"{message}, at instruction {insn}{where}", insn, address, size, region, program)
