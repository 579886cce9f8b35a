# Every goal makes its own .venv first; `make demo` and `make test` are all there is to set up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed

.PHONY: install demo test test-portable check bench docs man wheel clean

install: $(DONE)

# Every file is checked against its SHA-256; torch is a CPU build where pip finds one. What a CUDA build asks for comes last.
$(DONE): pyproject.toml constraints.txt requirements.lock torch-cpu.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r torch-cpu.lock 2>/dev/null || echo 'torch: no CPU build at hand, the index has another'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@

demo: $(DONE)
	rm -rf runs/demo
	$(BIN)/meden demo --out runs/demo

test: $(DONE)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The suite twice more, by the code that torch, oneDNN, MKL and OpenBLAS choose on processors without AVX-512, and without AVX.
test-portable: $(DONE)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell $(MAKE) test
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem $(MAKE) test

check: $(DONE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(DONE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for file in benchmarks/*.py; do echo "$(BIN)/python $$file  # $$(sed -n '1s/"//gp' $$file)"; done

# The site, in site/: it opens without a network or a server. Its tools are in no other goal's environment.
docs: $(DONE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m pytest tests/test_docs.py tests/test_site.py

man: $(DONE)
	$(BIN)/python tools/command_pages.py

# What is released: its files and their order depend on the sources alone, not on the clock or the folder.
wheel: $(DONE)
	$(BIN)/python tools/command_pages.py --check
	$(BIN)/python -m hatchling build -d dist
	cd dist && sha256sum meden-*
	@test -z "$$(git status --porcelain 2>/dev/null)" || echo 'not to be released: what was built differs from what is committed (git status)'

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache site
