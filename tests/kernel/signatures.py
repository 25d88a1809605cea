"""Made-up functions: their prototypes, and calls that fit these more or less.

Each program is a `Case` (`verifier.cases`): a difference can be kept as one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from verifier.cases import Case

#: what the declarations of parameters may use
TYPES = """
struct pair { int a; int b; };
struct none { };
struct large { u64 many[40]; };
union either { u64 number; char text[12]; };
enum choice { one, two };
typedef int number;
typedef struct pair couple;
struct pt_regs { u64 r15; u64 r14; };
typedef struct pt_regs bpf_user_pt_regs_t;
typedef bpf_user_pt_regs_t registers;
struct task_struct { int pid; };
struct sk_buff { int len; };
struct xdp_buff { int len; };
struct bpf_raw_tracepoint_args { u64 args[0]; };
struct bpf_perf_event_data { bpf_user_pt_regs_t regs; };
struct bpf_sock_ops { u32 op; };
struct bpf_iter__task { u64 meta; };
struct no_such_thing { int x; };
""".strip().splitlines()
#: types of numbers, of memory that may be passed, and of what is seldom good
NUMBERS = ("int", "u64", "u8", "bool", "number", "enum choice", "const int", "char")
MEMORY = ("int *", "u64 *", "struct pair *", "couple *", "const struct pair *", "union either *",
          "enum choice *", "char *", "struct large *", "number *", "const char *", "int *",
          "struct pair __user *")
CONTEXTS = ("struct __sk_buff *", "struct xdp_md *", "struct pt_regs *", "bpf_user_pt_regs_t *",
            "registers *", "struct bpf_raw_tracepoint_args *", "struct bpf_perf_event_data *",
            "struct bpf_sock_ops *", "struct bpf_iter__task *", "struct sk_buff *",
            "struct xdp_buff *", "const struct __sk_buff *")
KERNEL = ("struct task_struct *", "struct sk_buff *", "struct no_such_thing *", "void *")
ODD = ("void *", "struct pair", "float", "struct none *", "struct unknown *", "int **",
       "struct pair **", "struct bpf_dynptr *", "const void *", "union either", "double *",
       "struct none", "union unknown *", "struct task_struct __kptr *", "const int *")
RESULTS = ("int", "int", "int", "u64", "bool", "enum choice", "number", "void", "int *",
           "struct pair", "float", "struct pair *", "const int")
TAGS = ("ctx", "nonnull", "nullable", "trusted", "untrusted", "arena", "unheard")
#: tags that make sense, with types that they make sense for
FITTING: tuple[tuple[Sequence[str], Sequence[str]], ...] = (
    ((), NUMBERS), ((), MEMORY), ((), MEMORY), ((), CONTEXTS), (("ctx",), CONTEXTS),
    (("ctx",), ("void *", "u64 *")), (("nonnull",), MEMORY), (("trusted",), KERNEL),
    (("trusted", "nullable"), KERNEL), (("untrusted",), (*KERNEL, *MEMORY)),
    (("arena",), (*MEMORY, "void *")), ((), ("struct bpf_dynptr *",)), ((), ODD))
#: program types with their words
PROGRAMS = (
    "tc", "tc", "socket", "xdp", "kprobe", "kprobe sleepable", "tracepoint", "raw_tracepoint",
    "raw_tracepoint_writable", "perf_event", "sock_ops", "syscall sleepable", "cgroup_skb",
    "cgroup_sock attach=cgroup_inet_sock_create", "sk_msg", "lwt_in", "flow_dissector",
    "tracing attach=trace_iter target=bpf_iter_task",
    "tracing attach=trace_raw_tp target=btf_trace_sys_enter")


class Param(NamedTuple):
    """A parameter as declared."""

    type: str
    tags: tuple[str, ...] = ()

    def declared(self, number: int) -> str:
        words = [f"{self.type} p{number}", *(f"__arg_{tag}" for tag in self.tags)]
        return " ".join(words)


class Signature(NamedTuple):
    """A function: whether static, what it gives back and what it takes."""

    static: bool
    result: str
    params: tuple[Param, ...]

    def declared(self, name: str) -> str:
        params = ", ".join(param.declared(i) for i, param in enumerate(self.params))
        return f"{'static ' if self.static else ''}{self.result} {name}({params});"


def signature(rng: random.Random, static: bool = False) -> Signature:
    """A prototype; most are good."""
    count = rng.choices(range(7), (1, 6, 5, 3, 2, 1, 0.3))[0]
    result = "int" if rng.random() < 0.85 else rng.choice(RESULTS)
    return Signature(static, result, tuple(param(rng) for _ in range(count)))


def param(rng: random.Random) -> Param:
    """A parameter with tags that fit, or any."""
    if rng.random() < 0.12:
        pool = rng.choice((NUMBERS, MEMORY, CONTEXTS, KERNEL, ODD))
        return Param(rng.choice(pool), tuple(rng.sample(TAGS, rng.randrange(3))))
    tags, types = rng.choice(FITTING)
    return Param(rng.choice(types), tuple(tags))


# -- programs


def _context(rng: random.Random) -> str:
    return "r$ = r6"


def _number(rng: random.Random) -> str:
    return f"r$ = {rng.choice((0, 0, 1, -1, 77))}"


def _memory(rng: random.Random) -> str:
    return f"r$ = r10\nr$ += {rng.choice((-16, -32, -8, -4, -64, -48))}"


def _value(rng: random.Random) -> str:
    """What a lookup gave: a value, or NULL."""
    return "r$ = r7"


def _checked(rng: random.Random) -> str:
    return "r$ = r8"


def _task(rng: random.Random) -> str:
    return "r$ = r9"


PASSED: tuple[Callable[[random.Random], str], ...] = (_context, _number, _memory, _value, _checked,
                                                     _task)


def _passed(rng: random.Random, param: Param) -> str:
    """Something for the parameter, mostly of the right kind."""
    if rng.random() < 0.15:
        return rng.choice(PASSED)(rng)
    if "ctx" in param.tags or param.type in CONTEXTS:
        return _context(rng)
    if "trusted" in param.tags:
        return rng.choice((_task, _task, _number))(rng)
    if param.type in NUMBERS or "arena" in param.tags:
        return _number(rng)
    return rng.choice((_memory, _memory, _value, _checked, _number))(rng)


def _uses(rng: random.Random, params: Sequence[Param]) -> list[str]:
    """Some accesses through the parameters."""
    lines: list[str] = []
    for number, one in enumerate(params[:5], 1):
        if rng.random() < 0.5:
            continue
        if rng.random() < 0.6 and "*" in one.type:
            lines.append(f"if r{number} == 0 goto out")
        lines.append(_access(rng, number))
    return lines


def _access(rng: random.Random, register: int) -> str:
    off = rng.choice((0, 0, 0, 4, 8, 316, 320, -4))
    size = rng.choice(("u32", "u32", "u64", "u8"))
    return rng.choice((f"r0 = *({size} *)(r{register} {off:+})",
                       f"*({size} *)(r{register} {off:+}) = 1",
                       f"r{register} += {rng.choice((4, 8))}"))


def _setup(rng: random.Random, kind: str) -> list[str]:
    """r6 is the context, r7 a value or NULL, r8 a value, r9 the current task or a number."""
    lines = ["r6 = r1", *(f"*(u64 *)(r10 - {off}) = 0" for off in range(8, 72, 8))]
    lines += ["r1 = hash ll", "r2 = r10", "r2 += -8", "call bpf_map_lookup_elem", "r7 = r0",
              "r8 = one.value ll"]
    tasks = kind.split()[0] in ("kprobe", "tracepoint", "raw_tracepoint", "perf_event", "tracing",
                                "tc", "xdp", "syscall")
    return [*lines, "call bpf_get_current_task_btf" if tasks else "r0 = 0", "r9 = r0"]


class Made(NamedTuple):
    """A program with its types, as sections of a case."""

    kind: str
    lines: tuple[str, ...]
    types: tuple[str, ...]

    def parts(self, prefix: str = "") -> dict[str, tuple[str, tuple[str, ...]]]:
        return {f"{prefix}prog": (self.kind, self.lines), f"{prefix}types": ("", self.types)}


def _case(seed: int, parts: dict[str, tuple[str, tuple[str, ...]]]) -> Case:
    name = f"seed {seed}"
    return Case(Path(), name, {"case": (name, ()), **parts}, "", ())


def program(seed: int, kinds: Sequence[str] = PROGRAMS) -> Case:
    """A main function that calls one or two others."""
    rng = random.Random(seed)
    called = [signature(rng, static=rng.random() < 0.1) for _ in range(rng.choice((1, 1, 2)))]
    return _case(seed, _calling(rng, rng.choice(kinds), called, _main(rng)).parts())


def _calling(rng: random.Random, kind: str, called: Sequence[Signature], main: str) -> Made:
    lines = _setup(rng, kind)
    for number, one in enumerate(called):
        for register, taken in enumerate(one.params[:5], 1):
            lines += _passed(rng, taken).replace("$", str(register)).splitlines()
        lines.append(f"call f{number}")
    lines += ["r0 = 0", "exit"]
    for number, one in enumerate(called):
        lines += [f"f{number}:", *_body(rng, one, f"out{number}")]
    types = [*TYPES, main, *(one.declared(f"f{n}") for n, one in enumerate(called))]
    return Made(kind, tuple(lines), tuple(types))


def _body(rng: random.Random, one: Signature, out: str) -> list[str]:
    """A function: its arguments are used, and mostly it gives a number."""
    return ["r0 = 0", *(line.replace("out", out) for line in _uses(rng, one.params)), f"{out}:",
            *(["r0 = 0"] if rng.random() < 0.9 else []), "exit"]


def _main(rng: random.Random) -> str:
    """The main function's prototype need not be believed."""
    one = signature(rng) if rng.random() < 0.2 else Signature(
        False, "int", (Param("struct __sk_buff *"),))
    return one.declared("main")


# -- extensions

#: programs whose functions are replaced, with their contexts
EXTENDED = {
    "tc": "struct __sk_buff *", "xdp": "struct xdp_md *", "kprobe": "struct pt_regs *",
    "raw_tracepoint": "struct bpf_raw_tracepoint_args *", "sock_ops": "struct bpf_sock_ops *",
    "socket": "struct __sk_buff *", "cgroup_skb attach=cgroup_inet_egress": "struct __sk_buff *",
    "perf_event": "struct bpf_perf_event_data *"}
#: a program of another type whose context is seldom asked for
_TRACERS = ("tracing attach=trace_fentry", "tracing attach=trace_fexit")


def extension(seed: int) -> Case:
    """A program, and one that replaces a function of its, with nearly the same prototype."""
    rng = random.Random(seed)
    kind = rng.choice(list(EXTENDED))
    replaced = _callable(rng, EXTENDED[kind])
    called = [replaced, _callable(rng, EXTENDED[kind])]
    main = Signature(False, "int", (Param(EXTENDED[kind]),))
    target = _target(kind, called, main)
    function = rng.choice(("f0", "f0", "f0", "f1", "main"))
    mine = _nearly(rng, main if function == "main" else called[function == "f1"])
    words = f"ext target={function} guest"
    lines = _body(rng, mine, "out")
    if rng.random() < 0.25:
        words, lines = f"{rng.choice(_TRACERS)} target={function} guest", _traces(rng)
    made = Made(words, tuple(lines), (*TYPES, mine.declared("main")))
    return _case(seed, target.parts("target_") | made.parts())


def _target(kind: str, called: Sequence[Signature], main: Signature) -> Made:
    """A program that calls functions as they want to be called."""
    lines = ["r6 = r1", *(f"*(u64 *)(r10 - {off}) = 0" for off in range(8, 328, 8))]
    for number, one in enumerate(called):
        for register, taken in enumerate(one.params, 1):
            lines += _wanted(taken).replace("$", str(register)).splitlines()
        lines.append(f"call f{number}")
    lines += ["r0 = 0", "exit"]
    for number in range(len(called)):
        lines += [f"f{number}:", "r0 = 0", "exit"]
    declared = (one.declared(f"f{number}") for number, one in enumerate(called))
    return Made(kind, tuple(lines), (*TYPES, main.declared("main"), *declared))


def _wanted(taken: Param) -> str:
    if taken.type in EXTENDED.values():
        return "r$ = r6"
    return "r$ = 0" if taken.type in NUMBERS else "r$ = r10\nr$ += -320"


def _callable(rng: random.Random, context: str) -> Signature:
    """A prototype that a program of this context may well have."""
    pool = [((), (context,)), *FITTING[:3], (("nonnull",), MEMORY)]
    params = []
    for _ in range(rng.randrange(4)):
        tags, types = rng.choice(pool)
        params.append(Param(rng.choice(types), tuple(tags)))
    return Signature(rng.random() < 0.05, rng.choice(("int", "int", "u64", "enum choice")),
                     tuple(params))


def _nearly(rng: random.Random, one: Signature) -> Signature:
    """The same prototype, or with one thing changed."""
    roll = rng.random()
    if roll < 0.5 or (not one.params and roll < 0.8):
        return one._replace(static=False)
    if roll < 0.6:
        return one._replace(result=rng.choice(RESULTS))
    if roll < 0.65:
        return one._replace(params=(*one.params, param(rng)))
    params = list(one.params)
    if not params:
        return one._replace(static=True)
    at = rng.randrange(len(params))
    params[at] = param(rng) if rng.random() < 0.6 else Param(
        params[at].type, (rng.choice(TAGS),))
    return one._replace(params=tuple(params))


def _traces(rng: random.Random) -> list[str]:
    """Arguments of the function, and what they point to."""
    off = rng.choice((0, 0, 8, 16, 24, 32, 40, 48, 4))
    size = rng.choice(("u64", "u64", "u64", "u32"))
    deeper = [f"r0 = *(u32 *)(r2 {rng.choice((0, 8, 112)):+})"] if rng.random() < 0.5 else []
    return [f"r2 = *({size} *)(r1 {off:+})", *deeper, "r0 = 0", "exit"]
