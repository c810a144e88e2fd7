#!/usr/bin/env bash
# Both examples run, write the same text for the same seed (on all threads in C, on one in C++), and another one for another seed.
# usage: examples_test.sh GENERATE_C GENERATE_CPP MODEL
set -euo pipefail
model=$3
in_c=$("$1")
in_cpp=$("$2")
[[ "$in_c" =~ ^Once\ upon\ a\ time.*[a-z]+\ [a-z]+\ [a-z]+ ]] || { echo "examples_test: not a story: $in_c" >&2; exit 1; }
[ "$in_c" = "$in_cpp" ] || { printf 'examples_test: C and C++ differ:\n%s\n%s\n' "$in_c" "$in_cpp" >&2; exit 1; }

[ "$("$1" "$model" "Once upon a time" 1)" = "$in_c" ] || { echo "examples_test: seed 1 is the default, but gives another text" >&2; exit 1; }
[ "$("$1" "$model" "Once upon a time" 2)" != "$in_c" ] || { echo "examples_test: the seed changes nothing" >&2; exit 1; }
if output=$("$1" /no/such/model.gguf 2>&1); then
    echo "examples_test: a missing model is no error" >&2
    exit 1
fi
[[ "$output" == *"/no/such/model.gguf"* ]] || { echo "examples_test: the message does not name the file: $output" >&2; exit 1; }
