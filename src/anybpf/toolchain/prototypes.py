"""The C prototypes of helpers, as a program declares them (include/uapi/linux/bpf.h).

One line for each helper of `anybpf.proto.helpers`, in the order of its rows: result, name without
`bpf_`, parameters. Maps and contexts are `void *`, as in libbpf's header; a helper that several
program types call with different structs takes `void *`, too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from anybpf.proto.helpers import HELPERS, Does, Helper

PROTOTYPES = """\
void *map_lookup_elem(void *map, const void *key)
long map_update_elem(void *map, const void *key, const void *value, __u64 flags)
long map_delete_elem(void *map, const void *key)
long probe_read(void *dst, __u32 size, const void *unsafe_ptr)
__u64 ktime_get_ns(void)
long trace_printk(const char *fmt, __u32 fmt_size, ...)
__u32 get_prandom_u32(void)
__u32 get_smp_processor_id(void)
long skb_store_bytes(struct __sk_buff *skb, __u32 offset, const void *from, __u32 len, __u64 flags)
long l3_csum_replace(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 size)
long l4_csum_replace(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 flags)
long tail_call(void *ctx, void *prog_array_map, __u32 index)
long clone_redirect(struct __sk_buff *skb, __u32 ifindex, __u64 flags)
__u64 get_current_pid_tgid(void)
__u64 get_current_uid_gid(void)
long get_current_comm(void *buf, __u32 size_of_buf)
__u32 get_cgroup_classid(struct __sk_buff *skb)
long skb_vlan_push(struct __sk_buff *skb, __be16 vlan_proto, __u16 vlan_tci)
long skb_vlan_pop(struct __sk_buff *skb)
long skb_get_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags)
long skb_set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags)
__u64 perf_event_read(void *map, __u64 flags)
long redirect(__u32 ifindex, __u64 flags)
__u32 get_route_realm(struct __sk_buff *skb)
long perf_event_output(void *ctx, void *map, __u64 flags, void *data, __u64 size)
long skb_load_bytes(const void *skb, __u32 offset, void *to, __u32 len)
long get_stackid(void *ctx, void *map, __u64 flags)
__s64 csum_diff(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __wsum seed)
long skb_get_tunnel_opt(struct __sk_buff *skb, void *opt, __u32 size)
long skb_set_tunnel_opt(struct __sk_buff *skb, void *opt, __u32 size)
long skb_change_proto(struct __sk_buff *skb, __be16 proto, __u64 flags)
long skb_change_type(struct __sk_buff *skb, __u32 type)
long skb_under_cgroup(struct __sk_buff *skb, void *map, __u32 index)
__u32 get_hash_recalc(struct __sk_buff *skb)
__u64 get_current_task(void)
long probe_write_user(void *dst, const void *src, __u32 len)
long current_task_under_cgroup(void *map, __u32 index)
long skb_change_tail(struct __sk_buff *skb, __u32 len, __u64 flags)
long skb_pull_data(struct __sk_buff *skb, __u32 len)
__s64 csum_update(struct __sk_buff *skb, __wsum csum)
void set_hash_invalid(struct __sk_buff *skb)
long get_numa_node_id(void)
long skb_change_head(struct __sk_buff *skb, __u32 len, __u64 flags)
long xdp_adjust_head(struct xdp_md *xdp_md, int delta)
long probe_read_str(void *dst, __u32 size, const void *unsafe_ptr)
__u64 get_socket_cookie(void *ctx)
__u32 get_socket_uid(struct __sk_buff *skb)
long set_hash(struct __sk_buff *skb, __u32 hash)
long setsockopt(void *bpf_socket, int level, int optname, void *optval, int optlen)
long skb_adjust_room(struct __sk_buff *skb, __s32 len_diff, __u32 mode, __u64 flags)
long redirect_map(void *map, __u64 key, __u64 flags)
long sk_redirect_map(struct __sk_buff *skb, void *map, __u32 key, __u64 flags)
long sock_map_update(struct bpf_sock_ops *skops, void *map, void *key, __u64 flags)
long xdp_adjust_meta(struct xdp_md *xdp_md, int delta)
long perf_event_read_value(void *map, __u64 flags, struct bpf_perf_event_value *buf, __u32 buf_size)
long perf_prog_read_value(struct bpf_perf_event_data *ctx, struct bpf_perf_event_value *buf, \
__u32 buf_size)
long getsockopt(void *bpf_socket, int level, int optname, void *optval, int optlen)
long override_return(struct pt_regs *regs, __u64 rc)
long sock_ops_cb_flags_set(struct bpf_sock_ops *bpf_sock, int argval)
long msg_redirect_map(struct sk_msg_md *msg, void *map, __u32 key, __u64 flags)
long msg_apply_bytes(struct sk_msg_md *msg, __u32 bytes)
long msg_cork_bytes(struct sk_msg_md *msg, __u32 bytes)
long msg_pull_data(struct sk_msg_md *msg, __u32 start, __u32 end, __u64 flags)
long bind(struct bpf_sock_addr *ctx, struct sockaddr *addr, int addr_len)
long xdp_adjust_tail(struct xdp_md *xdp_md, int delta)
long skb_get_xfrm_state(struct __sk_buff *skb, __u32 index, struct bpf_xfrm_state *xfrm_state, \
__u32 size, __u64 flags)
long get_stack(void *ctx, void *buf, __u32 size, __u64 flags)
long skb_load_bytes_relative(const void *skb, __u32 offset, void *to, __u32 len, \
__u32 start_header)
long fib_lookup(void *ctx, struct bpf_fib_lookup *params, int plen, __u32 flags)
long sock_hash_update(struct bpf_sock_ops *skops, void *map, void *key, __u64 flags)
long msg_redirect_hash(struct sk_msg_md *msg, void *map, void *key, __u64 flags)
long sk_redirect_hash(struct __sk_buff *skb, void *map, void *key, __u64 flags)
long lwt_push_encap(struct __sk_buff *skb, __u32 type, void *hdr, __u32 len)
long lwt_seg6_store_bytes(struct __sk_buff *skb, __u32 offset, const void *from, __u32 len)
long lwt_seg6_adjust_srh(struct __sk_buff *skb, __u32 offset, __s32 delta)
long lwt_seg6_action(struct __sk_buff *skb, __u32 action, void *param, __u32 param_len)
long rc_repeat(void *ctx)
long rc_keydown(void *ctx, __u32 protocol, __u64 scancode, __u32 toggle)
__u64 skb_cgroup_id(struct __sk_buff *skb)
__u64 get_current_cgroup_id(void)
void *get_local_storage(void *map, __u64 flags)
long sk_select_reuseport(struct sk_reuseport_md *reuse, void *map, void *key, __u64 flags)
__u64 skb_ancestor_cgroup_id(struct __sk_buff *skb, int ancestor_level)
struct bpf_sock *sk_lookup_tcp(void *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size, \
__u64 netns, __u64 flags)
struct bpf_sock *sk_lookup_udp(void *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size, \
__u64 netns, __u64 flags)
long sk_release(void *sock)
long map_push_elem(void *map, const void *value, __u64 flags)
long map_pop_elem(void *map, void *value)
long map_peek_elem(void *map, void *value)
long msg_push_data(struct sk_msg_md *msg, __u32 start, __u32 len, __u64 flags)
long msg_pop_data(struct sk_msg_md *msg, __u32 start, __u32 len, __u64 flags)
long rc_pointer_rel(void *ctx, __s32 rel_x, __s32 rel_y)
long spin_lock(struct bpf_spin_lock *lock)
long spin_unlock(struct bpf_spin_lock *lock)
struct bpf_sock *sk_fullsock(struct bpf_sock *sk)
struct bpf_tcp_sock *tcp_sock(struct bpf_sock *sk)
long skb_ecn_set_ce(struct __sk_buff *skb)
struct bpf_sock *get_listener_sock(struct bpf_sock *sk)
struct bpf_sock *skc_lookup_tcp(void *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size, \
__u64 netns, __u64 flags)
long tcp_check_syncookie(void *sk, void *iph, __u32 iph_len, struct tcphdr *th, __u32 th_len)
long sysctl_get_name(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len, __u64 flags)
long sysctl_get_current_value(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len)
long sysctl_get_new_value(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len)
long sysctl_set_new_value(struct bpf_sysctl *ctx, const char *buf, unsigned long buf_len)
long strtol(const char *buf, unsigned long buf_len, __u64 flags, long *res)
long strtoul(const char *buf, unsigned long buf_len, __u64 flags, unsigned long *res)
void *sk_storage_get(void *map, void *sk, void *value, __u64 flags)
long sk_storage_delete(void *map, void *sk)
long send_signal(__u32 sig)
__s64 tcp_gen_syncookie(void *sk, void *iph, __u32 iph_len, struct tcphdr *th, __u32 th_len)
long skb_output(void *ctx, void *map, __u64 flags, void *data, __u64 size)
long probe_read_user(void *dst, __u32 size, const void *unsafe_ptr)
long probe_read_kernel(void *dst, __u32 size, const void *unsafe_ptr)
long probe_read_user_str(void *dst, __u32 size, const void *unsafe_ptr)
long probe_read_kernel_str(void *dst, __u32 size, const void *unsafe_ptr)
long tcp_send_ack(void *tp, __u32 rcv_nxt)
long send_signal_thread(__u32 sig)
__u64 jiffies64(void)
long read_branch_records(struct bpf_perf_event_data *ctx, void *buf, __u32 size, __u64 flags)
long get_ns_current_pid_tgid(__u64 dev, __u64 ino, struct bpf_pidns_info *nsdata, __u32 size)
long xdp_output(void *ctx, void *map, __u64 flags, void *data, __u64 size)
__u64 get_netns_cookie(void *ctx)
__u64 get_current_ancestor_cgroup_id(int ancestor_level)
long sk_assign(void *ctx, void *sk, __u64 flags)
__u64 ktime_get_boot_ns(void)
long seq_printf(struct seq_file *m, const char *fmt, __u32 fmt_size, const void *data, \
__u32 data_len)
long seq_write(struct seq_file *m, const void *data, __u32 len)
__u64 sk_cgroup_id(void *sk)
__u64 sk_ancestor_cgroup_id(void *sk, int ancestor_level)
long ringbuf_output(void *ringbuf, void *data, __u64 size, __u64 flags)
void *ringbuf_reserve(void *ringbuf, __u64 size, __u64 flags)
void ringbuf_submit(void *data, __u64 flags)
void ringbuf_discard(void *data, __u64 flags)
__u64 ringbuf_query(void *ringbuf, __u64 flags)
long csum_level(struct __sk_buff *skb, __u64 level)
struct tcp6_sock *skc_to_tcp6_sock(void *sk)
struct tcp_sock *skc_to_tcp_sock(void *sk)
struct tcp_timewait_sock *skc_to_tcp_timewait_sock(void *sk)
struct tcp_request_sock *skc_to_tcp_request_sock(void *sk)
struct udp6_sock *skc_to_udp6_sock(void *sk)
long get_task_stack(struct task_struct *task, void *buf, __u32 size, __u64 flags)
long load_hdr_opt(struct bpf_sock_ops *skops, void *searchby_res, __u32 len, __u64 flags)
long store_hdr_opt(struct bpf_sock_ops *skops, const void *from, __u32 len, __u64 flags)
long reserve_hdr_opt(struct bpf_sock_ops *skops, __u32 len, __u64 flags)
void *inode_storage_get(void *map, void *inode, void *value, __u64 flags)
int inode_storage_delete(void *map, void *inode)
long d_path(struct path *path, char *buf, __u32 sz)
long copy_from_user(void *dst, __u32 size, const void *user_ptr)
long snprintf_btf(char *str, __u32 str_size, struct btf_ptr *ptr, __u32 btf_ptr_size, __u64 flags)
long seq_printf_btf(struct seq_file *m, struct btf_ptr *ptr, __u32 ptr_size, __u64 flags)
__u64 skb_cgroup_classid(struct __sk_buff *skb)
long redirect_neigh(__u32 ifindex, struct bpf_redir_neigh *params, int plen, __u64 flags)
void *per_cpu_ptr(const void *percpu_ptr, __u32 cpu)
void *this_cpu_ptr(const void *percpu_ptr)
long redirect_peer(__u32 ifindex, __u64 flags)
void *task_storage_get(void *map, struct task_struct *task, void *value, __u64 flags)
long task_storage_delete(void *map, struct task_struct *task)
struct task_struct *get_current_task_btf(void)
long bprm_opts_set(struct linux_binprm *bprm, __u64 flags)
__u64 ktime_get_coarse_ns(void)
long ima_inode_hash(struct inode *inode, void *dst, __u32 size)
struct socket *sock_from_file(struct file *file)
long check_mtu(void *ctx, __u32 ifindex, __u32 *mtu_len, __s32 len_diff, __u64 flags)
long for_each_map_elem(void *map, void *callback_fn, void *callback_ctx, __u64 flags)
long snprintf(char *str, __u32 str_size, const char *fmt, __u64 *data, __u32 data_len)
long sys_bpf(__u32 cmd, void *attr, __u32 attr_size)
long btf_find_by_name_kind(char *name, int name_sz, __u32 kind, int flags)
long sys_close(__u32 fd)
long timer_init(struct bpf_timer *timer, void *map, __u64 flags)
long timer_set_callback(struct bpf_timer *timer, void *callback_fn)
long timer_start(struct bpf_timer *timer, __u64 nsecs, __u64 flags)
long timer_cancel(struct bpf_timer *timer)
__u64 get_func_ip(void *ctx)
__u64 get_attach_cookie(void *ctx)
long task_pt_regs(struct task_struct *task)
long get_branch_snapshot(void *entries, __u32 size, __u64 flags)
long trace_vprintk(const char *fmt, __u32 fmt_size, const void *data, __u32 data_len)
struct unix_sock *skc_to_unix_sock(void *sk)
long kallsyms_lookup_name(const char *name, int name_sz, int flags, __u64 *res)
long find_vma(struct task_struct *task, __u64 addr, void *callback_fn, void *callback_ctx, \
__u64 flags)
long loop(__u32 nr_loops, void *callback_fn, void *callback_ctx, __u64 flags)
long strncmp(const char *s1, __u32 s1_sz, const char *s2)
long get_func_arg(void *ctx, __u32 n, __u64 *value)
long get_func_ret(void *ctx, __u64 *value)
long get_func_arg_cnt(void *ctx)
int get_retval(void)
int set_retval(int retval)
__u64 xdp_get_buff_len(struct xdp_md *xdp_md)
long xdp_load_bytes(struct xdp_md *xdp_md, __u32 offset, void *buf, __u32 len)
long xdp_store_bytes(struct xdp_md *xdp_md, __u32 offset, void *buf, __u32 len)
long copy_from_user_task(void *dst, __u32 size, const void *user_ptr, struct task_struct *tsk, \
__u64 flags)
long skb_set_tstamp(struct __sk_buff *skb, __u64 tstamp, __u32 tstamp_type)
long ima_file_hash(struct file *file, void *dst, __u32 size)
void *kptr_xchg(void *dst, void *ptr)
void *map_lookup_percpu_elem(void *map, const void *key, __u32 cpu)
struct mptcp_sock *skc_to_mptcp_sock(void *sk)
long dynptr_from_mem(void *data, __u32 size, __u64 flags, struct bpf_dynptr *ptr)
long ringbuf_reserve_dynptr(void *ringbuf, __u32 size, __u64 flags, struct bpf_dynptr *ptr)
void ringbuf_submit_dynptr(struct bpf_dynptr *ptr, __u64 flags)
void ringbuf_discard_dynptr(struct bpf_dynptr *ptr, __u64 flags)
long dynptr_read(void *dst, __u32 len, const struct bpf_dynptr *src, __u32 offset, __u64 flags)
long dynptr_write(const struct bpf_dynptr *dst, __u32 offset, void *src, __u32 len, __u64 flags)
void *dynptr_data(const struct bpf_dynptr *ptr, __u32 offset, __u32 len)
__s64 tcp_raw_gen_syncookie_ipv4(struct iphdr *iph, struct tcphdr *th, __u32 th_len)
__s64 tcp_raw_gen_syncookie_ipv6(struct ipv6hdr *iph, struct tcphdr *th, __u32 th_len)
long tcp_raw_check_syncookie_ipv4(struct iphdr *iph, struct tcphdr *th)
long tcp_raw_check_syncookie_ipv6(struct ipv6hdr *iph, struct tcphdr *th)
__u64 ktime_get_tai_ns(void)
long user_ringbuf_drain(void *map, void *callback_fn, void *ctx, __u64 flags)
void *cgrp_storage_get(void *map, struct cgroup *cgroup, void *value, __u64 flags)
long cgrp_storage_delete(void *map, struct cgroup *cgroup)
"""
_LINE = re.compile(r"(?P<ret>.+?[ *])(?P<name>\w+)\((?P<params>.*)\)")
_STRUCT = re.compile(r"struct \w+")


class Prototype(NamedTuple):
    """How C sees a helper: the result's type, the name without `bpf_`, declared parameters."""

    ret: str
    name: str
    params: tuple[str, ...]

    @property
    def structs(self) -> set[str]:
        """The struct types that it names, such as `{"struct xdp_md"}`."""
        return set(_STRUCT.findall(" ".join((self.ret, *self.params))))


def parse(line: str) -> Prototype:
    """A line of `PROTOTYPES`."""
    match = _LINE.fullmatch(line)
    assert match, line
    params = match["params"]
    return Prototype(match["ret"].strip(), match["name"],
                     () if params == "void" else tuple(params.split(", ")))


BY_NAME: dict[str, Prototype] = {p.name: p for p in map(parse, PROTOTYPES.splitlines())}

HEAD = """\
/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_helper_defs.h - the helpers that a BPF program may call, as function pointers whose value
 * is the helper's number. GENERATED by tools/gen_helper_defs.py; include bpf_helpers.h instead.
 */
#ifndef __BPF_HELPER_DEFS_H__
#define __BPF_HELPER_DEFS_H__

/* a call that keeps r1-r5, so that the compiler need not save them */
#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif

"""
TAIL = "\n#endif /* __BPF_HELPER_DEFS_H__ */\n"


def header() -> str:
    """The text of bpf_helper_defs.h: a declaration for each helper, with its number and age."""
    structs = sorted(set().union(*(p.structs for p in BY_NAME.values())))
    forward = "".join(f"{name};\n" for name in structs)
    return HEAD + forward + "".join(map(declaration, HELPERS)) + TAIL


def declaration(helper: Helper) -> str:
    """One helper as a C definition, under a comment that says since when there is one."""
    found = BY_NAME[helper.name]
    ret = found.ret if found.ret.endswith("*") else f"{found.ret} "
    keeps = "__bpf_fastcall " if helper.does & Does.FASTCALL else ""
    params = ", ".join(found.params) or "void"
    licence = ", GPL-compatible programs only" if helper.gpl else ""
    return (f"\n/* since Linux {helper.since}{licence} */\n"
            f"{keeps}static {ret}(* const {helper.symbol})({params}) = (void *) {helper.id};\n")
