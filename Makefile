# `make demo` and `make test` do all of their set-up by themselves. Two environments: .venv is what a user has
# (no torch), .venv-dev is what a developer has.

PYTHON ?= python3
PIP_OPTIONS ?= --quiet --disable-pip-version-check

IN ?= pattern
OUT ?= out/demo.mp4
STYLE ?= vangogh

BASE := .venv/bin
DEV := .venv-dev/bin
BASE_READY := .venv/ready
DEV_READY := .venv-dev/ready
TRT := .venv-dev/torch-tensorrt
TRT_READY := $(TRT)/ready
BENCHMARKS ?= bench runtime

# Many tests wait for a clock, a process or a network: one worker more than there are cores keeps the cores busy.
WORKERS ?= $(shell $(DEV)/python -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')

# Trains a style with the settings of its own record.
AGAIN = --recipe "$(NAME)" --content "$(DATA)/content" --features "$(DATA)/features" \
	--style-picture "$(DATA)/styles"

.PHONY: help setup demo test test-slow test-browser test-network test-v4l2 test-gpu test-tensorrt check docs format bench bench-gpu style clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(DEV_READY) ## everything for developing, in .venv-dev

demo: $(BASE_READY) ## stylize a clip: make demo [IN=clip.mp4] [OUT=out.mp4] [STYLE=vangogh]
	@mkdir -p "$(dir $(OUT))"
	$(BASE)/rtstyle video "$(IN)" "$(OUT)" --style "$(STYLE)" $(if $(filter default file,$(origin OUT)),--overwrite)
	@echo "Done: $(OUT)"

test: $(DEV_READY) ## the tests, without the slow ones
	@echo "Running the tests: six minutes on two cores"
	OMP_NUM_THREADS=1 $(DEV)/python -m pytest -n "$(WORKERS)" --dist worksteal $(ARGS)

test-slow: $(DEV_READY) ## the slow tests: the largest frames, every real clip
	$(DEV)/python -m pytest -m slow $(ARGS)

test-browser: $(DEV_READY) ## the page in a real browser; needs Chromium
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "no browser here: install chromium" >&2; exit 2; }
	$(DEV)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt playwright
	$(DEV)/python -m pytest -m browser $(ARGS)

test-network: $(DEV_READY) ## the tests that fetch something: Pillow's own test pictures; needs the internet
	$(DEV)/python -m pytest -m network $(ARGS)

test-v4l2: $(DEV_READY) ## cameras and virtual cameras with real drivers, in a machine inside this one; needs Debian
	bash tests/v4l2/run.sh $(DEV)/python $(ARGS)

test-gpu: $(DEV_READY) ## the engines on a real card; needs an NVIDIA card, skipped without one
	$(DEV)/python -m pytest -m gpu $(ARGS)

test-tensorrt: $(TRT_READY) ## the graph through Torch-TensorRT, and plans for cards that are not here; needs Linux
	PYTHONPATH="$(CURDIR)/$(TRT)" $(DEV)/python -m pytest -m slow tests/engines/test_trt_conversion.py tests/engines/test_fp16.py $(ARGS)

check: $(DEV_READY) ## lint, format, types, import contracts, documentation
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports
	$(MAKE) --no-print-directory docs

docs: $(DEV_READY) ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(DEV)/mkdocs build --strict --quiet

format: $(DEV_READY) ## format the code, fix what ruff can fix
	$(DEV)/ruff format .
	$(DEV)/ruff check --fix .

bench: $(DEV_READY) ## every benchmark, one table each
	@for name in $(BENCHMARKS); do echo "## $$name"; $(DEV)/python -m "benchmarks.$$name" || exit 1; done

bench-gpu: $(DEV_READY) ## the engines for NVIDIA cards, into benchmarks/RESULTS-GPU.md: make bench-gpu [ARGS=--no-compile]
	$(DEV)/python -m benchmarks.gpu $(ARGS)

style: $(DEV_READY) ## train a style: make style NAME=mine PICTURE=painting.jpg CONTENT=photos/, or one of ours again: NAME=wave DATA=data/
	@test -n "$(NAME)" -a -n "$(if $(PICTURE),$(CONTENT),$(DATA))" || { echo "usage: make style NAME=name PICTURE=painting.jpg \
	CONTENT=folder [ARGS=...], or NAME=wave DATA=folder: with content/, styles/, features/" >&2; exit 2; }
	$(DEV)/rtstyle train $(if $(PICTURE),--style-picture "$(PICTURE)" --content "$(CONTENT)" --name "$(NAME)",$(AGAIN)) \
		--out "runs/$(NAME)" $(ARGS)

clean: ## remove the environments and caches; what you painted and trained stays
	rm -rf .venv .venv-dev build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# The stamp comes last, so that an interrupted installation starts again.
$(BASE_READY): pyproject.toml constraints.txt
	@echo "Setting up .venv: the base install, about 400 MB; a minute or two"
	$(PYTHON) -m venv .venv
	$(BASE)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt --editable .
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt
	@echo "Setting up .venv-dev: everything for development, PyTorch too; several minutes"
	$(PYTHON) -m venv .venv-dev
	$(DEV)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt 'pip>=25.1'  # for --group, PEP 735
	$(DEV)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt --editable '.[train,web]' --group dev
	@touch $@

# In a folder of its own, since other tests ask what is installed. Without dependencies: they are NVIDIA's CUDA packages of
# several GB, for the card alone, and what .venv-dev has.
$(TRT_READY): $(DEV_READY)
	@echo "Fetching Torch-TensorRT and TensorRT for RTX: 94 MB"
	rm -rf "$(TRT)"
	$(DEV)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt --no-deps --target "$(TRT)" --group torch-tensorrt
	@touch $@
