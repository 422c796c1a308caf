.DEFAULT_GOAL := help
.PHONY: help demo serve test test-gpu test-binary lint types check bench bench-gpu soak load screens kiosk-binary clean

PYTHON ?= python3
EXTRAS ?= dev,export,openvino,rtx
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
SAMPLE := runtime/vivant_samples
BENCH  := $(BIN)/python benchmarks
FIGURES := docs/benchmarks
# "best" only where its engine is: making one takes minutes and 9 GB of memory.
MEASURED = classic deep $(if $(wildcard engines/untrained/rmbg-2.0),best)
# Quality is judged with trained weights alone.
JUDGED = reinhard $(if $(wildcard engines/inr-harmonization),inr-harmonization)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 16

# A stamp per set of extras: installed again only when what they depend on changes.
.venv/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt -e '.[cpu,mtcnn]'
	@touch $@

.venv/.kiosk: .venv/.runtime
	$(PIP) install -c constraints.txt -e '.[kiosk]'
	@touch $@

.venv/.binary: .venv/.kiosk
	$(PIP) install -c constraints.txt -e '.[binary]'
	@touch $@

# For the tests of the pages, which are skipped where there is no Chromium.
.venv/.browser: .venv/.dev
	command -v chromium || { apt-get -qq update && apt-get -qq install -y chromium; } \
		|| echo 'the tests of the pages are skipped: install chromium'
	@touch $@

.venv/.dev: .venv/.runtime
	$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

.venv/.bench: .venv/.dev
	$(PIP) install -c constraints.txt requests tqdm matplotlib
	$(PIP) install --no-deps facenet-pytorch==2.6.0 rembg==2.0.86
	@touch $@

engines/mtcnn/fp32/manifest.json: .venv/.runtime
	$(BIN)/vivant export mtcnn --store engines

demo: .venv/.runtime engines/mtcnn/fp32/manifest.json  ## compose the sample portrait into every sample artwork
	$(BIN)/vivant compose $(SAMPLE)/portraits $(SAMPLE)/artworks -o demo --stages demo/stages
	@echo 'the stages, and a contact sheet of each picture: demo/stages/'

serve: .venv/.kiosk engines/mtcnn/fp32/manifest.json  ## open the kiosk's page on the sample artworks
	$(BIN)/vivant serve --open

test: .venv/.browser engines/mtcnn/fp32/manifest.json  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

kiosk-binary: .venv/.binary engines/mtcnn/fp32/manifest.json  ## build the service as a folder that needs no Python
	$(BIN)/pyinstaller --noconfirm --log-level WARN --workpath dist/.work deploy/vivant-kiosk.spec

test-binary: kiosk-binary .venv/.dev  ## build that folder, and compose a picture with it
	$(BIN)/python -m pytest tests/kiosk/test_binary.py

test-gpu: .venv/.dev engines/mtcnn/fp32/manifest.json  ## run the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -m gpu

screens: .venv/.browser engines/mtcnn/fp32/manifest.json  ## take pictures of every screen; writes docs/screens
	VIVANT_SCREENS=docs/screens $(BIN)/python -m pytest tests/kiosk/test_page_visit.py tests/kiosk/test_page_trouble.py

lint: .venv/.dev  ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.dev  ## check the types
	$(BIN)/mypy

check: lint types test  ## everything that CI runs

bench: .venv/.bench engines/mtcnn/fp32/manifest.json  ## measure against the originals; writes docs/benchmarks
	$(BENCH)/peers.py --json $(FIGURES)/peers.json --plot $(FIGURES)/peers.png
	for profile in $(MEASURED); do \
		$(BENCH)/latency.py --profile $$profile --json $(FIGURES)/latency-$$profile.json \
			--plot $(FIGURES)/latency-$$profile.png || exit; \
	done
	$(BIN)/vivant tune --store engines/untrained --allow-untrained
	$(BENCH)/latency.py --profile deep --store engines/untrained \
		--json $(FIGURES)/latency-deep-tuned.json --plot $(FIGURES)/latency-deep-tuned.png
	$(BENCH)/quality.py --synthetic --harmonizers $(JUDGED) --json $(FIGURES)/quality.json \
		--plot $(FIGURES)/quality.png
	$(BENCH)/tables.py

bench-gpu: .venv/.bench engines/mtcnn/fp32/manifest.json  ## measure on an NVIDIA GPU, with the engines and plans that are here
	$(BENCH)/peers.py --device cuda --rounds 200 --store engines --json $(FIGURES)/peers-gpu.json
	$(BENCH)/latency.py --device cuda --profile deep --rounds 200 --store engines \
		--json $(FIGURES)/latency-deep-cuda.json
	$(BENCH)/latency.py --device cuda --profile deep --soak 500 --store engines \
		--json $(FIGURES)/soak-deep-cuda.json

soak: .venv/.bench  ## compose 500 pictures in a row and watch the memory
	for profile in $(MEASURED); do \
		$(BENCH)/latency.py --profile $$profile --soak 500 --json $(FIGURES)/soak-$$profile.json \
			--plot $(FIGURES)/soak-$$profile.png || exit; \
	done
	$(BENCH)/tables.py

load: .venv/.bench engines/mtcnn/fp32/manifest.json  ## send 50 visitors to the kiosk for five minutes
	$(BENCH)/kiosk_load.py --clients 50 --seconds 300 --json $(FIGURES)/kiosk.json
	$(BENCH)/tables.py

clean:  ## remove what make has built
	rm -rf .venv demo dist engines/mtcnn engines/untrained .mypy_cache .pytest_cache .ruff_cache
