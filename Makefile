# Two commands do everything: `make demo` and `make test`. Each target only calls commands the README also shows.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= all,gpu,test,dev

.PHONY: demo test test-slow lint clean

# The stamp is newer than pyproject.toml once everything in it is installed.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	touch $@

demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/medzoo train data=phantom model=cnn run=runs/demo trainer.epochs=15 evaluate=false
	$(BIN)/medzoo evaluate run=runs/demo
	$(BIN)/medzoo export run=runs/demo
	$(BIN)/medzoo predict runs/demo/model.onnx runs/demo/samples

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile || [ $$? -eq 5 ]  # 5: no slow test

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# Neither mypy nor import-linter can follow the editable install's import hook: both read a plain copy of the package.
	rm -rf build/types && mkdir -p build/types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/types .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml
	cp pyproject.toml build/types && cd build/types && $(abspath $(BIN))/lint-imports --no-cache

clean:
	rm -rf $(VENV) build dist *.egg-info
