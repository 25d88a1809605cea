"""Which registers an instruction's past still matters to (compute_live_registers, verifier.c).

in(i)  = use(i) | out(i) & ~def(i)
out(i) = the union of in(s) over the successors s of i
"""

from __future__ import annotations

from collections.abc import Callable

from anybpf import uapi
from anybpf.isa.insn import Insn, is_call, is_helper_call, is_ld_imm64, slots
from anybpf.isa.opcodes import MAY_GOTO
from anybpf.proto.helpers import BY_ID
from anybpf.verifier.cfg import successors
from anybpf.verifier.env import Env
from anybpf.verifier.kfuncs import of

UseDef = tuple[int, int]

CALLER_SAVED = 0b111111
R0 = 1
ARGUMENTS = CALLER_SAVED & ~R0
EVERYTHING = 0xFFFF
PRINTED = 10


def _alu(insn: Insn) -> UseDef:
    dst, src = 1 << insn.dst, 1 << insn.src if insn.uses_reg else 0
    if insn.op == uapi.BPF_MOV:
        return src, dst
    return (dst if insn.op == uapi.BPF_END else dst | src), dst


def _ld(insn: Insn) -> UseDef:
    return (0, 1 << insn.dst) if is_ld_imm64(insn) else (EVERYTHING, 0)


def _ldx(insn: Insn) -> UseDef:
    return 1 << insn.src, 1 << insn.dst


def _st(insn: Insn) -> UseDef:
    return 1 << insn.dst, 0


def _stx(insn: Insn) -> UseDef:
    both = 1 << insn.dst | 1 << insn.src
    if insn.mode != uapi.BPF_ATOMIC:
        return both, 0
    if insn.imm == uapi.BPF_CMPXCHG:
        return both | R0, R0
    if insn.imm == uapi.BPF_LOAD_ACQ:
        return _ldx(insn)
    return both, 1 << insn.src if insn.imm & uapi.BPF_FETCH and insn.imm != uapi.BPF_STORE_REL \
        else 0


def _jmp(insn: Insn) -> UseDef:
    if insn.op == uapi.BPF_JA or insn.code == MAY_GOTO:
        return 0, 0
    if insn.op == uapi.BPF_EXIT:
        return R0, 0
    if insn.op == uapi.BPF_CALL:
        return ARGUMENTS, CALLER_SAVED
    return 1 << insn.dst | (1 << insn.src if insn.uses_reg else 0), 0


def _call_uses(env: Env, insn: Insn) -> int:
    """The arguments of a helper that this program may call; all of them of any other call."""
    row = None
    kfunc = of(env, insn)
    if kfunc is not None:
        return ((1 << len(kfunc.params)) - 1) << 1
    if is_helper_call(insn) and insn.imm in BY_ID:
        row = env.helper(insn.imm)
    return ((1 << len(row.args)) - 1) << 1 if row is not None else ARGUMENTS


_RULES: dict[int, Callable[[Insn], UseDef]] = {
    uapi.BPF_ALU: _alu, uapi.BPF_ALU64: _alu, uapi.BPF_LD: _ld, uapi.BPF_LDX: _ldx,
    uapi.BPF_ST: _st, uapi.BPF_STX: _stx, uapi.BPF_JMP: _jmp, uapi.BPF_JMP32: _jmp,
}


def _rule(env: Env, insn: Insn) -> UseDef:
    use, define = _RULES[insn.cls](insn)
    return (_call_uses(env, insn) if is_call(insn) else use), define


def registers(env: Env) -> None:
    """Fill `aux.live_before`."""
    rules = {i: _rule(env, insn) for i, insn in slots(env.insns)}
    after = {i: successors(env.insns, i) for i in rules}
    before = dict.fromkeys(rules, 0)
    changed = True
    while changed:
        changed = False
        for subprog in env.subprogs:
            for idx in subprog.postorder:
                out = 0
                for following in after[idx]:
                    out |= before[following]
                use, define = rules[idx]
                new = out & ~define | use
                if new != before[idx]:
                    before[idx] = new
                    changed = True
    for idx, live in before.items():
        env.aux[idx].live_before = live
    if env.log.detailed:
        _print(env)


def _print(env: Env) -> None:
    env.log.write("Live regs before insn:\n")
    for idx, _ in slots(env.insns):
        aux = env.aux[idx]
        loop = f"{aux.scc:3} " if aux.scc else "    "
        live = "".join(str(r) if aux.live_before >> r & 1 else "." for r in range(PRINTED))
        env.log.write(f"{loop}{idx:3}: {live} {env.text_of(idx)}\n")
