# `make lab` to play, `make test` to check, `make help` for the rest.
PYTHON    ?= python3
VENV      ?= .venv
IP        ?= 127.0.0.1
PORT      ?= 8888
LAB_DIR   ?= lab
LAB_FLAGS ?=
WORKERS   ?= 2
INSTALL   ?= $(PYTHON) tools/install.py "$(VENV)"
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

# Tests stay on this machine: whatever asks the network gets no answer, at once. One thread for each worker.
DEAD    := http://127.0.0.1:9
QUIETLY := http_proxy=$(DEAD) https_proxy=$(DEAD) HTTP_PROXY=$(DEAD) HTTPS_PROXY=$(DEAD) \
           no_proxy=localhost,127.0.0.1 NO_PROXY=localhost,127.0.0.1 OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help lab test demo prepare bench env-lab env-dev

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/'
	@echo
	@echo "Settings: PYTHON=$(PYTHON) IP=$(IP) PORT=$(PORT), as in \`make lab IP=0.0.0.0 PORT=9000\`."
	@echo "Without a GPU, smaller: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make lab"

lab: env-lab  ## JupyterLab on your own copy of the lab's notebook (lab/lab.ipynb)
	@$(BIN)/python tools/lab.py "$(LAB_DIR)" "$(IP)" "$(PORT)" $(LAB_FLAGS)

test: env-dev  ## everything that can be checked here: ruff, the notebooks, pytest
	$(BIN)/ruff check .
	@$(QUIETLY) $(BIN)/nbdev_test --n_workers $(WORKERS) --timing
	@$(QUIETLY) $(BIN)/python -m pytest

demo: env-lab  ## robust against plain training under 80% wrong labels: a table and a page, no download
	@$(BIN)/noisylab demo

bench: env-lab  ## what each part is worth beside what one would otherwise write; each ends with its ratios
	@set -e; for f in parity augment pipeline step tsne track lab; do echo "== $$f"; $(BIN)/python "benchmarks/$$f.py"; done

prepare: env-dev  ## before a commit: export the notebooks, test and clean them, make README.md
	@$(BIN)/nbdev_export
	@$(QUIETLY) $(BIN)/nbdev_test --n_workers $(WORKERS)
	@$(BIN)/python tools/clean.py
	@$(BIN)/python tools/readme.py

env-lab env-dev: env-%:  ## what the targets above need, in .venv
	@$(INSTALL) $*
	@mkdir -p "$(JUPYTER_HOME)"
