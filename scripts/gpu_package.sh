#!/usr/bin/env bash
# Puts what gpu_check.sh needs into one folder, for a machine that has a GPU and nothing else.
# usage: gpu_package.sh BUILD FOLDER     BUILD: a folder with ternion and the tests, made where nvcc is (build/dev)
set -euo pipefail
build=${1:?usage: gpu_package.sh BUILD FOLDER} folder=${2:?usage: gpu_package.sh BUILD FOLDER}
mkdir -p "$folder/lib"
for program in "$build/ternion" "$build/tests/conformance/conformance_test"; do
    [ -x "$program" ] || { echo "gpu_package: $program is missing: build it first" >&2; exit 1; }
    install "$program" "$folder/"
    strip --strip-debug "$folder/$(basename "$program")"
    # All but what every system has and must be its own.
    ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// && $1 !~ /^lib(c|m|dl|rt|pthread)\.so/ { print $1, $3 }' |
        while read -r name path; do install -m 644 "$(readlink -f "$path")" "$folder/lib/$name"; done
done
install -m 644 "$(dirname "$0")"/../models/*.gguf "$folder/"
echo "gpu_package: $(du -sh "$folder" | cut -f1) in $folder; copy it with scripts/gpu_check.sh, then: gpu_check.sh $(basename "$folder") OUT"
