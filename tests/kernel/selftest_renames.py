"""Members of the kernel's structs that 6.18 calls otherwise than the kernel of a selftest does.

Each is a name for the preprocessor: without it the source would not compile. Where 6.18 has no such
member at all, another of the same type stands in its place.
"""

from __future__ import annotations

_TIMEOUT = "icsk_timeout=icsk_retransmit_timer.expires"
_TIMER = "tcp_retransmit_timer=sk_timer"
_PROFILER = "parent=__parent"
#: tree -> source -> definition
RENAMES: dict[str, dict[str, str]] = {
    "6.1": {
        "bpf_iter_ksym": "pos_arch_end=pos_mod_end",
        "bpf_iter_tcp4": _TIMEOUT, "bpf_iter_tcp6": _TIMEOUT,
        "profiler1": _PROFILER, "profiler2": _PROFILER, "profiler3": _PROFILER},
    "6.12": {
        "bpf_iter_tcp4": _TIMEOUT, "bpf_iter_tcp6": _TIMEOUT,
        "profiler1": _PROFILER, "profiler2": _PROFILER, "profiler3": _PROFILER},
    "7.2": {"bpf_iter_tcp4": _TIMER, "bpf_iter_tcp6": _TIMER},
}


def definitions(tree: str, source: str) -> list[str]:
    """The compiler's options for a source."""
    found = RENAMES.get(tree, {}).get(source)
    return [f"-D{found}"] if found else []
