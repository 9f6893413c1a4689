# Two commands do everything: `make demo` and `make test`. Each target only calls commands the README also shows.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check

# What the driver of an NVIDIA GPU makes (dxg: under WSL 2); without one ONNX Runtime's CPU build does, half a GB smaller.
SEEN := $(firstword $(wildcard /dev/nvidia0 /dev/dxg) $(shell nvidia-smi -L >/dev/null 2>&1 && echo nvidia-smi))
# What is locked is for a CPU.
ORT := $(if $(LOCKED),cpu,$(if $(SEEN),gpu,cpu))
EXTRAS ?= all,$(ORT),test,dev,docs

# PyPI's torch for Linux is built for CUDA and brings 5 GB of it. PyTorch's own index has a CPU build, which is tried first
# where no GPU is seen, alone (no other index that pip is configured with) and once: it answers within 15 seconds, or is left.
TORCH_CPU ?= https://download.pytorch.org/whl/cpu
TORCH = $(shell sed -n "s/^ *\"\(torch\(vision\)\{0,1\}[<>=~][^\"]*\)\".*/'\1'/p" pyproject.toml)
CPU_PIP = env PIP_CONFIG_FILE=/dev/null PIP_INDEX_URL=$(TORCH_CPU) PIP_EXTRA_INDEX_URL= PIP_FIND_LINKS= \
  $(BIN)/python -m pip -qqq --retries 0 --timeout 10
comma := ,
CHOSEN = $(subst $(comma), ,$(EXTRAS))
WANTS_CPU_TORCH = $(if $(LOCKED),,$(and $(filter cpu,$(CHOSEN)),$(filter train all,$(CHOSEN))))

.PHONY: demo test test-slow gpu types lint docs lock audit clean

# The stamp is newer than pyproject.toml once everything in it is installed.
$(VENV)/installed: pyproject.toml
	@echo "extras $(EXTRAS): $(if $(SEEN),an NVIDIA GPU is seen ($(SEEN)),no NVIDIA GPU is seen (/dev/nvidia0, /dev/dxg, nvidia-smi))"
	$(PYTHON) -m venv $(VENV)
	@$(PIP) -qq uninstall --yes onnxruntime$(if $(filter cpu,$(CHOSEN)),-gpu)  # of an earlier choice: the two share a folder
ifneq ($(WANTS_CPU_TORCH),)
	@if timeout 15 $(CPU_PIP) index versions torch >/dev/null 2>&1 && $(CPU_PIP) install $(TORCH) 2>/dev/null; \
	then echo "torch: the CPU build of $(TORCH_CPU)"; \
	else echo "torch: from PyPI, which has it with CUDA alone (about 5 GB more); $(TORCH_CPU) is not reached or has none that fits"; fi
endif
ifdef LOCKED
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps -e .
else
	$(PIP) install -e ".[$(EXTRAS)]"
endif
	@echo "installed $$(du -sh $(VENV) | cut -f1) in $(VENV)"
	touch $@

demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/medzoo train data=phantom model=cnn run=runs/demo trainer.epochs=15 evaluate=false
	$(BIN)/medzoo evaluate run=runs/demo
	$(BIN)/medzoo export run=runs/demo
	$(BIN)/medzoo predict runs/demo/model.onnx runs/demo/samples
	@echo "to try it on a page: $(BIN)/medzoo serve runs/demo/model.onnx, then open http://127.0.0.1:8000/"

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder || [ $$? -eq 5 ]  # 5: no slow test

# On a machine with an NVIDIA GPU; what is lacking is skipped by name. PYTHON_BIN=python3 runs it with whatever that has
# installed, medzoo among it: no environment is made and nothing is fetched. PYTEST_ADDOPTS="-n 8" shares the tests out.
GPU ?= --quick --minutes 5 --output build/gpu
gpu: $(if $(PYTHON_BIN),,$(VENV)/installed)
	$(or $(PYTHON_BIN),$(BIN)/python) -m pytest -m gpu tests/gpu
	$(or $(PYTHON_BIN),$(BIN)/python) -m benchmarks.gpu $(GPU)

# Neither mypy nor import-linter can follow the editable install's import hook, nor can mkdocs: they read a plain copy of the package.
types: $(VENV)/installed
	rm -rf build/types && mkdir -p build/types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/types .

lint: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml
	cp pyproject.toml build/types && cd build/types && $(abspath $(BIN))/lint-imports --no-cache

# Strict: a link that leads nowhere, a page that nothing lists or a name that is not there fails.
docs: types
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# requirements.lock: every distribution of a CPU installation by version and hash, for CI and releases; `make lock` writes it anew.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	build/lock/bin/uv pip compile --quiet pyproject.toml --extra all --extra cpu --extra test --extra dev --extra docs --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" -o requirements.lock

# Asks a public service for known vulnerabilities of what is locked.
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.9,<3"
	build/audit/bin/pip-audit --requirement requirements.lock --disable-pip

clean:
	rm -rf $(VENV) build dist *.egg-info
