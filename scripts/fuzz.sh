#!/usr/bin/env bash
# Runs every libFuzzer program of a build for some seconds each, starting from the corpus in the tree; new inputs stay in the build.
# usage: scripts/fuzz.sh BUILD_DIR SECONDS
set -euo pipefail
build=${1:?usage: fuzz.sh BUILD_DIR SECONDS}
seconds=${2:?usage: fuzz.sh BUILD_DIR SECONDS}
root=$(cd "$(dirname "$0")/.." && pwd)
mapfile -t programs < <(find "$build/tests/fuzz" -maxdepth 1 -type f -executable -name 'fuzz_*' ! -name '*_replay' | sort)
if [ "${#programs[@]}" -eq 0 ]; then
    echo "fuzz: no fuzz_* programs in $build/tests/fuzz: build the preset 'fuzz' first (make fuzz)" >&2
    exit 1
fi
for program in "${programs[@]}"; do
    name=$(basename "$program")
    found="$build/corpus/$name"
    log="$build/$name.log"
    mkdir -p "$found"
    seeds=()
    [ -d "$root/tests/fuzz/corpus/${name#fuzz_}" ] && seeds+=("$root/tests/fuzz/corpus/${name#fuzz_}")
    echo "fuzz: $name for $seconds s, log in $log"
    status=0
    "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$build/$name-" \
        "$found" "${seeds[@]}" >"$log" 2>&1 || status=$?
    grep -E 'stat::number_of_executed_units|stat::new_units_added|ERROR|SUMMARY|Test unit written' "$log" || true
    if [ "$status" -ne 0 ]; then
        echo "fuzz: $name found something: see $log" >&2
        exit 1
    fi
done
