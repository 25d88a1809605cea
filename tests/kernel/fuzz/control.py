"""Statements that loop and call: loops, functions, callbacks, helpers, resources."""

from __future__ import annotations

from kernel.fuzz.numbers import SIMPLE, condition
from kernel.fuzz.program import ALU, CONDITIONS, Program, needs


def _body(p: Program, kept: int) -> None:
    """A few statements that leave one register alone."""
    for _ in range(p.random.randrange(3)):
        p.emit(f"r{9 if kept != 9 else 0} {p.random.choice(ALU[:3])} {p.number()}"
               if p.chance(0.6) else condition(p, "+1") + f"\nr9 ^= {p.number()}")


def loop(p: Program) -> None:
    """A loop that counts up."""
    label, count = p.label(), p.random.choice((2, 3, 5, 9))
    p.emit("r5 = 0", f"{label}:")
    p.scalars.add(5)
    _body(p, 5)
    p.emit("r5 += 1", f"if r5 {p.pick('<', 's<', '!=')} {count} goto {label}")


def loop_down(p: Program) -> None:
    """A loop that counts down from what is not known, on the stack or in a register."""
    label, end = p.label(), p.label()
    p.emit(f"r4 = r{p.number_reg()}", f"r4 &= {p.random.choice((3, 7))}")
    p.scalars.add(4)
    if p.chance(0.4):
        p.emit("*(u64 *)(r10 - 40) = r4", f"{label}:", "r4 = *(u64 *)(r10 - 40)",
               f"if r4 == 0 goto {end}", "r4 += -1", "*(u64 *)(r10 - 40) = r4")
        p.wrote(-40)
    else:
        p.emit(f"{label}:", f"if r4 == 0 goto {end}", "r4 -= 1")
    _body(p, 4)
    p.emit(f"goto {label}", f"{end}:")


def loop_nested(p: Program) -> None:
    """A loop in a loop."""
    outer, inner = p.label(), p.label()
    p.emit("r4 = 0", f"{outer}:", "r5 = 0", f"{inner}:", "r5 += 1")
    p.scalars |= {4, 5}
    if p.chance(0.5):
        p.emit(f"if r9 {p.random.choice(CONDITIONS)} {p.number()} goto +1", "r9 += 1")
    p.emit(f"if r5 < {p.random.choice((2, 3))} goto {inner}", "r4 += 1",
           f"if r4 < {p.random.choice((2, 3))} goto {outer}")


def may_goto(p: Program) -> None:
    """A loop that the kernel ends."""
    label, end = p.label(), p.label()
    p.emit(f"{label}:", f"may_goto {end}")
    _body(p, 10)
    if p.chance(0.4):
        p.emit("r9 += 1")
    p.emit(f"goto {label}", f"{end}:")


def tangle(p: Program) -> None:
    """Blocks that jump among each other, mostly forward."""
    labels = [p.label() for _ in range(p.random.randint(2, 5))]
    end = p.label()
    for i, label in enumerate(labels):
        p.emit(f"{label}:")
        p.inside(SIMPLE, 2)
        back = p.chance(0.08)
        target = p.random.choice(labels[:i + 1] if back else [*labels[i + 1:], end])
        jump = p.random.random()
        p.emit(f"goto {target}" if jump < 0.1 and i == len(labels) - 1
               else f"gotol {end}" if jump < 0.15 and i == len(labels) - 1
               else condition(p, target))
    p.emit(f"{end}:")


def call(p: Program) -> None:
    """A function that takes numbers."""
    p.function("f_number", "r0 = r1", "if r2 s> 3 goto f1", "r0 = 4", "*(u64 *)(r10 - 8) = r2",
               "f1:", "r0 &= 15", "exit")
    p.emit(f"r1 = r{p.number_reg()}", f"r2 = r{p.number_reg()}", "call f_number")
    p.called()


def call_deep(p: Program) -> None:
    """Functions that call functions."""
    p.function("f_deep", "r6 = r1", "call bpf_get_prandom_u32", "r1 = r0", "r2 = r6",
               "*(u64 *)(r10 - 16) = r6", "call f_number", "r1 = *(u64 *)(r10 - 16)", "r0 += r1",
               "exit")
    call(p)
    p.emit(f"r1 = r{p.number_reg()}", "call f_deep")
    p.called()


def call_stack(p: Program) -> None:
    """A function that is given a part of the stack."""
    p.function("f_stack", *p.random.choice((
        ("r3 = *(u64 *)(r1 + 0)", "r3 += r2", "*(u64 *)(r1 + 8) = r3", "r0 = r3", "exit"),
        ("if r2 > 10 goto fs1", "*(u64 *)(r1 + 0) = r2", "fs1:", "*(u64 *)(r1 + 8) = 0",
         "r0 = r2", "exit"),
        ("*(u64 *)(r10 - 8) = r1", "r0 = *(u8 *)(r1 + 3)", "r3 = *(u64 *)(r10 - 8)",
         "*(u32 *)(r3 + 8) = r2", "exit"),
        ("r2 &= 15", "r3 = r1", "r3 += r2", "*(u8 *)(r3 + 0) = 0", "r0 = *(u8 *)(r1 + 1)", "exit"),
        ("r0 = r1", "r0 -= r10", "*(u64 *)(r1 + 0) = 5", "r0 = *(u64 *)(r1 + 0)", "exit"),
        ("r6 = r1", "r1 += 8", "r2 = 8", "*(u64 *)(r1 + 0) = 1", "r0 = *(u8 *)(r6 + 8)",
         "if r0 == 1 goto fs1", "r0 = *(u64 *)(r10 - 600)", "fs1:", "exit"))))
    off = p.random.choice((-16, -24, -40))
    if off not in p.stored:
        p.emit(f"*(u64 *)(r10 - {-off}) = r{p.number_reg()}")
    p.emit(f"r2 = r{p.number_reg()}", "r1 = r10", f"r1 += {off}", "call f_stack")
    p.wrote(off, 16)
    p.called()


@needs("packet")
def call_packet(p: Program) -> None:
    """A function that checks the packet."""
    p.function("f_packet", "r0 = 0", "r3 = r1", "r3 += 14", "if r3 > r2 goto fp1",
               "r0 = *(u8 *)(r1 + 13)", "fp1:", "exit")
    p.emit("r1 = r7", "r2 = r8", "call f_packet")
    p.called()


def call_global(p: Program) -> None:
    """Functions that are verified by themselves."""
    name = p.pick("g_number", "g_struct", "g_ctx")
    if name == "g_number":
        p.function(name, "r0 = r1", "r0 += r2", "if r0 > 100 goto gn1", "r0 ^= 1", "gn1:", "exit")
        p.emit(f"r1 = r{p.number_reg()}", f"r2 = r{p.number_reg()}", f"call {name}")
    elif name == "g_struct":
        p.function(name, "r0 = 0", "if r1 == 0 goto gs1", "r0 = *(u32 *)(r1 + 8)",
                   "*(u64 *)(r1 + 0) = r0", "gs1:", "exit")
        p.emit("*(u64 *)(r10 - 16) = 0", "*(u64 *)(r10 - 8) = r9", "r1 = r10", "r1 += -16",
               f"call {name}")
        p.wrote(-16, 16)
    else:
        p.function(name, "r6 = r2", "r0 = *(u32 *)(r1 + 12)" if "xdp" in p.kind.has
                   else "r0 = r2", "r0 += r6", "exit")
        p.emit("r1 = r6", f"r2 = r{p.number_reg()}", f"call {name}")
    p.called()


def callback(p: Program) -> None:
    """bpf_loop()"""
    p.function("f_callback", *p.random.choice((
        ("r0 = 0", "exit"),
        ("r3 = *(u64 *)(r2 + 0)", "r3 += r1", "*(u64 *)(r2 + 0) = r3", "r0 = 0", "exit"),
        ("r0 = 0", "if r1 < 5 goto fc1", "r0 = 1", "fc1:", "exit"),
        ("r3 = *(u64 *)(r2 + 0)", "if r3 > 7 goto fc1", "r3 += 1", "*(u64 *)(r2 + 0) = r3",
         "fc1:", "r0 = 0", "exit"),
        ("call bpf_get_prandom_u32", "r0 &= 1", "exit"))))
    p.emit("*(u64 *)(r10 - 24) = 0", f"r1 = {p.pick('r9', '1', '5', '100')}", "r2 = f_callback ll",
           "r3 = r10", "r3 += -24", "r4 = 0", "call bpf_loop")
    p.wrote(-24)
    p.called()


def callback_nested(p: Program) -> None:
    """bpf_loop() whose function calls another one, or loops itself."""
    callback(p)
    p.function("f_outer", *p.random.choice((
        ("*(u64 *)(r10 - 8) = r2", "r1 = 3", "r2 = f_callback ll", "r3 = r10", "r3 += -24",
         "*(u64 *)(r10 - 24) = 0", "r4 = 0", "call bpf_loop", "r0 = 0", "exit"),
        ("r6 = r2", "r7 = r1", "r7 &= 3", "fo1:", "if r7 == 0 goto fo2", "r7 -= 1",
         "*(u64 *)(r6 + 0) = r7", "goto fo1", "fo2:", "r0 = 0", "exit"),
        ("r6 = r2", "r7 = *(u64 *)(r6 + 0)", "if r7 > 4 goto fo1", "r7 += 1",
         "*(u64 *)(r6 + 0) = r7", "fo1:", "r0 = 0", "exit"))))
    p.emit("*(u64 *)(r10 - 56) = 0", f"r1 = {p.pick('2', 'r9')}", "r2 = f_outer ll",
           "r3 = r10", "r3 += -56", "r4 = 0", "call bpf_loop")
    p.wrote(-56)
    p.called()


def each(p: Program) -> None:
    """bpf_for_each_map_elem()"""
    p.function("f_each", *p.random.choice((
        ("r0 = 0", "exit"),
        ("r1 = *(u32 *)(r2 + 0)", "*(u64 *)(r3 + 0) = r1", "*(u64 *)(r4 + 0) = r1", "r0 = 0",
         "exit"))))
    p.emit("*(u64 *)(r10 - 24) = r9", f"r1 = {p.pick('array', 'hash')} ll", "r2 = f_each ll",
           "r3 = r10", "r3 += -24", "r4 = 0", "call bpf_for_each_map_elem")
    p.wrote(-24)
    p.called()


def helper(p: Program) -> None:
    """Helpers that take little."""
    p.emit(*p.random.choice((
        ("call bpf_get_prandom_u32",), ("call bpf_ktime_get_ns",),
        ("call bpf_get_smp_processor_id",), ("call bpf_get_numa_node_id",),
        ("call bpf_jiffies64",))))
    p.called()


def map_update(p: Program) -> None:
    """Keys and values on the stack."""
    name = p.pick("array", "hash", "hash")
    p.emit(f"*(u32 *)(r10 - 4) = {p.random.choice((0, 3))}")
    if p.chance(0.8):
        p.emit(f"*(u64 *)(r10 - 16) = r{p.number_reg()}")
        p.wrote(-16)
    p.emit(f"r1 = {name} ll", "r2 = r10", "r2 += -4", "r3 = r10", "r3 += -16", "r4 = 0")
    p.emit("call bpf_map_update_elem" if p.chance(0.7) else "call bpf_map_delete_elem")
    p.wrote(-8)
    p.called()


def _size(p: Program, most: int) -> str:
    """A size in r{to}: known, or bounded."""
    reg = p.number_reg()
    if p.chance(0.3):
        return f"r0 = {p.random.choice((0, 1, 4, 8, most, most + 4))}"
    more = p.random.choice((most - 1, most, 7))
    how = p.random.choice(("and", "and", "jump", "mod"))
    label = p.label()
    if how == "and":
        return f"r0 = r{reg}\nr0 &= {more}" + ("\nr0 += 1" if p.chance(0.4) else "")
    if how == "mod":
        return f"r0 = r{reg}\nr0 %= {most}"
    return (f"r0 = r{reg}\nif r0 > {more} goto {label}\ngoto +1\n{label}:\nr0 = {most}")


def sized(p: Program) -> None:
    """Helpers that fill or read memory of a size that may not be known."""
    off = p.random.choice((-16, -32, -64))
    call, memory, size, more = p.random.choice((
        ("bpf_get_current_comm", 1, 2, ()), ("bpf_csum_diff", 1, 2, ("r3 = 0", "r4 = 0", "r5 = 0")),
        ("bpf_trace_printk", 1, 2, ()),
        ("bpf_strtol", 1, 2, ("r3 = 0", "r4 = r10", "r4 += -72")),
        ("bpf_skb_load_bytes", 3, 4, ("r1 = r6", "r2 = 0")),
        ("bpf_skb_store_bytes", 3, 4, ("r1 = r6", "r2 = 0", "r5 = 0")),
        ("bpf_xdp_load_bytes", 3, 4, ("r1 = r6", "r2 = 4")),
        ("bpf_probe_read_kernel", 1, 2, ("r3 = r9",)),
        ("bpf_probe_read_user_str", 1, 2, ("r3 = r9",)),
        ("bpf_perf_event_output", 4, 5, ("r1 = r6", "r2 = events ll", "r3 = 0")),
        ("bpf_ringbuf_output", 2, 3, ("r1 = ring ll", "r4 = 0"))))
    groups = {"bpf_skb": "skb", "bpf_xdp": "xdp", "bpf_pro": "trace", "bpf_csu": "skb",
              "bpf_per": "packet", "bpf_get": "trace"}
    if groups.get(call[:7], "") not in (*p.kind.has, "") and not p.chance(0.03):
        return
    if p.chance(0.4):
        for at in range(off, 0, 8):
            p.emit(f"*(u64 *)(r10 - {-at}) = {p.random.choice((0, 0, 37))}")
            p.wrote(at)
    p.emit(*_size(p, -off).split("\n"), f"r{memory} = r10", f"r{memory} += {off}",
           f"r{size} = r0", *more, f"call {call}")
    p.wrote(off, -off)
    p.called()


@needs("packet")
def packet_changes(p: Program) -> None:
    """Helpers after which packet pointers are gone."""
    if "xdp" in p.kind.has:
        p.emit("r1 = r6", f"r2 = {p.random.choice((0, -8, 8))}",
               p.pick("call bpf_xdp_adjust_head", "call bpf_xdp_adjust_tail"))
    elif "skb" in p.kind.has:
        p.emit("r1 = r6", "r2 = 34", "call bpf_skb_pull_data")
    else:
        return
    p.called()
    if p.chance(0.8):
        p.emit(f"r7 = *(u32 *)(r6 + {p.kind.data})", f"r8 = *(u32 *)(r6 + {p.kind.end})")


def tail_call(p: Program) -> None:
    """Into another program."""
    p.emit("r1 = r6", "r2 = progs ll", f"r3 = {p.pick('0', 'r9', '9')}", "call bpf_tail_call")
    p.called()


def ringbuf(p: Program) -> None:
    """Reserve, use, give back (mostly)."""
    label = p.label()
    p.emit("r1 = ring ll", f"r2 = {p.random.choice((8, 16, 24))}", "r3 = 0",
           "call bpf_ringbuf_reserve", f"if r0 == 0 goto {label}",
           p.pick("*(u64 *)(r0 + 0) = r9", "r2 = *(u8 *)(r0 + 7)", "*(u64 *)(r0 + 16) = 0"))
    p.clobber(0, 1, 2, 3, 4, 5)
    if p.chance(0.2):
        p.emit("*(u64 *)(r10 - 48) = r0", condition(p, "+1"), "r9 += 1",
               "r0 = *(u64 *)(r10 - 48)")
        p.wrote(-48)
        p.stored.discard(-48)
    p.emit("r1 = r0", "r2 = 0")
    if p.chance(0.93):
        p.emit(p.pick("call bpf_ringbuf_submit", "call bpf_ringbuf_discard"))
    p.emit(f"{label}:", "r0 = 0")
    p.scalars.add(0)


@needs("sock")
def socket(p: Program) -> None:
    """Look a socket up and release it (mostly)."""
    label = p.label()
    p.emit("*(u64 *)(r10 - 16) = 0", "*(u32 *)(r10 - 8) = 0", "r1 = r6", "r2 = r10", "r2 += -16",
           "r3 = 12", "r4 = -1", "r5 = 0",
           p.pick("call bpf_sk_lookup_tcp", "call bpf_sk_lookup_udp", "call bpf_skc_lookup_tcp"),
           f"if r0 == 0 goto {label}")
    p.wrote(-16, 16)
    p.clobber(0, 1, 2, 3, 4, 5)
    if p.chance(0.5):
        p.emit(p.pick("r1 = *(u32 *)(r0 + 4)", "r1 = *(u32 *)(r0 + 8)", "r1 = *(u16 *)(r0 + 48)"))
    if p.chance(0.93):
        p.emit("r1 = r0", "call bpf_sk_release")
    p.emit(f"{label}:", "r0 = 0")
    p.scalars.add(0)


def early_exit(p: Program) -> None:
    """The program ends on one way."""
    label = p.label()
    p.emit(condition(p, label), p.pick("r0 = 0", "r0 = 1", "r0 = 2"), "exit", f"{label}:")


CALLS = (call, call_deep, call_stack, call_stack, call_packet, call_global, callback,
         callback_nested, each, tangle)
HELPERS = (helper, map_update, sized, packet_changes, tail_call, ringbuf, socket)
LOOPS = (loop, loop_down, loop_nested, may_goto, tangle)
