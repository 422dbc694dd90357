# What a developer does here. `make` alone lists it; `make test` is the one verdict.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SANDBOX := $(BIN)/python -m minicloud sandbox run

# Debian's packages: guests, networks, what the Python bindings are built with, and what the guest image is made by.
PACKAGES := libvirt-daemon libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils \
	dnsmasq-base dnsmasq-utils nftables libnftables1 iproute2 iputils-ping conntrack openssh-client \
	libvirt-dev pkg-config gcc python3-dev python3-venv \
	mtools dosfstools syslinux syslinux-common e2fsprogs fdisk cpio lz4 kmod mmdebstrap

.DEFAULT_GOAL := help
.PHONY: help install demo bench debian crash fuzz conformance system lint format test fake-test serve sandbox clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: system $(VENV)/.installed ## Install what is missing: system packages (as root), then Python's in .venv.

system:
	@missing=""; if command -v dpkg-query >/dev/null; then \
	  have=" $$(dpkg-query -W -f '$${db:Status-Status}:$${Package} ' $(PACKAGES) 2>/dev/null || true)"; \
	  for one in $(PACKAGES); do [[ "$$have" == *" installed:$$one "* ]] || missing+=" $$one"; done; \
	else echo "No Debian here: install the likes of $(PACKAGES)." >&2; fi; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "Missing for real guests, needs root: apt-get install$$missing" >&2; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q -o DPkg::Lock::Timeout=100 update; \
	apt-get -q -y -o DPkg::Lock::Timeout=100 install --no-install-recommends $$missing

# Without libvirt's headers (no root, or a fake-only machine) the binding is left out; the fake host needs none.
$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "minicloud needs Python 3.11 or newer: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	extras=test,clients; if pkg-config --exists libvirt 2>/dev/null; then extras+=,real; fi; \
	$(BIN)/python -m pip install -q -e ".[$$extras]"
	touch $@

# The stock Ansible that runs the example playbook, apart from ours.
$(VENV)/ansible/.installed: tests/clients/ansible.txt $(VENV)/.installed
	test -x $(VENV)/ansible/bin/python || $(PYTHON) -m venv $(VENV)/ansible
	$(VENV)/ansible/bin/python -m pip install -q -r $<
	touch $@

lint: $(VENV)/.installed ## Style, types, and who may import whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed ## Let ruff lay out the code.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: install lint $(VENV)/ansible/.installed ## Everything: lint, then all tests, those of the real host in a throw-away sandbox.
	if [ "$$(id -u)" = 0 ]; then \
	  $(BIN)/python -m minicloud image build tiny; \
	  $(SANDBOX) --bare -- $(BIN)/python -m pytest; \
	else echo "Not root: the tests of the real host are left out." >&2; $(BIN)/python -m pytest -m "not real"; fi

fake-test: $(VENV)/.installed ## The quick half: no root, no libvirt.
	$(BIN)/python -m pytest -m "not real and not slow"

serve: $(VENV)/.installed ## A cloud on the fake host, on port 5050, in .state.
	$(BIN)/python -m minicloud serve --fake --state .state

sandbox: install ## A shell in a throw-away cloud with real guests (root).
	$(BIN)/python -m minicloud sandbox shell

demo: install ## The main job, shown: a throw-away cloud, machines, login, a crash, and nothing left.
	$(BIN)/python -m minicloud demo

bench: install ## Speed and size: every promised figure, measured now (needs wrk).
	command -v wrk >/dev/null || apt-get install -q -y --no-install-recommends wrk
	$(SANDBOX) --bare -- $(BIN)/python -m tests.bench

debian: install ## Build the Debian 12 image and boot it on this cloud, by metadata and by config drive (minutes without KVM).
	$(BIN)/python -m minicloud image build tiny
	$(BIN)/python -m minicloud image build debian
	$(SANDBOX) --bare -- $(BIN)/python -m pytest -rP tests/guest/debian_boot.py

crash: $(VENV)/.installed ## Fail and kill the daemon at every point of every kind of operation.
	MINICLOUD_CRASH=all $(BIN)/python -m pytest tests/crash

SERVICE ?= identity image placement network volume compute
FUZZ ?= 2000
fuzz: $(VENV)/.installed ## Requests generated from the OpenAPI document, many and new ones: SERVICE=identity FUZZ=5000.
	MINICLOUD_FUZZ=$(FUZZ) MINICLOUD_FUZZ_SERVICE="$(SERVICE)" $(BIN)/python -m pytest --timeout 3600 tests/house/test_fuzz.py

# The yardsticks lie beside the checkout where there are any; their Python is set up once, apart from ours.
YARDSTICKS ?= ../shared/yardsticks
SELECT ?= smoke
conformance: install ## Tempest in a sandbox, by the yardsticks in ../shared; SELECT='list or regex ...', else smoke.
	@if [ ! -d $(YARDSTICKS) ]; then echo "No yardsticks at $(YARDSTICKS): name their folder by YARDSTICKS=..."; exit 0; fi; \
	[ -s .yardsticks/tempest-ids/all.txt ] || $(YARDSTICKS)/setup.sh .yardsticks tempest; \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(SANDBOX) -- tests/conformance/run.sh $(abspath $(YARDSTICKS)) $(CURDIR)/.yardsticks $(SELECT)

clean: ## Remove what was made here, but the system packages.
	rm -rf $(VENV) .yardsticks .state build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
