#!/usr/bin/env bash
# The default model through the whole program at every level of AArch64: the hash of all logits is the one that the golden fixture stores,
# which x86-64 and the NumPy twin have too.
# usage: model_test.sh PROGRAM SOURCE_DIR EMULATOR...
set -euo pipefail
program=$1
model=$2/models/ternion-tales-6m.i2_s.gguf
fixture=$2/tests/data/golden/default_model.golden
shift 2

ids=$(mktemp)
trap 'rm -f "$ids"' EXIT
sed -n 's/^ids //p' "$fixture" >"$ids"
expected=$(sed -n 's/^logits //p' "$fixture")
[ -s "$ids" ] && [ "${#expected}" -eq 16 ] || { echo "model_test: $fixture has no ids or no hash" >&2; exit 1; }
for level in scalar neon dotprod i8mm; do
    found=$("$@" -cpu max "$program" logits -m "$model" --tokens "$ids" --hash --cpu-isa "$level")
    [ "$found" = "$expected" ] || { echo "model_test: at $level the hash of the logits is $found, not $expected" >&2; exit 1; }
    echo "$level: $found"
done
echo "model_test: right"
