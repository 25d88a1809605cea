"""What a program attaches to, and whether it may sleep (check_attach_btf_id, verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject


def check(env: Env) -> None:
    """Who may sleep, who must, and the kernel function or hook that is meant."""
    if env.facts.type == uapi.BPF_PROG_TYPE_SYSCALL:
        if not env.facts.sleepable:
            raise Reject(EINVAL, "Syscall programs can only be sleepable")
        return
    if env.facts.sleepable and not env.prog.sleepable:
        raise Reject(EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops "
                             "programs can be sleepable")
    if env.prog.btf_target:
        raise NotSupported(f"programs of type {env.prog.name}")
