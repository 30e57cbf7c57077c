# The verbs of this repository. Each does its own set-up first, so any of them can be the first command on a fresh clone.
# GNU make 3.81 (macOS) is enough. The work itself is done by the small scripts in tools/.

.PHONY: help book test notebooks chapter lint links serve lab bench torch clean
.DEFAULT_GOAL := help

ifeq ($(OS),Windows_NT)
PY := .venv/Scripts/python.exe
else
PY := .venv/bin/python
endif

# PYTHON makes .venv: the first that is new enough, your own python3 before others. Then .venv's own Python does all the rest.
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for p in $(PY) python3 python python3.13 python3.12 python3.11; do \
	$$p -c '$(ENOUGH)' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo none)
endif
# One sentence when it will not do, before anything is written.
define enough
	@[ '$(PYTHON)' != none ] || { echo 'Define by Run needs Python 3.11 or newer, and there is none here:' \
	'install one, or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@'$(PYTHON)' -c '$(ENOUGH)' 2>/dev/null || { found=$$('$(PYTHON)' --version 2>&1 | head -n 1); \
	echo "Define by Run needs Python 3.11 or newer, and $(PYTHON) is $${found:-no Python}:" \
	"name a newer one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
endef

WORKERS ?= logical
ONLY ?=
ALL ?=
MEASURE ?=
SAVE ?=
PORT ?= 8000

# What the book is made of. The folders themselves (as folder/.) are newer when a file in them is gone.
FOLDERS := chapters notebooks bench _static _ext _assets _templates
PAGES := _config.yml _toc.yml index.md references.bib \
	$(wildcard $(addsuffix /.,$(FOLDERS))) \
	$(shell find $(FOLDERS) -type f -not -name '*.pyc' -not -path '*/.*' -not -name '*.partial' 2>/dev/null)

help:
	@echo 'make book        build the book into _build/html (sets up .venv; no torch, about a minute the first time)'
	@echo 'make test        run every test (sets up all of .venv, a few minutes the first time)'
	@echo 'make notebooks   execute the chapters that changed; ALL=1 all of them; ONLY=01-your-first-graph one'
	@echo 'make chapter     take an edit made in Jupyter back: NOTEBOOK=notebooks/01-your-first-graph.ipynb'
	@echo 'make serve       show the book on this machine: PORT=8000'
	@echo 'make lab         open the notebooks in JupyterLab'
	@echo 'make lint        check the style of all code; FIX=1 puts right what it can'
	@echo 'make links       check that the links to other places still lead somewhere (needs the network)'
	@echo 'make bench       measure the recorder and the drawers; SAVE=1 puts the result into the book'
	@echo 'make torch       run the tests of the package with another PyTorch: VERSION=2.14.1 (several GB)'
	@echo 'make clean       remove what was built; .venv stays (make clean ALL=1 removes it too)'

.venv/book.stamp: requirements-book.txt
	$(enough)
	@'$(PYTHON)' tools/environment.py book

.venv/test.stamp: requirements.txt requirements-book.txt pyproject.toml
	$(enough)
	@'$(PYTHON)' tools/environment.py test

.venv/lab.stamp: .venv/test.stamp
	$(enough)
	@'$(PYTHON)' tools/environment.py lab

_build/book.stamp: .venv/book.stamp tools/book.py $(PAGES)
	@$(PY) -m tools.book

book: _build/book.stamp
	@echo 'The book is ready: open _build/html/index.html in a browser, or run make serve.'

test: .venv/test.stamp
	@echo 'Running every test'
	@$(PY) -m pytest -q -n $(WORKERS) --maxprocesses 8

notebooks: .venv/test.stamp
	@$(PY) -m tools.notebooks $(if $(ALL),--all) $(if $(ONLY),--only '$(ONLY)') \
	$(if $(MEASURE),--measure)

chapter: .venv/test.stamp
	@[ -n '$(NOTEBOOK)' ] || { echo 'name the notebook: make chapter' \
	'NOTEBOOK=notebooks/01-your-first-graph.ipynb' >&2; exit 1; }
	@$(PY) -m tools.take_back '$(NOTEBOOK)'

lint: .venv/test.stamp
	@$(PY) -m tools.style $(if $(FIX),--fix)

links: .venv/book.stamp
	@$(PY) -m tools.links

serve: _build/book.stamp
	@echo 'The book is at http://localhost:$(PORT)/ until you press Ctrl-C.'
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

lab: .venv/lab.stamp
	@$(PY) -m jupyterlab notebooks

# The other drawers go into a folder of their own and use the torch of .venv.
_build/peers: .venv/test.stamp bench/requirements.txt
	@echo 'Installing the other drawers into _build/peers'
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --upgrade --target _build/peers \
	-r bench/requirements.txt
	@touch _build/peers

bench: _build/peers
	@$(PY) -m bench.measure $(if $(SAVE),--save) $(if $(ONLY),--only '$(ONLY)')

torch:
	$(enough)
	@'$(PYTHON)' -m tools.versions $(VERSION)

clean:
	@rm -rf _build build *.egg-info .pytest_cache .ruff_cache .hypothesis notebooks/.ipynb_checkpoints
	@find chapters definebyrun definebyrun_course bench tests tools _ext -name __pycache__ -type d -prune -exec rm -rf {} +
	$(if $(ALL),@rm -rf .venv)
	@echo 'Removed what was built$(if $(ALL), and .venv).'
