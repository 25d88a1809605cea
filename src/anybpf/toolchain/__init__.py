"""C sources to BPF objects: compiler, headers, vmlinux.h (tools/testing/selftests/bpf/Makefile)."""

from __future__ import annotations

from anybpf.toolchain.compile import (
    CompileError,
    Compiler,
    compile_file,
    find_compiler,
    is_source,
    object_bytes,
)

__all__ = ["CompileError", "Compiler", "compile_file", "find_compiler", "is_source",
           "object_bytes"]
