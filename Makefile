# Two commands: `make reproduce` and `make test`. `make check` sets your results beside the reference,
# `make lab` opens the notebooks, `make bench` prints the benchmarks.
PYTHON ?= python3
PRESET ?= demo
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help reproduce check test lab bench gpu lock clean

help:
	@echo "make reproduce [PRESET=smoke|demo|paper]   every notebook, in order, through papermill"
	@echo "make check [PRESET=demo]                   your results beside the reference: do they agree?"
	@echo "make test                                  the tests"
	@echo "make lab                                   JupyterLab on notebooks/"
	@echo "make bench                                 the benchmarks"
	@echo "make lock                                  requirements.lock again, after a pin in pyproject.toml has changed"
	@echo "make gpu                                   what needs a GPU: its tests, benchmarks and short trainings, eight minutes"

$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + '; say make PYTHON=python3.12, for instance')"
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

reproduce: $(VENV)/installed
	$(RUN) -m lib run --preset $(PRESET)

check: $(VENV)/installed
	$(RUN) -m lib check --preset $(PRESET)

test: $(VENV)/installed
	$(RUN) -m pytest

lab: $(VENV)/installed
	$(RUN) -m jupyterlab notebooks

bench: $(VENV)/installed
	$(RUN) tests/bench_sampler.py
	$(RUN) tests/bench_layer.py
	$(RUN) tests/bench_grids.py --quick
	$(RUN) tests/bench_metrics.py
	$(RUN) tests/bench_recognition.py
	$(RUN) tests/bench_mrcnn.py
	$(RUN) tests/bench_scale.py

gpu: $(VENV)/installed
	$(RUN) tests/gpu.py

lock:  # for every system and Python that pyproject.toml allows; what is locked already stays unless a pin says otherwise
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target $(VENV)/uv --upgrade uv==0.13.9
	$(VENV)/uv/bin/uv pip compile --quiet pyproject.toml --extra reproduce --extra test --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf results/runs results/compare results/cache results/notebooks results/figures results/tables results/report.* data/twins
