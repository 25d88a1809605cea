"""Write docs/support.md: what the kernel offers, row by row, and what a Machine has of it.

usage: gen_support.py > docs/support.md      (after the native build)

What works is asked of the code itself: a row that is registered works. Why another does not follows
from what it needs, or stands in `WAITS_FOR`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from anybpf import attach as hooks
from anybpf import helpers as native
from anybpf import maps as native_maps
from anybpf import syscall
from anybpf.net import test_run
from anybpf.proto import access, attach, features, helpers, kfuncs, links, maps, progs

HEAD = """# What is modelled

Generated from the tables of `anybpf.proto` and from what the code registers, by
`tools/gen_support.py`. *Works* says that a `Machine` has it; *verified only*, that the verifier
judges programs that use it, but a `Machine` does not run it yet. What does not work yet is refused
by name (`NotSupported`), and the last column says what it waits for. Versions are those of Linux.
"""
WORKS = "works"

#: why map types do not work yet, by what they hold
MAPS_WAIT_FOR = {
    "ifindex": "devices that frames are sent to",
    "cpu": "other CPUs that frames are sent to",
    "socket": "sockets",
}
#: the same for those that hold values
MAP_WAITS_FOR = {
    "stack_trace": "stacks of the kernel and of user space",
    "cgroup_storage": "cgroups",
    "percpu_cgroup_storage": "cgroups",
    "cgrp_storage": "cgroups",
    "sk_storage": "sockets",
    "inode_storage": "files",
    "task_storage": "tasks",
    "struct_ops": "struct_ops",
    "user_ringbuf": "records from user space",
    "arena": "memory shared with user space",
}
#: what helpers wait for that work neither for lack of programs nor of maps that they take
WAITS_FOR: dict[str, str] = {name: what for what, names in {
    "tunnels": "skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt",
    "IPsec states": "skb_get_xfrm_state",
    "routes": "lwt_push_encap check_mtu",
    "cgroups": "skb_under_cgroup current_task_under_cgroup sk_cgroup_id sk_ancestor_cgroup_id",
    "sockets": """tcp_sock sk_assign skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock
        skc_to_tcp_request_sock skc_to_udp6_sock skc_to_unix_sock skc_to_mptcp_sock
        sock_from_file get_netns_cookie""",
    "SYN cookies": """tcp_check_syncookie tcp_gen_syncookie tcp_raw_gen_syncookie_ipv4
        tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6""",
    "counters of the CPU": "perf_event_read perf_event_read_value get_branch_snapshot",
    "tasks": """get_current_task get_current_task_btf task_pt_regs find_vma send_signal
        send_signal_thread get_ns_current_pid_tgid probe_write_user""",
    "stacks of the kernel and of user space": "get_stack get_task_stack",
    "objects of the kernel by their BTF": "skb_output xdp_output snprintf_btf",
    "variables of the kernel": "per_cpu_ptr this_cpu_ptr kallsyms_lookup_name",
    "files": "d_path",
    "bpf(2) from programs": "sys_bpf btf_find_by_name_kind sys_close",
    "timers": "timer_init timer_set_callback timer_start timer_cancel",
    "attach points": "get_func_ip get_attach_cookie",
    "kptrs": "kptr_xchg",
}.items() for name in names.split()}

Row = tuple[str, ...]


def table(title: str, columns: str, rows: Iterable[Row]) -> Iterator[str]:
    """The lines of a Markdown section with one table, and how many of its rows work."""
    names, lines = columns.split(" | "), list(rows)
    yield from ("", f"## {title}", "")
    if names[-1] == "state":
        yield f"{sum(row[-1].startswith(WORKS) for row in lines)} of {len(lines)} work."
        yield ""
    yield from (f"| {columns} |", "|" + "---|" * len(names))
    for row in lines:
        yield "| " + " | ".join(row) + " |"


def waits(what: str) -> str:
    """The cell of a row that does not work yet."""
    return f"not yet: {what}"


def verified(what: str) -> str:
    """The cell of a row that the verifier knows, and that does not run yet."""
    return f"verified only; running waits for {what}"


# -- program types

def has_hook(prog_type: int) -> bool:
    """Whether programs of this type can be attached somewhere."""
    return any(prog_type in row.prog_types for row in attach.ATTACH_TYPES
               if row.type in hooks.ATTACH_TYPES)


def runs(prog_type: int) -> bool:
    """Whether there is any way to run programs of this type."""
    return test_run.is_supported(prog_type) or has_hook(prog_type)


def program_state(prog: progs.Prog) -> str:
    """How programs of this type run, or what they wait for."""
    ways = (["test run"] if test_run.is_supported(prog.type) else []) \
        + (["attached"] if has_hook(prog.type) else [])
    if ways:
        return f"{WORKS}: {', '.join(ways)}"
    return verified("test run" if prog.test_run else "attach points")


def program_types() -> Iterator[Row]:
    """Each program type with its context, helpers, and whether it runs."""
    for prog in progs.PROGS:
        callable_ = sum(prog.type in access.callers(h.id) for h in helpers.HELPERS)
        yield (f"`{prog.name}`", prog.since, f"`{prog.context}`" if prog.context else "by BTF",
               str(callable_), program_state(prog))


# -- map types

def map_state(row: maps.Map) -> str:
    """Whether maps of this type can be made."""
    if native_maps.is_supported(row.type):
        return WORKS
    return waits(MAP_WAITS_FOR.get(row.name) or MAPS_WAIT_FOR[row.holds])


def map_types() -> Iterator[Row]:
    """Each map type."""
    for row in maps.MAPS:
        yield f"`{row.name}`", row.since, row.holds, map_state(row)


# -- helpers

def helper_state(row: helpers.Helper) -> str:
    """Whether the helper is there; else the programs or maps that it waits for, or the reason."""
    # the engines do a tail call themselves
    if row.id in native.addresses() or row.name == "tail_call":
        return WORKS
    callers = access.callers(row.id)
    if not any(runs(prog_type) for prog_type in callers):
        return verified("programs of type " + names(progs.BY_TYPE[t].name for t in callers))
    taken = maps.TAKES.get(row.name, frozenset())
    if taken and not any(native_maps.is_supported(t) for t in taken):
        return verified("maps of type " + names(maps.BY_TYPE[t].name for t in taken))
    return verified(WAITS_FOR[row.name])


def names(found: Iterable[str]) -> str:
    """Names in a cell, always in the same order."""
    return ", ".join(sorted(found))


def helper_functions() -> Iterator[Row]:
    """Each helper with the number of program types that may call it."""
    for row in helpers.HELPERS:
        yield (str(row.id), f"`{row.symbol}`", row.since, "GPL" if row.gpl else "",
               str(len(access.callers(row.id))), helper_state(row))


# -- the rest

def attach_state(row: attach.Attach) -> str:
    """Whether programs can be attached there."""
    if row.type in hooks.ATTACH_TYPES:
        return WORKS
    return waits(f"{row.link} links" if row.link else "the hook")


def attach_types() -> Iterator[Row]:
    """Each attach type with its programs and its link."""
    for row in attach.ATTACH_TYPES:
        types = " ".join(f"`{progs.BY_TYPE[t].name}`" for t in row.prog_types)
        link = f"{row.link} ({links.BY_NAME[row.link].since})" if row.link else ""
        yield f"`{row.name}`", row.since, types, link, attach_state(row)


def commands() -> Iterator[Row]:
    """Each command of bpf(2)."""
    for name, since in features.COMMANDS.items():
        yield f"`{name}`", since, WORKS if syscall.is_supported(name) else waits("the command")


def kernel_function_state(row: kfuncs.Kfunc) -> str:
    """The verifier judges calls where the kernel's own types have the function; none runs."""
    return verified("calls of kernel functions") if row.sets else waits("tracing of functions")


def kernel_functions() -> Iterator[Row]:
    """Each kfunc."""
    for row in kfuncs.KFUNCS:
        yield (f"`{row.name}`", row.since, f"`{row.ret}`", str(len(row.args)),
               kernel_function_state(row))


def page() -> str:
    """The whole page."""
    sections = (
        table("Program types", "type | since | context | helpers | state", program_types()),
        table("Map types", "type | since | holds | state", map_types()),
        table("Helpers", "id | helper | since | licence | program types | state",
              helper_functions()),
        table("Attach types", "type | since | programs | link (since) | state", attach_types()),
        table("Commands", "command | since | state", commands()),
        table("Kernel functions", "kfunc | since | returns | arguments | state",
              kernel_functions()),
    )
    return "\n".join([HEAD.rstrip(), *(line for lines in sections for line in lines)]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
