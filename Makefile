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
REAL_IMAGE := $(wildcard ../shared/real_images/clevr_1.png)

.PHONY: demo test test-slow cluster test-cluster lint format clean

demo: $(VENV)/.installed-demo
	$(BIN)/igllm predict docs/examples/clevr_scene.png $(REAL_IMAGE) --model $(CHECKPOINT) --out $(DEMO_OUT) --render

test: $(VENV)/.installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# Builds on several machines (docs/clusters.md).
cluster: $(VENV)/.installed-cluster

test-cluster: $(VENV)/.installed-test $(VENV)/.installed-cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow or not slow" $(wildcard tests/*/test_cluster*.py)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

# datatrove asks for numpy 2, bpy for numpy 1; what is used of datatrove here runs on both (tests/*/test_cluster*.py).
$(VENV)/.installed-cluster: $(VENV)/.installed-demo constraints.txt
	$(INSTALL) --no-deps datatrove
	$(INSTALL) humanize loguru ray
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUT) .pytest_cache .ruff_cache .mypy_cache build *.egg-info
