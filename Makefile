# The commands of this project. Each does all set-up it needs by itself.
.PHONY: help setup demo test lint format clean soak chaos

help:
	@sed -n 's/^## //p' Makefile

## make setup   the Python environment in .venv; as root also what the lab's engines need
setup:
	@scripts/bootstrap

## make demo    a mesh of three nodes on this machine, a stack on it, and what happens when parts die (needs root)
demo: setup
	@.venv/bin/python -m lab.demo

## make test    lint, types, import contracts and every test (as root: those on real engines, too)
test:
	@scripts/test

## make lint    lint, types and import contracts only
lint: setup
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

## make format  lay the code out
format: setup
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

## make clean   remove what set-up and tests made in this folder
clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

## make soak    thousands of simulated stories, on all cores, until stopped or SEEDS=n are told (JOBS=n processes);
##              their total by commit goes to docs/RELIABILITY.md
soak: setup
	@.venv/bin/python -m tests.sim --soak $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) $${FIRST:-$$(date +%s)000}

## make chaos   10 minutes of random faults on a real mesh under work, and an account of it (needs root; SEED=n)
chaos: setup
	@.venv/bin/python benchmarks/chaos.py --minutes 10 --seed $${SEED:-1}
