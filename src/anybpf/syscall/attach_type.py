"""Which attach types a program may expect (bpf_prog_load_check_attach in kernel/bpf/syscall.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.errors import BpfError

#: number -> name of every program type
PROG_TYPES: dict[int, str] = {number: name for name, number in uapi.BPF_PROG_TYPE
                              if number and name.startswith("BPF_")}

#: types that look at expected_attach_type, with what they take
_EXPECTED: dict[int, frozenset[int]] = {
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: frozenset((
        uapi.BPF_CGROUP_INET_SOCK_CREATE, uapi.BPF_CGROUP_INET_SOCK_RELEASE,
        uapi.BPF_CGROUP_INET4_POST_BIND, uapi.BPF_CGROUP_INET6_POST_BIND)),
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: frozenset((
        uapi.BPF_CGROUP_INET4_BIND, uapi.BPF_CGROUP_INET6_BIND,
        uapi.BPF_CGROUP_INET4_CONNECT, uapi.BPF_CGROUP_INET6_CONNECT,
        uapi.BPF_CGROUP_INET4_GETPEERNAME, uapi.BPF_CGROUP_INET6_GETPEERNAME,
        uapi.BPF_CGROUP_INET4_GETSOCKNAME, uapi.BPF_CGROUP_INET6_GETSOCKNAME,
        uapi.BPF_CGROUP_UDP4_SENDMSG, uapi.BPF_CGROUP_UDP6_SENDMSG,
        uapi.BPF_CGROUP_UDP4_RECVMSG, uapi.BPF_CGROUP_UDP6_RECVMSG,
        uapi.BPF_CGROUP_UNIX_CONNECT, uapi.BPF_CGROUP_UNIX_SENDMSG,
        uapi.BPF_CGROUP_UNIX_RECVMSG, uapi.BPF_CGROUP_UNIX_GETPEERNAME,
        uapi.BPF_CGROUP_UNIX_GETSOCKNAME)),
    uapi.BPF_PROG_TYPE_CGROUP_SKB: frozenset((
        uapi.BPF_CGROUP_INET_INGRESS, uapi.BPF_CGROUP_INET_EGRESS)),
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: frozenset((
        uapi.BPF_CGROUP_SETSOCKOPT, uapi.BPF_CGROUP_GETSOCKOPT)),
    uapi.BPF_PROG_TYPE_SK_LOOKUP: frozenset((uapi.BPF_SK_LOOKUP,)),
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: frozenset((
        uapi.BPF_SK_REUSEPORT_SELECT, uapi.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE)),
    uapi.BPF_PROG_TYPE_NETFILTER: frozenset((uapi.BPF_NETFILTER,)),
    uapi.BPF_PROG_TYPE_SYSCALL: frozenset((0,)),
    uapi.BPF_PROG_TYPE_EXT: frozenset((0,)),
}
#: what 0 means to types that once had no expected_attach_type
_OLD_MEANING = {
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: uapi.BPF_CGROUP_INET_SOCK_CREATE,
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: uapi.BPF_SK_REUSEPORT_SELECT,
}
_WITH_BTF_ID = (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_LSM, uapi.BPF_PROG_TYPE_STRUCT_OPS,
                uapi.BPF_PROG_TYPE_EXT)
_ON_PROGS = (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_EXT)


def fixed(prog_type: int, expected: int) -> int:
    """The expected attach type with 0 given its old meaning."""
    return expected or _OLD_MEANING.get(prog_type, 0)


def check(prog_type: int, expected: int, btf_id: int, on_target: bool) -> None:
    """EINVAL where type, expected attach type and target do not go together."""
    if btf_id and (btf_id > uapi.BTF_MAX_TYPE or prog_type not in _WITH_BTF_ID):
        raise BpfError(EINVAL, "attach_btf_id is not for this program type")
    if on_target and prog_type not in _ON_PROGS:
        raise BpfError(EINVAL, "attach_prog_fd is not for this program type")
    if prog_type in _EXPECTED and expected not in _EXPECTED[prog_type]:
        raise BpfError(EINVAL, f"expected_attach_type {expected} is not for this program type")
