"""Why kernels differ in what they say of selftests' programs, as far as it is known: by name."""

from __future__ import annotations

#: what holds for the reference and not for the guest's older kernel -> sources, or source: program
GUEST: dict[str, tuple[str, ...]] = {
    "byte swaps keep bounds": ("cgroup_tcp_skb", "crypto_sanity", "exceptions", "ip_check_defrag",
                               "solisten"),
    "links at negative distances, and through subtraction": (
        "dynptr_success", "modify_return", "user_ringbuf_success: test_user_ringbuf",
        "crypto_bench"),
    "numbers are known when one bit may be set": (
        "bpf_dctcp", "bpf_flow", "find_vma", "security_bpf_map", "test_ctx",
        "test_libbpf_get_fd_by_id_opts"),
    "linked registers that are not read any more do not learn with the others": (
        "cpumask_success", "dmabuf_iter", "exceptions_assert", "tcpsynbl",
        "test_verify_pkcs7_sig"),
    "32-bit comparisons narrow the 64-bit bounds": (
        "user_ringbuf_success: test_user_ringbuf_protocol",),
    "packet loads in functions may leave the program": ("tailcall_bpf2bpf2",),
    "what a hook gives is a number that nothing was known of before": ("test_deny_namespace",),
    "the hook bdev_free_security is among those with untrusted arguments": ("lsm_bdev",),
    "references that must be given back are looked for among all arguments": (
        "struct_ops_multi_args",),
}
_BY_PROGRAM = {name: reason for reason, names in GUEST.items() for name in names}


def reason(source: str, program: str, oracle: str) -> str:
    """Why the kernel that judged the program differs; empty if that is not known."""
    if oracle != "guest":
        return ""
    return _BY_PROGRAM.get(f"{source}: {program}") or _BY_PROGRAM.get(source, "")
