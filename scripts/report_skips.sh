#!/usr/bin/env bash
# Says which test cases of the last ctest run were skipped, and why, so that a skipped case never looks like a passed one.
# usage: report_skips.sh BUILD_DIR...
set -euo pipefail
for build in "${@:?usage: report_skips.sh BUILD_DIR...}"; do
    log="$build/Testing/Temporary/LastTest.log"
    [ -f "$log" ] || { echo "skips: no test was run in $build" >&2; exit 1; }
    n=$(grep -c '^\[  SKIPPED \] .* ms)$' "$log" || true)
    echo "skips: $n test cases were skipped in $build"
    [ "$n" -eq 0 ] || grep -A1 ': Skipped$' "$log" | grep -v -e ': Skipped$' -e '^--$' | sort | uniq -c | sed 's/^ */  /'
done
