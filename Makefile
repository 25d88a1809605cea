# make demo and make test each do everything on a fresh machine: environment, build, run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# programs by other people, and the tools that judge us: tests that need them skip without
DEBIAN := libxdp1 ir-keytable libbpf-tools bpftool clang-19 llvm-19

# tested compiled and as it is
VERIFIER := tests/unit/verifier tests/verifier tests/property/test_verifier_ranges.py

.PHONY: build test test-kernel test-guest compare-selftests demo lint bench fuzz fuzz-btf fuzz-verifier \
	debian clean

$(VENV)/.deps: pyproject.toml tools/install_deps.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install_deps.py
	touch $@

build: $(VENV)/.deps
	$(BIN)/python setup.py -q build_ext --inplace
	@test -x $(BIN)/anybpf || $(BIN)/python -m pip install -q --disable-pip-version-check \
		--no-deps --no-build-isolation -e .

lint: $(VENV)/.deps
	$(BIN)/ruff check .
	$(BIN)/mypy

test: build lint
	$(BIN)/python -m pytest -n 2 -q
	ANYBPF_UNCOMPILED=1 $(BIN)/python -m pytest -n 2 -q -m "not kernel" $(VERIFIER)

# only the comparisons with the running kernel's bpf(2)
test-kernel: build
	$(BIN)/python -m pytest -n 2 -q tests/kernel

# comparisons with Debian's 6.18 in a guest (docs/guest.md), one guest, so one process
GUEST_TESTS := tests/verifier tests/kernel/test_guest.py tests/kernel/test_verifier_objects.py \
	tests/kernel/test_helper_availability.py \
	tests/kernel/test_kfunc_rows.py tests/kernel/test_prog_rows.py tests/kernel/test_map_rows.py \
	tests/kernel/test_helper_arguments.py tests/kernel/test_helper_effects.py \
	tests/kernel/test_test_run.py tests/kernel/test_attachment.py
test-guest: build
	$(BIN)/python -m pytest -q --kernel guest -m kernel $(GUEST_TESTS)

# the kernel's own selftests before both verifiers; ANYBPF_KERNEL_SOURCES names kernel trees
compare-selftests: build
	PYTHONPATH=tests:tools $(BIN)/python -m kernel.compare_selftests docs/selftests.md

demo: build
	@$(BIN)/python demo/demo.py

bench: build
	@for b in bench/*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

# the property tests with many more examples than `make test` takes time for
fuzz: build
	ANYBPF_FUZZ=20 $(BIN)/python -m pytest -n 2 -q tests/property

debian:
	apt-get update -q
	apt-get install -q -y --no-install-recommends $(DEBIAN)

# fuzzes for a minute (SECONDS=n: longer), guided by coverage if atheris is installed
fuzz-btf: build
	$(BIN)/python tools/fuzz_btf.py $(or $(SECONDS),60)

# made-up programs before the running kernel's verifier and ours, for a minute (SECONDS=n: longer);
# what differs is shrunk and written to fuzz-verifier/. FUZZ=--typed: objects, locks, typed pointers;
# FUZZ=--cases: changed case files; FUZZ=--real: changed programs of packages
fuzz-verifier: build
	cd tests && PYTHONPATH=.:../tools $(abspath $(BIN))/python -m kernel.fuzz \
		--seconds $(or $(SECONDS),60) --out ../fuzz-verifier $(FUZZ)

clean:
	rm -rf build $(VENV)
	find src -name '*.so' -delete
