"""What the verifier says of every program of an object (tools/testing/selftests/bpf/veristat.c).

>>> for result in verify("firewall.bpf.o"):                        # doctest: +SKIP
...     print(result.program, result.verdict, result.message)

As with veristat, each program is loaded by itself, whether the object would load it or not. No map
is created and no kernel is needed: the loader works on a backend that hands programs to the
verifier.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported, error_name, error_text
from anybpf.libbpf import log_fixup
from anybpf.libbpf.load import Loader
from anybpf.libbpf.object import Object, Source
from anybpf.libbpf.offline import Host, Offline, Outcome
from anybpf.libbpf.program import Program, type_name
from anybpf.proto import attach, progs
from anybpf.verifier import LineInfo, Verdict
from anybpf.verifier.facts import line_at

ACCEPT, REJECT, UNSUPPORTED, LOAD_ERROR = "accept", "reject", "unsupported", "load-error"
#: types whose attach type 0 is one of their own, and not the lack of one
_BEGIN_AT_0 = frozenset({progs.BY_NAME["cgroup_skb"].type})


class Result(NamedTuple):
    """What the verifier says of one program.

    `verdict` is `accept`, `reject`, `unsupported` (the verifier does not model `message`) or
    `load-error` (the loader fails: CO-RE, a missing extern). `insns` counts the program's
    instructions, `processed` those that the verifier looked at; `source` is the line of a refused
    instruction, `file.bpf.c:31: text`, where BTF has it.
    """

    program: str
    section: str
    type: str
    attach_type: str | None
    verdict: str
    errno: str | None
    insns: int
    processed: int
    max_states_per_insn: int
    total_states: int
    peak_states: int
    #: depths of the functions' stacks in bytes, as the kernel prints them: `8+0`
    stack: str
    time_us: int
    message: str
    log: str
    source: str

    @property
    def accepted(self) -> bool:
        return self.verdict == ACCEPT


def verify(source: Source | Object, *, program: str | None = None, log_level: int = 0,
           btf: Btf | None = None, cpus: int | None = None,
           host: Host | None = None, modules: Mapping[str, Btf] | None = None,
           attach_prog: tuple[Source | Object, str] | None = None) -> list[Result]:
    """Verify all programs of an object, or one; the object is not loaded, and stays as it is.

    `source` is what `Object.open` takes, or an `Object` whose settings (variables, sizes, types)
    then count. `btf` has the kernel's types, such as `anybpf.btf.kernel.load_vmlinux()`; without
    any, programs with CO-RE are a `load-error`. `cpus` is the number of the kernel's CPUs (default:
    of this machine); `host` is a kernel to ask for its version, configuration and symbols.
    `modules` has the types of its modules by name, each `Btf(data, base=btf)`. `attach_prog` is an
    object and one of its programs: what extensions (`SEC("freplace/...")`) replace a function of;
    other programs that name one of its functions attach to it, too.

    Raises LoadError (malformed, or the program to attach to is not accepted), OSError (cannot be
    read), KeyError (no such program).
    """
    obj = source if isinstance(source, Object) else Object.open(source)
    chosen = [obj.programs[program]] if program is not None else list(obj.programs.values())
    backend = Offline(btf, cpus or os.cpu_count() or 1, log_level, host, modules=modules or {})
    target = _target(*attach_prog, backend) if attach_prog is not None else None
    return [_attached(obj, one, backend, target) for one in chosen]


class _Target(NamedTuple):
    """A program that others attach to: its descriptor and the names of its functions."""

    fd: int
    functions: frozenset[str]


def _target(source: Source | Object, name: str, backend: Offline) -> _Target:
    obj = source if isinstance(source, Object) else Object.open(source)
    found = _verify_one(obj, obj.programs[name], backend)
    verdict = backend.outcomes[-1].verdict if found.accepted else None
    if verdict is None:
        raise LoadError(f"program '{name}', which is attached to: {found.verdict}: {found.message}")
    return _Target(backend.outcomes[-1].fd, frozenset(one.name for one in verdict.functions))


def _attached(obj: Object, program: Program, backend: Offline, target: _Target | None) -> Result:
    """The same with something to attach to, if the program can."""
    if target is None or not (program.type == uapi.BPF_PROG_TYPE_EXT
                              or program.attach_target in target.functions):
        return _verify_one(obj, program, backend)
    before, program.attach_prog_fd = program.attach_prog_fd, target.fd
    try:
        return _verify_one(obj, program, backend)
    finally:
        program.attach_prog_fd = before


def _verify_one(obj: Object, program: Program, backend: Offline) -> Result:
    """Load one program onto the backend; what happened."""
    backend.outcomes.clear()
    loader = Loader(backend, obj.spec, obj.programs, obj.maps, target_btf=obj.target_btf)
    error: BpfError | LoadError | NotSupported | None = None
    try:
        with _alone(obj, program):
            loader.run()
    except (BpfError, LoadError, NotSupported) as failure:
        error = failure
    finally:
        loader.close()
    # what fails after the program was given, such as an array of programs, says nothing of it
    if backend.outcomes:
        return _result(obj, program, backend.outcomes[-1])
    return _failure(program, error or LoadError("no struct_ops map that is created names it"))


@contextmanager
def _alone(obj: Object, wanted: Program) -> Iterator[None]:
    """Of the object's programs, only this one is to be loaded."""
    before = {name: program.autoload for name, program in obj.programs.items()}
    for program in obj.programs.values():
        program.autoload = program is wanted
    try:
        yield
    finally:
        wanted.close()
        for name, autoload in before.items():
            obj.programs[name].autoload = autoload


def _described(program: Program, verdict: str, errno: str | None, message: str) -> Result:
    """A result without numbers."""
    return Result(program.name, program.section, type_name(program.type), _attach_type(program),
                  verdict, errno, len(program.instructions), 0, 0, 0, 0, "", 0, message, "", "")


def _attach_type(program: Program) -> str | None:
    kind = program.expected_attach_type
    if not kind and program.type not in _BEGIN_AT_0:
        return None
    row = attach.BY_TYPE.get(kind)
    return row.name if row else str(kind)


def _failure(program: Program, error: BpfError | LoadError | NotSupported) -> Result:
    """The program did not come as far as the verifier."""
    if isinstance(error, NotSupported):
        return _described(program, UNSUPPORTED, None, error.feature)
    if isinstance(error, LoadError):
        return _described(program, LOAD_ERROR, None, str(error))
    return _described(program, LOAD_ERROR, error.name, error.strerror or "")


def _result(obj: Object, program: Program, outcome: Outcome) -> Result:
    if outcome.unsupported is not None:
        return _described(program, UNSUPPORTED, None, outcome.unsupported.feature)
    verdict = outcome.verdict
    assert verdict is not None
    refused = not verdict.accepted
    made = _described(program, REJECT if refused else ACCEPT,
                      error_name(verdict.errno) if refused else None,
                      _message(obj, program, verdict) if refused else "")
    return made._replace(
        insns=outcome.insns, processed=verdict.insns,
        max_states_per_insn=verdict.max_states_per_insn, total_states=verdict.total_states,
        peak_states=verdict.peak_states, stack="+".join(map(str, verdict.stack)),
        time_us=verdict.time_us, log=log_fixup.explain(obj.spec, program.spec.linked, verdict.log),
        source=_source(outcome.facts.lines, verdict.insn) if refused else "")


def _message(obj: Object, program: Program, verdict: Verdict) -> str:
    """The text that rejects; where it is about something missing, what that was."""
    message = verdict.message.strip() or error_text(verdict.errno)
    missing = re.fullmatch(r"invalid func unknown#(\d+)", message)
    if missing is None:
        return message
    lines = f"-\n{verdict.insn}: (85) call unknown#{missing[1]}\n{message}\n"
    return log_fixup.explain(obj.spec, program.spec.linked, lines).splitlines()[-1]


def _source(lines: Sequence[LineInfo], insn: int | None) -> str:
    """`file.bpf.c:31: text of the line` for an instruction; empty where that is not known."""
    line = line_at(lines, insn) if insn is not None else None
    if line is None:
        return ""
    return f"{posixpath.basename(line.file)}:{line.line}: {line.text.strip()}"
