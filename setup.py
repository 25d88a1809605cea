"""Native build: every .pyx, and every .py that has a .pxd beside it, becomes an extension module.

`ANYBPF_NO_EXT=1` leaves the .py modules interpreted; only the .pyx runtime is compiled then.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SRC = Path("src")
#: modules whose header is all of their C side: they are cimported, never compiled
HEADER_ONLY = {"uapi", "bits", "numbers", "consts", "kinds"}
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
    "freethreading_compatible": False,
}
#: what is .py too must do the same in both forms: negative indices, errors, rounding of divisions
TWIN_DIRECTIVES = {"boundscheck": True, "wraparound": True, "cdivision": False}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts)


def sources() -> list[Path]:
    """The .pyx files, and (unless ANYBPF_NO_EXT=1) the .py files with a header of their own."""
    found = sorted(SRC.rglob("*.pyx"))
    if os.environ.get("ANYBPF_NO_EXT") != "1":
        twins = (p.with_suffix(".py") for p in sorted(SRC.rglob("*.pxd")))
        found += [p for p in twins if p.exists() and p.stem not in HEADER_ONLY]
    return found


def extensions() -> list[Extension]:
    from Cython.Build import cythonize

    # those under include/ are for BPF programs
    headers = [str(p) for p in SRC.rglob("*.h") if SRC / "anybpf" / "include" not in p.parents]
    modules = [
        Extension(module_name(p), [str(p)], include_dirs=[str(SRC)], depends=headers,
                  extra_compile_args=["-O2", "-g0", "-fno-strict-aliasing", "-fwrapv",
                                      "-Wno-unused-function"])
        for p in sources()
    ]
    made = []
    for directives in (DIRECTIVES, DIRECTIVES | TWIN_DIRECTIVES):
        chosen = [m for m in modules if is_twin(m) == (directives is not DIRECTIVES)]
        made += cythonize(chosen, nthreads=os.cpu_count() or 1, build_dir="build/cython",
                          compiler_directives=directives, quiet=True)
    return made


def is_twin(module: Extension) -> bool:
    """A .py that is Python too."""
    return module.sources[0].endswith(".py")


class ParallelBuildExt(build_ext):
    """Compile modules side by side; setuptools compiles one after another by default.

    Builds into the source tree share one folder of results, so that an editable install after
    `build_ext --inplace` finds everything done.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        if self.inplace or self.editable_mode:
            self.build_lib, self.build_temp = "build/inplace/lib", "build/inplace/temp"


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuildExt})
