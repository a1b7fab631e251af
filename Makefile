# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV := .venv
BIN := $(VENV)/bin
# Another package index for torch alone, e.g. that of its CPU builds (see README).
TORCH_INDEX_URL ?=
TORCH_INDEX := $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

CHECKPOINT := checkpoints/ig-llm-tiny-clevr
DEMO_OUT := demo_output
# Scenes and labelled pictures that `make card` measures with.
FRESH ?= fresh
FAMILY ?= clevr
SPLITS ?= val_id
REAL_IMAGES ?= ../shared/real_images
REAL_IMAGE := $(wildcard ../shared/real_images/clevr_1.png)

.PHONY: demo test test-slow space test-space cluster test-cluster fuzz test-matrix docs card lint format clean

demo: $(VENV)/.installed-demo
	$(BIN)/igllm predict docs/examples/clevr_scene.png $(REAL_IMAGE) --model $(CHECKPOINT) --out $(DEMO_OUT) --render

test: $(VENV)/.installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# A page to play with, at the address that it prints.
space: $(VENV)/.installed-space
	$(BIN)/python space/app.py

# In a headless Chromium, which must be installed.
test-space: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -m "slow or not slow" tests/space tests/trl_scripts/test_push_space.py

# Builds on several machines (docs/clusters.md).
cluster: $(VENV)/.installed-cluster

test-cluster: $(VENV)/.installed-test $(VENV)/.installed-cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or not slow" $(wildcard tests/*/test_cluster*.py)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Hours of what tests/test_fuzz.py does for seconds (SECURITY.md).
fuzz: $(VENV)/.installed-test
	$(INSTALL) -e ".[fuzz]"
	$(BIN)/python -m benchmarks.fuzz --parser 5000000 --json 5000000 --metric 100000 --processor 20000 \
		--out benchmarks/results/fuzz.json

# The oldest and the newest transformers, TRL and datasets, each in an environment of its own (SECURITY.md).
test-matrix: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.version_matrix --torch-index-url "$(TORCH_INDEX_URL)" \
		--out benchmarks/results/version_matrix.json

# The API reference in docs/api, from the docstrings.
docs: $(VENV)/.installed-test
	$(BIN)/python docs/make_api.py

# Measures a bundled checkpoint and writes its card (docs/training.md), the other one with
# CHECKPOINT=checkpoints/ig-llm-tiny-cogent FAMILY=clevr_cogent SPLITS="val_id val_ood".
card: $(VENV)/.installed-test
	for split in $(SPLITS); do $(BIN)/igllm build $(FAMILY) --split $$split --num-scenes 500 --seed 1 \
		--resolution 160x120 --out $(FRESH) || exit; done
	$(BIN)/python -m trl_scripts.measure_checkpoint $(CHECKPOINT) --dataset $(FRESH) --config $(FAMILY) \
		--splits $(SPLITS) --real-images $(REAL_IMAGES)
	$(BIN)/python -m benchmarks.robustness $(CHECKPOINT) --family $(FAMILY) --scenes 100
	$(BIN)/python -m trl_scripts.checkpoint_card $(CHECKPOINT)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python found: install Python 3.11 and run this command again."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed (Blender's bpy fits exactly one Python); $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		  echo "Install Python 3.11, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(TORCH_INDEX) torch==$$(sed -n 's/^torch==//p' constraints.txt)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.torch pyproject.toml constraints.txt
	$(INSTALL) -e ".[render]"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml constraints.txt
	$(INSTALL) -e ".[test]"
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-space: $(VENV)/.torch pyproject.toml constraints.txt
	$(INSTALL) -e ".[space]"
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.torch pyproject.toml constraints.txt
	$(INSTALL) -e ".[browser]"
	@touch $@

# datatrove asks for numpy 2, bpy for numpy 1; what is used of datatrove here runs on both (tests/*/test_cluster*.py).
$(VENV)/.installed-cluster: $(VENV)/.installed-demo constraints.txt
	$(INSTALL) --no-deps datatrove
	$(INSTALL) humanize loguru ray
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUT) .pytest_cache .ruff_cache .mypy_cache build *.egg-info
