.DEFAULT_GOAL := help
.PHONY: help demo test lint types check bench clean

PYTHON ?= python3
EXTRAS ?= dev,export,rtx
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
SAMPLE := runtime/vivant_samples

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 10

# A stamp per set of extras: installed again only when what they depend on changes.
.venv/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt -e '.[cpu,mtcnn]'
	@touch $@

.venv/.dev: .venv/.runtime
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

.venv/.bench: .venv/.dev
	$(PIP) install -c constraints.txt requests tqdm matplotlib
	$(PIP) install --no-deps facenet-pytorch==2.6.0
	@touch $@

engines/mtcnn/fp32/manifest.json: .venv/.runtime
	$(BIN)/vivant export mtcnn --store engines

demo: .venv/.runtime engines/mtcnn/fp32/manifest.json  ## compose the sample portrait into every sample artwork
	$(BIN)/vivant compose $(SAMPLE)/portraits $(SAMPLE)/artworks -o demo --stages demo/stages
	@echo 'the stages, and a contact sheet of each picture: demo/stages/'

test: .venv/.dev engines/mtcnn/fp32/manifest.json  ## run the tests
	$(BIN)/python -m pytest

lint: .venv/.dev  ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.dev  ## check the types
	$(BIN)/mypy

check: lint types test  ## everything that CI runs

bench: .venv/.bench engines/mtcnn/fp32/manifest.json  ## measure against the originals; writes docs/benchmarks
	$(BIN)/python benchmarks/faces.py --json docs/benchmarks/faces.json --plot docs/benchmarks/faces.png
	$(BIN)/python benchmarks/latency.py --json docs/benchmarks/latency.json --plot docs/benchmarks/latency.png

clean:  ## remove what make has built
	rm -rf .venv demo engines/mtcnn .mypy_cache .pytest_cache .ruff_cache
