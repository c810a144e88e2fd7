#!/usr/bin/env bash
# On each processor that the emulator can be, the program finds the level that this processor has, refuses no smaller one, and computes the
# same logits. Instructions that the processor lacks end the program.
# usage: levels_test.sh PROGRAM SOURCE_DIR EMULATOR...
set -euo pipefail
program=$1
model=$2/models/ternion-tales-6m.i2_s.gguf
source "$2/tests/support/emulated_levels.sh"
shift 2
emulator=("$@")

on cortex-a53 neon
on cortex-a72 neon
on neoverse-n1 dotprod
on max i8mm
on max scalar scalar
on max neon neon
on max dotprod dotprod
on cortex-a53 neon i8mm
on neoverse-n1 dotprod i8mm

status=0
message=$(emulated max -E TN_CPU_MASK=avx2 "$program" devices 2>&1 >/dev/null) || status=$?
case "$message" in
*"no CPU level is called \"avx2\": use scalar, neon, dotprod or i8mm"*) [ "$status" -ne 0 ] || fail "an unknown level is refused with status 0" ;;
*) fail "a level of another processor must be refused with the names of this one's, but the answer is: $message" ;;
esac
echo "$test_name: right"
