"""A C compiler that makes BPF objects (tools/testing/selftests/bpf/Makefile)."""

from __future__ import annotations

from anybpf.toolchain.compile import CompileError, Compiler, compile_file, find_compiler

__all__ = ["CompileError", "Compiler", "compile_file", "find_compiler"]
