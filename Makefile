# The verbs of this repository. Each does its own set-up first, so any of them can be the first command on a fresh clone.
# GNU make 3.81 (macOS) is enough. The work itself is done by the small scripts in tools/.

.PHONY: help book test notebooks chapter lint links serve lab bench experiments mutants torch picture pins clean
.DEFAULT_GOAL := help

ifeq ($(OS),Windows_NT)
PY := .venv/Scripts/python.exe
else
PY := .venv/bin/python
endif

# PYTHON makes .venv: the one that .venv has already, else the newest that we know. Then .venv's own Python does all the rest.
ENOUGH := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
ifndef PYTHON
PYTHON := $(shell for p in $(PY) python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c '$(ENOUGH)' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo none)
endif
# One sentence when it will not do, before anything is written.
define enough
	@[ '$(PYTHON)' != none ] || { echo 'Define by Run needs Python 3.11 to 3.14, and there is none here:' \
	'install one, or name it: make PYTHON=/path/to/python3.13' >&2; exit 1; }
	@'$(PYTHON)' -c '$(ENOUGH)' 2>/dev/null || { found=$$('$(PYTHON)' --version 2>&1 | head -n 1); \
	echo "Define by Run needs Python 3.11 to 3.14, and $(PYTHON) is $${found:-no Python}:" \
	"name another one: make PYTHON=/path/to/python3.13" >&2; exit 1; }
endef

WORKERS ?= logical
PART ?=
ONLY ?=
ALL ?=
MEASURE ?=
SAVE ?=
PORT ?= 8000

# What the book is made of. The folders themselves (as folder/.) are newer when a file in them is gone.
FOLDERS := chapters notebooks definebyrun bench _static _ext _assets _templates
PAGES := _config.yml _toc.yml index.md references.bib requirements.txt \
	$(wildcard $(addsuffix /.,$(FOLDERS))) \
	$(shell find $(FOLDERS) -type f -not -name '*.pyc' -not -path '*/.*' -not -name '*.partial' 2>/dev/null)

# What PART names, for `make test`.
package := tests/package definebyrun
course := tests/course definebyrun_course
book := tests/book
notebooks := notebooks

help:
	@echo 'make book        build the book into _build/html (sets up .venv; no torch, about a minute the first time)'
	@echo 'make test        run every test (sets up all of .venv, a few minutes the first time);'
	@echo '                 PART=package, course, book or notebooks runs a part; ALL=1 also what takes long'
	@echo 'make notebooks   execute the chapters that changed; ALL=1 all of them; ONLY=01-your-first-graph one'
	@echo 'make chapter     take an edit made in Jupyter back: NOTEBOOK=notebooks/01-your-first-graph.ipynb'
	@echo 'make serve       show the book on this machine: PORT=8000'
	@echo 'make lab         open the notebooks in JupyterLab'
	@echo 'make lint        check style, the order of the rooms, types; FIX=1 puts right what it can'
	@echo 'make links       check that the links to other places still lead somewhere (needs the network)'
	@echo 'make bench       measure the recorder and the drawing tools; SAVE=1 puts the result into the book;'
	@echo '                 PART=pictures: draw the models of bench/zoo with each of them, side by side'
	@echo 'make experiments store the numbers of the experiments that cost minutes anew; ONLY=name: one of them'
	@echo 'make mutants     put small faults into the package and see whether the tests notice; ONLY=fold/;'
	@echo '                 PART=checks: into right answers to the exercises, and see whether the checks notice'
	@echo 'make torch       run the tests of the package with another PyTorch: VERSION=2.14.1 or nightly'
	@echo 'make picture     draw the run at the top of the README anew'
	@echo 'make pins        write requirements*.txt from pyproject.toml; NEWER=numpy takes the newest numpy (or all)'
	@echo 'make clean       remove what was built; .venv stays (make clean ALL=1 removes it too)'

.venv/book.stamp: requirements-book.txt
	$(enough)
	@'$(PYTHON)' -m tools.environment book

.venv/test.stamp: requirements.txt requirements-book.txt pyproject.toml
	$(enough)
	@'$(PYTHON)' -m tools.environment test

.venv/lab.stamp: .venv/test.stamp
	$(enough)
	@'$(PYTHON)' -m tools.environment lab

_build/book.stamp: .venv/book.stamp tools/book.py $(PAGES)
	@$(PY) -m tools.book

book: _build/book.stamp
	@echo 'The book is ready: open _build/html/index.html in a browser, or run make serve.'

test: .venv/test.stamp
	@[ -z '$(PART)' ] || [ -n '$($(PART))' ] || { echo "There is no part '$(PART)':" \
	'make test PART=package, course, book or notebooks' >&2; exit 1; }
	@echo 'Running $(if $(PART),the tests of $(PART),every test)'
	@$(PY) -m pytest -q -n $(WORKERS) --maxprocesses 8 $($(PART))

notebooks: .venv/test.stamp
	@$(PY) -m tools.notebooks $(if $(ALL),--all) $(if $(ONLY),--only '$(ONLY)') \
	$(if $(MEASURE),--measure)

chapter: .venv/test.stamp
	@[ -n '$(NOTEBOOK)' ] || { echo 'name the notebook: make chapter' \
	'NOTEBOOK=notebooks/01-your-first-graph.ipynb' >&2; exit 1; }
	@$(PY) -m tools.take_back '$(NOTEBOOK)'

lint: .venv/test.stamp
	@$(PY) -m tools.style $(if $(FIX),--fix)
	@$(dir $(PY))lint-imports --no-logo
	@$(PY) -m mypy

links: .venv/book.stamp
	@$(PY) -m tools.book --links

serve: _build/book.stamp
	@$(PY) -m tools.serve '$(PORT)'

lab: .venv/lab.stamp
	@$(PY) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

# The other drawing tools go into a folder of their own and use the torch of .venv.
_build/peers: .venv/test.stamp bench/requirements.txt
	@echo 'Installing the other drawing tools into _build/peers'
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --upgrade --target _build/peers \
	-r bench/requirements.txt
	@touch _build/peers

bench: _build/peers
	@[ -z '$(PART)' ] || [ '$(PART)' = pictures ] || { echo "There is no part '$(PART)': make bench PART=pictures" >&2; exit 1; }
	@$(PY) -m bench.$(or $(PART),measure) $(if $(SAVE),--save) $(if $(ONLY),--only '$(ONLY)')

experiments: .venv/test.stamp
	@$(PY) -m experiments $(ONLY)

mutants: .venv/test.stamp
	@$(PY) -m tools.mutants $(if $(PART),$(PART),package) $(if $(ONLY),--only '$(ONLY)')

torch:
	$(enough)
	@'$(PYTHON)' -m tools.versions $(VERSION)

picture: .venv/test.stamp
	@$(PY) -m tools.picture

pins: .venv/test.stamp
	@$(PY) -m tools.pins $(NEWER)

clean:
	@rm -rf _build build *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis notebooks/.ipynb_checkpoints
	@find chapters definebyrun definebyrun_course experiments bench tests tools _ext -name __pycache__ -type d -prune -exec rm -rf {} +
	$(if $(ALL),@rm -rf .venv)
	@echo 'Removed what was built$(if $(ALL), and .venv).'
