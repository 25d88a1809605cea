"""Statements with a program's own objects, lists, trees, locks and pointers kept in maps."""

from __future__ import annotations

from kernel.fuzz.scenes import MEMORY, OBJECTS, offset
from kernel.fuzz.scoped import Scoped, Value, only

#: where objects hang: the map, the struct's node, the objects
TREES = (("vtree", "leaf"), ("vboth", "shared"), ("vres", "leaf"))
LISTS = (("vlist", "item"), ("vboth", "shared"))
#: where structs have members that are only numbers
PLAIN = {"leaf": 0, "item": 0, "shared": 0, "plain": 0, "8": 0, "vtimer": 0, "vwq": 0, "vkptr": 0,
         "vwork": 0, "vlock": 8}
FIELDS = {"leaf": "data", "item": "data", "shared": "key", "plain": "data", "lone": "y"}
#: who takes back what the kernel lent
RELEASE = {"task_struct": "bpf_task_release", "cgroup": "bpf_cgroup_release",
           "bpf_cpumask": "bpf_cpumask_release", "bpf_crypto_ctx": "bpf_crypto_ctx_release",
           "bpf_key": "bpf_key_put", "file": "bpf_put_file", "sock": "bpf_sk_release"}
#: members of `struct vkptr`, and what a program type must have to give back what they point to
KPTRS = {"task": "generic", "cgroup": "generic", "bpf_cpumask": "cpumask", "plain": "",
         "leaf": "", "shared": ""}
POINTED = {"task": "task_struct"}


def value_in(p: Scoped, name: str) -> Value:
    """The value of one of the maps; where the lookup fails, the program ends."""
    if p.owed or p.chance(0.4):
        p.emit(f"r0 = {name}.value ll")
        return _value(p, name, name)
    which = f"{p.pick('', 'h')}{name}"
    p.emit("*(u32 *)(r10 - 4) = 0")
    p.call("bpf_map_lookup_elem", f"{which} ll", "fp-4")
    if not p.slip():
        p.emit("if r0 != 0 goto +2", "r0 = 0", "exit")
    return _value(p, name, which)


def _value(p: Scoped, struct: str, which: str) -> Value:
    made = p.keep("value", struct)
    made.map = which
    return made


def field_of(p: Scoped, reg: int, value: Value, member: str) -> None:
    """The address of a member."""
    p.arg(reg, value)
    off = offset(value.of, member) + (p.slip() and p.random.choice((8, -8, 4)))
    if off or p.chance(0.1):
        p.emit(f"r{reg} += {off}")


def touch(p: Scoped, value: Value) -> None:
    """Read or write an object."""
    at = offset(value.of, FIELDS[value.of]) if value.of in FIELDS and not p.slip() else (
        p.random.choice((0, 8, 16, 24, 40)))
    p.arg(1, value)
    p.emit(p.pick(f"r2 = *(u64 *)(r1 + {at})", f"*(u64 *)(r1 + {at}) = 7",
                  f"r2 = *(u32 *)(r1 + {at})"))


def give_back(p: Scoped, value: Value) -> None:
    """An object goes: dropped, hung up, or kept in a map."""
    ways = [drop]
    if not {"locked", "irq"} & set(p.around):
        ways += [kept] * (value.of in _members(p))
        if "lock" in p.scene.has:
            ways += [hang_tree] * (value.of in ("leaf", "shared"))
            ways += [hang_list] * (value.of in ("item", "shared"))
    p.random.choice(ways)(p, value)


def drop(p: Scoped, value: Value) -> None:
    p.call("bpf_percpu_obj_drop_impl" if value.of == "lone" else "bpf_obj_drop_impl", value, 0)


@only(wants="generic", bars="locked")
def new(p: Scoped) -> None:
    """An object."""
    of = p.pick(*OBJECTS)
    if of == "lone":
        percpu(p)
        return
    p.call("bpf_obj_new_impl", f"{{struct {of}}}", 0)
    p.unless_null("own", _used, of)


def _used(p: Scoped, value: Value) -> None:
    if p.chance(0.5):
        touch(p, value)
    if value.of == "shared" and p.chance(0.4):
        _again(p, value)
    give_back(p, value)
    if p.chance(0.04):
        touch(p, value)


def _again(p: Scoped, value: Value) -> None:
    p.call("bpf_refcount_acquire_impl", value, 0)
    made = p.keep("own", "shared")
    if p.chance(0.5):
        touch(p, made)
    if not p.slip():
        give_back(p, made)
    p.drop(made)


def percpu(p: Scoped) -> None:
    """An object for each CPU."""
    p.call("bpf_percpu_obj_new_impl", "{struct lone}", 0)
    label = p.label()
    p.emit(f"if r0 == 0 goto {label}")
    value = p.keep("percpu", "lone")
    if p.slip():
        _this_cpu(p, value)
    p.owed += 1
    p.block(1)
    p.owed -= 1
    if not p.slip():
        kept(p, value) if p.chance(0.3) else drop(p, value)
    p.drop(value)
    p.emit(f"{label}:")


def _this_cpu(p: Scoped, value: Value) -> None:
    p.call("bpf_this_cpu_ptr", value)
    p.emit(p.pick("r1 = *(u64 *)(r0 + 0)", "*(u64 *)(r0 + 8) = 3", "*(u64 *)(r0 + 16) = 3"
                  if p.slip() else "r1 = *(u32 *)(r0 + 12)"))


def release(p: Scoped, value: Value) -> None:
    """What the kernel lent goes back, or into a map."""
    kind = "task" if value.of == "task_struct" else value.of
    if kind in _members(p) and not {"locked", "irq"} & set(p.around) and p.chance(0.25):
        kept(p, value, kind)
    elif value.of in RELEASE:
        p.call(RELEASE[value.of], value)


def _members(p: Scoped) -> list[str]:
    return [name for name, has in KPTRS.items() if not has or has in p.scene.has or p.slip()]


def _percpu(p: Scoped) -> list[str]:
    return ["lone"] if "generic" in p.scene.has or p.slip() else []


def kept(p: Scoped, value: Value, member: str = "") -> None:
    """Into a map; what was there comes out."""
    member = member or value.of
    if p.slip():
        member = p.pick(*KPTRS)
    place = value_in(p, "vkptr")
    field_of(p, 1, place, member)
    p.arg(2, value)
    p.emit("call bpf_kptr_xchg")
    p.drop(place)
    _old(p, member)


def _old(p: Scoped, member: str) -> None:
    """What an exchange gave."""
    end = p.label()
    of = POINTED.get(member, member)
    p.emit(f"if r0 == 0 goto {end}")
    old = p.keep("own", of)
    if p.chance(0.3) and of in FIELDS and of != "lone":
        touch(p, old)
    if not p.slip():
        p.call(RELEASE[of], old) if of in RELEASE else drop(p, old)
    p.drop(old)
    p.emit(f"{end}:")


@only(bars="locked")
def take_out(p: Scoped) -> None:
    """A pointer leaves a map."""
    member = p.pick(*_members(p), *_percpu(p))
    place = value_in(p, "vkptr")
    field_of(p, 1, place, member)
    p.emit("r2 = 0", "call bpf_kptr_xchg")
    p.drop(place)
    _old(p, member)


def look_in(p: Scoped) -> None:
    """A pointer in a map is read where it is."""
    member, end = p.pick(*_members(p), *_percpu(p), *_percpu(p), "old"), p.label()
    place = value_in(p, "vkptr")
    p.arg(1, place)
    p.emit(f"r0 = *(u64 *)(r1 + {offset('vkptr', member)})")
    p.drop(place)
    of = "task_struct" if member == "old" else POINTED.get(member, member)
    if not p.slip():
        p.emit(f"if r0 == 0 goto {end}")
    value = p.keep("btf" if of not in OBJECTS else "percpu" if of == "lone" else "own?", of)
    if of == "lone" and ("rcu" in p.around or "sleepable" not in p.scene.has or p.slip()):
        _this_cpu(p, value)
    elif of in FIELDS and of != "lone":
        touch(p, value)
    p.block(2)
    p.drop(value)
    p.emit(f"{end}:")


def store_old(p: Scoped) -> None:
    """An unreferenced pointer is stored in a map, or 0 over any."""
    place = value_in(p, "vkptr")
    found = p.find("btf", of="task_struct")
    if found and p.chance(0.7):
        p.arg(2, found)
    else:
        p.emit("r2 = 0")
    p.arg(1, place)
    p.emit(f"*(u64 *)(r1 + {offset('vkptr', 'old' if not p.slip() else 'task')}) = r2")
    p.drop(place)


# -- locks, lists, trees

def _lock(p: Scoped, value: Value) -> str:
    resilient = value.of == "vres"
    if resilient:
        label = p.label()
        p.call("bpf_res_spin_lock", value)
        if not p.slip():
            p.emit(f"if r0 != 0 goto {label}")
        return label
    p.call("bpf_spin_lock", value)
    return ""


def _unlock(p: Scoped, value: Value, label: str) -> None:
    if not p.slip():
        p.call("bpf_res_spin_unlock" if label else "bpf_spin_unlock", value)


def _less(p: Scoped) -> str:
    def body(inner: Scoped) -> None:
        at = p.random.choice((0, -8, 24))
        inner.emit(f"r1 = *(u64 *)(r1 + {at})", f"r2 = *(u64 *)(r2 + {at})", "r0 = 0",
                   "if r1 >= r2 goto +1", "r0 = 1", "exit")
    return p.function("cb_less", body)


def hang_tree(p: Scoped, value: Value) -> None:
    """Into a tree; in the same section it may still be looked at."""
    tree = p.random.choice([name for name, of in TREES if of == value.of] or ["vtree"])
    place = value_in(p, tree)
    label, end = _lock(p, place), p.label()
    field_of(p, 1, place, "root")
    p.arg(2, value)
    p.emit(f"r2 += {offset(value.of, 'tree')}")
    p.emit(f"r3 = {_less(p)} ll", "r4 = 0", "r5 = 0", "call bpf_rbtree_add_impl")
    with p.inside("locked"):
        if p.chance(0.3):
            touch(p, value)
        p.block(2, LOCKED)
    _unlock(p, place, label)
    if label:
        p.emit(f"goto {end}", f"{label}:")
        drop(p, value)
        p.emit(f"{end}:")
    if p.chance(0.05):
        touch(p, value)
    p.drop(place)


def hang_list(p: Scoped, value: Value) -> None:
    """Onto a list."""
    name = p.random.choice([name for name, of in LISTS if of == value.of] or ["vlist"])
    place = value_in(p, name)
    label = _lock(p, place)
    field_of(p, 1, place, "head")
    p.arg(2, value)
    p.emit(f"r2 += {offset(value.of, 'link')}", "r3 = 0", "r4 = 0",
           f"call bpf_list_push_{p.pick('front', 'back')}_impl")
    with p.inside("locked"):
        if p.chance(0.3):
            touch(p, value)
        p.block(2, LOCKED)
    _unlock(p, place, label)
    p.drop(place)


@only(wants="lock", bars="locked")
def from_list(p: Scoped) -> None:
    """Off a list."""
    name, of = p.random.choice(LISTS)
    place = value_in(p, name)
    label, end = _lock(p, place), p.label()
    p.owed += 1
    if p.chance(0.3):
        field_of(p, 1, place, "head")
        p.emit(f"call bpf_list_{p.pick('front', 'back')}")
        _peek(p, of, "link")
    field_of(p, 1, place, "head")
    p.emit(f"call bpf_list_pop_{p.pick('front', 'back')}")
    got = p.keep("own", of)
    with p.inside("locked"):
        p.block(1, LOCKED)
    _unlock(p, place, label)
    p.owed -= 1
    _got(p, got, "link", end)
    p.drop(place)


def _got(p: Scoped, got: Value, node: str, end: str) -> None:
    """A node that came out of a list or tree goes."""
    if not p.slip():
        p.arg(1, got)
        p.emit(f"if r1 == 0 goto {end}")
    p.arg(1, got)
    if not p.slip():
        p.emit(f"r1 += -{offset(got.of, node)}")
    if p.chance(0.4):
        p.emit(f"r2 = *(u64 *)(r1 + {offset(got.of, FIELDS[got.of])})")
    if not p.slip():
        p.emit("r2 = 0", "call bpf_obj_drop_impl")
    p.drop(got)
    p.emit(f"{end}:")


def _peek(p: Scoped, of: str, node: str) -> None:
    """A node that stays where it is."""
    end = p.label()
    p.emit(f"if r0 == 0 goto {end}")
    p.emit(p.pick(f"r1 = *(u64 *)(r0 + {offset(of, FIELDS[of]) - offset(of, node)})",
                  f"*(u64 *)(r0 + {offset(of, FIELDS[of]) - offset(of, node)}) = 1",
                  f"r1 = *(u64 *)(r0 - {offset(of, node)})"), f"{end}:")


@only(wants="lock", bars="locked")
def from_tree(p: Scoped) -> None:
    """Look for the first node of a tree, and take it out."""
    name, of = p.random.choice(TREES)
    place = value_in(p, name)
    label, none, end = _lock(p, place), p.label(), p.label()
    field_of(p, 1, place, "root")
    p.emit(p.pick("call bpf_rbtree_first", "call bpf_rbtree_first", "call bpf_rbtree_root"),
           f"if r0 == 0 goto {none}")
    way = p.random.choice(("peek", "remove", "remove", "left", "acquire"))
    if way == "peek":
        _peek(p, of, "tree")
    elif way == "left":
        p.emit("r2 = r0")
        field_of(p, 1, place, "root")
        p.emit(f"call bpf_rbtree_{p.pick('left', 'right')}")
        _peek(p, of, "tree")
    elif way == "acquire" and of == "shared":
        p.emit("r1 = r0", f"r1 += -{offset(of, 'tree')}", "r2 = 0",
               "call bpf_refcount_acquire_impl")
        _taken(p, place, label, of, none, end, moved=False)
        return
    elif way == "remove":
        p.emit("r2 = r0")
        field_of(p, 1, place, "root")
        p.emit("call bpf_rbtree_remove")
        _taken(p, place, label, of, none, end, moved=True)
        return
    p.emit(f"{none}:")
    _unlock(p, place, label)
    if label:
        p.emit(f"{label}:")
    p.drop(place)


def _taken(p: Scoped, place: Value, label: str, of: str, none: str, end: str,
           moved: bool) -> None:
    """What came out is dropped behind the lock, which is left on every way."""
    got = p.keep("own", of)
    p.owed += 1
    with p.inside("locked"):
        p.block(1, LOCKED)
    _unlock(p, place, label)
    p.owed -= 1
    after = p.label()
    if moved:
        _got(p, got, "tree", after)
    else:
        if p.chance(0.3):
            p.arg(1, got)
            p.emit(f"if r1 == 0 goto {after}")
        drop(p, got)
        p.drop(got)
        p.emit(f"{after}:")
    p.emit(f"goto {end}", f"{none}:")
    _unlock(p, place, label)
    p.emit(f"{end}:", *([f"{label}:"] if label else []))
    p.drop(place)


@only(wants="lock", bars="locked")
def locked(p: Scoped) -> None:
    """A section under a lock."""
    place = value_in(p, "vlock")
    _lock(p, place)
    with p.inside("locked"):
        p.arg(1, place)
        p.emit("*(u64 *)(r1 + 8) = 3" if not p.slip() else "*(u64 *)(r1 + 0) = 3")
        p.block(2, LOCKED)
    _unlock(p, place, "")
    p.drop(place)


def memory(p: Scoped) -> None:
    """A plain map value."""
    end, name = p.label(), p.pick(*MEMORY)
    p.emit("*(u32 *)(r10 - 4) = 1")
    p.call("bpf_map_lookup_elem", f"{name} ll", "fp-4")
    if not p.slip():
        p.emit(f"if r0 == 0 goto {end}")
    value = p.keep("mem", "8")
    p.block(2)
    p.arg(1, value)
    p.emit(p.pick("r1 = *(u64 *)(r1 + 0)", "*(u32 *)(r1 + 4) = 1", "*(u8 *)(r1 + 7) = r1"
                  if p.slip() else "r1 = *(u8 *)(r1 + 3)"))
    p.drop(value)
    p.emit(f"{end}:")


def touch_any(p: Scoped) -> None:
    """Any value is read or written somewhere."""
    value = p.find("own", "mem", "value", "own?")
    if value is None:
        return
    p.arg(1, value)
    if p.slip():
        off = p.random.choice((0, 8, 8, 16, 0, 40, 4))
        p.emit(p.pick(f"r2 = *(u64 *)(r1 + {off})", f"r2 = *(u32 *)(r1 + {off})",
                      f"*(u64 *)(r1 + {off}) = 1"))
    elif value.of in PLAIN:
        p.emit(f"{p.pick('r2', 'r3')} = *(u32 *)(r1 + {PLAIN[value.of]})")


def _plain_code(p: Scoped) -> None:
    p.emit(p.pick("r1 = 1", "r2 = 5\nr2 <<= 3", "r0 = 0", "r3 = r6"))


def _peek_list(p: Scoped) -> None:
    """Some value that is locked, or not, has its list or tree looked at."""
    value = p.find("value")
    if value is None or value.of not in ("vtree", "vlist", "vboth", "vres"):
        _plain_code(p)
        return
    tree = value.of != "vlist" and (value.of != "vboth" or p.chance(0.5))
    field_of(p, 1, value, "root" if tree else "head")
    p.emit("call bpf_rbtree_first" if tree else f"call bpf_list_{p.pick('front', 'back')}")
    of = {"vtree": "leaf", "vres": "leaf", "vlist": "item", "vboth": "shared"}[value.of]
    _peek(p, of, "tree" if tree else "link")


LOCKED = (_plain_code, _peek_list, touch_any)
OWNED = (new, new, new, from_list, from_tree, from_tree, take_out, look_in, look_in, store_old,
         locked, memory, touch_any)
