# The commands of everyday work. `make build`, `make run` and `make test` install what is missing by themselves; all
# that must be there is rustup's toolchain.

export CARGO_TARGET_DIR := $(shell scripts/target-folder)
# RocksDB is compiled once, by itself.
ROCKSDB_VERSION := $(shell sed -n '/^name = "librocksdb-sys"$$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
export ROCKSDB_LIB_DIR := $(CARGO_TARGET_DIR)/rocksdb-$(ROCKSDB_VERSION)
export ROCKSDB_STATIC := 1
VENV := $(CARGO_TARGET_DIR)/python
TOOLS := $(CARGO_TARGET_DIR)/tools
# The end-to-end tests' Python, with paho-mqtt and schemathesis.
export GODWIT_TEST_PYTHON := $(VENV)/bin/python
# Node packages of theirs: mqtt.js.
NODE := $(CARGO_TARGET_DIR)/node
export GODWIT_TEST_NODE_PATH := $(NODE)/node_modules
# The page that the server serves, if there is Node to build it.
export GODWIT_WEB_DIST := $(CURDIR)/web/dist
# What `make build` makes. In production the first is enough.
PROGRAMS := godwit godwit-chat godwit-bench
# Cassandra's jars, and the data of the nodes that `make test-cluster` starts.
CASSANDRA := $(CARGO_TARGET_DIR)/cassandra
# How often `make soak` kills.
SOAK_KILLS ?= 1000
# How long `make soak-client` kills apps and servers.
SOAK_S ?= 600
# How many packets `make attack` sends, and how many slow connections it has.
ATTACKS ?= 1000000
SLOW ?= 10000
# How many seconds `make fuzz` gives each target.
FUZZ_S ?= 60
# What `make sim` simulates.
SEEDS ?= 1000
FROM ?= 1
# What `make bench` measures: a workload with its arguments, or everything; and on which server.
BENCH ?=
export SERVER ?= godwit
# An earlier build's dist/godwit, for `make bench` to measure in turn with this one.
export OLD ?=
# How many clients `make router-cost` gives a filter of their own.
CLIENTS ?= 1000 10000

.PHONY: help build run test test-cluster soak soak-client client-size attack siege fresh fuzz sim conformance bench profile router-cost fmt lint doc deny audit \
	prerequisites settings-page test-prerequisites test-web deb web

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

build: prerequisites web ## the programs: dist/godwit, and what `godwit chat` and `godwit bench` run, dist/godwit-chat and dist/godwit-bench
	cargo build --locked --workspace $(addprefix --bin ,$(PROGRAMS)) # --workspace: the same features as in make test, so no crate is compiled twice
	@mkdir -p dist
	install -m 755 $(addprefix $(CARGO_TARGET_DIR)/debug/,$(PROGRAMS)) dist
	strip --wildcard --keep-symbol='_ZN??godwit_*' --keep-symbol='_ZN*_$$LT$$godwit_*' --keep-symbol='_ZN4core9panicking*' $(addprefix dist/,$(PROGRAMS)) # Line tables and other crates' names are most of a program. Names of our own functions stay.

run: build ## a server with the default settings and a week of history, data in ./godwit-data; the chat is at http://127.0.0.1:8088
	GODWIT__RETENTION__HISTORY=$${GODWIT__RETENTION__HISTORY-7} dist/godwit serve

test: test-prerequisites ## every test
	cargo test --locked --workspace
	scripts/test-web $(CARGO_TARGET_DIR)/debug/godwit

test-web: test-prerequisites ## the tests of the page and of the client library in TypeScript
	cargo build --locked --workspace $(addprefix --bin ,$(PROGRAMS))
	scripts/test-web $(CARGO_TARGET_DIR)/debug/godwit

deb: build ## dist/godwit_VERSION_ARCHITECTURE.deb, a Debian package
	scripts/deb dist/godwit dist

web: prerequisites ## web/dist, the page that the server serves
	@scripts/web

test-cluster: test-prerequisites ## the tests that need Cassandra, on three nodes that it starts, parts of which it kills: 15 minutes, 3 GB of memory
	@scripts/prerequisites cluster
	tests/cluster/cassandra start $(CASSANDRA)
	export GODWIT_TEST_CASSANDRA=$(CASSANDRA); \
	cargo test --locked --workspace --lib -- --test-threads=1 --nocapture tests::cassandra && \
	cargo test --locked --workspace --test e2e -- --test-threads=1 --nocapture cluster::; \
	status=$$?; tests/cluster/cassandra stop $(CASSANDRA); exit $$status

soak: test-prerequisites ## kill servers under load SOAK_KILLS times (1000) and check what arrives
	GODWIT_SOAK_KILLS=$(SOAK_KILLS) cargo test --locked --workspace --test e2e -- --nocapture soak

soak-client: test-prerequisites ## kill apps and servers for SOAK_S seconds, and 2,000 messages through a 2G network
	GODWIT_SDK_S=$(SOAK_S) GODWIT_SDK_MESSAGES=2000 cargo test --locked --workspace --test e2e -- --nocapture \
		sdk::apps sdk::network

client-size: prerequisites ## what the smallest app with the client library weighs, by features
	scripts/client-size

attack: test-prerequisites ## every attack, with ATTACKS (1,000,000) packets and SLOW (10,000) connections; what others notice
	GODWIT_ATTACKS=$(ATTACKS) cargo test --locked --workspace --lib -- tests::random
	GODWIT_ATTACKS=$(ATTACKS) GODWIT_SLOW=$(SLOW) cargo test --locked --workspace --test e2e -- --nocapture \
		--test-threads=1 attack::

siege: test-prerequisites ## attacks by those who are let in, beside 200 messages a second; fails if others wait for a second
	GODWIT_SIEGE=1 cargo test --locked --workspace --test e2e -- --nocapture --test-threads=1 siege::

fresh: ## the README's two commands on a bare Debian, 20 minutes; FRESH=prerequisites for what they install, 5 minutes
	scripts/fresh $(FRESH)

fuzz: prerequisites ## look for input that breaks something, FUZZ_S seconds (60) at each door: libFuzzer
	scripts/fuzz $(FUZZ_S)

sim: test-prerequisites ## simulate SEEDS runs (1000) from seed FROM on (1), everything going wrong that may
	GODWIT_SIM_SEEDS=$(SEEDS) GODWIT_SIM_FROM=$(FROM) cargo test --locked --workspace --test seeds -- --nocapture promises

conformance: build test-prerequisites ## an outsiders' suite, whose checkout is DIR, against a server of its own: docs/conformance.md
	@$(VENV)/bin/python tests/conformance dist/godwit "$(DIR)"

bench: build ## measure it beside mosquitto and nats-server, 20 minutes; BENCH="pairs --window 1" SERVER=mosquitto for one; OLD=PROGRAM to compare with an earlier build
	@scripts/prerequisites bench
	cargo build --locked --workspace --bin figures
	install -m 755 $(CARGO_TARGET_DIR)/debug/figures dist/figures
	scripts/bench $(BENCH)

profile: build ## where BENCH ("pairs") spends its time: dist/profile.svg, and the twenty widest functions
	cargo build --locked --workspace --bin figures
	install -m 755 $(CARGO_TARGET_DIR)/debug/figures dist/figures
	scripts/profile $(or $(BENCH),pairs)

router-cost: prerequisites ## measure rumqttd's router, as docs/dev/decisions/rumqttd.md quotes it; CLIENTS="1000 50000"
	cargo build --locked --workspace --example router_cost
	$(CARGO_TARGET_DIR)/debug/examples/router_cost $(CLIENTS)

settings-page: prerequisites ## write docs/operators/settings.md from deploy/godwit.toml
	GODWIT_WRITE_PAGES=1 cargo test --quiet --locked --workspace --test settings_page

fmt: ## format the code
	cargo fmt --all

lint: prerequisites ## formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

doc: prerequisites ## the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

deny: ## licences, sources and banned crates of what we depend on
	"$$(scripts/cargo-tool cargo-deny $(TOOLS))" --locked check bans licenses sources

audit: ## known vulnerabilities in what we depend on; needs the network
	"$$(scripts/cargo-tool cargo-deny $(TOOLS))" --locked check advisories

prerequisites:
	@scripts/prerequisites build
	@scripts/rocksdb $(ROCKSDB_LIB_DIR)

test-prerequisites: prerequisites web
	@scripts/prerequisites test
	@scripts/test-python $(VENV)
	@scripts/test-node $(NODE)
