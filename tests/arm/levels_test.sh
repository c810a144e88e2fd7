#!/usr/bin/env bash
# On each processor that the emulator can be, the program finds the level that this processor has, refuses no smaller one, and computes the
# same logits. Instructions that the processor lacks end the program.
# usage: levels_test.sh PROGRAM SOURCE_DIR EMULATOR...
set -euo pipefail
program=$1
model=$2/models/ternion-tales-6m.i2_s.gguf
shift 2

hash=""
# on CPU LEVEL [MASK]: the level that `devices` names, and the hash of the logits
on() {
    local cpu=$1 level=$2 mask=${3:-} run=("${emulator[@]}" -cpu "$1") found logits
    [ -z "$mask" ] || run+=(-E "TN_CPU_MASK=$mask")
    found=$("${run[@]}" "$program" devices | awk '$1 == "cpu0" { print $3 }')
    [ "$found" = "$level" ] || { echo "levels_test: on $cpu${mask:+ up to $mask} the level is '$found', not $level" >&2; exit 1; }
    logits=$("${run[@]}" "$program" logits -m "$model" -p "Once upon a time" --hash)
    hash=${hash:-$logits}
    [ "$logits" = "$hash" ] || { echo "levels_test: on $cpu at $level the hash of the logits is $logits, before it was $hash" >&2; exit 1; }
    echo "$cpu${mask:+ up to $mask}: $found, $logits"
}
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
message=$("${emulator[@]}" -cpu max -E TN_CPU_MASK=avx2 "$program" devices 2>&1 >/dev/null) || status=$?
case "$message" in
*"no CPU level is called \"avx2\": use scalar, neon, dotprod or i8mm"*) [ "$status" -ne 0 ] ;;
*)
    echo "levels_test: a level of another processor must be refused with the names of this one's, but the answer is: $message" >&2
    exit 1
    ;;
esac
echo "levels_test: right"
