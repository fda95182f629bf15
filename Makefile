# make demo   the whole chain on the sample world: text in, mixture, model, scores and report out
# make test   all tests, JOBS=3 processes: on two cores too, for many of them wait
# make lint   ruff and mypy
# make torture  every verb killed, starved of disk, run twice at once ..., then the same command: MINUTES=10, SEED=
# make bench  the benchmarks       make size   how large the house is, room by room
# make docs   the guides as a site in site/, to be read and searched without a network
# make clean  takes away everything that the others made
#
# The first call makes a virtual environment in .venv; nothing outside this folder but pip's cache is touched.
# PYTHON=/path/to/python3.11 and PIP_FLAGS='--index-url …' are honoured.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
JOBS ?= 3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
NEED_MB := 6500
ROOMS := haigo neox_configs preprocess mixer launch eval_harness examples benchmarks

export OMP_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE := 1
export HF_HOME := $(CURDIR)/.cache/huggingface
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export XDG_CACHE_HOME := $(CURDIR)/.cache
# every test process would compile the tests anew, and every command that they start the house
unexport PYTHONDONTWRITEBYTECODE

SEED ?=
MINUTES ?= 10

.PHONY: demo test test-fast torture lint bench size docs clean
demo: $(READY)
	$(RUN) -m launch.pipeline examples/mini.yml

test: $(READY)
	@mkdir -p .cache
	$(RUN) -m pytest --basetemp .cache/pytest -n $(JOBS)

test-fast: $(READY)
	@mkdir -p .cache
	$(RUN) -m pytest --basetemp .cache/pytest -n $(JOBS) -m "not slow"

torture: $(READY)
	$(RUN) tests/torture.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy $(ROOMS)

bench: $(READY)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(RUN) $$script || exit $$?; done

size: $(READY)
	$(RUN) benchmarks/house_size.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "read it at http://127.0.0.1:8000: $(RUN) -m http.server 8000 --bind 127.0.0.1 --directory site"

# pip's own cache stays where pip keeps it: XDG_CACHE_HOME is for what the project's packages write
$(READY): setup.cfg constraints.txt
	@test -n "$(PYTHON)" || { echo "haigo: there is no python3 on this machine: install Python 3.11 or name it with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "haigo: $(PYTHON) is older than 3.11: name another with make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "haigo: $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)"; exit 2; }
	@test "$$(df -Pm . | awk 'NR == 2 {print $$4}')" -ge $(NEED_MB) || { echo "haigo: the packages need $(NEED_MB) MB of disk and less is free here: free some space"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	env -u XDG_CACHE_HOME $(VENV)/bin/pip install -q $(PIP_FLAGS) -c constraints.txt -e '.[dev,ja,data,cluster]'
	@touch $@

clean:
	rm -rf $(VENV) .cache runs site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
