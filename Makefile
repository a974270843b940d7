# `make` builds the environment, runs the default study and says where its report lies; `make test` proves it all.

VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: all run test lint clean

all: run

# uv is bootstrapped by pip where it is not at hand; the pins stand in pyproject.toml.
$(VENV)/.built: pyproject.toml
	@command -v uv >/dev/null || [ -x .uv/bin/uv ] || (python3 -m venv .uv && .uv/bin/pip install --quiet uv)
	PATH="$(CURDIR)/.uv/bin:$$PATH" uv sync --inexact --quiet
	@touch $@

run: $(VENV)/.built
	@$(BIN)/snakemake --cores $(CORES)
	@echo "report: $(CURDIR)/results/report.html"

test: $(VENV)/.built
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.built
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

clean:
	rm -rf results logs .snakemake
