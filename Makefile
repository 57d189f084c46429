# `make lab` to play, `make test` to check, `make help` for the rest.
PYTHON    ?= python3
VENV      ?= .venv
IP        ?= 127.0.0.1
PORT      ?= 8888
LAB_DIR   ?= lab
LAB_FLAGS ?=
WORKERS   ?= 2
INSTALL   ?= $(PYTHON) tools/install.py "$(VENV)"
OLDEST    ?= python3.10
FLOORS    ?= .venv-floors
BIN       := "$(VENV)"/bin

# Jupyter and IPython write here: a home that cannot be written does not matter, nor what is in it.
JUPYTER_HOME ?= $(CURDIR)/.jupyter
export JUPYTER_CONFIG_DIR        := $(JUPYTER_HOME)/config
export JUPYTER_DATA_DIR          := $(JUPYTER_HOME)/data
export JUPYTER_RUNTIME_DIR       := $(JUPYTER_HOME)/runtime
export JUPYTERLAB_SETTINGS_DIR   := $(JUPYTER_HOME)/settings
export JUPYTERLAB_WORKSPACES_DIR := $(JUPYTER_HOME)/workspaces
export IPYTHONDIR                := $(JUPYTER_HOME)/ipython
# Threads that wait must not burn the core that another one needs: up to 15 times faster on shared cores.
export OMP_WAIT_POLICY           := passive

# Tests stay on this machine: whatever asks the network gets no answer, at once.
DEAD    := http://127.0.0.1:9
QUIETLY := http_proxy=$(DEAD) https_proxy=$(DEAD) HTTP_PROXY=$(DEAD) HTTPS_PROXY=$(DEAD) \
           no_proxy=localhost,127.0.0.1 NO_PROXY=localhost,127.0.0.1
# What another machine would do: each precision that `auto` may mean (nbs/05_training/01_environment), one thread and two.
# The second time only what trains: notebooks from 05_training on, tests that are not marked `once`, no browser.
# Tutorials are run by tests/test_tutorials.py, which also checks what comes out.
MODULES := --skip_folder_re '^([_.]|tutorials)'
FP32    := NOISYLAB_PRECISION=fp32 OMP_NUM_THREADS=1
BF16    := NOISYLAB_PRECISION=bf16 OMP_NUM_THREADS=2

.DEFAULT_GOAL := help
.PHONY: help lab test test-once test-bf16 test-floors demo prepare bench docs env-lab env-dev

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/'
	@echo
	@echo "Settings: PYTHON=$(PYTHON) IP=$(IP) PORT=$(PORT), as in \`make lab IP=0.0.0.0 PORT=9000\`."
	@echo "Without a GPU, smaller: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make lab"

lab: env-lab  ## JupyterLab on your own copy of the lab's notebook (lab/lab.ipynb)
	@$(BIN)/python tools/lab.py "$(LAB_DIR)" "$(IP)" "$(PORT)" $(LAB_FLAGS)

test: test-once test-bf16  ## everything that can be checked here: ruff, the notebooks, pytest; what trains in fp32 and in bf16

test-once: env-dev
	$(BIN)/ruff check .
	@$(QUIETLY) $(FP32) $(BIN)/nbdev_test $(MODULES) --n_workers $(WORKERS) --timing
	@$(QUIETLY) $(FP32) $(BIN)/python -m pytest

test-bf16: env-dev
	@$(QUIETLY) $(BF16) $(BIN)/nbdev_test --n_workers 1 --timing --skip_folder_re '^([_.]|tutorials|0[1-4]_)'
	@$(QUIETLY) $(BF16) $(BIN)/python -m pytest -m 'not once and not browser'

# An environment of its own, with the lower bounds of settings.ini.
test-floors:  ## notebooks and pytest with the oldest Python and the oldest packages that are allowed, if there is a python3.10
	@command -v "$(OLDEST)" >/dev/null || { echo "no $(OLDEST) here; name one: make test-floors OLDEST=/path/to/python3.10"; exit 1; }
	@"$(OLDEST)" tools/install.py "$(FLOORS)" dev oldest
	@$(QUIETLY) $(FP32) "$(FLOORS)"/bin/nbdev_test $(MODULES) --n_workers $(WORKERS)
	@$(QUIETLY) $(FP32) "$(FLOORS)"/bin/python -m pytest -m 'not browser'

demo: env-lab  ## robust against plain training under 80% wrong labels: a table and a page, no download
	@$(BIN)/noisylab demo

bench: env-lab  ## what each part is worth beside what one would otherwise write; each ends with its ratios
	@set -e; for f in parity augment pipeline step tsne track lab; do echo "== $$f"; $(BIN)/python "benchmarks/$$f.py"; done

prepare: env-dev  ## before a commit: export the notebooks, test and clean them, make README.md
	@$(BIN)/nbdev_export
	@$(QUIETLY) $(FP32) $(BIN)/nbdev_test --n_workers $(WORKERS)
	@$(BIN)/python tools/clean.py
	@$(BIN)/python tools/readme.py

docs: env-dev  ## the site, from the notebooks, the package and results/, into _docs; needs no network and no server
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q -f tools/site/mkdocs.yml
	@echo "open _docs/index.html"

env-lab env-dev: env-%:  ## what the targets above need, in .venv
	@$(INSTALL) $*
	@mkdir -p "$(JUPYTER_HOME)"
