# Thin front of the CMake presets: each target installs what is missing, configures, builds and runs.
#   make run     builds the release program and tells a story        make test    builds and runs the tests
#   make build   the release program: build/release/ternion          make check   tests, slow ones too, clang, sanitizers, clang-tidy
#   make arm     cross build for AArch64, tests under qemu-user
#   make cuda-counts   compiles the CUDA kernels for every architecture and checks registers, spills and loops (a part of check)
#   make bench   the machine's limits and this program's shares of them; ARGS="-m FILE -p 512 -n 64" for another model and other tests
#   make bench-suite   all that docs/PERFORMANCE.md sets as targets, on synthetic models (some minutes; SUITE_ARGS)
#   make format  make lint   make fuzz   make hostile   make clean
MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
JOBS ?= $(shell nproc)
PROMPT ?= Once upon a time
ARGS ?=
SUITE_ARGS ?=
FUZZ_SECONDS ?= 60
HOSTILE_CASES ?= 100000
HOSTILE_SEED ?= 1

CONFIGURE = cmake --preset $(1) --log-level=WARNING $(CMAKE_ARGS)
BUILD = $(call CONFIGURE,$(1)) && cmake --build --preset $(1) --parallel $(JOBS)
TEST = $(call CONFIGURE,$(1)) && cmake --build --preset $(2) --parallel $(JOBS) && ctest --preset $(2) -j $(JOBS)

.PHONY: run build test check arm cuda-counts bench bench-suite format lint clean fuzz hostile bootstrap-build
run: build
	@build/release/ternion run -p "$(PROMPT)" --display-prompt -n 200 $(ARGS)

build: bootstrap-build
	@$(call BUILD,release)

bootstrap-build:
	@scripts/bootstrap.sh build

test:
	@scripts/bootstrap.sh test
	@$(call TEST,dev,dev)
	@scripts/report_skips.sh build/dev

arm:
	@scripts/bootstrap.sh arm
	@scripts/arm64_sysroot.sh
	@$(call TEST,arm64,arm64)

check:
	@scripts/bootstrap.sh test lint check
	@$(call TEST,dev,all)
	@scripts/report_skips.sh build/dev
	@$(call TEST,asan,asan)
	@scripts/hostile.sh build/asan $(HOSTILE_CASES) $(HOSTILE_SEED)
	@$(call TEST,tsan,tsan)
	@$(call TEST,clang,clang)
	@$(MAKE) arm
	@$(MAKE) cuda-counts
	@$(call BUILD,fuzz)
	@scripts/lint.sh --tidy build/clang

# The kernels of every architecture that is shipped; those of the tests' build are checked by them.
cuda-counts: build
	@if [ -d build/release/cuda ]; then scripts/cuda_counts.py build/release/cuda --check tests/cuda_host/kernel_counts.json; \
	else echo "SKIPPED: there is no nvcc here, and so there are no compiled CUDA kernels to look at"; fi

bench:
	@scripts/bootstrap.sh build bench
	@$(call BUILD,bench)
	@build/bench/ternion bench $(if $(strip $(ARGS)),$(ARGS),-p 64,256 -n 64 -npl 1,8 -t 1,0 -r 5 --profile)

bench-suite: build
	@scripts/bench_suite.py --out build/bench-suite.json $(SUITE_ARGS)

format:
	@scripts/bootstrap.sh lint
	@scripts/lint.sh --format

lint:
	@scripts/bootstrap.sh lint
	@scripts/lint.sh

fuzz:
	@scripts/bootstrap.sh test check
	@$(call BUILD,fuzz)
	@scripts/fuzz.sh build/fuzz $(FUZZ_SECONDS)

hostile:
	@scripts/bootstrap.sh test
	@$(call CONFIGURE,asan) && cmake --build --preset asan --parallel $(JOBS) --target mutate_models
	@scripts/hostile.sh build/asan $(HOSTILE_CASES) $(HOSTILE_SEED)

clean:
	@rm -rf build
