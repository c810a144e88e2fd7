#!/usr/bin/env bash
# Puts what gpu_check.sh needs into one folder, for a machine that has a GPU and nothing else: the programs, the libraries that they need,
# the small model, and the script itself.
# usage: gpu_package.sh BUILD FOLDER
#   BUILD   a build folder with the targets ternion and conformance_test, made where nvcc is. The preset dev has kernels for sm_80 and sm_90;
#           for other cards configure with all: cmake --preset dev -DTN_CUDA_ARCHS='75;80;86;89;90;100;120' -DTN_CUDA_PTX=100
#           With -DTN_ENABLE_BENCH=ON and the target bench_costs that program comes too, which knows what is predicted of a prompt; with the
#           target bench_cuda that one, which tells what each kernel costs in its graph (docs/PERFORMANCE.md) and is started by hand.
set -euo pipefail
build=${1:?usage: gpu_package.sh BUILD FOLDER} folder=${2:?usage: gpu_package.sh BUILD FOLDER}
scripts=$(cd "$(dirname "$0")" && pwd)
programs=("$build/ternion" "$build/tests/conformance/conformance_test")
if [ -x "$build/bench/bench_costs" ]; then programs+=("$build/bench/bench_costs"); fi
if [ -x "$build/bench/bench_cuda" ]; then programs+=("$build/bench/bench_cuda"); fi
mkdir -p "$folder/lib"
for program in "${programs[@]}"; do
    [ -x "$program" ] || { echo "gpu_package: $program is missing: build the targets ternion and conformance_test first" >&2; exit 1; }
    install "$program" "$folder/"
    strip --strip-debug "$folder/$(basename "$program")"
    # All but what every system has and must be its own.
    ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// && $1 !~ /^lib(c|m|dl|rt|pthread)\.so/ { print $1, $3 }' |
        while read -r name path; do install -m 644 "$(readlink -f "$path")" "$folder/lib/$name"; done
done
install -m 644 "$scripts"/../models/*.gguf "$scripts"/gpu_*.awk "$folder/"
install "$scripts/gpu_check.sh" "$folder/"
echo "gpu_package: $(du -sh "$folder" | cut -f1) in $folder; copy it to the machine, and there: $(basename "$folder")/gpu_check.sh $(basename "$folder") OUT"
