"""What programs may attach to in the kernel, and what they may do there (kernel/bpf/bpf_lsm.c).

Names of functions; `LSM` is the prefix of hooks of security modules. Lists of the kernel
that depend on how it was built have all that any build has: what a kernel lacks cannot be attached
to.
"""

from __future__ import annotations

from anybpf import uapi

LSM = "bpf_lsm_"


def _names(names: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + name for name in names.split())


#: no tracing program may attach to these (btf_id_deny, verifier.c)
DENIED = _names("""
    ___migrate_enable migrate_disable migrate_enable rcu_read_unlock_strict preempt_count_add
    preempt_count_sub
    __rcu_read_lock __rcu_read_unlock""")
#: they do not return, so nothing can run behind them (noreturn_deny)
NO_RETURN = _names("""
    __ia32_sys_exit __ia32_sys_exit_group __kunit_abort kunit_try_catch_throw
    __module_put_and_kthread_exit __x64_sys_exit __x64_sys_exit_group do_exit do_group_exit
    kthread_complete_and_exit kthread_exit make_task_dead""")
#: functions whose result programs may change: those that ask the security modules
SECURITY = "security_"
#: and others that say so (register_btf_fmodret_id_set): name -> may programs sleep there
MODIFIABLE = {"bpf_fentry_test1": True, "bpf_modify_return_test": False,
              "bpf_modify_return_test2": False, "bpf_modify_return_test_tp": False,
              "bpf_testmod_trampoline_count_test": False, "update_socket_protocol": False}

#: hooks that are not for programs
DISABLED = _names("""
    vm_enough_memory inode_need_killpriv inode_getsecurity inode_listsecurity
    inode_copy_up_xattr getselfattr getprocattr setprocattr key_getsecurity audit_rule_match
    ismaclabel""", LSM)
#: hooks in which programs may sleep
SLEEPABLE = _names("""
    bpf bpf_map bpf_map_create bpf_map_free bpf_prog bpf_prog_load bpf_token_create
    bpf_token_free bpf_token_cmd bpf_token_capable bprm_check_security bprm_committed_creds
    bprm_committing_creds bprm_creds_for_exec bprm_creds_from_file capget capset cred_prepare
    file_ioctl file_lock file_open file_post_open file_receive inode_create inode_free_security
    inode_getattr inode_getxattr inode_mknod inode_need_killpriv inode_post_setxattr
    inode_post_removexattr inode_readlink inode_removexattr inode_rename inode_rmdir
    inode_setattr inode_setxattr inode_symlink inode_unlink kernel_module_request
    kernel_read_file kernfs_init_security path_unlink path_mkdir path_rmdir path_truncate
    path_symlink path_link path_rename path_chmod path_chown mmap_file netlink_send path_notify
    release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount sb_mount sb_remount
    sb_set_mnt_opts sb_show_options sb_statfs sb_umount settime socket_accept socket_bind
    socket_connect socket_create socket_getpeername socket_getpeersec_dgram socket_getsockname
    socket_getsockopt socket_listen socket_post_create socket_recvmsg socket_sendmsg
    socket_shutdown socket_socketpair syslog task_alloc task_prctl task_setscheduler
    userns_create bpf_prog_free
    task_to_inode inet_conn_established""", LSM)
#: hooks whose arguments may be in the making, or on their way out
UNTRUSTED = _names("""
    bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security
    sk_free_security task_free bdev_free_security""", LSM)
#: hooks that answer with 0 or 1 instead of an error number
BOOLEAN = _names("xfrm_state_pol_flow_match audit_rule_known inode_xattr_skipcap", LSM)


#: functions that hold no lock which d_path() takes
D_PATH = _names("""
    security_file_permission security_inode_getattr security_file_open security_path_truncate
    vfs_truncate vfs_fallocate dentry_open vfs_getattr filp_close""")
#: hooks of cgroups that have a socket: while it is locked, and while nobody else knows it yet
WITH_SOCKET = _names("""
    sock_graft inet_csk_clone inet_conn_established socket_post_create socket_socketpair""", LSM)
_BY_TRACEPOINT = (uapi.BPF_TRACE_ITER, uapi.BPF_TRACE_RAW_TP)
#: programs that are called around functions
TRAMPOLINES = (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN)
_AT_FUNCTION = (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT)


def _d_path(prog_type: int, attach_type: int, target: str) -> bool:
    """bpf_d_path_allowed() of kernel/trace/bpf_trace.c."""
    if prog_type == uapi.BPF_PROG_TYPE_LSM:
        return target in SLEEPABLE
    iterates = prog_type == uapi.BPF_PROG_TYPE_TRACING and attach_type == uapi.BPF_TRACE_ITER
    return iterates or target in D_PATH


def _sk_storage(prog_type: int, attach_type: int, target: str) -> bool:
    """bpf_sk_storage_tracing_allowed() of net/core/bpf_sk_storage.c: not in its own functions."""
    if prog_type not in _TRACING:
        return True
    return attach_type in _BY_TRACEPOINT or (
        attach_type in _AT_FUNCTION and not target.startswith("bpf_sk_storage"))


def _sleepable_hook(prog_type: int, attach_type: int, target: str) -> bool:
    """bpf_ima_inode_hash_allowed() of kernel/bpf/bpf_lsm.c."""
    return target in SLEEPABLE


_SK_STORAGE = ("sk_storage_get", "sk_storage_delete")
_TRACING = (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_SYSCALL)
#: helpers that may be called at some places only (`allowed` of struct bpf_func_proto)
_ALLOWED = {
    "d_path": _d_path, "sk_storage_get": _sk_storage, "sk_storage_delete": _sk_storage,
    "ima_inode_hash": _sleepable_hook, "ima_file_hash": _sleepable_hook,
}


def allowed(helper: str, prog_type: int, attach_type: int, target: str,
            in_program: bool = False) -> bool:
    """Whether the helper may be called by a program that is attached to `target`.

    `in_program`: that is a function of another program.
    """
    if in_program and prog_type in _TRACING and helper in _SK_STORAGE:
        return False
    asks = _ALLOWED.get(helper)
    return asks is None or asks(prog_type, attach_type, target)


def may_modify(name: str) -> bool:
    """Whether programs may change what the function gives (fmod_ret)."""
    return name.startswith(SECURITY) or name in MODIFIABLE


def may_sleep(name: str) -> bool:
    """Whether programs that sleep may trace the function."""
    return MODIFIABLE.get(name, False)
