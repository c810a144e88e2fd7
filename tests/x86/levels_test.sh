#!/usr/bin/env bash
# On processors of three generations the program finds the level that they have, takes no larger one, and computes the logits that it
# computes here.
# usage: levels_test.sh PROGRAM SOURCE_DIR PROBE     (exit 77: no emulator)
set -euo pipefail
program=$1
model=$2/models/ternion-tales-6m.i2_s.gguf
probe=$3
source "$2/tests/support/emulated_levels.sh"
command -v qemu-x86_64 >/dev/null || skip "qemu-x86_64 is not installed (package qemu-user): x86-64 levels are not tried on other processors"
emulator=(qemu-x86_64)
ulimit -c 0 # processes end by SIGILL here

# The emulator is of use only where it ends what the processor lacks.
probe_on() { # CPU LEVEL runs|ends
    local status=0
    emulated "$1" "$probe" "$2" >/dev/null 2>&1 || status=$?
    case "$3:$status" in
    runs:0 | ends:132) ;;
    *) fail "an instruction of $2 on $1 gives status $status; the emulator does not keep to the processor" ;;
    esac
}
probe_on core2duo sse41 ends
probe_on Nehalem sse41 runs
probe_on Nehalem avx2 ends
probe_on Haswell avx2 runs
probe_on Haswell avx512bw ends

hash=$("$program" logits -m "$model" -p "Once upon a time" --hash)
on core2duo scalar
on Penryn sse41
on Nehalem sse41
on SandyBridge sse41 # AVX without AVX2
on Haswell avx2
on Haswell scalar scalar
on Haswell sse41 sse41
on Nehalem sse41 avx512vnni
echo "$test_name: right"
