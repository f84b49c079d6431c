# make help lists the targets. Everything that a target needs and that Go modules or Debian packages provide is installed by it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
export CGO_ENABLED ?= 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATE := /var/lib/heddle-cluster
# ECONOMY is how tests/run and tests/cluster compile: what a target for the cluster has compiled, they find, and the other way round.
ECONOMY := '-toolexec=env GOGC=off GOMEMLIMIT=2GiB GOMAXPROCS=1' -gcflags=all=-dwarf=false
FUZZTIME ?= 1m
FUZZ ?=

.PHONY: help demo test test-unit test-e2e test-long fuzz lint generate build images cluster cluster-down bench bench-pilot clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# root says at once, before anything is compiled, that a target needs root.
define root
if [ "$$(id -u)" != 0 ]; then echo '$(1)' >&2; exit 1; fi
endef

# compile builds a program into bin/ and says how long that takes, while it goes on and after.
define compile
(n=0; while sleep 1; do n=$$((n + 1)); if [ $$((n % 15)) = 0 ]; then echo "  ... compiling $(1), $${n}s"; fi; done) & ticking=$$!
trap 'kill $$ticking 2>/dev/null || true' EXIT
go build -o bin/$(notdir $(1)) ./$(1)
kill $$ticking 2>/dev/null || true
trap - EXIT
echo "  compiled $(1) in $${SECONDS}s"
endef

demo test test-e2e cluster cluster-down: export GOFLAGS := $(ECONOMY) $(GOFLAGS)

demo: ## a real Kubernetes, Heddle, the sample shop and the tour; on a cluster of yours: make demo CONTEXT=name REGISTRY=...
	@$(if $(CONTEXT),,$(call root,the demo starts a Kubernetes of its own and needs root; on a cluster of yours: make demo CONTEXT=name REGISTRY=registry))
	echo 'compiling what runs the demo (minutes, the first time)'
	$(call compile,tests/demo)
	exec bin/demo $(if $(CONTEXT),-context '$(CONTEXT)') $(if $(REGISTRY),-registry '$(REGISTRY)')

test: ## every test, the end-to-end ones on a real Kubernetes included
	@$(call root,the end-to-end tests start a Kubernetes of their own and need root; without root: make test-unit)
	go run ./tests/run

test-unit: ## what needs no cluster
	@go run ./tests/run -only lint,unit

test-e2e: ## what needs the cluster
	@$(call root,the end-to-end tests start a Kubernetes of their own and need root; without root: make test-unit)
	go run ./tests/run -only e2e

test-long: ## everything, and what takes long: faults under load, ten thousand slow clients, sixty thousand short connections, an hour of mixed traffic, each fuzz target for a minute
	@go run ./tests/run -long

fuzz: ## each fuzz target for FUZZTIME (1m), or those that FUZZ matches; docs/fuzz.md says how long they have run
	@go run ./tests/fuzz -time $(FUZZTIME) -only '$(FUZZ)'

lint: ## vet, staticcheck and formatting
	@go run ./tests/run -only lint

generate: ## the CRDs that are embedded, from the pinned API modules
	@go run ./manifests/crds/gen

build: generate ## the three programs, into bin/
	@for p in heddled heddle-proxy meshctl; do go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/$$p ./cmd/$$p; done

images: generate ## OCI archives for amd64 and arm64, into out/
	@for arch in amd64 arm64; do
	  for p in heddled heddle-proxy; do
	    GOARCH=$$arch go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/$$arch/$$p ./cmd/$$p
	  done
	  mkdir -p out/$$arch
	  go run ./manifests/images -arch $$arch -version '$(VERSION)' -prefix ghcr.io/heddle-mesh/ -out out/$$arch heddled=bin/$$arch/heddled heddle-proxy=bin/$$arch/heddle-proxy
	done

cluster: ## the test cluster alone
	@cd tests/cluster && go run ./cmd/cluster up

cluster-down: ## stop the cluster and leave nothing behind
	@cd tests/cluster && go run ./cmd/cluster down

bench: ## what the data plane costs, beside Envoy, HAProxy and nginx
	@go run ./tests/bench

bench-pilot: generate ## what the control plane costs with real Kubernetes objects and 100 to 2,000 clients; some rows: make bench-pilot ARGS='-rows 500x100'; beside an istiod: ISTIOD=path/to/pilot-discovery make bench-pilot
	@go run ./tests/bench/pilot $(if $(ISTIOD),-istiod='$(ISTIOD)') $(ARGS)

clean: ## what was built in the tree
	@rm -rf bin out
