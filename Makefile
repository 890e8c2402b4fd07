# Two commands do everything on a machine that has python3 (3.11 or newer), pip, make and git:
# `make book` and `make test`. The work is in tools/; here is only what depends on what.

PYTHON ?= python3
SEEDS ?= 1 2 3 4 5
RUN := .venv/bin/python
COLAB := .venv-colab/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup book serve pdf epub slides pages lab test colab frameworks pipeline service profile bench seeds mutate lint format clean

help:  ## List these commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

setup: .venv/.ready  ## Make the environment .venv from requirements.txt

book: .venv/.ready  ## Execute every chapter and write _build/html/index.html
	@$(RUN) tools/build.py

serve: book  ## Build the book and show it on a local web server
	@$(RUN) tools/serve.py

pdf: book  ## Print the whole book into _build/book.pdf (needs Chromium)
	@$(RUN) tools/pdf.py

epub: book  ## Bind the whole book as _build/book.epub (needs Chromium)
	@$(RUN) tools/epub.py

slides: book  ## Make slides of every part in _build/slides (needs Chromium)
	@$(RUN) tools/slides.py

pages: book  ## Open every page in a browser: what it offers, costs, and has wrong (needs Chromium)
	@$(RUN) tools/pages.py

lab: .venv/.lab  ## Open the chapters in JupyterLab
	@$(RUN) -m jupyterlab

test: book colab .venv/.sources  ## Build the book, run all tests, then everything again on Colab's versions
	@$(RUN) -m pytest

colab: .venv-colab/.ready .venv/.ready  ## Unit tests, and every notebook alone, on Colab's versions
	@$(RUN) tools/alone.py --python $(COLAB) --tests

frameworks: .venv/.ready .venv-frameworks/.ready  ## Compare gradients with PyTorch, TensorFlow, Keras and CNTK (extra: 2 GB)
	@$(RUN) tools/frameworks.py

pipeline: .venv/.ready  ## Train the example of pipeline/ from records to accuracy; it goes on after any kill
	@$(RUN) -m pipeline.train

service: .venv/.ready  ## Train if need be, export, and serve the model on http://127.0.0.1:8000
	@$(RUN) -m service.export
	@$(RUN) -m service

profile: .venv/.ready  ## Show where the time of the last build went: chapters and their slowest cells
	@$(RUN) tools/timings.py

bench: book  ## Measure every budget, as ratios side by side (a few minutes on a quiet machine)
	@$(RUN) benchmarks/budgets.py

seeds: .venv/.ready  ## Execute every chapter at five other seeds: all claims must hold (about an hour)
	@$(RUN) tools/seeds.py $(SEEDS)

mutate: .venv/.ready  ## Plant bugs, one at a time: the book must catch each (half an hour)
	@$(RUN) tools/mutate.py

lint: .venv/.ready  ## Check style, types, notebooks and the book's address
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@$(RUN) tools/notebooks.py check
	@$(RUN) tools/repository.py --check

format: .venv/.ready  ## Put code and notebooks into their one form
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format
	@$(RUN) tools/notebooks.py format

clean:  ## Forget everything that was built; environments stay (delete .venv* to forget them too)
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

# An environment is finished when its stamp is newer than what it was made from.

.venv/.ready: requirements.txt pyproject.toml
	@$(call environment,.venv)
	@$(RUN) -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $@

.venv-colab/.ready: requirements-colab.txt
	@$(call environment,.venv-colab)
	@$(COLAB) -m pip install --disable-pip-version-check -q -r requirements-colab.txt
	@# As the chapter on brain images does on Colab: for its files only.
	@$(COLAB) -m pip install --disable-pip-version-check -q --no-deps nilearn==0.14.1
	@touch $@

.venv-frameworks/.ready: requirements-frameworks.txt
	@$(call environment,.venv-frameworks)
	@# PyTorch without CUDA: from the index in use if it has it, otherwise from PyTorch's own.
	@.venv-frameworks/bin/python -m pip install --disable-pip-version-check -q -r $< || \
	.venv-frameworks/bin/python -m pip install --disable-pip-version-check -q -r $< \
		--extra-index-url https://download.pytorch.org/whl/cpu
	@touch $@

.venv/.sources: requirements-sources.txt .venv/.ready
	@$(RUN) -m pip install --disable-pip-version-check -q -r $<
	@touch $@

.venv/.lab: .venv/.ready
	@$(RUN) -m pip install --disable-pip-version-check -q "jupyterlab>=4,<5"
	@touch $@

define environment
$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is %s. Choose one: make book PYTHON=python3.12" % sys.version.split()[0])'
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python cannot make environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
echo "Setting up $(1) (once, a minute or two) ..."
$(PYTHON) -m venv $(1)
endef
