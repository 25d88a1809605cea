"""A small BTF for where no kernel's is to be had (include/linux/sched.h, skbuff.h, net/sock.h ...).

The types that programs ask for most often, with the members that they read; other members are left
out and the rest is laid out as C does it on a 64-bit machine. Programs that use CO-RE find
their fields; whoever takes the offsets for those of some real kernel is wrong.
"""

from __future__ import annotations

import re
from collections import deque
from functools import cache

from anybpf import uapi, uapi_structs
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.uapi_structs import Member

POINTER = 8
INTS = {
    "char": (1, uapi.BTF_INT_SIGNED), "signed char": (1, uapi.BTF_INT_SIGNED),
    "unsigned char": (1, 0), "short": (2, uapi.BTF_INT_SIGNED), "unsigned short": (2, 0),
    "int": (4, uapi.BTF_INT_SIGNED), "unsigned int": (4, 0), "long": (8, uapi.BTF_INT_SIGNED),
    "unsigned long": (8, 0), "long long": (8, uapi.BTF_INT_SIGNED), "unsigned long long": (8, 0),
    "_Bool": (1, uapi.BTF_INT_BOOL),
}
TYPEDEFS = {
    "__u8": "unsigned char", "__s8": "signed char", "__u16": "unsigned short", "__s16": "short",
    "__u32": "unsigned int", "__s32": "int", "__u64": "unsigned long long", "__s64": "long long",
    "u8": "__u8", "s8": "__s8", "u16": "__u16", "s16": "__s16", "u32": "__u32", "s32": "__s32",
    "u64": "__u64", "s64": "__s64", "uint8_t": "u8", "uint16_t": "u16", "uint32_t": "u32",
    "uint64_t": "u64", "int32_t": "s32", "int64_t": "s64", "bool": "_Bool", "__le16": "__u16",
    "__le32": "__u32", "__be16": "__u16", "__be32": "__u32", "__be64": "__u64",
    "__sum16": "__u16", "__wsum": "__u32", "size_t": "unsigned long", "ssize_t": "long",
    "loff_t": "long long", "pid_t": "int", "dev_t": "u32", "umode_t": "unsigned short",
    "fmode_t": "unsigned int", "sector_t": "u64", "gfp_t": "unsigned int", "ktime_t": "s64",
    "sa_family_t": "unsigned short", "uid_t": "u32", "gid_t": "u32", "kuid_t": "struct kuid",
    "kgid_t": "struct kgid", "atomic_t": "struct atomic", "atomic64_t": "struct atomic64",
    "refcount_t": "struct refcount_struct", "socket_state": "enum socket_state",
    "possible_net_t": "struct possible_net", "bpf_user_pt_regs_t": "struct pt_regs",
    "netdev_features_t": "u64", "cpumask_t": "struct cpumask",
}
#: enum -> the names of its values, all of `uapi`
ENUMS = {
    "bpf_map_type": r"BPF_MAP_TYPE_\w+",
    "bpf_prog_type": r"BPF_PROG_TYPE_\w+",
    "xdp_action": r"XDP_(ABORTED|DROP|PASS|TX|REDIRECT)",
    "": r"BPF_(ANY|NOEXIST|EXIST)|BPF_F_\w+",
}
#: of other headers
CONSTANTS = {
    "pid_type": ("PIDTYPE_PID", "PIDTYPE_TGID", "PIDTYPE_PGID", "PIDTYPE_SID"),
    "socket_state": ("SS_FREE", "SS_UNCONNECTED", "SS_CONNECTING", "SS_CONNECTED",
                     "SS_DISCONNECTING"),
    "sock_type": ("SOCK_NONE", "SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"),
}
STRUCTS = """
struct kuid { uid_t val; }
struct kgid { gid_t val; }
struct atomic { int counter; }
struct atomic64 { s64 counter; }
struct refcount_struct { atomic_t refs; }
struct kref { refcount_t refcount; }
struct possible_net { struct net *net; }
struct list_head { struct list_head *next; struct list_head *prev; }
struct hlist_head { struct hlist_node *first; }
struct hlist_node { struct hlist_node *next; struct hlist_node **pprev; }
struct cpumask { unsigned long bits[2]; }
struct timespec64 { s64 tv_sec; long tv_nsec; }
struct in_addr { __be32 s_addr; }
union in6_u { __u8 u6_addr8[16]; __be16 u6_addr16[8]; __be32 u6_addr32[4]; }
struct in6_addr { union in6_u in6_u; }
struct sockaddr { sa_family_t sa_family; char sa_data[14]; }
struct sockaddr_in { sa_family_t sin_family; __be16 sin_port; struct in_addr sin_addr;
  unsigned char __pad[8]; }
struct sockaddr_in6 { unsigned short sin6_family; __be16 sin6_port; __be32 sin6_flowinfo;
  struct in6_addr sin6_addr; __u32 sin6_scope_id; }
struct ethhdr { unsigned char h_dest[6]; unsigned char h_source[6]; __be16 h_proto; }
struct udphdr { __be16 source; __be16 dest; __be16 len; __sum16 check; }
struct ns_common { struct dentry *stashed; unsigned int inum; refcount_t count; }
struct net { refcount_t passive; struct list_head list; struct user_namespace *user_ns;
  struct ns_common ns; u64 net_cookie; struct net_device *loopback_dev; }
struct mnt_namespace { struct ns_common ns; struct user_namespace *user_ns; }
struct uts_namespace { struct user_namespace *user_ns; struct ns_common ns; }
struct user_namespace { struct user_namespace *parent; int level; kuid_t owner; kgid_t group;
  struct ns_common ns; }
struct pid_namespace { unsigned int pid_allocated; unsigned int level;
  struct task_struct *child_reaper; struct pid_namespace *parent; struct ns_common ns; }
struct nsproxy { refcount_t count; struct uts_namespace *uts_ns; struct mnt_namespace *mnt_ns;
  struct pid_namespace *pid_ns_for_children; struct net *net_ns; }
struct upid { int nr; struct pid_namespace *ns; }
struct pid { refcount_t count; unsigned int level; struct upid numbers[1]; }
struct kernfs_node { struct kernfs_node *__parent; const char *name; u64 id; }
struct cgroup_subsys_state { struct cgroup *cgroup; struct cgroup_subsys_state *parent; int id;
  u64 serial_nr; }
struct cgroup { struct cgroup_subsys_state self; unsigned long flags; int level;
  struct kernfs_node *kn; struct cgroup *ancestors[1]; }
struct css_set { struct cgroup_subsys_state *subsys[14]; refcount_t refcount;
  struct cgroup *dfl_cgrp; }
struct cred { atomic64_t usage; kuid_t uid; kgid_t gid; kuid_t suid; kgid_t sgid; kuid_t euid;
  kgid_t egid; kuid_t fsuid; kgid_t fsgid; u64 cap_inheritable; u64 cap_permitted;
  u64 cap_effective; u64 cap_bset; u64 cap_ambient; struct user_namespace *user_ns; }
struct signal_struct { atomic_t live; int nr_threads; int group_exit_code; struct pid *pids[4];
  struct tty_struct *tty; int oom_score_adj; }
struct sched_entity { u64 exec_start; u64 sum_exec_runtime; u64 vruntime; }
struct mm_struct { unsigned long task_size; atomic_t mm_users; atomic_t mm_count; int map_count;
  unsigned long total_vm; unsigned long start_code; unsigned long end_code;
  unsigned long start_data; unsigned long end_data; unsigned long start_brk; unsigned long brk;
  unsigned long start_stack; unsigned long arg_start; unsigned long arg_end;
  unsigned long env_start; unsigned long env_end; struct file *exe_file; }
struct vm_area_struct { unsigned long vm_start; unsigned long vm_end; struct mm_struct *vm_mm;
  unsigned long vm_flags; unsigned long vm_pgoff; struct file *vm_file; }
struct task_struct { unsigned int __state; void *stack; refcount_t usage; unsigned int flags;
  unsigned int ptrace; int on_cpu; int on_rq; int prio; int static_prio; int normal_prio;
  unsigned int rt_priority; struct sched_entity se; unsigned int policy; int nr_cpus_allowed;
  cpumask_t cpus_mask; struct list_head tasks; struct mm_struct *mm; struct mm_struct *active_mm;
  int exit_state; int exit_code; int exit_signal; pid_t pid; pid_t tgid;
  struct task_struct *real_parent; struct task_struct *parent; struct list_head children;
  struct list_head sibling; struct task_struct *group_leader; struct pid *thread_pid; u64 utime;
  u64 stime; unsigned long nvcsw; unsigned long nivcsw; u64 start_time; u64 start_boottime;
  const struct cred *real_cred; const struct cred *cred; char comm[16]; struct fs_struct *fs;
  struct files_struct *files; struct nsproxy *nsproxy; struct signal_struct *signal;
  struct css_set *cgroups; unsigned int sessionid; kuid_t loginuid; }
struct qstr { u32 hash; u32 len; const unsigned char *name; }
struct dentry { unsigned int d_flags; struct dentry *d_parent; struct qstr d_name;
  struct inode *d_inode; unsigned char d_iname[40]; struct super_block *d_sb; }
struct vfsmount { struct dentry *mnt_root; struct super_block *mnt_sb; int mnt_flags; }
struct path { struct vfsmount *mnt; struct dentry *dentry; }
struct super_block { struct list_head s_list; dev_t s_dev; unsigned long s_blocksize;
  struct file_system_type *s_type; unsigned long s_flags; unsigned long s_magic;
  struct dentry *s_root; char s_id[32]; }
struct file_system_type { const char *name; int fs_flags; }
struct inode { umode_t i_mode; unsigned short i_opflags; kuid_t i_uid; kgid_t i_gid;
  unsigned int i_flags; struct super_block *i_sb; unsigned long i_ino; unsigned int i_nlink;
  dev_t i_rdev; loff_t i_size; u64 i_blocks; }
struct file { fmode_t f_mode; const struct file_operations *f_op; void *private_data;
  struct inode *f_inode; unsigned int f_flags; const struct cred *f_cred; struct path f_path;
  loff_t f_pos; }
struct fs_struct { int users; int umask; struct path root; struct path pwd; }
struct fdtable { unsigned int max_fds; struct file **fd; }
struct files_struct { atomic_t count; struct fdtable *fdt; }
struct linux_binprm { struct file *file; struct cred *cred; int argc; int envc;
  const char *filename; const char *interp; }
struct sock_common { __be32 skc_daddr; __be32 skc_rcv_saddr; unsigned int skc_hash;
  __be16 skc_dport; __u16 skc_num; unsigned short skc_family; unsigned char skc_state;
  unsigned char skc_reuse; int skc_bound_dev_if; possible_net_t skc_net;
  struct in6_addr skc_v6_daddr; struct in6_addr skc_v6_rcv_saddr; atomic64_t skc_cookie;
  refcount_t skc_refcnt; }
struct sock { struct sock_common __sk_common; int sk_rcvbuf; int sk_sndbuf; int sk_err;
  unsigned int sk_mark; unsigned int sk_priority; u16 sk_type; u16 sk_protocol;
  u32 sk_ack_backlog; u32 sk_max_ack_backlog; int sk_wmem_queued; unsigned long sk_flags;
  struct socket *sk_socket; void *sk_user_data; }
struct socket { socket_state state; short type; unsigned long flags; struct file *file;
  struct sock *sk; }
struct inet_sock { struct sock sk; __be32 inet_saddr; __be16 inet_sport; __u8 tos; int uc_index; }
struct inet_connection_sock { struct inet_sock icsk_inet; __u8 icsk_ca_state;
  __u8 icsk_retransmits; __u32 icsk_rto; }
struct tcp_sock { struct inet_connection_sock inet_conn; u32 rcv_nxt; u32 snd_nxt; u32 snd_una;
  u32 snd_cwnd; u32 snd_ssthresh; u32 srtt_us; u32 mdev_us; u32 rtt_min; u32 total_retrans;
  u32 packets_out; u32 lost_out; u32 segs_in; u32 segs_out; u64 bytes_received;
  u64 bytes_acked; u64 bytes_sent; }
struct udp_sock { struct inet_sock inet; int pending; }
struct net_device { unsigned long state; unsigned int flags; unsigned int mtu; char name[16];
  int ifindex; unsigned short type; unsigned char addr_len; unsigned char *dev_addr;
  netdev_features_t features; unsigned int num_rx_queues; unsigned int num_tx_queues;
  possible_net_t nd_net; }
struct sk_buff { struct sk_buff *next; struct sk_buff *prev; struct net_device *dev;
  struct sock *sk; ktime_t tstamp; char cb[48]; unsigned int len; unsigned int data_len;
  __u16 mac_len; __u16 hdr_len; __u16 queue_mapping; __u8 pkt_type; __u8 ip_summed;
  __wsum csum; __u32 priority; int skb_iif; __u32 hash; __be16 vlan_proto; __u16 vlan_tci;
  __u32 mark; __be16 inner_protocol; __u16 inner_transport_header; __u16 inner_network_header;
  __u16 inner_mac_header; __be16 protocol; __u16 transport_header; __u16 network_header;
  __u16 mac_header; unsigned int tail; unsigned int end; unsigned char *head;
  unsigned char *data; unsigned int truesize; refcount_t users; }
struct skb_shared_info { __u8 flags; __u8 nr_frags; unsigned short gso_size;
  unsigned short gso_segs; struct sk_buff *frag_list; unsigned int gso_type; }
struct xdp_rxq_info { struct net_device *dev; u32 queue_index; u32 reg_state; u32 frag_size; }
struct xdp_txq_info { struct net_device *dev; }
struct xdp_buff { void *data; void *data_end; void *data_meta; void *data_hard_start;
  struct xdp_rxq_info *rxq; struct xdp_txq_info *txq; u32 frame_sz; u32 flags; }
struct nf_hook_state { u8 hook; u8 pf; struct net_device *in; struct net_device *out;
  struct sock *sk; struct net *net; }
struct gendisk { int major; int first_minor; int minors; char disk_name[32]; }
struct block_device { sector_t bd_start_sect; struct gendisk *bd_disk; dev_t bd_dev; }
struct request { struct block_device *part; unsigned int cmd_flags; unsigned int __data_len;
  sector_t __sector; u64 start_time_ns; u64 io_start_time_ns; }
struct pt_regs { unsigned long r15; unsigned long r14; unsigned long r13; unsigned long r12;
  unsigned long bp; unsigned long bx; unsigned long r11; unsigned long r10; unsigned long r9;
  unsigned long r8; unsigned long ax; unsigned long cx; unsigned long dx; unsigned long si;
  unsigned long di; unsigned long orig_ax; unsigned long ip; unsigned long cs;
  unsigned long flags; unsigned long sp; unsigned long ss; }
struct user_pt_regs { __u64 regs[31]; __u64 sp; __u64 pc; __u64 pstate; }
struct trace_entry { unsigned short type; unsigned char flags; unsigned char preempt_count;
  int pid; }
struct trace_event_raw_sys_enter { struct trace_entry ent; long id; unsigned long args[6];
  char __data[0]; }
struct trace_event_raw_sys_exit { struct trace_entry ent; long id; long ret; char __data[0]; }
struct trace_event_raw_sched_switch { struct trace_entry ent; char prev_comm[16]; pid_t prev_pid;
  int prev_prio; long prev_state; char next_comm[16]; pid_t next_pid; int next_prio;
  char __data[0]; }
"""
#: of linux/bpf.h, beside those that a program's context is
UAPI = ("__sk_buff", "xdp_md", "bpf_sock", "bpf_sock_addr", "bpf_sock_ops", "sk_msg_md",
        "sk_reuseport_md", "bpf_sk_lookup", "bpf_sysctl", "bpf_sockopt", "bpf_cgroup_dev_ctx",
        "bpf_flow_keys", "bpf_perf_event_data", "bpf_raw_tracepoint_args", "bpf_tcp_sock",
        "bpf_sock_tuple", "bpf_tunnel_key", "bpf_xfrm_state", "bpf_fib_lookup",
        "bpf_redir_neigh", "bpf_pidns_info", "bpf_spin_lock", "bpf_timer", "bpf_wq", "bpf_dynptr",
        "bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node", "bpf_refcount",
        "bpf_nf_ctx", "bpf_iter_num", "bpf_cpumap_val", "bpf_devmap_val")
DEFINITION = re.compile(r"^(struct|union) (\w+) \{(.*?)\}$", re.M | re.S)
DECLARATION = re.compile(r"(.*?)(\**) ?(\w*)(?:\[(\d+)\])?")


@cache
def builtin() -> Btf:
    """The BTF built into this library; always the same object."""
    return Builtin().build()


class Builtin:
    """Makes the types; an id stands for a type before it is described."""

    def __init__(self) -> None:
        self.types: list[t.Type | None] = []
        self.ids: dict[tuple[object, ...], int] = {}
        self.texts = {f"{kind} {name}": body for kind, name, body in DEFINITION.findall(STRUCTS)}
        self.wanted: deque[str] = deque()

    def build(self) -> Btf:
        for name, pattern in ENUMS.items():
            self.enum(name, {n: v for n, v in vars(uapi).items() if re.fullmatch(pattern, n)})
        for name, values in CONSTANTS.items():
            self.enum(name, {n: i for i, n in enumerate(values)})
        for name in (*INTS, *TYPEDEFS, *self.texts, *(f"struct {n}" for n in UAPI)):
            self.base(name)
        while self.wanted:
            self.complete(self.wanted.popleft())
        made = BtfBuilder()
        made.add_all(one for one in self.types if one is not None)
        return made.build()

    def put(self, key: tuple[object, ...], made: t.Type | None) -> int:
        """The id of the type called `key`, added unless it is there."""
        if key not in self.ids:
            self.types.append(made)
            self.ids[key] = len(self.types)
        return self.ids[key]

    def enum(self, name: str, values: dict[str, int]) -> None:
        rows = tuple(t.EnumValue(n, v) for n, v in values.items())
        wide = any(v > uapi.U32 for v in values.values())
        signed = any(v < 0 for v in values.values())
        made = t.Enum64(name, 8, rows, signed) if wide else t.Enum(name, 4, rows, signed)
        self.put((f"enum {name}",), made)

    # -- types as C writes them

    def base(self, name: str) -> int:
        """The id of a type that is one or more words; a struct is described later."""
        if (name,) in self.ids or name == "void":
            return self.ids.get((name,), 0)
        if name.startswith("const "):
            return self.put((name,), t.Const(self.base(name.removeprefix("const "))))
        if name in INTS:
            size, encoding = INTS[name]
            return self.put((name,), t.Int(name, size, encoding=encoding))
        if name in TYPEDEFS:
            return self.put((name,), t.Typedef(name, self.base(TYPEDEFS[name])))
        kind, _, tag = name.partition(" ")
        if name not in self.texts and tag not in UAPI:
            return self.put((name,), t.Fwd(tag, kind == "union"))
        self.wanted.append(name)
        return self.put((name,), None)

    def declared(self, text: str) -> tuple[str, int]:
        """(name, type) of a member's declaration: words, stars, name, number of elements."""
        found = DECLARATION.fullmatch(text.strip())
        assert found is not None, text
        words, stars, name, number = found.groups()
        made = self.base(words.strip())
        for _ in stars:
            made = self.put(("*", made), t.Ptr(made))
        return name, made if number is None else self.array(made, int(number))

    def array(self, made: int, number: int) -> int:
        return self.put((made, number), t.Array(made, self.base("int"), number))

    def layout(self, type_id: int) -> tuple[int, int]:
        """(size, alignment) of a type, which is described first if it was not yet."""
        made = self.types[type_id - 1]
        if made is None:
            self.complete(next(k[0] for k, v in self.ids.items() if v == type_id))
            made = self.types[type_id - 1]
        if isinstance(made, t.Array):
            size, align = self.layout(made.type)
            return size * made.nelems, align
        if isinstance(made, t.Typedef | t.Const):
            return self.layout(made.type)
        if isinstance(made, t.Composite):
            return made.size, max((self.layout(m.type)[1] for m in made.members), default=1)
        size = made.size if isinstance(made, t.Int | t.AnyEnum) else POINTER
        return size, size

    # -- structs

    def complete(self, name: object) -> None:
        """Describe a struct or union."""
        at = self.ids[(name,)] - 1
        if self.types[at] is not None:
            return
        kind, _, tag = str(name).partition(" ")
        if str(name) in self.texts:
            self.types[at] = self.natural(kind, tag, self.texts[str(name)])
        else:
            self.types[at] = self.fixed(tag)

    def natural(self, kind: str, tag: str, body: str) -> t.Type:
        """Members one behind the other, each aligned."""
        end, largest, members = 0, 1, []
        for text in body.split(";")[:-1]:
            name, made = self.declared(" ".join(text.split()))
            size, align = self.layout(made)
            start = 0 if kind == "union" else _up(end, align)
            members.append(t.Member(name, made, 8 * start))
            end, largest = max(end, start + size), max(largest, align)
        cls = t.Union if kind == "union" else t.Struct
        return cls(tag, _up(end, largest), tuple(members))

    def fixed(self, tag: str) -> t.Type:
        """A struct of linux/bpf.h, whose offsets are known."""
        known = uapi_structs.STRUCTS[tag]
        return t.Struct(tag, known.size, self.placed(list(known.members), 0))

    def placed(self, members: list[Member], start: int) -> tuple[t.Member, ...]:
        """Members from byte `start`; those that overlap share an anonymous union."""
        out: list[t.Member] = []
        groups: list[tuple[int, list[tuple[str, int, int]]]] = []
        for name, made, at in sorted(self.flat(members), key=lambda row: row[2]):
            end = at + self.layout(made)[0]
            if groups and at < groups[-1][0]:
                groups[-1] = max(groups[-1][0], end), [*groups[-1][1], (name, made, at)]
            else:
                groups.append((end, [(name, made, at)]))
        for _, rows in groups:
            first = rows[0][2]
            if len(rows) == 1:
                out.append(t.Member(rows[0][0], rows[0][1], 8 * (first - start)))
            else:
                out.append(t.Member("", self.union(rows, first), 8 * (first - start)))
        return tuple(out)

    def flat(self, members: list[Member]) -> list[tuple[str, int, int]]:
        """(name, type, offset); `a.x` and `a.y` become one member `a`, a struct of x and y."""
        inner: dict[str, list[Member]] = {}
        out = []
        for one in members:
            head, dot, rest = one.name.partition(".")
            if dot:
                inner.setdefault(head, []).append(one._replace(name=rest))
            elif not one.bits:
                out.append((one.name, self.declared(_declaration(one.type))[1], one.offset))
        for name, rows in inner.items():
            out.append((name, self.struct(rows), min(r.offset for r in rows)))
        return out

    def struct(self, rows: list[Member]) -> int:
        start = min(r.offset for r in rows)
        members = self.placed(rows, start)
        size = max(m.bit_offset // 8 + self.layout(m.type)[0] for m in members)
        return self.put(("struct", *members), t.Struct("", size, members))

    def union(self, rows: list[tuple[str, int, int]], start: int) -> int:
        """Chains of members that do not overlap, each an alternative."""
        chains: list[list[tuple[str, int, int]]] = []
        for row in rows:
            free = (c for c in chains if c[-1][2] + self.layout(c[-1][1])[0] <= row[2])
            chain = next(free, None)
            if chain is None:
                chains.append([row])
            else:
                chain.append(row)
        members = tuple(self.alternative(chain, start) for chain in chains)
        size = max(self.layout(m.type)[0] for m in members)
        return self.put(("union", *members), t.Union("", size, members))

    def alternative(self, chain: list[tuple[str, int, int]], start: int) -> t.Member:
        if len(chain) == 1 and chain[0][2] == start:
            return t.Member(chain[0][0], chain[0][1], 0)
        members = tuple(t.Member(name, made, 8 * (at - start)) for name, made, at in chain)
        size = max(at - start + self.layout(made)[0] for _, made, at in chain)
        return t.Member("", self.put(("struct", *members), t.Struct("", size, members)), 0)


def _declaration(text: str) -> str:
    """`__u32[5]` with a name where C wants it."""
    head, bracket, rest = text.partition("[")
    return f"{head} x{bracket}{rest}"


def _up(offset: int, step: int) -> int:
    return -(-offset // step) * step
