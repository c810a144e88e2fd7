#!/usr/bin/env bash
# bootstrap.sh is silent where nothing is missing, and says what to do where it cannot install.
# usage: bootstrap_test.sh PATH_OF_BOOTSTRAP
set -euo pipefail
bootstrap=$1

output=$("$bootstrap" build test 2>&1) || { echo "bootstrap_test: fails although this tree was built here: $output" >&2; exit 1; }
[ -z "$output" ] || { echo "bootstrap_test: not silent where nothing is missing: $output" >&2; exit 1; }

if output=$(PATH=/nonexistent "$BASH" "$bootstrap" build 2>&1); then
    echo "bootstrap_test: succeeds where everything is missing" >&2
    exit 1
fi
case "$output" in
*cmake*libhwloc-dev*apt-get*) ;;
*) echo "bootstrap_test: without apt-get it must list what is missing, but says: $output" >&2; exit 1 ;;
esac

status=0
"$bootstrap" nonsense >/dev/null 2>&1 || status=$?
[ "$status" -eq 2 ] || { echo "bootstrap_test: an unknown set must be an error of usage" >&2; exit 1; }
echo "bootstrap_test: right"
