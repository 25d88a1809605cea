"""What programs of the typed world may name: structs, maps with special fields, program types."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from kernel.verdicts import GUEST
from verifier.c_types import CTypes
from verifier.cases import Case, kernel_types

#: own objects: leaf hangs in trees, item in lists, shared in both
OBJECTS = ("leaf", "item", "shared", "plain", "lone")
_STRUCTS = """\
struct task_struct { int x; };
struct cgroup { int x; };
struct bpf_cpumask { int x; };
struct lone { u64 x; u64 y; };
struct leaf { u64 key; struct bpf_rb_node tree; u64 data; };
struct item { u64 key; struct bpf_list_node link; u64 data; };
struct shared { u64 key; struct bpf_refcount count; struct bpf_rb_node tree; \
struct bpf_list_node link; };
struct plain { u64 key; u64 data; struct task_struct __kptr *task; \
struct bpf_cpumask __kptr *mask; };
struct vtree { struct bpf_spin_lock lock; struct bpf_rb_root root __contains(leaf,tree); u64 n; };
struct vlist { struct bpf_spin_lock lock; struct bpf_list_head head __contains(item,link); u64 n; };
struct vboth { struct bpf_spin_lock lock; struct bpf_rb_root root __contains(shared,tree); \
struct bpf_list_head head __contains(shared,link); u64 n; };
struct vres { struct bpf_res_spin_lock lock; struct bpf_rb_root root __contains(leaf,tree); \
u64 n; };
struct vkptr { u64 n; struct task_struct __kptr *task; struct cgroup __kptr *cgroup; \
struct bpf_cpumask __kptr *bpf_cpumask; struct plain __kptr *plain; struct leaf __kptr *leaf; \
struct shared __kptr *shared; struct lone __percpu_kptr *lone; \
struct task_struct __kptr_untrusted *old; };
struct vtimer { u64 n; struct bpf_timer timer; };
struct vwq { u64 n; struct bpf_wq work; };
struct vwork { u64 n; struct bpf_task_work work; };
struct vlock { struct bpf_spin_lock lock; u32 m; u64 n; };
struct pair { long a; long b; };"""
#: functions by name: the declaration. `cb_` are called back, `s_` static, `g_` global
FUNCTIONS = {
    "cb_timer": "static int cb_timer(void *map, int *key, void *value);",
    "cb_wq": "static int cb_wq(void *map, int *key, void *value);",
    "cb_work": "static int cb_work(void *map, void *key, void *value);",
    "cb_loop": "static int cb_loop(u64 i, void *ctx);",
    "cb_each": "static long cb_each(void *map, void *key, void *value, void *ctx);",
    "cb_vma": "static long cb_vma(void *task, void *vma, void *ctx);",
    "cb_ring": "static long cb_ring(void *dynptr, void *ctx);",
    "cb_less": "static bool cb_less(void *a, void *b);",
    "s_number": "static u64 s_number(u64 a, u64 b);",
    "s_pointer": "static u64 s_pointer(void *p);",
    "s_kept": "static u64 s_kept(void *p);",
    "g_number": "int g_number(int a, int b);",
    "g_task": "int g_task(struct task_struct *task __arg_trusted __arg_nullable);",
    "g_task_safe": "int g_task_safe(struct task_struct *task __arg_trusted);",
    "g_old": "int g_old(struct task_struct *task __arg_untrusted);",
    "g_memory": "int g_memory(struct pair *p);",
    "g_memory_safe": "int g_memory_safe(struct pair *p __arg_nonnull);",
    "g_dynptr": "int g_dynptr(struct bpf_dynptr *d);",
    "g_ctx": "int g_ctx(void *ctx __arg_ctx, int n);",
    "g_void": "void g_void(int a);",
}
#: maps by name: type, entries and the struct of values
VALUES = ("vtree", "vlist", "vboth", "vres", "vkptr", "vtimer", "vwq", "vwork", "vlock")
_PLAIN = """\
text ARRAY 4 16 1 rdonly_prog frozen content=68656c6c6f00776f726c64002573000a
user USER_RINGBUF 0 0 4096
lru LRU_HASH 4 16 4
percpu PERCPU_ARRAY 4 16 1
storage TASK_STORAGE 4 {vkptr} 0 no_prealloc value=struct_vkptr
inner ARRAY 4 16 1
outer ARRAY_OF_MAPS 4 4 2 inner=inner"""
#: maps whose values have nothing special
MEMORY = ("one", "array", "hash", "lru", "percpu", "inner")


class Scene(NamedTuple):
    """A program type: how cases name it, the struct of its context, and what it may use."""

    words: str
    context: str = ""
    has: frozenset[str] = frozenset()
    reads: tuple[tuple[str, int], ...] = (("u64", 0),)
    weight: int = 1


def _scene(words: str, context: str, has: str, weight: int = 1,
           reads: tuple[tuple[str, int], ...] = (("u64", 0),)) -> Scene:
    return Scene(words, context, frozenset(has.split()), reads, weight)


_U32 = (("u32", 0), ("u32", 8))
SCENES = (
    _scene("tc", "__sk_buff", "lock async generic skb packet meta", 6, _U32),
    _scene("xdp", "xdp_md", "lock async generic xdp packet", 3, (("u32", 12), ("u32", 16))),
    _scene("cgroup_skb", "__sk_buff", "lock async generic skb", 2, _U32),
    _scene("socket", "__sk_buff", "skb", 1, _U32),
    _scene("syscall sleepable", "", "lock async generic cpumask sleepable task", 6),
    _scene("tracepoint", "", "generic cpumask task", 2),
    _scene("perf_event", "", "generic cpumask task", 1),
    _scene("kprobe", "", "task", 1),
    _scene("raw_tracepoint", "", "task", 1),
)
#: what the guest's kernel takes besides: (how cases name it, the beginning of the target's name)
_FUNCTIONS = (
    ("tracing attach=TRACE_FENTRY", ""), ("tracing attach=TRACE_FEXIT", ""),
    ("tracing attach=TRACE_FENTRY sleepable", ""), ("tracing attach=MODIFY_RETURN", "security_"),
    ("lsm attach=LSM_MAC", "bpf_lsm_"), ("lsm attach=LSM_MAC", "bpf_lsm_"),
    ("lsm attach=LSM_MAC sleepable", "bpf_lsm_"), ("lsm attach=LSM_CGROUP", "bpf_lsm_"))
#: functions that are attached to more than others
_KNOWN = (
    "bpf_fentry_test1", "do_sys_openat2", "vfs_read", "vfs_open", "tcp_sendmsg", "tcp_connect",
    "inet_csk_accept", "wake_up_new_task", "cgroup_attach_task", "acct_collect", "do_exit",
    "filp_close", "icmp_rcv", "ip_rcv", "tcp_v4_rcv", "exec_mmap", "begin_new_exec",
    "__x64_sys_getpid", "task_numa_work", "blk_mq_start_request", "dev_queue_xmit")
#: arguments of these attachments are pointers to structs of the kernel
TRACED = ("tracing attach=TRACE_RAW_TP target=btf_trace_", "tracing attach=TRACE_ITER target=")
_HAS = frozenset({"generic", "cpumask", "task", "arguments", "async", "lock"})
ITERATORS = ("bpf_iter_task", "bpf_iter_task_file", "bpf_iter_task_vma", "bpf_iter_cgroup",
             "bpf_iter_bpf_map", "bpf_iter_bpf_prog", "bpf_iter_bpf_map_elem", "bpf_iter_tcp",
             "bpf_iter_udp", "bpf_iter_unix", "bpf_iter_netlink", "bpf_iter_kmem_cache",
             "bpf_iter_bpf_link", "bpf_iter_ksym", "bpf_iter_dmabuf", "bpf_iter_bpf_sk_storage_map")
#: these are seen first
OFTEN = ("sched_switch", "task_newtask", "sched_process_exec", "cgroup_mkdir", "kfree_skb",
         "sys_enter", "inet_sock_set_state", "sched_process_fork", "tcp_probe", "sched_wakeup",
         "netif_receive_skb", "signal_generate", "softirq_entry", "timer_start")


@cache
def tracepoints() -> tuple[str, ...]:
    """Names of all tracepoints whose arguments the kernel's types tell."""
    prefix = "btf_trace_"
    return tuple(sorted({one.name.removeprefix(prefix) for _, one in kernel_types().types()
                         if isinstance(one, t.Typedef) and one.name.startswith(prefix)}))


#: structs whose members programs may be, where a kernel has them
OPS = ("tcp_congestion_ops", "bpf_dummy_ops", "sched_ext_ops", "Qdisc_ops", "hid_bpf_ops")


@cache
def operations() -> tuple[str, ...]:
    """`STRUCT.MEMBER` for every function of these structs, as far as the kernel can take them."""
    btf, found = kernel_types(), []
    for name in OPS:
        if number := btf.find(f"bpf_struct_ops_{name}") and btf.find(name, uapi.BTF_KIND_STRUCT):
            members = btf.expect(number, t.Struct).members
            found += [f"{name}.{one.name}" for one in members if _is_function(one.type)]
    return tuple(found)


def _is_function(type_id: int) -> bool:
    pointer = kernel_types().type(kernel_types().resolve(type_id))
    return isinstance(pointer, t.Ptr) and isinstance(kernel_types().type(pointer.type), t.FuncProto)


def operation(r: random.Random) -> Scene:
    """A member of a struct of functions."""
    sleepable = "sleepable " if r.random() < 0.2 else ""
    has = (_HAS - {"cpumask"} | set(sleepable.split())) - {"task"}
    return Scene(f"struct_ops {sleepable}target={r.choice(operations())}", "", has)


@cache
def functions(prefix: str) -> tuple[str, ...]:
    """Names of the kernel's functions that begin like this."""
    return tuple(sorted({one.name for _, one in kernel_types().types()
                         if isinstance(one, t.Func) and one.name.startswith(prefix)}))


def attached(r: random.Random) -> Scene:
    """Something attached to a function."""
    words, prefix = r.choice(_FUNCTIONS)
    known = functions(prefix)
    often = [one for one in _KNOWN if not prefix and kernel_types().find(one, uapi.BTF_KIND_FUNC)]
    name = r.choice(often if often and r.random() < 0.8 else known)
    has = _HAS | ({"sleepable"} & set(words.split()))
    return Scene(f"{words} target={name}", "", has)


def scene(r: random.Random) -> Scene:
    """One of the program types that the kernel lets load."""
    if GUEST is not None and r.random() < 0.5:
        return attached(r)
    if operations() and r.random() < (0.15 if GUEST is None else 0.4):
        return operation(r)
    if r.random() < 0.4:
        return traced(r)
    return r.choices(SCENES, [one.weight for one in SCENES])[0]


def traced(r: random.Random) -> Scene:
    """A tracepoint or an iterator."""
    types = kernel_types()
    if r.random() < 0.3:
        name = r.choice([one for one in ITERATORS if types.find(one, uapi.BTF_KIND_FUNC)])
        sleepable = " sleepable" if r.random() < 0.3 else ""
        return Scene(f"{TRACED[1]}{name}{sleepable}", "", _HAS | set(sleepable.split()))
    known = tracepoints()
    often = [one for one in OFTEN if one in known]
    return Scene(TRACED[0] + r.choice(often if r.random() < 0.6 else known), "", _HAS)


@cache
def _types(context: str) -> CTypes:
    main = f"int main(struct {context} *ctx);" if context else "int main(void *ctx);"
    return CTypes("\n".join(types_text(main)))


def types_text(main: str) -> list[str]:
    """The declarations, with this one of the program itself."""
    return [*_STRUCTS.splitlines(), main, *FUNCTIONS.values()]


def size(struct: str) -> int:
    """How many bytes one of the structs takes."""
    types = _types("")
    found = types.types[types.ids[f"struct {struct}"] - 1]
    assert isinstance(found, t.Composite)
    return found.size


def offset(struct: str, member: str) -> int:
    """Where a member of one of the structs lies."""
    types = _types("")
    found = types.types[types.ids[f"struct {struct}"] - 1]
    assert isinstance(found, t.Composite)
    return next(m.offset for m in found.members if m.name == member)


def _maps() -> list[str]:
    lines = []
    for value in VALUES:
        lines.append(f"{value} ARRAY 4 {size(value)} 1 value=struct_{value}")
        lines.append(f"h{value} HASH 4 {size(value)} 2 value=struct_{value}")
    return [*lines, *_PLAIN.format(vkptr=size("vkptr")).splitlines()]


def case(of: Scene) -> Case:
    """The case that has the scene's types and maps, and no program."""
    main = f"int main(struct {of.context} *ctx);" if of.context else "int main(void *ctx);"
    made = Case(Path(), of.words, {
        "case": (of.words, ()), "prog": (of.words, ()),
        "types": ("", tuple(types_text(main))), "maps": ("", tuple(_maps()))}, "", ())
    made.__dict__["types"] = _types(of.context)
    return made
