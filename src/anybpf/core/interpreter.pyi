from anybpf.core.prog import Prog
from anybpf.core.run_ctx import RunCtx

DEFAULT_BUDGET: int

def run(prog: Prog, run: RunCtx, ctx_address: int, *, checked: bool = True,
        budget: int = ..., r2: int = 0) -> int: ...
