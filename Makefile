# `make demo` shows the whole job on this machine, `make test` proves it. Both install what they need, on Debian and Ubuntu.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version is told to the linker, so that git need not trust the tree's owner while Go builds.
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# Where `make lint-proto` finds the protos to compare with: what has landed before.
AGAINST ?= HEAD~1
# Packages whose C memory the address sanitizer watches.
ASAN := ./media/...

.PHONY: help
help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps deps-test deps-lint deps-e2e deps-bench
deps: ## Install the compiler and codec libraries, if they are missing.
	@.ci/deps build
deps-test: ## Install what tests need beside that: ffmpeg and Redis.
	@.ci/deps build test
deps-lint:
	@.ci/deps build lint
deps-e2e: ## Install what end-to-end tests need beside that: ffmpeg, Chromium, Redis, etcd, Prometheus and npm.
	@.ci/deps build lint e2e
deps-bench: ## Install the references of the benchmark: ffmpeg and aiortc.
	@.ci/deps build bench

.PHONY: build
build: deps ## Build bin/gateway.
	go build -ldflags "-X main.version=$(VERSION)" -o bin/gateway ./cmd/gateway

.PHONY: demo
demo: build ## Run the whole job on this machine and prove by content that every frame came from the right source.
	bin/gateway demo

.PHONY: test
test: deps-test ## Run all tests with the race detector, and the codecs' under the address sanitizer too.
	go test -race -shuffle=on -timeout 9m ./...
	go test -asan -timeout 9m $(ASAN)

.PHONY: e2e
e2e: deps-e2e build ## Run the tests with heavy real parts (Chromium, ffprobe, grpcurl, Jaeger, buildah, Prometheus, Helm, a Kubernetes API server), and kill workers under the address sanitizer.
	go test -asan -run F16 -timeout 9m ./service
	GATEWAY=$(CURDIR)/bin/gateway $(call tools,compose cyclonedx grpcurl helm jaeger kube-apiserver kubeconform) \
	  go test -tags e2e -count=1 -timeout 17m -v ./e2e/...

# tools gives the paths of pinned tools as variables: KUBE_APISERVER=… for kube-apiserver.
tools = $(foreach t,$(1),$(shell echo $(t) | tr a-z- A-Z_)=$$(e2e/tools/get $(t)))

# The tools that are built from source and take minutes the first time.
.PHONY: tools
tools: deps-e2e ## Build the pinned tools that tests and lint use, if they are not in the cache.
	@for tool in e2e/tools/*/; do e2e/tools/get "$$(basename "$$tool")"; done
	e2e/tools/image-layers

# How long `make soak` goes on.
SOAK ?= 60s

.PHONY: soak
soak: deps-test ## For SOAK each: publishers join, leave and restart, under the race detector; workers read, stall and churn, and memory stays flat.
	PENSTOCK_SOAK=$(SOAK) go test -race -count=1 -run S8_Soak -timeout 0 -v ./rtcpool
	go run ./bench soak -for $(SOAK)

.PHONY: bench
bench: deps-bench ## Measure, and print one table; it is left in bench/out. One row alone: go run ./bench -run X3
	go run ./bench

.PHONY: lint
lint: deps-lint lint-format ## Look for faults without running anything.
	go vet ./...
	go vet -tags e2e ./e2e/...
	$$(e2e/tools/get golangci-lint) run ./...
	$(MAKE) --no-print-directory lint-proto

.PHONY: lint-format
lint-format: ## Name the files that gofmt would change.
	@files=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$files" ]; then echo "gofmt would change:" $$files >&2; exit 1; fi

.PHONY: lint-proto
lint-proto: deps-lint ## Lint the protos, and compare them with AGAINST.
	buf=$$(e2e/tools/get buf); $$buf lint; \
	if git rev-parse -q --verify $(AGAINST):buf.yaml >/dev/null 2>&1; then \
		against=$$(mktemp -d); trap 'rm -rf "$$against"' EXIT; \
		git archive $(AGAINST) buf.yaml api | tar -x -C "$$against"; \
		$$buf breaking --against "$$against"; \
	else echo "$(AGAINST) has no protos to compare with"; fi

.PHONY: generate
generate: deps-lint ## Make the code of the protos, and the pages that are made of code, anew.
	$$(e2e/tools/get buf) generate
	go run ./internal/docgen
	go run ./internal/supply licences

.PHONY: sbom
sbom: build ## Write bin/sbom.cdx.json, a CycloneDX bill of what the binary was built of. The image holds one of all that is in it.
	go run ./internal/supply sbom -binary bin/gateway -version $(VERSION) >bin/sbom.cdx.json

# What builds images: docker, podman and buildah take the same words.
BUILDER ?= docker

.PHONY: image
image: ## Build the image penstock:VERSION. Another builder: make image BUILDER=podman
	$(BUILDER) build $(if $(filter %buildah %podman,$(BUILDER)),--format docker )--build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) -t penstock:$(VERSION) .

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin out bench/out
