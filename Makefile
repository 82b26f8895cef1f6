# Everything that is done to Postern by hand or by machine. Written for GNU
# make 3.81 and later. Go is all that is needed, except where a line says so.
.DEFAULT_GOAL := help

GO                 = go
GOLANGCI_LINT      = $(GO) tool -modfile=tools/go.mod golangci-lint
TERRAFORM          = terraform
TFLINT             = $(GO) run github.com/terraform-linters/tflint@v0.64.0
CONFTEST           = $(GO) run github.com/open-policy-agent/conftest@v0.71.0
CYCLONEDX_GOMOD    = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
GOVULNCHECK        = golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNCHECK_FLAGS    =
VULNCHECK_OPTIONAL =
IMAGE              = postern
GO_IMAGE           =
PLATFORM           =
REPOSITORY         =
TAG                = $(REVISION)
DOCKER             = docker
DOCKER_BUILD_FLAGS =
SERVICES           =
TEST_FLAGS         = -race
TEST_TIMEOUT       = 25m
FUZZ_TIME          = 30s
FUZZ_WORKERS       = 1
BENCH              = .
BENCH_FLAGS        = -benchmem
SUITE_FLAGS        =

# The packages of which a test file declares a function by this prefix.
packages_with = $(sort $(dir $(shell grep -rl '^func $(1)[A-Z]' --include='*_test.go' ./cmd ./internal)))
# A target for each fuzz test: fuzz/internal/mailer/FuzzRender.
FUZZ_TESTS := $(shell grep -ro '^func Fuzz[A-Za-z0-9]*' --include='*_test.go' cmd internal | sed 's,/[^/]*:func ,/,; s,^,fuzz/,' | sort)
REVISION = $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# The plugin where it is there, else the program of its own.
COMPOSE = $(shell $(DOCKER) compose version >/dev/null 2>&1 && echo $(DOCKER) compose || echo docker-compose)

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## Send a campaign to a relay on this machine, verify what arrived, end
	$(GO) run ./cmd/demo

.PHONY: run
run: ## The same, and keep the service and the relay running
	$(GO) run ./cmd/demo -keep

.PHONY: build
build: ## Build bin/server
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/server ./cmd/server

.PHONY: test
test: lint ## Lint, then run every test with the race detector (needs a C compiler)
	$(GO) test $(TEST_FLAGS) -timeout $(TEST_TIMEOUT) ./...
	@if command -v $(TERRAFORM) >/dev/null; then $(MAKE) terraform-test terraform-lint; \
	  else echo "The Terraform stack was not tested: there is no terraform."; fi
	@$(DOCKER) info >/dev/null 2>&1 || echo "The container test was not run: no Docker engine answers."
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || echo "The Prometheus tests were not run: there is no prometheus or promtool (Debian's package prometheus)."

.PHONY: test-short
test-short: ## Run every test, without lint and race detector
	$(GO) test -timeout $(TEST_TIMEOUT) ./...

.PHONY: acceptance
acceptance: ## Send 10,000 letters with a 1 MB attachment on each store, and check every one (minutes)
	$(GO) test ./internal/app -count 1 -timeout 60m -v -run '^TestCampaign$$' -recipients 10000

.PHONY: chaos
chaos: ## Kill tasks at every step, and count who got what (minutes)
	$(GO) run ./cmd/chaos

.PHONY: hostile
hostile: ## 200 campaigns of 10 MB at once and 1,000 slow clients against a server with 512 MB (minutes)
	$(GO) test ./cmd/server -count 1 -timeout 15m -v -run '^(TestHostileClients|TestSilentRelay)$$' -posts 200 -slow 1000 -silent 80

.PHONY: cover
cover: ## Run every test and write coverage/index.html
	@mkdir -p coverage
	$(GO) test -timeout $(TEST_TIMEOUT) -coverpkg=./... -coverprofile=coverage/cover.out ./...
	$(GO) tool cover -html=coverage/cover.out -o coverage/index.html

.PHONY: lint
lint: ## Run the pinned golangci-lint (about a minute to build it the first time)
	$(GOLANGCI_LINT) run

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities that the code reaches (needs vuln.go.dev, or VULNCHECK_FLAGS="-db URL")
	@GOBIN="$(CURDIR)/bin" $(GO) install $(GOVULNCHECK)
	@bin/govulncheck $(VULNCHECK_FLAGS) ./... || { status=$$?; \
	  if [ $$status -eq 3 ]; then exit $$status; fi; \
	  echo "Known vulnerabilities were NOT looked for: govulncheck says why above. Where the database (vuln.go.dev) is out of reach, VULNCHECK_FLAGS=\"-db URL\" names a copy."; \
	  $(if $(VULNCHECK_OPTIONAL),true,exit $$status); }

.PHONY: sbom
sbom: ## Write bin/server.cdx.json: what the server is made of, licences too (CycloneDX 1.5)
	@GOBIN="$(CURDIR)/bin" $(GO) install $(CYCLONEDX_GOMOD)
	CGO_ENABLED=0 GOOS=linux bin/cyclonedx-gomod app -json -output-version 1.5 -std -licenses -main cmd/server -output bin/server.cdx.json .

.PHONY: fmt
fmt: ## Format the Go files
	$(GOLANGCI_LINT) fmt

.PHONY: tidy
tidy: ## Tidy go.mod and tools/go.mod
	$(GO) mod tidy
	cd tools && $(GO) mod tidy

.PHONY: fuzz $(FUZZ_TESTS)
fuzz: $(FUZZ_TESTS) ## Run each fuzz test for FUZZ_TIME (30s), several at once with -j, each on FUZZ_WORKERS cores (1)

$(FUZZ_TESTS): fuzz/%:
	$(GO) test -run '^$$' -fuzz '^$(notdir $*)$$' -fuzztime $(FUZZ_TIME) -fuzzminimizetime 100x -parallel $(FUZZ_WORKERS) ./$(dir $*)

.PHONY: bench
bench: ## Measure beside smtp-source and others, and write docs/performance.md (most of an hour; needs Debian's postfix)
	$(GO) run ./cmd/bench -out docs $(SUITE_FLAGS)

.PHONY: bench-quick
bench-quick: ## The same in minutes, printed only
	$(GO) run ./cmd/bench -quick $(SUITE_FLAGS)

.PHONY: microbench
microbench: ## Run the Go benchmarks that match BENCH (all)
	$(GO) test -run '^$$' -bench '$(BENCH)' $(BENCH_FLAGS) $(call packages_with,Benchmark)

.PHONY: terraform-test
terraform-test: ## Check the Terraform stack with AWS mocked (needs terraform)
	cd terraform && tests/provider $(MAKE) -f ../Makefile in-terraform

.PHONY: in-terraform
in-terraform:
	$(TERRAFORM) init -backend=false -input=false >/dev/null
	$(TERRAFORM) fmt -check -recursive
	$(TERRAFORM) validate
	$(TERRAFORM) test

.PHONY: terraform-lint
terraform-lint: ## Run tflint and conftest over it (minutes to build them the first time)
	cd terraform && $(TFLINT) --recursive --config "$$PWD/.tflint.hcl"
	cd terraform && $(CONFTEST) verify -p policy

.PHONY: terraform-e2e
terraform-e2e: ## Apply it to a stand-in for AWS in each egress mode, and destroy it (needs terraform, Python with moto[server])
	CONFTEST="$(CONFTEST)" terraform/tests/provider terraform/e2e/run

.PHONY: image
image: ## Build the Docker image (needs Docker; GO_IMAGE=golang@sha256:... pins the compiler, DOCKER_BUILD_FLAGS=--network=host where the build reaches no network)
	$(DOCKER) build $(if $(PLATFORM),--platform $(PLATFORM)) $(DOCKER_BUILD_FLAGS) --build-arg REVISION=$(REVISION) $(if $(GO_IMAGE),--build-arg GO_IMAGE=$(GO_IMAGE)) -t $(IMAGE) .

.PHONY: push
push: ## Push the image to REPOSITORY under TAG (needs Docker and the AWS CLI)
	@test -n "$(REPOSITORY)" || { echo "REPOSITORY=... is missing: terraform output -raw repository_url"; exit 2; }
	region=$$(echo $(REPOSITORY) | cut -d. -f4); \
	  aws ecr get-login-password --region $$region | $(DOCKER) login --username AWS --password-stdin $(firstword $(subst /, ,$(REPOSITORY)))
	$(DOCKER) tag $(IMAGE) $(REPOSITORY):$(TAG)
	$(DOCKER) push $(REPOSITORY):$(TAG)

.PHONY: compose-up
compose-up: ## Start Postern, DynamoDB Local, MailHog and Prometheus (needs Docker; SERVICES names some of them)
	$(COMPOSE) up -d --build $(SERVICES)

.PHONY: compose-down
compose-down: ## Stop them and forget what they kept
	$(COMPOSE) down -v

.PHONY: clean
clean: ## Remove what was built, not the data
	rm -rf bin coverage
	$(GO) clean -testcache
