# Two commands for a newcomer: `make demo` and `make test`. Everything happens in .venv.

PYTHON ?= python3
BIN := .venv/bin
DEVICE ?= cpu
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
SOAK ?= 10
RELIABILITY := tests/training/test_crash.py tests/training/test_faults.py tests/training/test_checkpoint.py \
	tests/training/test_ranks.py tests/test_hostile_files.py tests/test_fuzz.py
BROWSER ?= browser
QUICK := not slow and not gpu and not browser


# What stands for other processors: the oldest, one with AVX2 alone as AMD's, and a pass on several threads. Threads that
# wait do not spin, for there are more of them than cores. torch.compile's cache does not distinguish them.
PROCESSORS := \
	"ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Prescott" \
	"ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2 OPENBLAS_CORETYPE=Haswell" \
	"OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE" "OMP_NUM_THREADS=4 OMP_WAIT_POLICY=PASSIVE"


.PHONY: demo test test-all test-processors test-browser soak check format lint types bench bench-page docs clean

demo: .venv/installed  ## train InfoGAN on the bundled digits and name the pictures
	$(BIN)/gan-zoo train infogan

test: .venv/developing  ## the quick tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "$(QUICK)"

test-all: .venv/developing  ## every test that this machine can run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not gpu and not browser"

test-processors: .venv/developing  ## the quick tests, rounding as other processors do: four times as long
	@failed=0; for processor in $(PROCESSORS); do echo "$$processor"; cache=$$(mktemp -d); \
		env OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$$cache $$processor \
			$(BIN)/python -m pytest -n auto --dist worksteal -m "$(QUICK)" || failed=1; \
		rm -rf $$cache; \
	done; exit $$failed

test-browser: .venv/developing  ## the page of `gan-zoo explore` in Chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "$(BROWSER)" -rP tests/explore

soak: .venv/developing  ## the tests of reliability with ten times the cases: 20 minutes
	OMP_NUM_THREADS=1 GAN_ZOO_SOAK=$(SOAK) $(BIN)/python -m pytest -n auto -rP -m "not slow and not gpu" $(RELIABILITY)

check: format lint types test  ## what CI runs

format: .venv/developing
	$(BIN)/ruff format --check .

lint: .venv/developing
	$(BIN)/ruff check .

types: .venv/developing
	$(BIN)/mypy

bench: .venv/developing  ## measure this machine, then write benchmarks/README.md
	$(BIN)/gan-zoo bench step --out benchmarks/results/step-$(DEVICE).json
	$(BIN)/gan-zoo bench kernels --out benchmarks/results/kernels-$(DEVICE).json
	$(BIN)/python benchmarks/baselines.py --out benchmarks/results/baselines-$(DEVICE).json
	$(BIN)/python benchmarks/whole_run.py --out benchmarks/results/run-$(DEVICE).json
	$(BIN)/python benchmarks/profile_step.py --out benchmarks/results/profile-$(DEVICE).json
	$(MAKE) bench-page

bench-page: .venv/developing  ## write benchmarks/README.md from benchmarks/results/
	$(BIN)/python benchmarks/render.py

docs: .venv/developing  ## the site, in build/site
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gan-zoo needs Python 3.11 or newer; name one by: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/developing: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/installed
