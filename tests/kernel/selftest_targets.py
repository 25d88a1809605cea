"""What programs of the selftests attach to, which the code of their tests says (prog_tests/*.c).

A target in another object is loaded in earnest; both verifiers judge it first.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.libbpf.object import Object
from anybpf.verifier import Options, verify
from anybpf.verifier.facts import ProgramFacts
from kernel.both_verifiers import Both, Fields
from kernel.selftest_maps import resize


class Target(NamedTuple):
    """A program of another object, or the kernel; `function` empty: as the section says."""

    object: str = ""
    #: the first one where none is named
    program: str = ""
    function: str = ""


_PACKET = Target("test_pkt_access")
_THROWS, _CATCHES = "exception_throw_subprog", "exception_ext_mod_cb_runtime"


def _thrown(*functions: str) -> tuple[Target, ...]:
    return tuple(Target("exceptions", _THROWS, f) for f in functions)


_CALLBACK = (Target("exceptions", _CATCHES, "exception_cb_mod"),)
_TRACED = (*_CALLBACK, *_thrown("subprog", "throwing_subprog"))
_EXTENDED = _thrown("subprog", "throwing_subprog", "global_subprog", "throwing_global_subprog",
                    _THROWS)


def _mains(source: str, *rows: tuple[str, str]) -> tuple[Target, ...]:
    return tuple(Target(source, *row) for row in rows)


_PACKETS_6_12 = _mains(
    "changes_pkt_data", ("main_with_subprogs", "changes_pkt_data"),
    ("main_with_subprogs", "does_not_change_pkt_data"), ("main_changes", "main_changes"),
    ("main_does_not_change", "main_does_not_change"))
_PACKETS = _mains(
    "summarization", ("main_changes_with_subprogs", "changes_pkt_data"),
    ("main_changes_with_subprogs", "does_not_change_pkt_data"), ("main_changes", "main_changes"),
    ("main_does_not_change", "main_does_not_change"))
_SLEEPERS = _mains(
    "summarization", ("main_might_sleep_with_subprogs", "might_sleep"),
    ("main_might_sleep_with_subprogs", "does_not_sleep"), ("main_might_sleep", "main_might_sleep"),
    ("main_does_not_sleep", "main_does_not_sleep"))
_TAIL = (Target("tailcall_bpf2bpf1", "entry", "subprog_tail"),
         Target("tailcall_bpf2bpf2", "entry", "subprog_tail"),
         Target("tailcall_bpf2bpf4", "entry", "subprog_tail"))
_NEW_ACCESS = (Target("test_trace_ext", "", "test_pkt_md_access_new"),)
_TUNNEL = (Target("test_xdp", "", "_xdp_tx_iptunnel"),)
_READ = (Target(function="bpf_testmod_test_read"),)

#: operations of a file system, which its tools of libbpf-tools trace
_FILES = {"file_read": "read_iter", "file_write": "write_iter", "file_open": "open",
          "file_sync": "sync", "getattr": "getattr"}


def _files(name: str, **other: str) -> dict[str, tuple[Target, ...]]:
    """Both ends of each operation: its function, where it is not called as in most."""
    functions = {op: other.get(op, f"{name}_file_{what}") for op, what in _FILES.items()}
    return {f"{op}_{end}": (Target(function=function),)
            for op, function in functions.items() for end in ("fentry", "fexit")}


_EXT4 = _files("ext4", file_sync="ext4_sync_file")

#: source -> program (empty: each) -> what it attaches to, one after another
TARGETS: dict[str, dict[str, tuple[Target, ...]]] = {
    **dict.fromkeys(("ext4dist", "ext4slower", "btrfsdist", "btrfsslower", "nfsdist", "nfsslower",
                     "xfsdist", "xfsslower", "fsdist", "fsslower"), _EXT4),
    "changes_pkt_data_freplace": {"": _PACKETS_6_12},
    "exceptions_ext": {
        "pfentry": _TRACED, "throwing_fentry": _TRACED, "pfexit": _TRACED,
        "throwing_fexit": _TRACED, "pfmod_ret": _thrown("subprog", "global_subprog"),
        "throwing_fmod_ret": _thrown("subprog", "global_subprog"), "extension": _EXTENDED,
        "throwing_exception_cb_extension": (
            *_CALLBACK, Target("exceptions", _CATCHES, "exception_cb_mod_global")),
        "throwing_extension": (
            Target("exceptions", "exception_ext", "exception_ext_global"), *_EXTENDED[2:])},
    "fentry_recursive": {"": (
        Target("fentry_recursive_target", "test1", "test1"),
        Target("fentry_recursive_target", "fentry_target", "fentry_target"))},
    "fexit_bpf2bpf": {"": (_PACKET,)},
    "fexit_bpf2bpf_simple": {"": (Target("test_pkt_md_access"),)},
    "fmod_ret_freplace": {"": (Target("freplace_get_constant"),)},
    "freplace_attach_probe": {"": (Target("test_attach_probe"),)},
    "freplace_cls_redirect": {"": (Target("test_cls_redirect"),)},
    "freplace_connect4": {"": (Target("connect4_prog"),)},
    "freplace_connect_v4_prog": {"": (Target("connect4_prog"),)},
    "freplace_dead_global_func": {"": (
        Target("verifier_global_subprogs", "chained_global_func_calls_success", "global_good"),
        Target("verifier_global_subprogs", "chained_global_func_calls_success", "global_dead"))},
    "freplace_get_constant": {"": (_PACKET,)},
    "freplace_global_func": {"": (_PACKET,)},
    "freplace_int_with_void": {"": (Target("test_global_func2"),)},
    "freplace_progmap": {"xdp_cpumap_prog": (
        Target("xdp_dummy", "xdp_dummy_prog", "xdp_dummy_prog"),)},
    "freplace_unreliable_prog": {"": (Target("verifier_btf_unreliable_prog"),)},
    "freplace_void": {"": (Target("test_global_func7"),)},
    "kprobe_write_ctx": {"freplace_kprobe": (
        Target("kprobe_write_ctx", "kprobe_write_ctx", "kprobe_write_ctx"),)},
    "priv_freplace_prog": {"": (Target("priv_prog", "xdp_prog1", "xdp_prog1"),)},
    "summarization_freplace": {
        "changes_pkt_data": _PACKETS, "does_not_change_pkt_data": _PACKETS,
        "might_sleep": _SLEEPERS, "does_not_sleep": _SLEEPERS},
    "tailcall_bpf2bpf_fentry": {"": (*_TAIL, Target("tc_dummy", "entry", "entry"))},
    "tailcall_bpf2bpf_fexit": {"": _TAIL},
    "tailcall_bpf2bpf_hierarchy_fentry": {"": (
        Target("tailcall_bpf2bpf_hierarchy1", "entry", "entry"),)},
    "tailcall_freplace": {"": (Target("tc_bpf2bpf", "entry_tc", "subprog_tc"),)},
    "test_cgroup1_hierarchy": {"fentry_run": (Target(function="bpf_fentry_test1"),)},
    "test_module_attach": {
        "handle_fentry_manual": _READ,
        "handle_fentry_explicit_manual": (Target(function="bpf_testmod:bpf_testmod_test_read"),)},
    "test_trace_ext": {"": (Target("test_pkt_md_access", "", "test_pkt_md_access"),)},
    "test_trace_ext_tracing": {"": _NEW_ACCESS},
    "test_vmlinux": {"handle__fentry": (Target(function="hrtimer_start_range_ns"),)},
    "test_xdp_bpf2bpf": {"": _TUNNEL},
    "trace_dummy_st_ops": {"": (Target("dummy_st_ops_success", "test_1", "test_1"),)},
    "xdp_metadata2": {"": (Target("xdp_metadata", "rx", "rx"),)},
}


#: source -> what it is called in older trees
OLDER_NAMES = {"dummy_st_ops_success": "dummy_st_ops"}


def targets(source: str, program: str) -> tuple[Target, ...]:
    """What a program attaches to; nothing where its section says all."""
    rows = TARGETS.get(source, {})
    return rows.get(program, rows.get("", ()))


@dataclass(eq=False)
class Keeper(Both):
    """A backend that really loads, and keeps what our verifier learnt of each program."""

    learnt: dict[int, ProgramFacts] = field(default_factory=dict)

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_MAP_CREATE:
            resize(attr)
        if cmd != uapi.BPF_PROG_LOAD:
            return super().bpf(cmd, attr)
        fields = Fields(attr)
        fd = self.kernel.bpf(cmd, attr)
        if not fields["log_level"]:
            facts = self.facts(fields)
            self.learnt[fd] = ProgramFacts.of(facts, verify(self.insns(fields), facts, Options()))
        return fd


class Targets:
    """The programs that those of one source attach to, loaded when they are wanted."""

    def __init__(self, both: Both, find: Callable[[str], Path]) -> None:
        """`find` gives the object of a source."""
        self._both, self._find = both, find
        self._open: list[Object] = []
        self._fds: dict[Target, int] = {}

    def close(self) -> None:
        while self._open:
            self._open.pop().close()
        self._fds.clear()

    def aim(self, obj: Object, program: str, target: Target) -> None:
        """Set what a program attaches to. Raises BpfError, LoadError, OSError."""
        found = obj.programs[program]
        if not target.object:
            found.set_attach_target(target.function)
            return
        found.attach_prog_fd = self._loaded(target)
        if target.function:
            found.set_attach_target(target.function, found.attach_prog_fd)

    def _loaded(self, target: Target) -> int:
        place = target._replace(function="")
        if place not in self._fds:
            self._fds[place] = self._load(target)
        return self._fds[place]

    def _load(self, target: Target) -> int:
        obj = Object.open(self._find(target.object))
        self._open.append(obj)
        name = target.program or next(iter(obj.programs))
        if name not in obj.programs:
            raise BpfError(errno.ENOENT, f"{target.object} has no program {name}")
        for other, program in obj.programs.items():
            program.autoload = other == name
            if program.type == uapi.BPF_PROG_TYPE_UNSPEC:
                program.type = uapi.BPF_PROG_TYPE_SCHED_CLS
        keeper = Keeper(kernel=self._both.kernel, programs=self._both.programs)
        for further in targets(target.object, name)[:1]:
            self.aim(obj, name, further)
        obj.load(keeper)
        fd = obj.programs[name].fd
        assert fd is not None
        self._both.programs[fd] = keeper.learnt[fd]
        return fd
