#!/usr/bin/env bash
# Layers and layout of the sources. Without an option nothing is changed.
# usage: lint.sh             checks
#        lint.sh --format    puts the layout right
#        lint.sh --tidy DIR  checks, and runs clang-tidy with the compile commands of a build
# Tables (*.inc) have a layout of their own.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files --cached --others --exclude-standard -- '*.c' '*.h' '*.cpp' '*.hpp' '*.cu' '*.cuh')
if [ "${#sources[@]}" -eq 0 ]; then
    echo "lint: git lists no sources here: run it in a clone of the repository" >&2
    exit 1
fi
if [ "${1:-}" = "--format" ]; then
    clang-format -i "${sources[@]}"
    exit 0
fi
python3 scripts/check_layers.py .
clang-format --dry-run -Werror "${sources[@]}" || { echo "lint: layout differs from .clang-format: run 'make format'" >&2; exit 1; }
echo "lint: layout of ${#sources[@]} files is right"
if [ "${1:-}" = "--tidy" ]; then
    mapfile -t units < <(git ls-files --cached --others --exclude-standard -- 'src/*.c' 'tools/*.c')
    printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "${2:?usage: lint.sh --tidy BUILD_DIR}" --warnings-as-errors='*'
    echo "lint: clang-tidy has nothing to say about ${#units[@]} files"
fi
