# The everyday commands. The build itself is Meson's: meson.build.

BUILD ?= build
DEMO_DIR ?= $(CURDIR)/demo
PORT_BASE ?= 2000
FUZZ_SECONDS ?= 60
PREFIX ?= /usr

.PHONY: all build run test install bench fuzz crashtest format lint clean help

all: build

build: ## build/posthouse
	@tools/packages.sh build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >/dev/null
	@ninja -C $(BUILD) posthouse

run: build ## build, then a complete demo server on loopback
	@$(BUILD)/posthouse demo --dir $(DEMO_DIR) --port-base $(PORT_BASE)

test: ## everything that is tested; ends with the counts
	@tools/packages.sh build test fuzz
	@/usr/bin/python3 tools/test.py

crashtest: build ## the long crash test: 200 rounds of kill -9 under load
	@tools/packages.sh test
	@/usr/bin/python3 tests/crash/crashtest.py --posthouse $(BUILD)/posthouse --rounds 200

fuzz: ## each fuzz target for FUZZ_SECONDS
	@tools/packages.sh build fuzz
	@/usr/bin/python3 tools/test.py --only fuzz --fuzz-seconds $(FUZZ_SECONDS)

bench: ## build an optimised program and measure it (bench/README.md)
	@tools/packages.sh build bench
	@bench/run.sh

install: ## program, man page, systemd unit, service user (DESTDIR is honoured)
	@tools/packages.sh build
	@test -f build-release/build.ninja || \
	  meson setup build-release --buildtype=release --prefix=$(PREFIX) --sysconfdir=/etc \
	    --localstatedir=/var -Dtests=disabled >/dev/null
	@meson install -C build-release --quiet
	@DESTDIR="$(DESTDIR)" packaging/after-install.sh $(PREFIX)/share/posthouse

format: ## clang-format over the tree
	@tools/packages.sh lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: ## static checks
	@tools/packages.sh build lint
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >/dev/null
	@/usr/bin/python3 tools/rooms.py
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror
	@cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
	  --suppressions-list=tools/cppcheck.supp -Isrc src

clean: ## removes what was built (the demo's mail stays)
	@rm -rf build build-*

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
