#!/usr/bin/env bash
# Checks and times the GPU backends on a machine that has a GPU and nothing else: no compiler, no package, no model. Under 8 minutes.
# usage: gpu_check.sh FOLDER OUT [quick|full]
#   FOLDER  ternion, conformance_test, the small model and lib/ (scripts/gpu_package.sh makes it)
#   OUT     logs, results as JSON, and summary.txt, which is printed last
#   quick   correctness and the 2b-4t shape alone; full (default): llama3-8b, all batches and prompts, compute-sanitizer too
# TN_GPU_CHECK_DEVICE names another CUDA device than cuda0; TN_GPU_CHECK_SHAPE another shape than 2b-4t.
set -uo pipefail
bin=$(cd "$1" && pwd) out=$2 mode=${3:-full}
device=${TN_GPU_CHECK_DEVICE:-cuda0} shape=${TN_GPU_CHECK_SHAPE:-2b-4t}
tests=${device//:/_}
mkdir -p "$out"
out=$(cd "$out" && pwd)
TERNION_MODEL=$(find "$bin" -maxdepth 1 -name '*.gguf' | head -n 1)
export TERNION_MODEL LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} XDG_CACHE_HOME=$out/cache
work=$(mktemp -d)
trap 'rm -rf "$work" "$out/cache"' EXIT
failed=0
export bin work

note() { printf '%s\n' "$*" | tee -a "$out/summary.txt"; }

# step NAME SECONDS COMMAND..: runs it into OUT/NAME.log; says how it ended.
step() {
    local name=$1 limit=$2 began=$SECONDS rc
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    rc=$?
    if [ "$rc" -eq 0 ]; then
        note "ok      $name ($((SECONDS - began)) s)"
    else
        note "FAILED  $name: exit $rc ($((SECONDS - began)) s): $(tail -n 1 "$out/$name.log" | cut -c1-200)"
        failed=1
    fi
    return "$rc"
}

# Every case of the suite on a device whose name begins so; a filter that finds none is a failure.
conformance() {
    "$bin/conformance_test" --gtest_brief=1 --gtest_filter="$1" | tee "$work/conformance" || return 1
    grep -qE 'PASSED  \] [1-9]' "$work/conformance"
}

# The same text, to the bit, on the CPU and on a device.
same_logits() {
    local cpu gpu
    printf 'Once upon a time there was a little girl who lived in a house near the wood. One day she went for a walk.' >"$work/text"
    cpu=$("$bin/ternion" logits --device cpu0 --hash -f "$work/text") || return 1
    for ub in 1 7 64; do
        gpu=$("$bin/ternion" logits --device "$1" --hash -ub "$ub" -f "$work/text") || return 1
        echo "cpu0 $cpu, $1 -ub $ub $gpu"
        [ "$cpu" = "$gpu" ] || return 1
    done
}

export -f conformance same_logits

# time_model NAME SHAPE: replies of one and of many sequences at a context of 1 024, and prompts.
time_model() {
    local model=$work/$1.gguf batches=1,4,8,16,32,64,128 prompts=512,2048,4096
    [ "$mode" = quick ] && batches=1,8,32 prompts=512
    step "$1-synth" 120 "$bin/ternion" synth "$2" "$model" --embd q6_k || return
    step "$1-reply" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p 0 -n 128 -r 3 --no-limits -o md
    step "$1-prompts" 90 "$bin/ternion" bench -m "$model" -dev "$device" -p "$prompts" -n 0 -r 3 --no-limits -o md
    step "$1-batches" 150 "$bin/ternion" bench -m "$model" -dev "$device" -npp 1024 -ntg 32 -npl "$batches" -pps --no-limits -o md
    step "$1-profile" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p 512 -n 32 -r 1 --profile -o md
    for log in reply prompts batches; do grep '^|' "$out/$1-$log.log" | tee -a "$out/summary.txt"; done
    rm -f "$model"
}

: >"$out/summary.txt"
step nvidia-smi 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader && note "$(cat "$out/nvidia-smi.log")"
step devices 60 "$bin/ternion" devices --kernels
note "$(grep -E "^$device|^vulkan" "$out/devices.log")"
step conformance 150 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_*-*/${tests}_sm_75_*"
step conformance-sm75 150 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_sm_75_*"
step logits 60 bash -c 'same_logits "$0"' "$device"
step limits 60 "$bin/ternion" bench -dev "$device" -p 16 -n 16 -r 1 -o md
note "$(grep -iE 'limit|GB/s|TOPS' "$out/limits.log" | head -n 6)"
time_model "$shape" "$shape"
if grep -E '^vulkan0' "$out/devices.log" | grep -qv emulated; then # the same card by its other driver
    step vulkan-conformance 100 bash -c 'set -o pipefail; conformance "$0"' "*/vulkan0_dot_*-*_rows_*"
    step vulkan-logits 60 bash -c 'same_logits "$0"' vulkan0
    step vulkan-synth 60 "$bin/ternion" synth "$shape" "$work/vulkan.gguf" --embd q6_k
    step vulkan-speed 90 "$bin/ternion" bench -m "$work/vulkan.gguf" -dev vulkan0 -p 512 -n 64 -r 3 --profile -o md
    grep '^|' "$out/vulkan-speed.log" | tee -a "$out/summary.txt"
fi
if [ "$mode" = full ]; then
    time_model llama3-8b llama3-8b
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck synccheck; do
            step "sanitizer-$tool" 90 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 "$bin/conformance_test" --gtest_brief=1 \
                --gtest_filter="*/${tests}_TernaryMatmulOfQuantisedRows*:*/${tests}_AttentionEquals*"
        done
    else
        note "skipped compute-sanitizer: it is not installed here"
    fi
fi
note "gpu_check: $([ "$failed" -eq 0 ] && echo passed || echo FAILED) in $SECONDS s"
exit "$failed"
