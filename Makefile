# Every target makes the virtual environment it needs; nothing has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN ?= runs/sst2

.PHONY: help install distill test test-slow test-data smoke quality style glue-table adversarial-screen cycle-benchmark kd-anatomy kd-anatomy-text clean

help:
	@echo "make install     virtual environment in $(VENV) with zskd and the development tools"
	@echo "make distill     the main job: an SST-2 student from the embedded default, in $(RUN)"
	@echo "make test        the tests (no download beyond packages)"
	@echo "make smoke       the main job on 5 % of the text with the real backbone"
	@echo "make quality     format, lint and types"
	@echo "make style       mend format and lint"
	@echo "make glue-table  the table of the README (needs ZSKD_DATA; resumes; TABLE=\"--tasks sst2 --seeds 0\")"
	@echo "make adversarial-screen  settings of --perturb adversarial beside random (needs ZSKD_DATA; SCREEN=\"--task sst2\")"
	@echo "make cycle-benchmark     time of an adversarial cycle beside a dense loop (needs ZSKD_DATA)"
	@echo "make kd-anatomy  which level of a teacher's output helps: the synthetic study, in docs/results/anatomy"
	@echo "make kd-anatomy-text     the objectives on text (needs ZSKD_DATA; resumes; TEXT=\"--tasks mnli --seeds 0\")"
	@echo "make clean       remove what the targets made"

install: $(READY)

$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

distill: $(READY)
	$(BIN)/zskd distill --task sst2 --config embedded --output-dir $(RUN) --resume

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

test-data: $(READY)
	$(BIN)/python -m pytest -m data

smoke: $(READY)
	$(BIN)/python -m recipes.smoke

glue-table: $(READY)
	$(BIN)/python -m recipes.glue_table --data $(ZSKD_DATA) $(TABLE)

adversarial-screen: $(READY)
	$(BIN)/python -m recipes.adversarial_screen --data $(ZSKD_DATA) $(SCREEN)

cycle-benchmark: $(READY)
	$(BIN)/python -m recipes.cycle_benchmark --data $(ZSKD_DATA)

kd-anatomy: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m recipes.kd_anatomy

kd-anatomy-text: $(READY)
	$(BIN)/python -m recipes.kd_anatomy_text --data $(ZSKD_DATA) $(TEXT)

quality: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

style: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
