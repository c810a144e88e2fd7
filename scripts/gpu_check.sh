#!/usr/bin/env bash
# Checks and times the GPU backends on a machine that has a GPU and nothing else: no compiler, no package, no model. Under 8 minutes.
# usage: gpu_check.sh FOLDER OUT [quick|full|dry]
#   FOLDER  what scripts/gpu_package.sh made: ternion, conformance_test, the small model, lib/, this script and its awk programs
#   OUT     a log for each step, the tests' results as JSON lines, and summary.txt, which is printed last
#   full    (default) everything: 2b-4t and llama3-8b, all batches and prompts, the planner, CPU and GPU together, compute-sanitizer where
#           it is installed
#   quick   correctness and 2b-4t alone, with fewer batches
#   dry     the same steps as full with a tiny model and a few tests, for a device that is emulated: it tries this script, not a card
# TN_GPU_CHECK_DEVICE names another CUDA device than cuda0, TN_GPU_CHECK_SECONDS another time than 460 s after which no step goes on: those
# that no longer fit are left out, which the summary says. Exit status: 0 where every step passed, 1 where one failed, 2 where it was called
# wrongly, 3 where none failed but some were left out.
#
# What is worth most comes first. Devices open (which runs their self-test), the conformance suite (also with the card taken for one
# without tensor cores), logits equal to the CPU's. Then how fast the card reads memory and multiplies bytes, and a random model of a real
# shape (with a q8_0 head): each row has tokens/s, shares of what was measured, and beside it what the data sheet allows (gpu_rows.awk says
# how). Then what ternion plan predicts of that beside what it was, CPU and card together beside both alone (gpu_plan.awk), the card by
# Vulkan, the second model, and compute-sanitizer. Last in summary.txt stands what is wanted of a card, and whether it is met
# (gpu_wanted.awk).
set -uo pipefail

usage() { printf 'gpu_check: %s\nusage: gpu_check.sh FOLDER OUT [quick|full|dry]\n' "$1" >&2; exit 2; }

[ $# -ge 2 ] && [ $# -le 3 ] || usage 'a folder and a place for results are needed'
[ -x "$1/ternion" ] || usage "$1 is not what gpu_package.sh makes: it has no ternion"
for file in gpu_json.awk gpu_rows.awk gpu_plan.awk gpu_wanted.awk; do
    [ -r "$1/$file" ] || usage "$1 is not what gpu_package.sh makes: it has no $file"
done
bin=$(cd "$1" && pwd) mode=${3:-full}
mkdir -p "$2" && out=$(cd "$2" && pwd) || usage "$2 cannot be made"
device=${TN_GPU_CHECK_DEVICE:-cuda0}
tests=${device//:/_} cases=''
case $mode in
full)
    models=(2b-4t llama3-8b) batches=(1 4 8 16 32 64 128) prompts=512,2048,4096 reply=128 context=1024 together=32
    wanted_batches=32,64 wanted_prompts=512,2048 calibrate_ms=3000 rounds=2 answers=64 lines=2048 answer=32 answer_context=64
    ;;
quick)
    models=(2b-4t) batches=(1 8 32) prompts=512 reply=128 context=1024 together=32
    wanted_batches=32 wanted_prompts=512
    ;;
dry)
    models=(tiny) batches=(1 3) prompts=20 reply=2 context=6 together=2 cases=BuffersAreZero
    wanted_batches=3 wanted_prompts=20 calibrate_ms=1 rounds=1 answers=3 lines=8 answer=2 answer_context=32
    ;;
*) usage "there is no mode $mode" ;;
esac
tiny='custom --arch bitnet-b1.58 --layers 2 -d 256 -ff 512 --heads 4 --kv-heads 2 --vocab 300 -c 512' # of a dry run
# Bytes that a step of a model with a q8_0 head reads, and those of a position's keys and values, as the wanted speeds count them: codes
# and ternary weights, without the head's scales (6 %) and those of keys and values.
declare -A step_bytes=([2b-4t]='weights=849300000 kv=76800' [llama3-8b]='weights=2270000000 kv=131072' [tiny]='weights=376512 kv=1024')

TERNION_MODEL=$(find "$bin" -maxdepth 1 -name '*.gguf' | head -n 1)
export TERNION_MODEL LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} XDG_CACHE_HOME=$out/cache TERNION_CACHE=on
work=$(mktemp -d)
trap 'rm -rf "$work" "$out/cache"' EXIT
failed=0 n_left_out=0 deadline=${TN_GPU_CHECK_SECONDS:-460}
declare -A begun passed # names of steps
export bin work

note() { printf '%s\n' "$*" | tee -a "$out/summary.txt"; }
compute() { awk -f "$bin/gpu_json.awk" -f "$bin/$1" "${@:2}"; }
table() { compute "$@" | tee -a "$out/summary.txt"; }
rows() { table gpu_rows.awk "$@"; }
# The logs that steps NAME.. of this run, not of one before, have left something in.
filled() { for name in "$@"; do if [ -n "${begun[$name]:-}" ] && [ -s "$out/$name.log" ]; then printf '%s\n' "$out/$name.log"; fi; done; }

leave_out() {
    note "skipped $1: $2"
    n_left_out=$((n_left_out + 1))
}
# leave_out_all WHY NAME..
leave_out_all() { for name in "${@:2}"; do leave_out "$name" "$1"; done; }

# step NAME SECONDS COMMAND..: runs it into OUT/NAME.log; says how it ended.
step() {
    local name=$1 limit=$2 began=$SECONDS left=$((deadline - SECONDS)) rc
    shift 2
    begun[$name]=1
    : >"$out/$name.log"
    if [ "$left" -le 0 ]; then
        leave_out "$name" "no time is left"
        return 1
    fi
    timeout -k 5 "$((left < limit ? left : limit))" "$@" >"$out/$name.log" 2>&1
    rc=$?
    if [ "$rc" -eq 0 ]; then
        note "ok      $name ($((SECONDS - began)) s)"
        passed[$name]=1
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

# plans MODEL DEVICES N:POSITIONS..: what is predicted of N sequences of so many positions, one JSON object a line, from what was measured
# before. Those that do not fit into the devices' memory have none.
plans() {
    local model=$1 devices=$2 rc=0
    for asked in "${@:3}"; do
        if "$bin/ternion" plan -m "$model" -dev "$devices" --batch "${asked%:*}" -c "${asked#*:}" --no-calibrate --json >"$work/plan" 2>"$work/why"; then
            tr -d '\n' <"$work/plan"
            echo
        elif grep -qiE 'memory|free' "$work/why"; then
            echo "${asked%:*} sequences of ${asked#*:} positions do not fit: $(tail -n 1 "$work/why")"
        else
            cat "$work/why"
            rc=1
        fi
    done
    return "$rc"
}

# answer MODEL DEVICES N LINES TOKENS POSITIONS FLAG..: answers as many lines with so many tokens each, N at a time; the summary as one
# line of JSON. Rates are of the time in which lines were answered: weights were packed before.
answer() {
    local model=$1 devices=$2 n=$3 lines=$4 tokens=$5 positions=$6
    shift 6
    for ((i = 1; i <= lines; i++)); do
        printf '{"custom_id": "%d", "method": "POST", "url": "/v1/completions", "body": {"prompt": "%d times", "max_tokens": %d}}\n' "$i" "$i" "$tokens"
    done >"$work/requests.jsonl"
    "$bin/ternion" batch -m "$model" -dev "$devices" -np "$n" -c "$positions" -i "$work/requests.jsonl" -o "$work/answers.jsonl" --overwrite \
        --temp 0 --ignore-eos --json "$@" >"$work/batch" || return
    tr -d '\n' <"$work/batch"
    echo
    grep -q "\"answered\": $lines," "$work/batch"
}

export -f conformance same_logits replies_together plans answer

# time_model NAME: makes the model and times replies of one and of many sequences and prompts; a table row for each test.
time_model() {
    local model=$work/$1.gguf n_layers synth=("$1")
    [ "$1" = tiny ] && read -ra synth <<<"$tiny"
    if ! step "$1-synth" 120 "$bin/ternion" synth "${synth[0]}" "$model" --embd q8_0 "${synth[@]:1}"; then
        leave_out_all "there is no model" "$1-reply" "$1-prompts" "$1-together" "$1-profile"
        rm -f "$model"
        return 1
    fi
    n_layers=$("$bin/ternion" show -m "$model" --json | sed -n 's/.*"n_layers": \([0-9]*\).*/\1/p' | head -n 1)
    step "$1-reply" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p 0 -n "$reply" -r 3 --no-limits -o jsonl
    step "$1-prompts" 90 "$bin/ternion" bench -m "$model" -dev "$device" -p "$prompts" -n 0 -r 3 --no-limits -o jsonl
    step "$1-together" 100 bash -c 'replies_together "$@"' _ "$model" "$device" "$together" "$context" "${batches[@]}"
    step "$1-profile" 60 "$bin/ternion" bench -m "$model" -dev "$device" -p "${prompts%%,*}" -n "$reply" -r 1 --no-limits --profile -o md
    rows -v what=head
    while read -r log; do
        rows -v what=rows -v name="$1" -v n_layers="${n_layers:-0}" "$out/limits.log" "$log"
    done < <(filled "$1-reply" "$1-prompts" "$1-together")
}

# predict NAME: what is predicted of the tests of time_model, beside what they were. Of prompts the planner says nothing: bench_costs, where
# it was packed, has one of 256 tokens, measured and predicted by itself.
predict() {
    local model=$work/$1.gguf asked=("1:$reply") logs
    for n in "${batches[@]}"; do asked+=("$n:$((2 * context + together))"); done
    if [ -z "${passed[calibrate]:-}" ]; then
        leave_out_all "what parts of models take was not measured" "$1-plans"
    elif [ ! -e "$model" ]; then
        leave_out_all "there is no model" "$1-plans"
    else
        step "$1-plans" 60 bash -c 'plans "$@"' _ "$model" "$device" "${asked[@]}"
        if [ -x "$bin/bench_costs" ]; then
            step "$1-costs" 120 "$bin/bench_costs" "$device" "$calibrate_ms" "$rounds" "$model"
        else
            note "skipped $1-costs: bench_costs was not packed"
        fi
        mapfile -t logs < <(filled "$1-plans" "$1-costs" "$1-reply" "$1-together")
        table gpu_plan.awk -v what=plans_head
        table gpu_plan.awk -v what=plans -v name="$1" -v device="$device" /dev/null "${logs[@]}"
    fi
}

# CPU and card: each alone, a copy of the model on both, and a model that is split as the planner would, the same number of answers at a
# time. The CPU alone answers fewer lines, a split model too.
check_together() {
    local model=$work/${models[0]}.gguf devices=cpu0,$device split=() runs=() few=$((2 * answers))
    local names=(together-plan together-card together-cpu together-replicas together-pipeline)
    if [ ! -e "$model" ]; then
        leave_out_all "there is no model" calibrate-cpu "${names[@]}"
        return
    fi
    step calibrate-cpu 60 "$bin/ternion" devices --calibrate --calibrate-ms "$calibrate_ms" --device cpu0
    step together-plan 30 bash -c 'plans "$@"' _ "$model" "$devices" "$answers:$answer_context"
    step together-card 60 bash -c 'answer "$@"' _ "$model" "$device" "$answers" "$lines" "$answer" "$answer_context"
    step together-cpu 60 bash -c 'answer "$@"' _ "$model" cpu0 "$answers" "$few" "$answer" "$answer_context"
    step together-replicas 60 bash -c 'answer "$@"' _ "$model" "$devices" "$answers" "$lines" "$answer" "$answer_context" --replicas
    read -ra split < <(compute gpu_plan.awk -v what=split "$out/together-plan.log")
    if [ "$mode" = dry ]; then split=("$devices" 1,1); fi # as a plan of an emulated device never is
    if [ -z "${passed[together-plan]:-}" ]; then
        leave_out together-pipeline "there is no plan"
    elif [ "${#split[@]}" -eq 2 ]; then
        step together-pipeline 60 bash -c 'answer "$@"' _ "$model" "${split[0]}" "$answers" "$few" "$answer" "$answer_context" -ts "${split[1]}"
    else
        note "skipped together-pipeline: ternion plan has no split with layers on both devices"
    fi
    for name in "${names[@]}"; do
        if [ -n "$(filled "$name")" ]; then runs+=("kind=${name#together-}" "$out/$name.log"); fi
    done
    table gpu_plan.awk -v what=together_head
    table gpu_plan.awk -v what=together -v device="$device" /dev/null "${runs[@]}"
}

# The same card by its other driver.
check_vulkan() {
    local model=$work/${models[0]}.gguf
    if ! grep -E '^vulkan0' "$out/devices.log" | grep -qv emulated; then
        note "skipped Vulkan: no driver of it knows the card"
        return
    fi
    step vulkan-conformance 100 bash -c 'set -o pipefail; conformance "$0"' "*/vulkan0_dot_*-*_rows_*"
    step vulkan-logits 60 bash -c 'same_logits "$0"' vulkan0
    step vulkan-limits 60 "$bin/ternion" bench -dev vulkan0 -p 16 -n 0 -r 1 -o jsonl
    if [ ! -e "$model" ]; then
        leave_out_all "there is no model" vulkan-speed vulkan-profile
        return
    fi
    step vulkan-speed 90 "$bin/ternion" bench -m "$model" -dev vulkan0 -p 512 -n "$reply" -r 3 --no-limits -o jsonl
    step vulkan-profile 60 "$bin/ternion" bench -m "$model" -dev vulkan0 -p 512 -n 64 -r 1 --no-limits --profile -o md
    if [ -z "$(filled vulkan-limits)" ] || [ -z "$(filled vulkan-speed)" ]; then return; fi
    note "Vulkan: $(compute gpu_rows.awk -v what=card "$out/vulkan-limits.log")"
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

# Whether the steps NAME.. passed, as a number.
are_passed() {
    for name in "$@"; do
        if [ -z "${passed[$name]:-}" ]; then
            echo 0
            return
        fi
    done
    echo 1
}

# What is wanted of a card, from all that was measured.
show_wanted() {
    local operands=() bytes logs
    for name in "${models[@]}"; do
        read -ra bytes <<<"${step_bytes[$name]}"
        mapfile -t logs < <(filled "$name-reply" "$name-prompts" "$name-together")
        operands+=("model=$name" "${bytes[@]}" "${logs[@]}")
    done
    mapfile -t logs < <(filled vulkan-speed)
    operands+=(model=vulkan "${logs[@]}")
    table gpu_wanted.awk -v main="${models[0]}" -v other="${models[1]:-}" -v batches="$wanted_batches" -v prompts="$wanted_prompts" \
        -v exact="$(are_passed conformance logits)" -v vulkan_exact="$(are_passed vulkan-conformance vulkan-logits)" \
        "$out/limits.log" "${operands[@]}"
}

: >"$out/summary.txt"
if command -v nvidia-smi >/dev/null; then
    step nvidia-smi 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader && note "$(cat "$out/nvidia-smi.log")"
else
    note "skipped nvidia-smi: it is not installed here"
fi
step devices 60 "$bin/ternion" devices --kernels
note "$(grep -E "^$device|^vulkan|^cuda: " "$out/devices.log")"
step conformance 100 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_$cases*-*/${tests}_sm_75_*"
step conformance-sm75 60 bash -c 'set -o pipefail; conformance "$0"' "*/${tests}_sm_75_$cases*"
step logits 60 bash -c 'same_logits "$0"' "$device"
if step limits 60 "$bin/ternion" bench -dev "$device" -p 16 -n 0 -r 1 -o jsonl; then rows -v what=card "$out/limits.log" || failed=1; fi
time_model "${models[0]}"
if [ "$mode" != quick ]; then
    step calibrate 120 "$bin/ternion" devices --calibrate --calibrate-ms "$calibrate_ms" --device "$device"
    predict "${models[0]}"
    check_together
fi
if [ "$mode" != dry ]; then check_vulkan; fi
rm -f "$work/${models[0]}.gguf"
for model in "${models[@]:1}"; do
    time_model "$model"
    predict "$model"
    rm -f "$work/$model.gguf"
done
if [ "$mode" = full ]; then sanitize; fi
show_wanted
if [ "$failed" -ne 0 ]; then
    note "gpu_check: FAILED in $SECONDS s"
elif [ "$n_left_out" -ne 0 ]; then
    note "gpu_check: no step failed in $SECONDS s, but $n_left_out were left out"
    exit 3
else
    note "gpu_check: passed in $SECONDS s"
fi
exit "$failed"
