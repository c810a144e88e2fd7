#!/usr/bin/env bash
# Checks and times the GPU backends on a machine that has a GPU and nothing else: no compiler, no package, no model. Under 8 minutes.
# usage: gpu_check.sh FOLDER OUT [quick|full|dry]
#   FOLDER  what scripts/gpu_package.sh made: ternion, conformance_test, the small model, lib/, this script and its awk program
#   OUT     a log for each step, the tests' results as JSON lines, and summary.txt, which is printed last
#   full    (default) everything: 2b-4t and llama3-8b, all batches and prompts, compute-sanitizer where it is installed
#   quick   correctness and 2b-4t alone, with fewer batches
#   dry     the same steps with a tiny model and a few tests, for a device that is emulated: it tries this script, not a card
# TN_GPU_CHECK_DEVICE names another CUDA device than cuda0, TN_GPU_CHECK_SECONDS another time than 460 s after which no step goes on: those
# that no longer fit are left out, which the summary says. Exit status: 0 where every step passed, 1 where one failed, 2 where it was called
# wrongly, 3 where none failed but some were left out.
#
# It checks first: devices open (which runs their self-test), the conformance suite (also with the card taken for one without tensor
# cores), logits equal to the CPU's. Then it measures how fast the card reads memory and multiplies bytes, makes random models of real
# shapes (with a q8_0 head), and times them: each row of summary.txt has tokens/s, shares of what was measured, and beside it what the data sheet allows
# (gpu_rows.awk says how).
set -uo pipefail

usage() { printf 'gpu_check: %s\nusage: gpu_check.sh FOLDER OUT [quick|full|dry]\n' "$1" >&2; exit 2; }

[ $# -ge 2 ] && [ $# -le 3 ] || usage 'a folder and a place for results are needed'
[ -x "$1/ternion" ] && [ -r "$1/gpu_rows.awk" ] || usage "$1 is not what gpu_package.sh makes: it has no ternion or no gpu_rows.awk"
bin=$(cd "$1" && pwd) mode=${3:-full}
mkdir -p "$2" && out=$(cd "$2" && pwd) || usage "$2 cannot be made"
device=${TN_GPU_CHECK_DEVICE:-cuda0}
tests=${device//:/_} cases=''
case $mode in
full) models=(2b-4t llama3-8b) batches=(1 4 8 16 32 64 128) prompts=512,2048,4096 reply=128 context=1024 together=32 ;;
quick) models=(2b-4t) batches=(1 8 32) prompts=512 reply=128 context=1024 together=32 ;;
dry) models=(tiny) batches=(1 3) prompts=20 reply=2 context=6 together=2 cases=BuffersAreZero ;;
*) usage "there is no mode $mode" ;;
esac
tiny='custom --arch bitnet-b1.58 --layers 2 -d 256 -ff 512 --heads 4 --kv-heads 2 --vocab 300 -c 64' # of a dry run

TERNION_MODEL=$(find "$bin" -maxdepth 1 -name '*.gguf' | head -n 1)
export TERNION_MODEL LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} XDG_CACHE_HOME=$out/cache
work=$(mktemp -d)
trap 'rm -rf "$work" "$out/cache"' EXIT
failed=0 n_left_out=0 deadline=${TN_GPU_CHECK_SECONDS:-460}
export bin work

note() { printf '%s\n' "$*" | tee -a "$out/summary.txt"; }
rows() { awk -f "$bin/gpu_rows.awk" "$@" | tee -a "$out/summary.txt"; }

leave_out() {
    note "skipped $1: $2"
    n_left_out=$((n_left_out + 1))
}

# step NAME SECONDS COMMAND..: runs it into OUT/NAME.log; says how it ended.
step() {
    local name=$1 limit=$2 began=$SECONDS left=$((deadline - SECONDS)) rc
    shift 2
    : >"$out/$name.log"
    if [ "$left" -le 0 ]; then
        leave_out "$name" "no time is left"
        return 1
    fi
    timeout -k 5 "$((left < limit ? left : limit))" "$@" >"$out/$name.log" 2>&1
    rc=$?
    if [ "$rc" -eq 0 ]; then
        note "ok      $name ($((SECONDS - began)) s)"
    elif [ "$left" -lt "$limit" ] && [ "$SECONDS" -ge "$deadline" ]; then
        leave_out "$name" "it did not end in the $left s that were left"
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

# replies_together MODEL DEVICE REPLY CONTEXT N..: tests of N sequences, each behind a context of its own. The largest N are left out where
# their keys and values do not fit into the device's memory, which is said before anything runs.
replies_together() {
    local model=$1 device=$2 reply=$3 context=$4 list
    shift 4
    while [ $# -gt 0 ]; do
        list=$(IFS=, && echo "$*")
        "$bin/ternion" bench -m "$model" -dev "$device" -p 0 -n "$reply" -d "$context" -npl "$list" -r 2 --no-limits -o jsonl 2>"$work/why" && return
        grep -qiE 'memory|free' "$work/why" || break
        echo "$list sequences do not fit: $(tail -n 1 "$work/why")"
        set -- "${@:1:$#-1}"
    done
    cat "$work/why"
    return 1
}

export -f conformance same_logits replies_together

# time_model NAME: makes the model and times replies of one and of many sequences and prompts; a table row for each test.
time_model() {
    local model=$work/$1.gguf n_layers synth=("$1")
    [ "$1" = tiny ] && read -ra synth <<<"$tiny"
    step "$1-synth" 120 "$bin/ternion" synth "${synth[0]}" "$model" --embd q8_0 "${synth[@]:1}" || return
    n_layers=$("$bin/ternion" show -m "$model" --json | sed -n 's/.*"n_layers": \([0-9]*\).*/\1/p' | head -n 1)
    step "$1-reply" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p 0 -n "$reply" -r 3 --no-limits -o jsonl
    step "$1-prompts" 90 "$bin/ternion" bench -m "$model" -dev "$device" -p "$prompts" -n 0 -r 3 --no-limits -o jsonl
    step "$1-together" 150 bash -c 'replies_together "$@"' _ "$model" "$device" "$together" "$context" "${batches[@]}"
    step "$1-profile" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p "${prompts%%,*}" -n "$reply" -r 1 --no-limits --profile -o md
    rows -v what=head
    for log in reply prompts together; do
        if [ -s "$out/$1-$log.log" ]; then rows -v what=rows -v name="$1" -v n_layers="${n_layers:-0}" "$out/limits.log" "$out/$1-$log.log"; fi
    done
    rm -f "$model"
}

# The same card by its other driver.
check_vulkan() {
    step vulkan-conformance 100 bash -c 'set -o pipefail; conformance "$0"' "*/vulkan0_dot_*-*_rows_*"
    step vulkan-logits 60 bash -c 'same_logits "$0"' vulkan0
    step vulkan-synth 60 "$bin/ternion" synth "${models[0]}" "$work/vulkan.gguf" --embd q8_0
    step vulkan-limits 60 "$bin/ternion" bench -dev vulkan0 -p 16 -n 0 -r 1 -o jsonl
    step vulkan-speed 90 "$bin/ternion" bench -m "$work/vulkan.gguf" -dev vulkan0 -p 512 -n 64 -r 3 --no-limits -o jsonl
    step vulkan-profile 60 "$bin/ternion" bench -m "$work/vulkan.gguf" -dev vulkan0 -p 512 -n 64 -r 1 --no-limits --profile -o md
    if [ ! -s "$out/vulkan-limits.log" ] || [ ! -s "$out/vulkan-speed.log" ]; then return; fi
    note "Vulkan: $(rows -v what=card "$out/vulkan-limits.log")"
    rows -v what=head
    rows -v what=rows -v name="${models[0]}, Vulkan" -v n_layers=0 "$out/vulkan-limits.log" "$out/vulkan-speed.log"
}

# Whether compute-sanitizer looks into programs here: of one that only opens the device it ends well, or says how much it found. Where it
# cannot (some containers let no debugger at the GPU) it fails without that, or says that something is not supported.
can_sanitize() {
    local left=$((deadline - SECONDS)) rc
    [ "$left" -gt 0 ] || return 0 # its steps say so
    timeout -k 5 "$((left < 60 ? left : 60))" compute-sanitizer --tool memcheck --report-api-errors no "$bin/ternion" devices --kernels \
        >"$out/sanitizer.log" 2>&1
    rc=$?
    [ "$SECONDS" -lt "$deadline" ] || return 0
    grep -qi '^=.*not supported' "$out/sanitizer.log" && return 1
    [ "$rc" -eq 0 ] || grep -q '^=.*ERROR SUMMARY' "$out/sanitizer.log"
}

sanitize() {
    if ! command -v compute-sanitizer >/dev/null; then
        note "skipped compute-sanitizer: it is not installed here"
        return
    fi
    if ! can_sanitize; then
        note "skipped compute-sanitizer: it cannot look into programs here: $(grep '^=' "$out/sanitizer.log" | grep -iE 'error|not supported' | head -n 1 | cut -c1-200)"
        return
    fi
    # memcheck would count CUresults that are answers: a kernel is looked for in one module after another. The program's self-test has every
    # kernel of exact steps, its reply those of decoding with ranked logits; the suite has more shapes of what is for many rows.
    local check
    for tool in memcheck racecheck synccheck; do
        check=(compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9)
        step "sanitizer-$tool" 60 "${check[@]}" "$bin/ternion" run --device "$device" -p 'Once upon a time' -n 8 --temp 0 -q
        step "sanitizer-$tool-suite" 90 "${check[@]}" "$bin/conformance_test" --gtest_brief=1 \
            --gtest_filter="*/${tests}_TernaryMatmulOfQuantisedRows*:*/${tests}_AttentionEquals*:*/${tests}_DenseMatmulEquals*"
    done
}

: >"$out/summary.txt"
if command -v nvidia-smi >/dev/null; then
    step nvidia-smi 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader && note "$(cat "$out/nvidia-smi.log")"
else
    note "skipped nvidia-smi: it is not installed here"
fi
step devices 60 "$bin/ternion" devices --kernels
note "$(grep -E "^$device|^vulkan|^cuda: " "$out/devices.log")"
step conformance 150 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_$cases*-*/${tests}_sm_75_*"
step conformance-sm75 150 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_sm_75_$cases*"
step logits 60 bash -c 'same_logits "$0"' "$device"
if step limits 60 "$bin/ternion" bench -dev "$device" -p 16 -n 0 -r 1 -o jsonl; then
    rows -v what=card "$out/limits.log" || failed=1
    for model in "${models[@]}"; do time_model "$model"; done
fi
if [ "$mode" != dry ] && grep -E '^vulkan0' "$out/devices.log" | grep -qv emulated; then check_vulkan; fi
if [ "$mode" = full ]; then sanitize; fi
if [ "$failed" -ne 0 ]; then
    note "gpu_check: FAILED in $SECONDS s"
elif [ "$n_left_out" -ne 0 ]; then
    note "gpu_check: no step failed in $SECONDS s, but $n_left_out were left out"
    exit 3
else
    note "gpu_check: passed in $SECONDS s"
fi
exit "$failed"
