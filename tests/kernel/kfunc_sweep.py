"""Calls of every kernel function with each argument as it should not be, and results misused.

Programs are text, as in case files, and stand on one set of maps and types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.proto import attach, kfuncs, progs
from anybpf.proto.kfuncs import Kfunc
from kernel.verdicts import GUEST, kernel_btf, kernel_module
from verifier.cases import Case

#: modules whose functions are called where the kernel has them as modules
MODULES = ("nf_conntrack", "nf_nat", "nf_flow_table", "fou", "xfrm_interface")
TYPES = """\
struct node { u64 a; struct bpf_list_node list; struct bpf_rb_node tree; struct bpf_refcount n; };
struct lists { struct bpf_spin_lock lock; struct bpf_list_head head __contains(node,list); };
struct trees { struct bpf_spin_lock lock; struct bpf_rb_root root __contains(node,tree); };
struct works { u64 n; struct bpf_wq work; struct bpf_task_work later; };
struct locks { u64 n; struct bpf_res_spin_lock lock; };
struct plain { u64 a; u64 b; };
struct task_struct;
struct bpf_crypto_ctx;
struct kept { struct task_struct __kptr *task; struct bpf_crypto_ctx __kptr *cipher; };
int main(u64 *ctx);
static int cb(u64 a, u64 b, u64 c);
"""
MAPS = """\
lists ARRAY 4 24 1 value=struct_lists
trees ARRAY 4 24 1 value=struct_trees
works ARRAY 4 32 1 value=struct_works
locks ARRAY 4 16 1 value=struct_locks
kept ARRAY 4 16 1 value=struct_kept
text ARRAY 4 16 1 rdonly_prog content=25642025730000 frozen
"""


class Kind(NamedTuple):
    """Programs of a type: the words of `[prog]`."""

    words: str
    #: code that puts typed pointers that the context has into r0
    typed: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def type(self) -> int:
        name = self.words.split()[0]
        return progs.BY_NAME[name].type

    @property
    def attach(self) -> int:
        found = re.search(r"attach=(\w+)", self.words)
        return attach.BY_NAME[found[1]].type if found else 0

    @property
    def hook(self) -> tuple[str, str] | None:
        """The struct and the member that the program stands in for."""
        found = re.search(r"target=(\w+)\.(\w+)", self.words)
        return (found[1], found[2]) if found else None

    def may_call(self, row: Kfunc) -> bool:
        return row.callable_from(self.type, self.attach, self.hook)


NULL = "if r0 == 0 goto out"
_TASK = ("r0 = *(u64 *)(r6 + 8)",)
KINDS = (
    Kind("syscall sleepable"),
    Kind("tracing attach=trace_raw_tp target=btf_trace_sched_switch", (
        ("task of the context", _TASK),
        ("parent of the task", (*_TASK, "r0 = *(u64 *)(r0 + {task_struct.real_parent})")),
        ("mm of the task", (*_TASK, "r0 = *(u64 *)(r0 + {task_struct.mm})")),
        ("cpus of the task", (*_TASK, "r0 = *(u64 *)(r0 + {task_struct.cpus_ptr})")),
        ("file system of the task", (*_TASK, "r0 = *(u64 *)(r0 + {task_struct.fs})")),
        ("cgroups of the task", (*_TASK, "r0 = *(u64 *)(r0 + {task_struct.cgroups})",
                                 "r0 = *(u64 *)(r0 + {css_set.dfl_cgrp})")))),
    Kind("sched_cls", (("socket", ("r0 = *(u64 *)(r6 + 168)", NULL)),)),
    Kind("xdp"),
    Kind("lsm guest sleepable attach=lsm_mac target=bpf_lsm_file_open", (
        ("file", ("r0 = *(u64 *)(r6 + 0)",)),
        ("path", ("r0 = *(u64 *)(r6 + 0)", "r0 += {file.f_path}")),
        ("dentry", ("r0 = *(u64 *)(r6 + 0)", "r0 += {file.f_path}",
                    "r0 = *(u64 *)(r0 + {path.dentry})")))),
    Kind("lsm guest attach=lsm_mac target=bpf_lsm_file_open", (
        ("file", ("r0 = *(u64 *)(r6 + 0)",)),)),
    Kind("cgroup_sock_addr attach=cgroup_inet4_connect"),
    Kind("sock_ops attach=cgroup_sock_ops"),
    Kind("tracing attach=trace_iter target=bpf_iter_tcp", (
        ("socket", ("r0 = *(u64 *)(r6 + 8)",)),
        ("socket not null", ("r0 = *(u64 *)(r6 + 8)", "if r0 == 0 goto out")))),
    Kind("tracing sleepable attach=trace_iter target=bpf_iter_task", (
        ("task", ("r0 = *(u64 *)(r6 + 8)",)),
        ("task not null", ("r0 = *(u64 *)(r6 + 8)", "if r0 == 0 goto out")))),
    Kind("kprobe attach=trace_kprobe_session"),
    Kind("kprobe"),
    Kind("netfilter attach=netfilter"),
    Kind("struct_ops target=tcp_congestion_ops.ssthresh", (
        ("socket", ("r0 = *(u64 *)(r6 + 0)",)),)),
    Kind("struct_ops guest target=Qdisc_ops.enqueue", (
        ("packet", ("r0 = *(u64 *)(r6 + 0)",)), ("qdisc", ("r0 = *(u64 *)(r6 + 8)",)),
        ("free list", ("r0 = *(u64 *)(r6 + 16)",)))),
    Kind("struct_ops guest target=Qdisc_ops.dequeue", (
        ("qdisc", ("r0 = *(u64 *)(r6 + 0)",)),)),
    Kind("struct_ops guest target=sched_ext_ops.enqueue", (
        ("task of the context", ("r0 = *(u64 *)(r6 + 0)",)),)),
    Kind("struct_ops guest sleepable target=sched_ext_ops.init"),
)
#: what is put before the kernel as the map of a work queue: 6.18 looks at the map's special fields
#: without asking whether it has any, takes all kinds of things for a map, and falls over
HARMLESS = frozenset({
    "0", "1", "-1", "8", "2^32", "number", "the context", "moved context", "stack",
    "unwritten stack", "odd stack", "end of stack", "nothing", "works", "list", "tree", "work",
    "task work", "lock", "moved dynptr", "place for a dynptr", "place for a flag",
    "place for an iterator"})
#: where the arguments wait on the stack
SLOTS = (-208, -216, -224, -232, -240)


class Offer(NamedTuple):
    """Code that puts something into r0, and what gives it back from its place on the stack."""

    code: tuple[str, ...]
    undo: str = ""
    #: kernel functions that the code calls
    calls: tuple[str, ...] = ()


def _at(offset: int, register: int = 0) -> tuple[str, str]:
    return f"r{register} = r10", f"r{register} += {offset}"


_OWN = ("r1 = {struct node}", "r2 = 0", "call bpf_obj_new_impl")
_DYNPTR = ("r1 = one.value ll", "r2 = 16", "r3 = 0", *_at(-80, 4), "call bpf_dynptr_from_mem",
           *_at(-80))
_RING = ("r1 = ring ll", "r2 = 16", "r3 = 0", *_at(-96, 4), "call bpf_ringbuf_reserve_dynptr",
         *_at(-96))
_TASK_OF = ("r1 = 1", "call bpf_task_from_pid")
_CGROUP = ("r1 = 1", "call bpf_cgroup_from_id")
OFFERS: dict[str, Offer] = {
    "0": Offer(("r0 = 0",)), "1": Offer(("r0 = 1",)), "-1": Offer(("r0 = -1",)),
    "8": Offer(("r0 = 8",)), "2^32": Offer(("r0 = 0x100000000 ll",)),
    "number": Offer(("call bpf_get_prandom_u32",)),
    "the context": Offer(("r0 = r6",)), "moved context": Offer(("r0 = r6", "r0 += 8")),
    "stack": Offer(_at(-64)), "unwritten stack": Offer(_at(-320)), "odd stack": Offer(_at(-61)),
    "end of stack": Offer(_at(-4)), "nothing": Offer(()),
    "map": Offer(("r0 = array ll",)), "ring": Offer(("r0 = ring ll",)),
    "value": Offer(("r0 = one.value ll",)),
    "end of value": Offer(("r0 = one.value ll", "r0 += 12")),
    "value or null": Offer(("r1 = hash ll", *_at(-64, 2), "call bpf_map_lookup_elem")),
    "text": Offer(("r0 = text.value ll",)), "text in a plain map": Offer(("r0 = one.value ll",)),
    "list": Offer(("r0 = lists.value ll", "r0 += 8")),
    "tree": Offer(("r0 = trees.value ll", "r0 += 8")),
    "work": Offer(("r0 = works.value ll", "r0 += 8")),
    "task work": Offer(("r0 = works.value ll", "r0 += 24")),
    "lock": Offer(("r0 = locks.value ll", "r0 += 8")),
    "works": Offer(("r0 = works ll",)), "function": Offer(("r0 = cb ll",)),
    "dynptr": Offer(_DYNPTR), "moved dynptr": Offer((*_DYNPTR, "r0 += 8")),
    "record": Offer(_RING, "r1 = r10\nr1 += -96\nr2 = 0\ncall bpf_ringbuf_discard_dynptr"),
    "place for a dynptr": Offer(_at(-112)),
    "iterator": Offer((*_at(-160, 1), "r2 = 0", "r3 = 3", "call bpf_iter_num_new", *_at(-160)),
                      "r1 = r10\nr1 += -160\ncall bpf_iter_num_destroy", ("bpf_iter_num_new",)),
    "place for an iterator": Offer(_at(-160)),
    "flag": Offer((*_at(-168, 1), "call bpf_local_irq_save", *_at(-168)),
                  "r1 = r10\nr1 += -168\ncall bpf_local_irq_restore", ("bpf_local_irq_save",)),
    "place for a flag": Offer(_at(-168)),
    "task": Offer((*_TASK_OF, NULL), "call bpf_task_release", ("bpf_task_from_pid",)),
    "task or null": Offer(_TASK_OF, "if r1 == 0 goto +1\ncall bpf_task_release",
                          ("bpf_task_from_pid",)),
    "moved task": Offer((*_TASK_OF, NULL, "r0 += 8"), "r1 += -8\ncall bpf_task_release",
                        ("bpf_task_from_pid",)),
    "untrusted task": Offer(("r1 = r6", "r2 = {kernel task_struct}", "call bpf_rdonly_cast"),
                            calls=("bpf_rdonly_cast",)),
    "untrusted memory": Offer(("r1 = r6", "r2 = 0", "call bpf_rdonly_cast"),
                              calls=("bpf_rdonly_cast",)),
    "cgroup": Offer((*_CGROUP, NULL), "call bpf_cgroup_release", ("bpf_cgroup_from_id",)),
    "cgroup or null": Offer(_CGROUP, "if r1 == 0 goto +1\ncall bpf_cgroup_release",
                            ("bpf_cgroup_from_id",)),
    "mask": Offer(("call bpf_cpumask_create", NULL), "call bpf_cpumask_release",
                  ("bpf_cpumask_create",)),
    "key": Offer(("r1 = 1", "call bpf_lookup_system_key", NULL), "call bpf_key_put",
                 ("bpf_lookup_system_key",)),
    "cipher": Offer((*_at(-64, 1), "r2 = 408", *_at(-64, 3), "call bpf_crypto_ctx_create", NULL),
                    "call bpf_crypto_ctx_release", ("bpf_crypto_ctx_create",)),
    "object": Offer((*_OWN, NULL), "r2 = 0\ncall bpf_obj_drop_impl", ("bpf_obj_new_impl",)),
    "object or null": Offer(_OWN, "if r1 == 0 goto +2\nr2 = 0\ncall bpf_obj_drop_impl",
                            ("bpf_obj_new_impl",)),
    "list node": Offer((*_OWN, NULL, "r0 += 8"), "r1 += -8\nr2 = 0\ncall bpf_obj_drop_impl",
                       ("bpf_obj_new_impl",)),
    "tree node": Offer((*_OWN, NULL, "r0 += 32"), "r1 += -32\nr2 = 0\ncall bpf_obj_drop_impl",
                       ("bpf_obj_new_impl",)),
    "counted": Offer((*_OWN, NULL, "r1 = r0", "r7 = r0", "r2 = 0", "call bpf_refcount_acquire_impl",
                      "r8 = r0", "r1 = r7", "r2 = 0", "call bpf_obj_drop_impl", "r0 = r8"),
                     "r2 = 0\ncall bpf_obj_drop_impl",
                     ("bpf_obj_new_impl", "bpf_refcount_acquire_impl")),
    "object for each CPU": Offer(("r1 = {struct plain}", "r2 = 0", "call bpf_percpu_obj_new_impl",
                                  NULL), "r2 = 0\ncall bpf_percpu_obj_drop_impl",
                                 ("bpf_percpu_obj_new_impl",)),
    "connection": Offer(("r1 = r6", *_at(-64, 2), "r3 = 12", *_at(-48, 4), "r5 = 12",
                         "call bpf_xdp_ct_lookup", NULL), "call bpf_ct_release",
                        ("bpf_xdp_ct_lookup",)),
    "new connection": Offer(("r1 = r6", *_at(-64, 2), "r3 = 12", *_at(-48, 4), "r5 = 12",
                             "call bpf_xdp_ct_alloc", NULL),
                            "call bpf_ct_insert_entry\nif r0 == 0 goto +2\nr1 = r0\n"
                            "call bpf_ct_release", ("bpf_xdp_ct_alloc",)),
    "state": Offer(("r1 = r6", *_at(-64, 2), "r3 = 28", "call bpf_xdp_get_xfrm_state", NULL),
                   "call bpf_xdp_xfrm_state_release", ("bpf_xdp_get_xfrm_state",)),
    "task of a map": Offer(("r0 = kept.value ll", "r0 = *(u64 *)(r0 + 0)", NULL)),
    "task of a map or null": Offer(("r0 = kept.value ll", "r0 = *(u64 *)(r0 + 0)")),
    "cipher of a map": Offer(("r0 = kept.value ll", "r0 = *(u64 *)(r0 + 8)", NULL)),
    "scheduler's mask": Offer(("call scx_bpf_get_online_cpumask",), "call scx_bpf_put_cpumask",
                              ("scx_bpf_get_online_cpumask",)),
    "kernel context": Offer(("r1 = r6", "call bpf_cast_to_kern_ctx"),
                            calls=("bpf_cast_to_kern_ctx",)),
    "cache": Offer(("r1 = r6", "call bpf_get_kmem_cache"), calls=("bpf_get_kmem_cache",)),
    "kernel's variable": Offer(("r0 = kernel.bpf_stats_enabled_key ll",)),
    "kernel's function": Offer(("r0 = kernel.bpf_task_release ll",)),
}
#: struct that an argument points to -> what is right there
STRUCTS = {
    "task_struct": "task|task of the context", "cgroup": "cgroup", "cgroup_subsys_state": "cgroup",
    "bpf_cpumask": "mask", "cpumask": "mask", "bpf_key": "key",
    "bpf_crypto_ctx": "cipher|cipher of a map",
    "nf_conn": "connection", "nf_conn___init": "new connection", "xfrm_state": "state",
    "bpf_dynptr": "dynptr", "bpf_list_head": "list", "bpf_list_node": "list node",
    "bpf_rb_root": "tree", "bpf_rb_node": "tree node", "bpf_wq": "work",
    "bpf_task_work": "task work", "bpf_res_spin_lock": "lock", "bpf_map": "map",
    "__sk_buff": "the context", "xdp_md": "the context", "file": "file", "path": "path",
    "dentry": "dentry", "sock_common": "socket not null|socket",
    "bpf_sock_addr_kern": "kernel context",
    "bpf_sock_ops_kern": "kernel context", "sk_buff": "packet|kernel context", "Qdisc": "qdisc",
    "bpf_sk_buff_ptr": "free list", "sock": "socket", "tcp_sock": "socket",
}
SUFFIXES = {
    "__sz": "8", "__szk": "8", "__k": "1", "__ign": "0", "__prog": "0", "__str": "text",
    "__map": "map", "__alloc": "object", "__refcounted_kptr": "object",
    "__irq_flag": "place for a flag", "__uninit": "place for a dynptr",
}
#: arguments that are not what their types say
SPECIAL = {
    ("bpf_local_irq_restore", 0): "flag", ("bpf_obj_new_impl", 0): "the node's type",
    ("bpf_percpu_obj_new_impl", 0): "the plain type", ("bpf_rdonly_cast", 1): "1",
    ("bpf_percpu_obj_drop_impl", 0): "object for each CPU", ("bpf_wq_init", 1): "works",
    ("bpf_task_work_schedule_signal_impl", 2): "works",
    ("bpf_task_work_schedule_resume_impl", 2): "works",
    ("scx_bpf_put_cpumask", 0): "scheduler's mask",
    ("scx_bpf_put_idle_cpumask", 0): "scheduler's mask",
    ("bpf_cast_to_kern_ctx", 0): "the context", ("bpf_get_kmem_cache", 0): "number",
}
OFFERS["the node's type"] = Offer(("r0 = {struct node}",))
OFFERS["the plain type"] = Offer(("r0 = {struct plain}",))
#: struct -> what gives a result back
RELEASES = {
    "task_struct": "call bpf_task_release", "cgroup": "call bpf_cgroup_release",
    "bpf_cpumask": "call bpf_cpumask_release", "bpf_key": "call bpf_key_put",
    "file": "call bpf_put_file", "bpf_crypto_ctx": "call bpf_crypto_ctx_release",
    "nf_conn": "call bpf_ct_release", "nf_conn___init": "call bpf_ct_insert_entry",
    "xfrm_state": "call bpf_xdp_xfrm_state_release", "cpumask": "call scx_bpf_put_cpumask",
    "void": "r2 = 0\ncall bpf_obj_drop_impl",
    "bpf_list_node": "r1 += -8\nr2 = 0\ncall bpf_obj_drop_impl",
    "bpf_rb_node": "r1 += -32\nr2 = 0\ncall bpf_obj_drop_impl",
}
#: sections around a call
AROUND = {
    "RCU": (("call bpf_rcu_read_lock",), ("call bpf_rcu_read_unlock",)),
    "no preemption": (("call bpf_preempt_disable",), ("call bpf_preempt_enable",)),
    "no interrupts": ((*_at(-176, 1), "call bpf_local_irq_save"),
                      (*_at(-176, 1), "call bpf_local_irq_restore")),
    "a lock": (("r1 = lists.value ll", "call bpf_spin_lock"),
               ("r1 = lists.value ll", "call bpf_spin_unlock")),
    "the tree's lock": (("r1 = trees.value ll", "call bpf_spin_lock"),
                        ("r1 = trees.value ll", "call bpf_spin_unlock")),
    "an open section": (("call bpf_rcu_read_lock",), ()),
    "an open lock": (("r1 = lists.value ll", "call bpf_spin_lock"), ()),
}
#: functions that need a section around them to be called at all
NEEDS = {
    "bpf_list_": "a lock", "bpf_rbtree_": "the tree's lock", "bpf_iter_task_new": "RCU",
    "bpf_iter_css_new": "RCU", "bpf_rcu_read_unlock": "an open section",
}


class Wanted(NamedTuple):
    """An argument of a row: the struct that it points to (or type), and its name."""

    type: str
    name: str

    @property
    def suffix(self) -> str:
        found = re.search(r"__[a-z_]+$", self.name)
        return found[0] if found and len(found[0]) < len(self.name) else ""

    @property
    def struct(self) -> str:
        """What it points to, without `struct`; empty if it is no pointer."""
        return self.type.rstrip("* ").removeprefix("struct ") if "*" in self.type else ""


def wanted(row: Kfunc) -> list[Wanted]:
    """The arguments of a row."""
    found = []
    for text in row.args:
        kind, name = re.fullmatch(r"(.*?)(\w+)", text).groups()  # type: ignore[union-attr]
        found.append(Wanted(kind.strip(), name))
    return found


def right(row: Kfunc, number: int, arg: Wanted) -> str:
    """What should stand there: keys of the offers, with `|` between them."""
    special = SPECIAL.get((row.name, number))
    if special:
        return special
    if arg.suffix in SUFFIXES:
        return SUFFIXES[arg.suffix]
    if arg.struct.startswith("bpf_iter_"):
        return "place for an iterator"
    if arg.type in ("func *", "bpf_task_work_callback_t"):
        return "function"
    if arg.struct:
        return STRUCTS.get(arg.struct, "stack")
    return "0"


@cache
def offers(kind: Kind) -> dict[str, Offer]:
    """All that programs of a kind can offer."""
    found = {name: one for name, one in OFFERS.items() if all(
        kind.may_call(kfuncs.BY_NAME[call]) and exists(call)
        for call in one.calls)}
    return found | {name: Offer(code) for name, code in kind.typed}


@cache
def places() -> dict[str, int]:
    """The functions of modules that this kernel has as modules, by the module's place."""
    if GUEST is None:
        return {}
    found = {}
    for place, name in enumerate(MODULES, 1):
        types = kernel_module(name)
        found |= {row.name: place for row in kfuncs.KFUNCS
                  if types.find(row.name, uapi.BTF_KIND_FUNC) >= types.start_id}
    return found


@cache
def exists(name: str) -> bool:
    """The kernel that is asked has the function, by itself or in a module."""
    return bool(kernel_btf().find(name, uapi.BTF_KIND_FUNC)) or name in places()


def here() -> list[Kind]:
    """The kinds of programs that the kernel lets anybody load."""
    return [kind for kind in KINDS if GUEST is not None or "guest" not in kind.words]


def kinds_for(row: Kfunc) -> list[Kind]:
    """Kinds of programs that may call it: one that sleeps, one that does not, and one for a struct
    of the kernel; only those that have what it takes, if there are any."""
    usable = [kind for kind in here() if kind.may_call(row)]
    usable = [k for k in usable if set(rights(row, k)) <= set(offers(k))] or usable
    asleep = [k for k in usable if "sleepable" in k.words][:1]
    awake = [k for k in usable if "sleepable" not in k.words][:1]
    last = [k for k in usable if k.hook and k not in awake][:1]
    return asleep + awake + last


class Call(NamedTuple):
    """A call of a kernel function in a program of a kind."""

    kind: Kind
    row: Kfunc
    #: the names of what the arguments are
    args: tuple[str, ...]
    around: str = ""
    #: what is done with the result
    after: tuple[str, ...] = ()
    #: whether all that was acquired for arguments is given back
    undo: bool = True


def program(call: Call) -> tuple[str, ...] | None:
    """The call's program; None where its kind of programs cannot offer that."""
    there = offers(call.kind)
    if any(name not in there for name in call.args):
        return None
    lines = ["r6 = r1", "r0 = 0"] + [f"*(u64 *)(r10 - {8 * i}) = r0" for i in range(1, 9)]
    if call.row.flags & (kfuncs.KF_ITER_NEXT | kfuncs.KF_ITER_DESTROY):
        lines += _begin(call)
    before, behind = AROUND.get(call.around, ((), ()))
    lines += _prepared(call, there) + list(before)
    for number, name in enumerate(call.args):
        if name != "nothing":
            lines.append(f"r{number + 1} = *(u64 *)(r10 - {-SLOTS[number]})")
    lines += [f"call {call.row.name}", *call.after, *behind]
    lines += _undone(call, there) if call.undo else []
    lines += ["out:", "r0 = 0", "exit"]
    return (*lines, "cb:", "r0 = 0", "exit") if "cb ll" in "".join(lines) else tuple(lines)


def _prepared(call: Call, there: dict[str, Offer]) -> list[str]:
    lines: list[str] = []
    for number, name in enumerate(call.args):
        lines += there[name].code
        if name != "nothing":
            lines.append(f"*(u64 *)(r10 - {-SLOTS[number]}) = r0")
    return lines


def _undone(call: Call, there: dict[str, Offer]) -> list[str]:
    lines: list[str] = []
    releases = call.row.flags & kfuncs.KF_RELEASE
    for number, name in enumerate(call.args):
        if there[name].undo and not releases:
            lines += [f"r1 = *(u64 *)(r10 - {-SLOTS[number]})", *there[name].undo.split("\n")]
    return lines


def _begin(call: Call) -> list[str]:
    """An iterator of the function's kind is begun."""
    stem = call.row.name.rpartition("_")[0]
    row = kfuncs.BY_NAME[f"{stem}_new"]
    new = Call(call.kind, row, rights(row, call.kind))
    there = offers(call.kind)
    if any(name not in there for name in new.args):
        return []
    lines = _prepared(new, there)
    lines += [f"r{n + 1} = *(u64 *)(r10 - {-SLOTS[n]})" for n in range(len(new.args))]
    section = AROUND.get(NEEDS.get(row.name, ""), ((), ()))
    return [*lines[:], *section[0], f"call {row.name}"]


def rights(row: Kfunc, kind: Kind) -> tuple[str, ...]:
    """What the arguments should be: of several things the first that there is."""
    there = offers(kind)
    words = [right(row, number, arg).split("|") for number, arg in enumerate(wanted(row))]
    return tuple(next((name for name in names if name in there), names[0]) for names in words)


def calls(row: Kfunc, kind: Kind) -> Iterator[tuple[str, Call]]:
    """The function's programs, by name."""
    around = next((section for name, section in NEEDS.items() if row.name.startswith(name)), "")
    good = Call(kind, row, rights(row, kind), around)
    yield "as it should be", good
    yield "nothing given back", good._replace(undo=False)
    for section in ("", *AROUND):
        yield f"in {section or 'no section'}", good._replace(around=section)
    for number, arg in enumerate(wanted(row)):
        for name in offers(kind):
            if arg.suffix == "__map" and name not in HARMLESS:
                continue
            args = (*good.args[:number], name, *good.args[number + 1:])
            yield f"{number}: {name}", good._replace(args=args)
    for how, after in results(row):
        yield f"result {how}", good._replace(after=after)


def results(row: Kfunc) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is done with the result."""
    yield "loaded", ("r1 = *(u64 *)(r0 + 0)",)
    yield "stored to", ("*(u64 *)(r0 + 0) = 0",)
    yield "as a number", ("r1 = r10", "r0 &= 7", "r1 += r0", "r2 = *(u8 *)(r1 - 64)")
    if "*" not in row.ret:
        return
    yield "loaded after a look", ("if r0 == 0 goto +1", "r1 = *(u64 *)(r0 + 0)")
    yield "moved", ("if r0 == 0 goto +2", "r0 += 8", "r1 = *(u8 *)(r0 + 0)")
    release = RELEASES.get(row.ret.rstrip("* ").removeprefix("struct "))
    if release:
        one = ("r1 = r0", *release.split("\n"))
        size = len(one)
        yield "given back", (f"if r0 == 0 goto +{size}", *one)
        yield "given back without a look", one
        yield "given back twice", (f"if r0 == 0 goto +{2 * size + 2}", "r7 = r0", *one, "r0 = r7",
                                   *one)
        yield "used behind", (f"if r0 == 0 goto +{size + 2}", "r7 = r0", *one,
                              "r1 = *(u64 *)(r7 + 0)")


def case(name: str, kind: Kind, lines: tuple[str, ...]) -> Case:
    """The program as a case."""
    words = kind.words
    array = ",".join(("0", *(f"module:{name}" for name in MODULES)))
    if any(f"call {one}" in lines for one in places()):
        words += f" fd_array={array}"
    parts = {"types": ("", tuple(TYPES.splitlines())), "maps": ("", tuple(MAPS.splitlines())),
             "prog": (words, tuple(_struct(line) for line in lines))}
    return Case(Path(), name, parts, "", ())


@cache
def _struct(line: str) -> str:
    """With numbers for `{kernel NAME}`, the number of a struct of the kernel."""
    found = re.search(r"\{kernel (\w+)\}", line)
    if found is None:
        return line
    return line.replace(found[0], str(kernel_btf().find(found[1], uapi.BTF_KIND_STRUCT)))


def sweep(row: Kfunc) -> Iterator[Case]:
    """All programs about one kernel function: who may call it, and how."""
    for kind in here():
        lines = (f"call {row.name}", "r0 = 0", "exit")
        yield case(f"{row.name} alone in {kind.words}", kind, lines)
    for kind in kinds_for(row):
        for name, call in calls(row, kind):
            lines = program(call)
            if lines is not None:
                yield case(f"{row.name} in {kind.words}: {name}", kind, lines)


