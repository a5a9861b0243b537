# Everything that one does with this project. `make` lists the targets.
#
#   make demo    the main job on a real local cluster, with a worker killed and a node powered off
#   make test    all tests, the ones on the real cluster included
#
# Both install what is missing first. Slow results are kept per user under ${XDG_CACHE_HOME:-~/.cache}/holdfast.

PYTHON ?= python3
N ?= 2
MINUTES ?= 20
HOLDFAST_CLUSTER ?= holdfast
export HOLDFAST_CLUSTER
VENV := .venv/bin
KIND := $(PYTHON) -m deploy.kind
FLEET := $(VENV)/python -m deploy.fleet
SEEDS ?= 1-5000
POINTS ?=
PURE := $(wildcard tests/unit/api tests/unit/accelerators tests/unit/planning tests/unit/training)

.DEFAULT_GOAL := help
.PHONY: help deps check format test test-unit test-pure test-fleet e2e crash-points schedules paused-leader chaos soak \
	bench bench-memory demo crds reference lock chart images cluster-up cluster-down cluster-status node-off \
	node-partition node-on fleet-up fleet-down fleet-status clean clean-cache

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing: Debian packages, Go programs, .venv
	@$(PYTHON) -m deploy.prerequisites

check: deps ## lint, types, doors between rooms, generated files, file sizes, the chart
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	PYTHONPATH=operator $(VENV)/lint-imports
	$(VENV)/python -m holdfast.api.crd --check
	$(VENV)/python -m holdfast.app.reference --check
	$(VENV)/python -m deploy.chart check
	$(VENV)/pytest -q tests/unit/guards

format: deps ## format the Python code
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

test: deps test-pure test-unit test-fleet e2e ## all tests, on the real cluster too

test-pure: deps ## the pure rooms' tests, with their branch coverage
	$(VENV)/coverage run -m pytest -q $(PURE)
	$(VENV)/coverage report

test-unit: deps ## all other tests that need no cluster
	$(VENV)/pytest tests/unit tests/cluster $(PURE:%=--ignore=%)

test-fleet: deps ## the tests on a real API server and scheduler, without nodes; brings it up and takes it away
	$(VENV)/pytest tests/cluster/conformance --api-server fleet
	$(VENV)/pytest tests/fleet

e2e: deps ## the tests on the real cluster; brings it up
	$(VENV)/pytest tests/e2e

crash-points: deps ## every crash point of a job's life on the simulation; POINTS="suspend pod:after:7" for single ones
	$(VENV)/python -m tests.cluster.life.crash_points $(POINTS)

schedules: deps ## random schedules of faults on the simulation, SEEDS=1-5000
	$(VENV)/python -m tests.cluster.life.schedules $(SEEDS)

paused-leader: deps ## two processes of the operator, the leader stopped for a minute
	HOLDFAST_PAUSE_S=60 $(VENV)/pytest tests/cluster/test_paused_leader.py

chaos: deps ## the example trainer with a killed worker, ROUNDS=5 times over
	$(VENV)/pytest tests/chaos

soak: deps ## random faults on the local cluster for MINUTES=20 (SEED=n repeats them); what is used must stay flat
	$(VENV)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: deps ## measure the operator on the fleet cluster; BENCH="many --rounds 5" picks parts, --help lists them
	PYTHONPATH=operator $(VENV)/python -m tests.bench $(BENCH)

bench-memory: deps ## how the operator grows to 20,000 jobs and 50,000 pods, on an API server in memory
	PYTHONPATH=operator $(VENV)/python -m tests.bench.memory $(BENCH)

demo: deps ## the main job with its disasters, and the proof; KEEP=1 leaves all up
	$(VENV)/python -m deploy.demo

crds: deps ## generate crds/, docs/reference/api.md and the chart's copies from the models
	$(VENV)/python -m holdfast.api.crd
	$(VENV)/python -m deploy.chart sync

reference: deps ## generate docs/reference/metrics.md and logs.md from what the code defines
	$(VENV)/python -m holdfast.app.reference

chart: deps ## check the chart and package it into dist/
	$(VENV)/python -m deploy.chart check
	$(VENV)/python -m deploy.chart helm package charts/holdfast --destination dist

images: deps ## build the images, print where their archives are
	$(VENV)/python -m deploy.images build

cluster-up: deps ## bring the local cluster up
	$(KIND) up

cluster-down: ## take the local cluster away, with all that it left on the machine
	$(KIND) down

cluster-status: ## show the local cluster
	$(KIND) status

node-off: ## power worker N off (N=2)
	$(KIND) node-off $(N)

node-partition: ## cut worker N from the network (N=2)
	$(KIND) node-partition $(N)

node-on: ## bring worker N back (N=2)
	$(KIND) node-on $(N)

fleet-up: deps ## bring up a bare control plane on 127.0.0.1 with simulated nodes, for load and scale
	$(FLEET) up

fleet-down: ## take it away
	$(FLEET) down

fleet-status: ## show it
	$(FLEET) status

# Pins that still fit are kept; UPGRADE=1 takes the newest versions.
COMPILE := $(VENV)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11 $(if $(UPGRADE),--upgrade)
# The images are Linux with one Python: no markers, so that every installer reads the same list.
COMPILE_IMAGE := $(COMPILE) --python-platform linux

lock: ## bring requirements/*.txt in line with pyproject.toml and requirements/*.in; UPGRADE=1 for newer versions
	$(COMPILE) --universal requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --universal pyproject.toml --extra dev -o requirements/dev.txt
	$(COMPILE_IMAGE) pyproject.toml --extra operator --extra sidecar -o requirements/image.txt
	$(COMPILE_IMAGE) requirements/trainer.in -o requirements/trainer.txt
	$(COMPILE_IMAGE) --no-deps requirements/digits.in -o requirements/digits.txt

clean: ## remove what tools left in the working tree
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-cache: cluster-down fleet-down clean ## also remove .venv and this user's cache of slow results
	rm -rf .venv "$${XDG_CACHE_HOME:-$$HOME/.cache}/holdfast"
