#!/usr/bin/env bash
# The examples run, write the same text for the same seed (on all threads in C, on one in C++, beside other requests in a batch), and another
# one for another seed.
# usage: examples_test.sh GENERATE_C GENERATE_CPP BATCH_C MODEL
set -euo pipefail
batch=$3
model=$4
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

# Every request of a batch has the text that it has alone, also the beginning that a cancelled one got to.
in_batch=$("$batch")
line() { sed -n "s/^\\[$1\\] //p" <<<"$in_batch"; }
first=$(head -n 1 <<<"$in_c")
[ "$(line told)" = "$first" ] || { printf 'examples_test: the streamed answer differs from %s:\n%s\n' "$first" "$in_batch" >&2; exit 1; }
[ "$(line 'fetched 0')" = "$first" ] || { printf 'examples_test: the fetched answer differs:\n%s\n' "$in_batch" >&2; exit 1; }
[[ "$(line 'fetched 1')" == "Once upon a time"* ]] || { printf 'examples_test: no second answer:\n%s\n' "$in_batch" >&2; exit 1; }
[ "$(line 'fetched 1')" != "$first" ] || { echo "examples_test: two answers of one request are the same" >&2; exit 1; }
cancelled=$(line 'given up 0')
[[ "$cancelled" == "Once upon a time "*" [cancelled]" ]] || { printf 'examples_test: nothing was cancelled:\n%s\n' "$in_batch" >&2; exit 1; }
cancelled=${cancelled% \[cancelled\]}
[[ "$first" == "$cancelled"* ]] && [ "$first" != "$cancelled" ] || { printf 'examples_test: not a beginning: %s\n' "$cancelled" >&2; exit 1; }
if output=$("$batch" /no/such/model.gguf 2>&1); then
    echo "examples_test: a missing model is no error of a batch" >&2
    exit 1
fi
[[ "$output" == *"/no/such/model.gguf"* ]] || { echo "examples_test: the message of a batch does not name the file: $output" >&2; exit 1; }
