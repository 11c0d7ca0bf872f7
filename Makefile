# Every target works from a fresh clone with Python >= 3.11, pip and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without torch, which a search on a CPU does not need; and with all that tests need.
LIGHT := $(VENV)/.installed-light
STAMP := $(VENV)/.installed
# pip's own options pass through its environment (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL …); see
# docs/operations.md for the smaller CPU builds of torch.
# setuptools warns that a checkout's folders shadow the package; here they are the package.
INSTALL = PYTHONWARNINGS=ignore $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e
PROTOS := $(wildcard protos/halftone/v1/*.proto)
# Not every shell expands the tilde in `make demo ARCHIVE=~/x`.
WITH_ARCHIVE := $(if $(ARCHIVE),--archive '$(patsubst ~/%,$(HOME)/%,$(ARCHIVE))')

.PHONY: demo test reference dist wheels soak check format protos client bench gpu images compose-test clean

$(VENV)/bin/pip:
	@# Without Debian's python3-venv a folder is left that has a python and no pip.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
		echo "make: $(PYTHON) cannot make a virtual environment with pip; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }

$(LIGHT): pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing Halftone and what it needs into $(VENV): 250 MB to download, 800 MB on the disk."
	$(INSTALL) '.[demo]'
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing Halftone, torch and the tools of its developers into $(VENV): 3 GB to download, 6 GB on the disk."
	$(INSTALL) '.[all,dev]'
	@touch $(LIGHT) $@

demo: $(LIGHT)
	$(BIN)/halftone demo $(WITH_ARCHIVE) $(if $(SERVE),--serve)

# Three workers, also on two cores, since a sixth of the time tests wait; each takes 1.2 GB. By files,
# whose fixtures are stacks of processes. In a random order that is the same each time; `make test
# SEED=7` is another. A worker that dies ends the run; xdist would wait for it for ever.
# Compiled code is kept, since many processes are started.
SEED ?= 1914
WORKERS ?= 3
test: $(STAMP)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
		--randomly-seed=$(SEED)

# Meta's own PDQ, which one test compares ours with. It has no wheels and needs a C++ compiler.
reference: $(STAMP)
	$(INSTALL) '.[reference]'

# The wheel and the sdist in build/dist, checked, and the wheel installed in an empty environment
# and used. `make soak` does the same with the packages of its own environment.
EXTRAS ?= local,demo
dist: $(STAMP)
	$(BIN)/python -m tools.distribution --extras $(EXTRAS)

# Whether what is pinned and what is installed has wheels, for each Python and system; asks the index.
wheels: $(STAMP)
	$(BIN)/python tools/wheels.py

# What `make test` leaves out, so that it stays below eight minutes on two cores.
soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --randomly-seed=$(SEED)

# Types are checked for both systems, whichever this is: a name that one of them lacks is an error there.
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --platform linux
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/lint-imports
	$(BIN)/python tools/unasync.py --check
	rm -rf build/protos && mkdir -p build/protos
	$(BIN)/python -m grpc_tools.protoc -Iprotos \
		--python_out=build/protos --pyi_out=build/protos --grpc_python_out=build/protos $(PROTOS)
	diff -r -x __init__.py -x __pycache__ build/protos/halftone/v1 halftone/v1

protos: $(STAMP)
	$(BIN)/python -m grpc_tools.protoc -Iprotos \
		--python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

# The blocking client from the asynchronous one.
client: $(STAMP)
	$(BIN)/python tools/unasync.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m tests.bench $(WITH_ARCHIVE)

# With a python that has a torch with CUDA nothing is installed into it: what else is missing goes
# into build/gpu/packages. Another one gets the virtual environment, as every target does.
GPU_OPTIONS := $(if $(DATA),--data '$(patsubst ~/%,$(HOME)/%,$(DATA))') $(WITH_ARCHIVE) \
	$(if $(OUT),--out '$(patsubst ~/%,$(HOME)/%,$(OUT))') $(if $(MINUTES),--minutes $(MINUTES)) \
	$(if $(ONLY),--only $(ONLY)) $(if $(SKIP),--skip $(SKIP)) $(ARGS)

gpu:
	@if $(PYTHON) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then \
		exec $(PYTHON) tests/gpu/__main__.py $(GPU_OPTIONS); \
	fi; \
	$(MAKE) --no-print-directory $(STAMP) && exec $(BIN)/python tests/gpu/__main__.py $(GPU_OPTIONS)

# The images of docker-compose.yml, by any engine whose client knows `build`: `make images DOCKER=podman`.
# The trainer's image and the one of embedders on GPUs have the same layers.
DOCKER ?= docker
HALFTONE_TAG ?= latest
DOCKER_BUILD_ARGS ?=
IMAGE_ARGS := $(foreach name,PYTHON_IMAGE TORCH_INDEX,$(if $($(name)),--build-arg $(name)=$($(name))))
images:
	@for target in search embedder web trainer embedder-gpu; do \
		$(DOCKER) build $(DOCKER_BUILD_ARGS) $(IMAGE_ARGS) -f deploy/docker/Dockerfile --target $$target \
			-t halftone-$$target:$(HALFTONE_TAG) . || exit 1; \
		echo "Built halftone-$$target:$(HALFTONE_TAG)"; \
	done

# Builds the images and takes an archive through a stack of them. Skipped, with the reason, where no engine
# answers or can be started; see docs/operations.md.
compose-test: $(STAMP)
	$(BIN)/python -m pytest -m compose -p no:randomly --timeout 14400 tests/compose

clean:
	rm -rf build demo .pytest_cache .mypy_cache .ruff_cache
