"""Statements with the kernel's own objects: typed pointers, walks, references, kfuncs."""

from __future__ import annotations

import re
from functools import cache

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.proto import kfuncs, progs
from anybpf.proto.kfuncs import Kfunc
from kernel.fuzz.owned import RELEASE, release
from kernel.fuzz.scoped import Scoped, Value, only
from verifier.cases import kernel_types

#: structs that statements ask for by name
STRUCT = re.compile(r"struct (\w+) \*")
WIDTHS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


@cache
def members(struct: str) -> tuple[tuple[int, int, str], ...]:
    """(offset, size, the struct pointed to or nothing) of a struct's members, also inner ones."""
    btf = kernel_types()
    number = btf.find(struct, uapi.BTF_KIND_STRUCT)
    found: list[tuple[int, int, str]] = []
    todo = [(number, 0)] if number else []
    for type_id, base in todo:
        for one in btf.expect(btf.resolve(type_id), t.Composite).members:
            inner = btf.type(btf.resolve(one.type))
            if isinstance(inner, t.Composite):
                todo.append((one.type, base + one.offset))
            elif not one.bitfield_size and isinstance(inner, t.Int | t.AnyEnum):
                found.append((base + one.offset, inner.size, ""))
            elif isinstance(inner, t.Ptr):
                found.append((base + one.offset, 8, pointed(inner.type)))
    return tuple(found)


def pointed(type_id: int) -> str:
    """The name of the struct that is pointed to, or nothing."""
    found = kernel_types().type(kernel_types().resolve(type_id))
    return found.name if isinstance(found, t.Struct) else ""


@cache
def arguments(target: str) -> tuple[str, ...]:
    """The structs that a tracepoint's or iterator's arguments point to; "" for anything else."""
    btf = kernel_types()
    skipped = 1 if target.startswith("btf_trace_") else 0
    found = []
    for param in _prototype(target).params[skipped:]:
        one = btf.type(btf.resolve(param.type))
        found.append(pointed(one.type) if isinstance(one, t.Ptr) else "")
    return tuple(found)


def _prototype(target: str) -> t.FuncProto:
    btf, (struct, _, member) = kernel_types(), target.partition(".")
    if member:
        members = btf.expect(btf.find(struct, uapi.BTF_KIND_STRUCT), t.Struct).members
        pointer = next(one.type for one in members if one.name == member)
    elif target.startswith("btf_trace_"):
        pointer = btf.find(target, uapi.BTF_KIND_TYPEDEF)
    else:
        func = btf.expect(btf.find(target, uapi.BTF_KIND_FUNC), t.Func)
        return btf.expect(func.type, t.FuncProto)
    return btf.expect(btf.expect(btf.resolve(pointer), t.Ptr).type, t.FuncProto)


def _target(p: Scoped) -> str:
    return (p.scene.words.partition("target=")[2].split() or [""])[0]


@only(wants="arguments", bars="callback")
def argument(p: Scoped) -> None:
    """An argument of what the program is attached to."""
    target = _target(p)
    if not target:
        p.emit("r0 = *(u64 *)(r6 + 8)")
        return
    if not target.startswith("bpf_iter_"):
        found = arguments(target)
        if not found:
            return
        at = p.random.randrange(len(found))
        p.emit(f"r0 = *(u64 *)(r6 + {8 * at})")
        _pointer(p, found[at], 0.15)
        return
    struct = f"bpf_iter__{target.removeprefix('bpf_iter_')}"
    found_members = members(struct)
    if found_members:
        off, _, of = p.random.choice(found_members)
        p.emit(f"r0 = *(u64 *)(r6 + {off})")
        _pointer(p, of, 0.8)


def _pointer(p: Scoped, of: str, checked: float) -> None:
    """What is in r0 is a pointer to such a struct, or a number."""
    if not of:
        return
    end = p.label()
    if p.chance(checked):
        p.emit(f"if r0 == 0 goto {end}")
    value = p.keep("btf", of)
    p.block(4, (walk, walk, acquire, any_kfunc, borrowed_call, *p.choice[:6]))
    p.drop(value)
    p.emit(f"{end}:")


def walk(p: Scoped) -> None:
    """A member of a struct, and on from there."""
    value = p.find("btf", "own", "rcu")
    if value is None or not members(value.of):
        return
    off, size, of = p.random.choice(members(value.of))
    if p.chance(0.6):
        pointers = [m for m in members(value.of) if m[2]]
        off, size, of = p.random.choice(pointers) if pointers else (off, size, of)
    p.arg(1, value)
    if p.chance(0.1):
        off += p.random.choice((1, 4, 8, -8, -1))
    width = WIDTHS.get(size, "u64") if p.chance(0.93) else p.pick(*WIDTHS.values())
    if p.chance(0.02):
        p.emit(f"*({width} *)(r1 + {off}) = 0")
        return
    p.emit(f"r0 = *({width} *)(r1 + {off})")
    if of and p.depth < 4 and p.chance(0.7):
        _pointer(p, of, 0.5)
    elif p.chance(0.05):
        p.emit(f"if r0 {p.pick('==', '>', 's<')} 0 goto +0")


@only(wants="generic")
def current_task(p: Scoped) -> None:
    """The task that runs."""
    p.emit("call bpf_get_current_task_btf")
    value = p.keep("btf", "task_struct")
    p.block(4)
    p.drop(value)


@only(wants="generic", bars="locked")
def lookup(p: Scoped) -> None:
    """A reference by a number."""
    name, of, args = p.random.choice((
        ("bpf_task_from_pid", "task_struct", ("1",)), ("bpf_task_from_vpid", "task_struct", ("1",)),
        ("bpf_cgroup_from_id", "cgroup", ("1",))))
    p.call(name, *args)
    p.unless_null("own", release, of)


@only(wants="cpumask", bars="locked")
def cpumask(p: Scoped) -> None:
    """A set of CPUs."""
    p.emit("call bpf_cpumask_create")
    p.unless_null("own", release, "bpf_cpumask", 5)


@only(wants="generic", bars="locked")
def acquire(p: Scoped) -> None:
    """A reference to what is pointed to."""
    value = p.find("btf", "own", "own?", of=p.pick("task_struct", "cgroup", "bpf_cpumask"))
    if value is None:
        return
    name = {"task_struct": "bpf_task_acquire", "cgroup": "bpf_cgroup_acquire",
            "bpf_cpumask": "bpf_cpumask_acquire"}[value.of]
    if value.of == "bpf_cpumask" and "cpumask" not in p.scene.has and not p.slip():
        return
    p.call(name, value)
    p.unless_null("own", release, value.of)


@cache
def callable_rows() -> tuple[Kfunc, ...]:
    """The kernel functions that this kernel has; those that must be paired stand elsewhere."""
    paired = kfuncs.KF_ITER_NEW | kfuncs.KF_ITER_NEXT | kfuncs.KF_ITER_DESTROY
    words = re.compile(r"__|arena|obj_|rbtree|list_|lock|throw|irq|preempt|_impl$|refcount|wq|"
                       "dynptr_from")
    return tuple(k for k in kfuncs.KFUNCS if k.sets and not k.flags & paired
                 and not words.search(k.name)
                 and kernel_types().find(k.name, uapi.BTF_KIND_FUNC))


@only(bars="locked")
def any_kfunc(p: Scoped) -> None:
    """Any kernel function with arguments that may do."""
    kind = p.scene.words.split()[0]
    known = [k for k in callable_rows() if p.chance(0.02) or any(
        not s.prog_types or kind in _names(s.prog_types) for s in k.sets)]
    for _ in range(12 if known else 0):
        chosen = p.random.choice(known)
        if _possible(p, chosen):
            _call_row(p, chosen)
            return


@cache
def _names(types: tuple[int, ...]) -> frozenset[str]:
    return frozenset(progs.BY_TYPE[number].name for number in types)


def _possible(p: Scoped, row: Kfunc) -> bool:
    """Whether there are values for its pointers to structs."""
    if row.flags & (kfuncs.KF_DESTRUCTIVE | kfuncs.KF_RELEASE) or (
            row.flags & kfuncs.KF_SLEEPABLE and "sleepable" not in p.scene.has):
        return p.slip()
    if row.name.startswith("bpf_obj") and "generic" not in p.scene.has:
        return p.slip()
    return all(not STRUCT.search(arg) or _fit(p, arg) is not None for arg in row.args) or (
        p.chance(0.01))


def _fit(p: Scoped, arg: str) -> str | Value | None:
    """A value for a pointer to a struct."""
    found = STRUCT.search(arg)
    assert found is not None
    of = found[1]
    if of in ("__sk_buff", "xdp_md"):
        return "r6" if p.scene.context == of and "callback" not in p.around else None
    if of == "bpf_dynptr":
        return "fp-32" if "uninit" in arg else p.find("dynptr")
    if of == "cpumask":
        return p.find("own", "btf", of="bpf_cpumask") or p.find("btf", of="cpumask")
    if of.startswith("bpf_iter"):
        return None
    return p.find("own", "btf", of=of)


def _call_row(p: Scoped, row: Kfunc) -> None:
    args: list[str | int | Value] = []
    for arg in row.args[:5]:
        args.append(_plain(p, arg) if not STRUCT.search(arg) else _fit(p, arg) or "r6")
    if any("__sz" in arg for arg in row.args):
        p.emit("*(u64 *)(r10 - 16) = 0", "*(u64 *)(r10 - 8) = 0")
    p.call(row.name, *args)
    found = STRUCT.search(row.ret)
    of = found[1] if found else ""
    if row.flags & kfuncs.KF_ACQUIRE:
        p.unless_null("own", release if of in RELEASE else None, of)
    elif found:
        _pointer(p, of, 0.9)


_KINDS = (("__sz", "16"), ("__map", "one ll"), ("__str", "text.value ll"), ("__prog", "0"),
          ("__ign", "fp-16"), ("*", "fp-16"))


def _plain(p: Scoped, arg: str) -> str | int:
    """An argument that is no pointer to a struct."""
    return next((text for mark, text in _KINDS if mark in arg), None) or abs(p.number()) % 64


@only(bars="locked")
def borrowed_call(p: Scoped) -> None:
    """Helpers and casts that take typed pointers."""
    value = p.find("btf", "own", "own?")
    if value is None:
        return
    way = p.random.choice(("rdonly", "storage", "probe", "pt_regs", "stack", "task_work", "vma"))
    if way == "rdonly":
        of = p.pick("task_struct", "cgroup", "sk_buff", value.of if members(value.of) else "sock")
        p.call("bpf_rdonly_cast", value, kernel_types().find(of, uapi.BTF_KIND_STRUCT))
        _pointer(p, of, 0.2)
    elif way == "storage":
        p.call("bpf_task_storage_get", "storage ll", value, 0, p.random.choice((0, 1)))
        p.emit("if r0 == 0 goto +1", "r1 = *(u64 *)(r0 + 0)")
    elif way == "probe":
        p.emit("*(u64 *)(r10 - 16) = 0")
        p.call("bpf_probe_read_kernel", "fp-16", 8, value)
    elif way == "pt_regs":
        p.call("bpf_task_pt_regs", value)
        _pointer(p, "pt_regs", 0)
    elif way == "stack" and "task" in p.scene.has:
        p.call("bpf_get_task_stack", value, "fp-32", 32, 0)
    elif way == "vma" and "task" in p.scene.has:
        p.call("bpf_find_vma", value, 0, f"{_vma(p)} ll", "fp-16", 0)


def _vma(p: Scoped) -> str:
    def body(inner: Scoped) -> None:
        inner.emit(inner.pick("r1 = *(u64 *)(r1 + 16)", "r1 = *(u64 *)(r2 + 0)",
                              "*(u64 *)(r3 + 0) = 1", "r2 = r1"), "r0 = 0", "exit")
    return p.function("cb_vma", body)


BORROWED = (argument, argument, argument, current_task, lookup, cpumask, walk, walk, acquire,
            any_kfunc, any_kfunc, any_kfunc, borrowed_call)
