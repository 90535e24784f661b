# Each target does all the set-up it needs: Python 3.11 or newer and a package index suffice.
.PHONY: report ablation test coverage lint docs latency setup

PYTHON ?= python3
CONFIG ?= configs/demo.yaml
# Recipes read values from the environment, as they were given: make puts no quotes around them.
override PYTHON := $(value PYTHON)
override CONFIG := $(value CONFIG)
override NAME := $(value NAME)
export PYTHON CONFIG NAME
BIN := .venv/bin
RUN := PYTHONUTF8=1 PATH="$$PWD/$(BIN):$$PATH"

report: setup ## the whole reproduction of CONFIG, to results/<name>/report/index.html
	$(RUN) snakemake --configfile "$$CONFIG"

ablation: setup ## one ablation alone, such as NAME=softmax: results/<config>/report/ablations/<NAME>.html
	@test -f "ablations/$$NAME.yaml" || { echo "NAME=$$NAME: no such ablation; there are: $$(cd ablations && echo *.yaml)"; exit 1; }
	$(RUN) snakemake "ablation_$$NAME" --configfile "$$CONFIG"

test: setup
	$(RUN) pytest -n auto --dist loadscope

coverage: setup ## the tests again, with the branches of hitsr/ that they take: twice the time of `test`
	$(RUN) pytest -n auto --dist loadscope --cov --cov-report=term:skip-covered

docs: setup ## the site, to site/index.html: its tour is executed, its links are checked
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict

lint: setup
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) mypy
	$(RUN) snakemake --lint

latency: setup ## x2, x3, x4 in the formulations of CONFIG, then the report anew
	@$(RUN) snakemake latency_all --configfile "$$CONFIG" || status=1; \
	$(RUN) snakemake --forcerun report --configfile "$$CONFIG" && exit $${status:-0}

setup: .venv/installed

# uv installs the locked packages, with every index that pip is configured to use.
.venv/installed: requirements.lock pyproject.toml
	@echo "setting up .venv: a minute or two, and the time to fetch 3 GB once"
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hitsr needs Python 3.11 or newer; make PYTHON=python3.12")'
	@case "$$PWD" in *[:{}]* | *'$$'[A-Za-z_]*) echo "$$PWD: Python cannot install into a folder with : or { or } or \$$ and a letter in its path; move the project"; exit 1;; esac
	@"$$PYTHON" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@export VIRTUAL_ENV="$$PWD/.venv"; \
	extra="$$($(BIN)/python -m pip config get global.extra-index-url 2>/dev/null || true)"; \
	if [ -n "$$extra" ]; then export UV_INDEX="$$extra" UV_INDEX_STRATEGY=unsafe-best-match; fi; \
	$(BIN)/uv pip install --quiet --require-hashes --no-deps --compile-bytecode -r requirements.lock && \
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
