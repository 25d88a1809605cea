# The C side of fastcall.py: what every access of the stack asks.
import cython

from anybpf.verifier.env cimport Aux, Env, Subprog
from anybpf.verifier.state cimport Frame

@cython.locals(subprog=Subprog, aux=Aux, idx=cython.int)
cpdef check_contract(Env env, Frame frame, long long off)
