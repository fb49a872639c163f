# Every target makes the virtual environment it needs; nothing has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DOCS := $(VENV)/.ready-docs
RUN ?= runs/sst2

.PHONY: help install distill test test-slow test-data test-report test-browser test-neighbours test-site test-wheel test-sdist \
	test-lowest test-latest test-faults docs smoke quality style glue-table adversarial-screen bake-off cycle-benchmark \
	benchmarks kd-anatomy kd-anatomy-text same-student clean

help:
	@echo "make install     virtual environment in $(VENV) with zskd and the development tools"
	@echo "make distill     the main job: an SST-2 student from the embedded default, in $(RUN)"
	@echo "make test        the tests (no download beyond packages)"
	@echo "make test-report  the report in headless Chromium, with axe-core (Debian: apt-get install chromium npm); screenshots in runs/"
	@echo "make test-browser  examples/browser in Node and headless Chromium (Debian: apt-get install npm chromium)"
	@echo "make test-neighbours  students in transformers 4, sentence-transformers and optimum, and trackers, in environments of their own"
	@echo "make test-wheel  the built wheel in an environment and a folder of its own: every verb"
	@echo "make test-sdist  the source distribution likewise, and its tests (TESTS=tests/cli)"
	@echo "make test-lowest  every verb and test with the lowest versions that setup.cfg admits (PYTHON=python3.12; TESTS=tests/cli)"
	@echo "make test-latest  the same with the latest ones"
	@echo "make docs        the documentation site, in site/: open site/index.html"
	@echo "make test-site   builds the site and checks every link and asset of its pages"
	@echo "make test-faults  kills, damage, full disks, bad input, hostile folders: a drawn third (6 minutes); FAULTS=all: all"
	@echo "make smoke       the main job on 5 % of the text with the real backbone"
	@echo "make quality     format, lint and types"
	@echo "make style       mend format and lint"
	@echo "make glue-table  the table of the README (needs ZSKD_DATA; resumes; TABLE=\"--tasks sst2 --seeds 0\")"
	@echo "make adversarial-screen  settings of --perturb adversarial beside random (needs ZSKD_DATA; SCREEN=\"--task sst2\")"
	@echo "make bake-off    every method at equal teacher queries (needs ZSKD_DATA; resumes; BAKE_OFF=\"--tasks qqp --dry-run\")"
	@echo "make cycle-benchmark     time of an adversarial cycle beside a dense loop (needs ZSKD_DATA)"
	@echo "make benchmarks  labelling, processes, trainer, memory, checksums, and end to end against others (docs/performance.md)"
	@echo "make kd-anatomy  which level of a teacher's output helps: the synthetic study, in docs/results/anatomy"
	@echo "make kd-anatomy-text     the objectives on text (needs ZSKD_DATA; resumes; TEXT=\"--tasks mnli --seeds 0\")"
	@echo "make same-student OLD=COMMIT   does HEAD make that commit's students, bit for bit (10 minutes; SAME=\"--cases 'one-*'\")"
	@echo "make clean       remove what the targets made"

install: $(READY)

$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

$(READY_DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

# No warning is let through, but with --quiet MkDocs would count none. The variable silences an announcement of Material's.
docs: $(READY_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

distill: $(READY)
	$(BIN)/zskd distill --task sst2 --config embedded --output-dir $(RUN) --resume

# A process per core; each keeps to one thread, as they would otherwise wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

test-data: $(READY)
	$(BIN)/python -m pytest -m data

# Needs Chromium and npm; on Debian and Ubuntu: apt-get install chromium npm
test-report: $(READY)
	$(BIN)/python -m pytest -m report

# Needs Node, npm and Chromium; on Debian and Ubuntu: apt-get install npm chromium
test-browser: $(READY)
	$(BIN)/python -m pytest -m browser

test-neighbours: $(READY)
	$(BIN)/python -m pytest -m neighbours

test-wheel: $(READY)
	$(BIN)/python -m recipes.wheel

test-sdist: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/python -m recipes.sdist $(TESTS)

# An environment of its own, made by PYTHON, in runs/lowest or runs/latest; runs/lowest.txt lists its versions.
test-lowest test-latest: test-%: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/python -m recipes.bounds $* --python $(PYTHON) $(TESTS)

test-site: $(READY_DOCS)
	$(BIN)/python -m pytest -m site

# A third of the cases is drawn; FAULTS=all tries every one. SEED draws others, KINDS=caches,disks only some kinds.
test-faults: $(READY)
	$(BIN)/python -m recipes.faults --seed $(or $(SEED),0) --kinds "$(KINDS)" $(if $(filter all,$(FAULTS)),--all)

smoke: $(READY)
	$(BIN)/python -m recipes.smoke

glue-table: $(READY)
	$(BIN)/python -m recipes.glue_table --data $(ZSKD_DATA) $(TABLE)

adversarial-screen: $(READY)
	$(BIN)/python -m recipes.adversarial_screen --data $(ZSKD_DATA) $(SCREEN)

bake-off: $(READY)
	$(BIN)/python -m recipes.bake_off --data $(ZSKD_DATA) $(BAKE_OFF)

cycle-benchmark: $(READY)
	$(BIN)/python -m recipes.cycle_benchmark --data $(ZSKD_DATA)

benchmarks: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check textbrewer==0.2.1.post1
	$(BIN)/python -m recipes.benchmarks.labelling
	$(BIN)/python -m recipes.benchmarks.labelling --processes
	$(BIN)/python -m recipes.benchmarks.attention
	$(BIN)/python -m recipes.benchmarks.trainer
	$(BIN)/python -m recipes.benchmarks.memory
	$(BIN)/python -m recipes.benchmarks.checksums
	$(BIN)/python -m recipes.benchmarks.end_to_end

kd-anatomy: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m recipes.kd_anatomy

kd-anatomy-text: $(READY)
	$(BIN)/python -m recipes.kd_anatomy_text --data $(ZSKD_DATA) $(TEXT)

same-student: $(READY)
	$(BIN)/python -m recipes.same_student $(OLD) $(SAME)

quality: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

style: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
