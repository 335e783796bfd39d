# The front door. `make demo` and `make test` work on a bare Debian, as root and as an ordinary user: they install what
# is missing from Debian (saying what) and keep Python packages in a private virtual environment.
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules
.NOTPARALLEL:

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
FAULT_KILLS ?= 300
RELEASE := build/release

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

build: ## Build build/release/millrace
	@deploy/deps build
	@deploy/build release millrace

demo: ## Train digit classifiers end to end on this machine; KEEP=1 leaves the server running
	@deploy/deps build demo
	@deploy/build release millrace
	@deploy/demo

test: ## Build, run every unit and end-to-end test
	@deploy/deps build demo
	@deploy/build release
	@tests/run

test-cluster: ## Test against a real single-node Kubernetes of its own (root; the first time builds it: 10 minutes)
	@deploy/deps build demo cluster
	@deploy/build release
	@tests/cluster/run

test-image: ## Build the image of deploy/Dockerfile with buildah, from Debian's packages, and look into it (root)
	@deploy/deps build
	@deploy/build release millrace
	@tests/image/run

bench: ## Measure the engine beside floors of the same run; rows go to build/bench/engine.jsonl
	@deploy/deps build demo
	@deploy/build release
	@tests/bench/run

bench-peers: ## Measure the same work in other engines, interleaved on the same machine
	@deploy/deps build demo
	@deploy/build release
	@tests/bench/peers/run

bench-cluster: ## Measure steps as Jobs beside raw Jobs; rows go to build/bench/cluster.jsonl
	@deploy/deps build demo cluster
	@deploy/build release millrace
	@tests/cluster/bench

fault: ## Kill server and database FAULT_KILLS (300) times under load, then check the record
	@deploy/deps build demo
	@deploy/build release millrace
	@tests/fault/run --kills $(FAULT_KILLS)

lint: ## Layers, purity, format, clang-tidy, length, leftovers, documents
	@deploy/deps build demo lint
	@deploy/build release
	@tests/lint/run

fuzz: ## Run each fuzzer for FUZZ_SECONDS (60)
	@deploy/deps build lint
	@deploy/build fuzz
	@tests/fuzz/run $(FUZZ_SECONDS)

format: ## Rewrite C files by .clang-format
	@deploy/deps lint
	@git ls-files -z -co --exclude-standard '*.c' '*.h' | xargs -0 clang-format -i

clean: ## Remove build/
	@rm -rf build

.PHONY: help build demo test test-cluster test-image bench bench-peers bench-cluster fault lint fuzz format clean
