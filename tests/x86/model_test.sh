#!/usr/bin/env bash
# The default model on emulated processors: the hash of all logits is the one that the golden fixture stores, and a reply behind 256
# positions, where attention is shared by pages, has the text that it has here.
# usage: model_test.sh PROGRAM SOURCE_DIR     (exit 77: no emulator)
set -euo pipefail
program=$1
model=$2/models/ternion-tales-6m.i2_s.gguf
fixture=$2/tests/data/golden/default_model.golden
source "$2/tests/support/emulated_levels.sh"
command -v qemu-x86_64 >/dev/null || skip "qemu-x86_64 is not installed (package qemu-user): the default model is not tried on other processors"
emulator=(qemu-x86_64)

ids=$(mktemp)
trap 'rm -f "$ids"' EXIT
sed -n 's/^ids //p' "$fixture" >"$ids"
expected=$(sed -n 's/^logits //p' "$fixture")
[ -s "$ids" ] && [ "${#expected}" -eq 16 ] || fail "$fixture has no ids or no hash"

story=$(printf 'Once upon a time there was a little dog who liked to play with a red ball in the park. %.0s' {1..14})
reply=(run -q -m "$model" -p "$story" -n 8 --temp 0)
here=$("$program" "${reply[@]}")
[ -n "$here" ] || fail "the program says nothing here"

for cpu in core2duo Nehalem Haswell; do
    found=$(emulated "$cpu" "$program" logits -m "$model" --tokens "$ids" --hash)
    [ "$found" = "$expected" ] || fail "on $cpu the hash of the logits is $found, not $expected"
    there=$(emulated "$cpu" "$program" "${reply[@]}")
    [ "$there" = "$here" ] || fail "on $cpu the reply is '$there', here it is '$here'"
    echo "$cpu: $found, $there"
done
echo "$test_name: right"
