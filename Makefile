# `make run` and `make test` set up everything that they need; see README.md.

# The first Python with a supported version; select another one with PYTHON=...
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

# Else every start of a controller compiles all modules, which is a quarter of its work.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run cluster test torture mutants check bench format vendor clean

run: .venv/.installed
	@exec $(BIN)/python -m netstacks.demo

cluster: .venv/.installed
	@exec $(BIN)/python -m netstacks.demo.cluster

# pytest exits with 5 when PYTEST_ARGS selects no test of a part.
test: .venv/.installed
	$(BIN)/python -m pytest -n auto --max-worker-restart=0 --dist loadfile --no-loadscope-reorder -m "not alone" $(PYTEST_ARGS) || test $$? = 5
	$(BIN)/python -m pytest -m alone $(PYTEST_ARGS) || test $$? = 5

# Random faults against three instances for SECONDS; SEED repeats a run. Its history is written to artefacts/.
torture: .venv/.installed
	TORTURE_SECONDS=$(or $(SECONDS),600) TORTURE_SEED=$(SEED) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/torture $(PYTEST_ARGS)

# Mutation testing, of ROOM or of all rooms that setup.cfg names: see docs/mutants.md. Results are kept in mutants/.
mutants: .venv/.mutants
	nice -n 19 $(BIN)/mutmut run $(if $(ROOM),'netstacks.$(ROOM).*')
	@$(BIN)/mutmut results | grep -v ': not checked$$' || true

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed
	$(BIN)/python -m bench.terminal
	$(BIN)/python -m bench.redraw
	$(BIN)/python -m bench.cluster
	$(BIN)/python -m bench.llm
	$(BIN)/python -m bench.crowds
	$(BIN)/python -m bench.recordings
	$(BIN)/python -m bench.attacks

format: .venv/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The browser libraries, from npm, in the versions of static/vendor/VERSIONS, without source maps; and the accessibility
# checker of the browser tests, in that of tests/browser/vendor/VERSIONS.
vendor:
	@cd static/vendor && unpack() { \
		version=$$(awk -v name="$$1" '$$1 == name {print $$2}' VERSIONS) && \
		tar -xOzf "$$(npm pack --silent "$$1@$$version")" "package/$$2" | sed '/^\/\/# sourceMappingURL=/d' > "$$3"; } && \
	unpack @xterm/xterm lib/xterm.mjs xterm/xterm.mjs && \
	unpack @xterm/xterm css/xterm.css xterm/xterm.css && \
	unpack @xterm/xterm LICENSE xterm/LICENSE && \
	unpack @xterm/addon-fit lib/addon-fit.mjs xterm/addon-fit.mjs && \
	unpack @xterm/addon-fit LICENSE xterm/LICENSE.addon-fit && \
	unpack asciinema-player dist/bundle/asciinema-player.css asciinema-player/asciinema-player.css && \
	unpack asciinema-player dist/bundle/asciinema-player.min.js asciinema-player/asciinema-player.min.js && \
	unpack asciinema-player LICENSE asciinema-player/LICENSE && \
	unpack idiomorph dist/idiomorph.esm.js idiomorph/idiomorph.esm.js && \
	unpack idiomorph LICENSE idiomorph/LICENSE && \
	unpack uplot dist/uPlot.esm.js uplot/uPlot.esm.js && \
	unpack uplot dist/uPlot.min.css uplot/uPlot.min.css && \
	unpack uplot LICENSE uplot/LICENSE && \
	rm -f *.tgz && cd ../../tests/browser/vendor && \
	unpack axe-core axe.min.js axe.min.js && \
	unpack axe-core LICENSE LICENSE.axe-core && \
	unpack axe-core LICENSE-3RD-PARTY.txt LICENSE-3RD-PARTY.axe-core && \
	rm -f *.tgz

# Keeps var/, the data of `make run`.
clean:
	rm -rf .venv artefacts mutants .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

.venv/.installed: setup.cfg constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: name one with PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv (a minute or two, once) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv || \
		{ echo "This Python cannot make environments; on Debian and Ubuntu the package python3-venv is missing."; exit 1; }
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[demo,dev,bench]'
	@touch $@

.venv/.mutants: .venv/.installed
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[mutants]'
	@touch $@
