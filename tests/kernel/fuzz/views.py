"""Statements with dynptrs, iterators, sections, strings, and functions that others call back."""

from __future__ import annotations

from kernel.fuzz.borrowed import _pointer
from kernel.fuzz.owned import LOCKED, field_of, value_in
from kernel.fuzz.scoped import Scoped, Value, only

_RODATA = "text.value ll"
_TREES = ("hvtree", "vlist")


# -- dynptrs

@only(bars="locked")
def dynptr(p: Scoped) -> None:
    """A dynptr of any kind, used until it is given back."""
    ways = [_of_memory, _of_memory, _of_ring]
    if "callback" not in p.around:
        ways += [_of_packet] * ("packet" in p.scene.has or "skb" in p.scene.has)
    p.random.choice(ways)(p)


def _of_memory(p: Scoped) -> None:
    place, found = p.place("dynptr", 16), p.find("mem")
    value = found if found and p.chance(0.5) else None
    if value is None:
        p.emit(f"r0 = {p.pick('one', 'inner')}.value ll")
        value = p.keep("mem")
    p.call("bpf_dynptr_from_mem", value, p.random.choice((8, 8, 4, 16)), 0, place)
    _views(p)
    if value is not found:
        p.drop(value)
    p.drop(place)


def _of_ring(p: Scoped) -> None:
    place = p.place("dynptr", 16)
    p.call("bpf_ringbuf_reserve_dynptr", "ring ll", p.random.choice((8, 64)), 0, place)
    p.owed += 1
    if p.chance(0.4):
        p.call("bpf_dynptr_data", place, 0, 8)
        p.unless_null("mem", None, "8", 2)
    _views(p)
    p.owed -= 1
    if not p.slip():
        p.call(f"bpf_ringbuf_{p.pick('submit', 'discard')}_dynptr", place, 0)
    p.drop(place)


def _of_packet(p: Scoped) -> None:
    place = p.place("dynptr", 16)
    which = "xdp" if p.scene.context == "xdp_md" else p.pick(
        "skb", "skb", *(["skb_meta"] if "meta" in p.scene.has else []))
    p.call(f"bpf_dynptr_from_{which}", "r6", 0, place)
    _views(p)
    if p.chance(0.15) and "skb" in p.scene.has:
        p.call("bpf_skb_pull_data", "r6", 34)
        _views(p)
    p.drop(place)


def _views(p: Scoped) -> None:
    p.block(4, (use, use, use, clone, *p.choice[:8]))


def use(p: Scoped) -> None:
    """Something is done with a dynptr."""
    place = p.find("dynptr")
    if place is None:
        return
    way = p.random.choice(("read", "write", "data", "slice", "slice", "rdwr", "adjust", "size",
                           "null", "memset", "copy", "global"))
    p.emit("*(u64 *)(r10 - 16) = 0", "*(u64 *)(r10 - 8) = 0")
    if way == "read":
        p.call("bpf_dynptr_read", "fp-16", 8, place, 0, 0)
    elif way == "write":
        p.call("bpf_dynptr_write", place, 0, "fp-16", 8, 0)
    elif way == "data":
        p.call("bpf_dynptr_data", place, 0, p.random.choice((4, 8)))
        _bytes(p, 4)
    elif way in ("slice", "rdwr"):
        p.call(f"bpf_dynptr_slice{'_rdwr' * (way == 'rdwr')}", place, p.random.choice((0, 4)),
               p.pick("fp-16", "fp-16", "0"), p.random.choice((4, 8, 16)))
        _bytes(p, 4)
    elif way == "adjust":
        p.call("bpf_dynptr_adjust", place, 0, 8)
    elif way == "size":
        p.call("bpf_dynptr_size", place)
    elif way == "null":
        p.call(f"bpf_dynptr_is_{p.pick('null', 'rdonly')}", place)
    elif way == "memset":
        p.call("bpf_dynptr_memset", place, 0, 4, 0)
    elif way == "copy":
        p.call("bpf_dynptr_copy", place, 0, p.find("dynptr") or place, 0, 4)
    else:
        p.call(p.function("g_dynptr", _takes_dynptr), place)


def _takes_dynptr(p: Scoped) -> None:
    p.emit("call bpf_dynptr_size" if p.chance(0.5)
           else "r2 = 0\nr3 = 4\ncall bpf_dynptr_data\nif r0 == 0 goto +1\nr0 = *(u8 *)(r0 + 3)",
           "r0 = 0", "exit")


def _bytes(p: Scoped, size: int) -> None:
    """r0 may point to memory."""
    end = p.label()
    if not p.slip():
        p.emit(f"if r0 == 0 goto {end}")
    value = p.keep("mem", str(size))
    p.block(2)
    p.arg(1, value)
    p.emit(p.pick("r1 = *(u8 *)(r1 + 0)", "r1 = *(u32 *)(r1 + 0)", "*(u8 *)(r1 + 1) = 1"
                  if p.chance(0.4) else "r1 = *(u16 *)(r1 + 2)"))
    p.drop(value)
    p.emit(f"{end}:")


def clone(p: Scoped) -> None:
    """A second dynptr of the same memory."""
    place = p.find("dynptr")
    if place is None:
        return
    other = p.place("dynptr", 16)
    p.call("bpf_dynptr_clone", place, other)
    _views(p)
    p.drop(other)


# -- iterators

@only(bars="locked")
def iterate(p: Scoped) -> None:
    """An open-coded iterator."""
    task = p.find("own", "btf", of="task_struct")
    kinds = [_num, _num, _bits]
    if "generic" in p.scene.has:
        kinds += [_tasks] * 2 + [_vmas] * (task is not None)
        kinds += [_caches] * ("sleepable" in p.scene.has)
    p.random.choice(kinds)(p)


def _loop(p: Scoped, name: str, place: Value, of: str, *args: str | int | Value) -> None:
    top, out = p.label(), p.label()
    p.call(f"bpf_iter_{name}_new", place, *args)
    p.owed += 1
    p.emit(f"{top}:")
    p.call(f"bpf_iter_{name}_next", place)
    if not p.slip():
        p.emit(f"if r0 == 0 goto {out}")
    if of:
        value = p.keep("btf", of)
        p.block(3)
        p.drop(value)
    else:
        p.emit("r1 = *(u32 *)(r0 + 0)")
        p.block(2)
    if p.chance(0.15):
        p.condition(out)
    p.emit(f"goto {top}", f"{out}:")
    p.owed -= 1
    if not p.slip():
        p.call(f"bpf_iter_{name}_destroy", place)
    p.drop(place)


def _num(p: Scoped) -> None:
    _loop(p, "num", p.place("iter", 8), "", 0, p.random.choice((1, 3, 10)))


def _bits(p: Scoped) -> None:
    p.emit("*(u64 *)(r10 - 16) = 5")
    _loop(p, "bits", p.place("iter", 16), "", "fp-16", 1)


def _tasks(p: Scoped) -> None:
    with RcuWhereNeeded(p):
        task = p.find("own", "btf", of="task_struct")
        _loop(p, "task", p.place("iter", 24), "task_struct", task or 0,
              p.random.choice((0, 1, 2)) if task else 0)


def _vmas(p: Scoped) -> None:
    task = p.find("own", "btf", of="task_struct")
    assert task is not None
    _loop(p, "task_vma", p.place("iter", 8), "vm_area_struct", task, 0)


def _caches(p: Scoped) -> None:
    _loop(p, "kmem_cache", p.place("iter", 8), "kmem_cache")


class RcuWhereNeeded:
    """An RCU section, where the program needs one."""

    def __init__(self, p: Scoped) -> None:
        self.p = p
        self.needed = "sleepable" in p.scene.has and "rcu" not in p.around and not p.slip()

    def __enter__(self) -> None:
        if self.needed:
            self.p.emit("call bpf_rcu_read_lock")
            self.p.around.append("rcu")
            self.p.owed += 1

    def __exit__(self, *error: object) -> None:
        if self.needed:
            self.p.emit("call bpf_rcu_read_unlock")
            self.p.around.remove("rcu")
            self.p.owed -= 1


# -- sections

@only(bars="locked")
def section(p: Scoped) -> None:
    """RCU and preemption."""
    if "rcu" in p.around and not p.slip():
        return
    what, lock, unlock = p.random.choice((
        ("rcu", "bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
        ("rcu", "bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
        ("preempt", "bpf_preempt_disable", "bpf_preempt_enable")))
    p.emit(f"call {lock}")
    with p.inside(what):
        p.block(3)
    if not p.slip():
        p.emit(f"call {unlock}")


@only(bars="locked")
def irq(p: Scoped) -> None:
    """Interrupts off."""
    flag = p.place("irqflag", 8)
    p.call("bpf_local_irq_save", flag)
    with p.inside("irq"):
        p.block(2)
    if not p.slip():
        p.call("bpf_local_irq_restore", flag)
    p.drop(flag)


@only(wants="lock", bars="locked")
def resilient(p: Scoped) -> None:
    """A lock that may fail."""
    place, other = value_in(p, "vres"), p.label()
    flag = p.place("irqflag", 8) if p.chance(0.4) else None
    name = "_irqsave" if flag else ""
    p.call(f"bpf_res_spin_lock{name}", place, *([flag] if flag else []))
    if not p.slip():
        p.emit(f"if r0 != 0 goto {other}")
    with p.inside("locked"):
        p.block(2, LOCKED)
    if not p.slip():
        p.call(f"bpf_res_spin_unlock{'_irqrestore' if flag else ''}", place,
               *([flag] if flag else []))
    if flag:
        p.drop(flag)
    p.drop(place)
    p.emit(f"{other}:")


def branch(p: Scoped) -> None:
    """Some statements that may be jumped over."""
    end = p.label()
    p.condition(end)
    p.block(3)
    p.emit(f"{end}:")


def early(p: Scoped) -> None:
    """The program ends on one way, if nothing is owed."""
    if not p.owed or p.slip():
        end = p.label()
        p.condition(end)
        p.emit("r0 = 0", "exit", f"{end}:")


@only(wants="generic", bars="locked callback rcu preempt irq")
def throw(p: Scoped) -> None:
    """An exception, if nothing is owed."""
    if not p.owed or p.slip():
        end = p.label()
        p.condition(end)
        p.emit("r1 = 0", "call bpf_throw", f"{end}:")


def strings(p: Scoped) -> None:
    """Functions on strings."""
    text, other = _RODATA, p.pick(_RODATA, "fp-16", "one.value ll")
    p.emit("*(u64 *)(r10 - 16) = 97")
    p.call(*p.random.choice((
        ("bpf_strlen", other), ("bpf_strcmp", text, other), ("bpf_strchr", other, 111),
        ("bpf_strnlen", other, 4), ("bpf_strstr", text, other), ("bpf_strspn", other, text),
        ("bpf_strnstr", text, other, 3), ("bpf_strrchr", text, 108))))
    p.emit("if r0 s< 0 goto +0")


@only(bars="locked callback")
def context_cast(p: Scoped) -> None:
    """The context as the kernel sees it."""
    of = {"__sk_buff": "sk_buff", "xdp_md": "xdp_buff"}.get(p.scene.context, "")
    if not of and not p.slip():
        return
    p.call("bpf_cast_to_kern_ctx", "r6")
    _pointer(p, of, 0)


# -- functions

@only(bars="locked")
def called_back(p: Scoped) -> None:
    """bpf_loop(), bpf_for_each_map_elem(), bpf_user_ringbuf_drain()"""
    p.emit("*(u64 *)(r10 - 24) = 0")
    way = p.random.choice(("loop", "loop", "each", "ring"))
    if way == "loop":
        p.call("bpf_loop", p.random.choice((1, 3, 10)), f"{p.function('cb_loop', _round)} ll",
               "fp-24", 0)
    elif way == "each":
        name = p.pick("array", "hash", "vkptr", *(_TREES if "lock" in p.scene.has else ()))
        p.call("bpf_for_each_map_elem", f"{name} ll",
               f"{p.function('cb_each', _element)} ll", "fp-24", 0)
    else:
        p.call("bpf_user_ringbuf_drain", "user ll", f"{p.function('cb_ring', _record)} ll",
               "fp-24", 0)


def _round(p: Scoped) -> None:
    p.around.append("callback")
    p.emit("r6 = r2")
    p.emit(p.pick("r3 = *(u64 *)(r6 + 0)\nr3 += 1\n*(u64 *)(r6 + 0) = r3", "r0 = 1",
                  "*(u64 *)(r6 + 0) = 0"))
    p.block(3)
    p.emit("r0 = 0" if p.chance(0.7) else "call bpf_get_prandom_u32\nr0 &= 1", "exit")


def _of_element(p: Scoped, kept: str, instead: str, statements: int) -> None:
    """(map, key, value, ...): the register `kept` is r6 afterwards."""
    p.around.append("callback")
    p.emit(f"r6 = {kept}", p.pick("r1 = *(u32 *)(r2 + 0)", "r1 = *(u64 *)(r3 + 0)",
                                  f"*(u64 *)({kept} + 0) = 1", instead))
    p.block(statements)
    p.emit("r0 = 0", "exit")


def _element(p: Scoped) -> None:
    """(map, key, value, ctx)"""
    _of_element(p, "r4", "r1 = 0", 2)


def _record(p: Scoped) -> None:
    p.around.append("callback")
    p.emit(p.pick("r2 = 0\nr3 = 8\ncall bpf_dynptr_data\nif r0 == 0 goto +1\n"
                  "r1 = *(u64 *)(r0 + 0)", "call bpf_dynptr_size", "r0 = 0"))
    p.block(1)
    p.emit("r0 = 0", "exit")


@only(wants="async", bars="locked callback")
def later(p: Scoped) -> None:
    """Timers, work queues, work of tasks."""
    way = p.random.choice(("timer", "timer", "wq", "work" if "task" in p.scene.has else "wq"))
    value = {"timer": "vtimer", "wq": "vwq", "work": "vwork"}[way]
    place = value_in(p, value)
    which = f"{place.map if not p.slip() else value} ll"
    if way == "timer":
        _timer(p, place, which)
    elif way == "wq":
        _wq(p, place, which)
    else:
        _work(p, place, which)
    p.drop(place)


def _timer(p: Scoped, place: Value, which: str) -> None:
    for step in ("init", "callback", "start", "cancel")[:p.random.choice((2, 3, 3, 4))]:
        field_of(p, 1, place, "timer")
        if step == "init":
            p.emit(f"r2 = {which}", "r3 = 1", "call bpf_timer_init")
        elif step == "callback":
            p.emit(f"r2 = {p.function('cb_timer', _element_later)} ll",
                   "call bpf_timer_set_callback")
        elif step == "start":
            p.emit("r2 = 0", "r3 = 0", "call bpf_timer_start")
        else:
            p.emit("call bpf_timer_cancel")


def _wq(p: Scoped, place: Value, which: str) -> None:
    field_of(p, 1, place, "work")
    p.emit(f"r2 = {which}", "r3 = 0", "call bpf_wq_init")
    field_of(p, 1, place, "work")
    p.emit(f"r2 = {p.function('cb_wq', _element_later)} ll", "r3 = 0", "r4 = 0",
           "call bpf_wq_set_callback_impl")
    field_of(p, 1, place, "work")
    p.emit("r2 = 0", "call bpf_wq_start")


def _work(p: Scoped, place: Value, which: str) -> None:
    task = p.find("own", "btf", of="task_struct")
    if task is None:
        p.emit("call bpf_get_current_task_btf")
    else:
        p.arg(0, task)
    p.emit("r1 = r0")
    field_of(p, 2, place, "work")
    p.emit(f"r3 = {which}", f"r4 = {p.function('cb_work', _element_later)} ll", "r5 = 0",
           f"call bpf_task_work_schedule_{p.pick('signal', 'resume')}_impl")


def _element_later(p: Scoped) -> None:
    """(map, key, value) at another time."""
    _of_element(p, "r3", "r0 = 0", 3)


def _s_number(p: Scoped) -> None:
    p.around.append("callback")
    p.emit("r6 = r1")
    p.block(2)
    p.emit("r0 = r6", "exit")


def _s_pointer(p: Scoped) -> None:
    p.around.append("callback")
    p.emit("r6 = r1", p.pick("r0 = *(u64 *)(r1 + 0)", "r0 = 0", "*(u64 *)(r1 + 0) = 1"))
    p.block(2)
    p.emit("r0 = 0", "exit")


def _s_kept(p: Scoped) -> None:
    p.emit(p.pick("r2 = 0\ncall bpf_obj_drop_impl", "call bpf_task_release", "r0 = 0"),
           "r0 = 0", "exit")


def _g_task(p: Scoped) -> None:
    p.emit("if r1 == 0 goto +1" if p.chance(0.8) else "r2 = 0",
           "r2 = *(u64 *)(r1 + 16)", "r0 = 0", "exit")


def _g_old(p: Scoped) -> None:
    p.emit("r2 = *(u32 *)(r1 + 16)", p.pick("r0 = 0", "r0 = r2"), "exit")


def _g_memory(p: Scoped) -> None:
    p.emit("if r1 == 0 goto +2", "r2 = *(u64 *)(r1 + 8)", "*(u64 *)(r1 + 0) = r2", "r0 = 0", "exit")


def _g_number(p: Scoped) -> None:
    p.around.append("callback")
    p.emit("r6 = r1")
    p.block(2)
    p.emit("r0 = r6", "exit")


def _g_ctx(p: Scoped) -> None:
    p.emit("r6 = r1")
    p.block(2)
    p.emit("r0 = 0", "exit")


GLOBALS = {"g_number": _g_number, "g_task": _g_task, "g_task_safe": _g_task, "g_old": _g_old,
           "g_memory": _g_memory, "g_memory_safe": _g_memory, "g_ctx": _g_ctx}
BODIES = GLOBALS | {"g_void": _g_number}


@only(bars="locked")
def static_call(p: Scoped) -> None:
    """A static function with a number or any value."""
    value = p.find("own", "btf", "mem", "value", "percpu")
    if value is None or p.chance(0.3):
        p.call(p.function("s_number", _s_number), p.number(), 2)
    else:
        p.call(p.function("s_kept", _s_kept) if p.slip() else p.function("s_pointer", _s_pointer),
               value)


@only(bars="locked")
def global_call(p: Scoped) -> None:
    """A global one, with what its types ask for."""
    name = p.pick(*GLOBALS) if not p.slip() else "g_void"
    task = p.find("own", "btf", of="task_struct")
    p.emit("*(u64 *)(r10 - 16) = 0", "*(u64 *)(r10 - 8) = 0")
    args: tuple[str | int | Value, ...] = (p.number(), 1)
    if name.startswith("g_task") or name == "g_old":
        if task is None and name != "g_task":
            return
        args = (task or 0,)
    elif name.startswith("g_memory"):
        args = (p.find("mem") or "fp-16",)
    elif name == "g_ctx":
        if "callback" in p.around:
            return
        args = ("r6", 0)
    p.call(p.function(name, BODIES[name]), *args)


VIEWS = (dynptr, dynptr, dynptr, iterate, iterate, section, section, irq, resilient, branch,
         branch, early, throw, strings, context_cast, called_back, called_back, later, later,
         static_call, global_call, global_call)
