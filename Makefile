# On a fresh machine: `sudo make record`, or `sudo make test`. Nothing has to be installed before.

BIN = .venv/bin
PYTEST = env -u EXECAUDIT_DB $(BIN)/python -m pytest -q
# Variables that the caller set for another Python must not lead this one out of .venv.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONSTARTUP PYTHONSAFEPATH
export PYTHONNOUSERSITE = 1

# Where `make install` puts files; DESTDIR comes before all paths.
PREFIX = /usr/local
DESTDIR =
# Optional parts that `make install` installs too: hunt, redact, timestamp, top.
EXTRAS =

.PHONY: help setup record install uninstall test test-kernels test-report test-fleet vendor fuzz bench bench-quick bench-large soak storms faults lint format pages pictures wheel wheels docs clean

help:
	@echo 'sudo make record   record and print execs until Ctrl-C; ARGS="--db x.db -- make" adds arguments'
	@echo 'sudo make install  install the program, its service, man pages and completions below PREFIX; EXTRAS=hunt,top adds these commands'
	@echo 'sudo make uninstall  remove them; the history stays'
	@echo 'sudo make test     check everything: style, types, tests, the kernel included'
	@echo 'sudo make test-kernels  run the live tests on Debian'\''s 5.10, 6.1 and 6.12 as well, emulated: takes long'
	@echo '     make test-report  open reports in Chromium: zoom, search, fold, print, screen readers, hostile texts; and a trace'
	@echo '     make test-fleet  central databases with the servers of Debian too: PostgreSQL 15 and ClickHouse, as shards'
	@echo '     make fuzz     run the property tests with ten times as many examples, new ones each time; EXAMPLES=200 is shorter'
	@echo 'sudo make bench    measure what recording and queries cost here, and what other programs cost: takes long'
	@echo 'sudo make bench-quick  the same with one round and a small history'
	@echo 'sudo make bench-large  ten million execs: query and prune while a writer runs, migrate, kill; takes long'
	@echo 'sudo make soak     an hour of mixed load: nothing is lost, nothing grows; SOAK_SECONDS=300 is shorter'
	@echo 'sudo make storms   20 storms of 60 000 execs, compiled and not, and with a locked database: none is lost'
	@echo 'sudo make faults   start 20 recorders under load, kill 100, stop one for 30 s: every loss is counted'
	@echo '     make setup    install what is missing, and do nothing else'
	@echo '     make lint     check style and types only'
	@echo '     make format   reformat the Python'
	@echo '     make pages    write the pages of docs/ that are made from the program, and the outputs in recipes'
	@echo '     make vendor   fetch the chart library of the report again; it is in the repository'
	@echo '     make pictures  draw the pictures of README and docs again, in part in Chromium; PICTURE=top draws one'
	@echo '     make wheel    build dist/execaudit-*.whl, and the source archive'
	@echo '     make wheels   build a wheel for each Python that is here, from 3.10 to 3.13, and one without compiled functions'
	@echo '     make docs     build the pages as a site in .cache/site; a broken link fails'
	@echo '     make clean    remove what the other targets made here, .venv too'

setup:
	@tools/setup.sh setup

record:
	@tools/setup.sh record
	@$(BIN)/execaudit record $(ARGS)

install:
	@tools/setup.sh install
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' EXTRAS='$(EXTRAS)' tools/install.sh install

uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install.sh uninstall

# The tests come last, so that their last line is the result. First run tests that may share the machine, two at
# a time, the slow files first. Then run those that need the kernel for themselves, because they count what happens
# on it, one after the other; beside them run rooms that start few programs.
ROOMS = $(wildcard tests/test_*.py) $(addprefix tests/, project system redaction seal bundle capture daemon screen cli hunt report importing fleet)
QUIET = $(addprefix tests/, native database store query output)
BESIDE = $(addprefix tests/live/test_, build.py faults.py full_disk.py large_inode.py own_tracefs.py \
	privileges.py record_cli.py record_command.py renaming.py seen_from_outside.py stopping.py) \
	tests/systemd $(addprefix tests/hostile/test_, records.py starts.py)
TWO = --numprocesses 2 --dist loadfile --no-loadscope-reorder
test:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory lint
ifdef ARGS
	@$(PYTEST) $(ARGS)
else
	@rm -rf .cache/staged
	@$(PYTEST) $(TWO) $(BESIDE) $(ROOMS)
	@$(PYTEST) $(TWO) --one-kernel tests/live tests/hostile $(addprefix --ignore=, $(BESIDE)) $(QUIET)
endif

# Hypothesis sets the marker; see tests/conftest.py. A failing test prints the line that makes it fail again. Then
# the compiled module sees a million records, and is tested with sanitizers.
EXAMPLES = 1000
fuzz: setup
	@EXECAUDIT_TEST_EXAMPLES=$(EXAMPLES) $(PYTEST) --numprocesses 2 --hypothesis-profile=fuzz -m hypothesis $(ROOMS) $(QUIET) $(ARGS)
	@EXECAUDIT_TEST_RECORDS=1000000 $(PYTEST) tests/native/test_many.py
	@EXECAUDIT_TEST_RECORDS=100000 EXECAUDIT_TEST_EXAMPLES=$(EXAMPLES) $(BIN)/python -m tools.sanitized $(PYTEST) --hypothesis-profile=fuzz tests/native

# Each kernel runs in a virtual machine. EXECAUDIT_TEST_KERNELS="6.1 6.12" chooses some.
test-kernels:
	@tools/setup.sh test-kernels
	@$(BIN)/python -m pytest -q tests/kernels $(ARGS)

# Chromium is 80 MB, and brings what a desktop has. It is driven through a pipe, without a network.
test-report:
	@tools/setup.sh test-report
	@$(PYTEST) tests/browser $(ARGS)

# Nothing listens on other addresses than 127.0.0.1, and nothing stays running.
test-fleet:
	@tools/setup.sh test-fleet
	@$(PYTEST) --all-servers $(TWO) tests/fleet $(ARGS)

# The user installs the programs to compare with; see bench/subjects.py.
bench:
	@tools/setup.sh test
	@$(BIN)/python -m bench.storm
	@$(BIN)/python -m bench.questions
	@$(BIN)/python -m bench.stages
	@$(BIN)/python -m bench.seals

bench-quick:
	@tools/setup.sh test
	@BENCH_ROUNDS=1 $(BIN)/python -m bench.storm
	@BENCH_ROUNDS=1 $(BIN)/python -m bench.questions 100000

bench-large:
	@tools/setup.sh test
	@$(BIN)/python -m bench.beside 10000000
	@$(BIN)/python -m bench.upgrade 10000000

soak:
	@tools/setup.sh test
	@$(BIN)/python -m bench.soak

storms:
	@tools/setup.sh test
	@$(BIN)/python -m bench.storms

# `make test` runs the same tests, but kills two recorders, stops one only as long as needed, starts one beside
# processes that come and go, and changes a history of a tenth of the size.
faults:
	@tools/setup.sh test
	@EXECAUDIT_TEST_STARTS=20 EXECAUDIT_TEST_WEIGHT_EXECS=400000 $(PYTEST) tests/live/test_beginning.py \
		tests/live/test_weight.py
	@EXECAUDIT_TEST_KILLS=100 EXECAUDIT_TEST_SEALED_EXECS=1000000 $(PYTEST) tests/seal/test_faults.py \
		tests/seal/test_ten_changes.py
	@EXECAUDIT_TEST_KILLS=100 EXECAUDIT_TEST_STOPPED=30 $(PYTEST) --durations=2 \
		$(addprefix tests/live/test_killed.py::test_, \
			killed_recorders_leave_what_they_stored_and_the_next_declares_the_rest \
			stopped_recorder_costs_what_its_ring_cannot_hold_and_says_how_much)

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# A test fails if a page is stale. Look at the changes before you commit them.
pages: setup
	@$(BIN)/python -m tools.commands_page docs/commands.md
	@$(BIN)/python -m tools.record_page docs/record.md
	@$(BIN)/python -m tests.recipes

wheel: setup
	@$(BIN)/python -m hatchling build

# For each of these Pythons that is here with pip and its headers, and one for all others, without the compiled
# module.
PYTHONS = $(BIN)/python python3.10 python3.11 python3.12 python3.13
wheels: setup
	@for python in $(PYTHONS); do \
		if ! $$python -m pip -V >/dev/null 2>&1; then echo "wheels: there is no $$python with pip" >&2; continue; fi; \
		$$python -m pip wheel --quiet --no-deps --wheel-dir dist . || exit; \
	done
	@EXECAUDIT_BUILD_PURE=1 $(BIN)/python -m hatchling build --target wheel

vendor: setup
	@$(BIN)/python -m tools.vendor

# A test fails if the text of a terminal is stale. Look at the pictures before you commit them.
PICTURE =
pictures:
	@tools/setup.sh test-report
	@$(BIN)/python -m tools.pictures $(PICTURE)

# The builder checks links and anchors between pages; check_pages.py checks the rest.
docs:
	@tools/setup.sh docs
	@$(BIN)/python tools/check_pages.py
	@$(BIN)/zensical build --clean --strict

clean:
	rm -rf .venv .cache dist execaudit/native/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
