# What the planner said of a card beside what was measured on it. POSIX awk alone. The objects of `ternion plan --json` and
# `ternion batch --json` stand in one line each.
#
# usage: awk -v what=plans -v name=NAME -v device=DEVICE -f gpu_json.awk -f gpu_plan.awk FILE..
#            a table row for each reply: FILEs have plans of DEVICE, what `ternion bench -o jsonl` printed, and the table of bench_costs, of
#            which the row of a prompt is taken. The plan of N sequences with P positions belongs to the replies of N sequences whose
#            middle stands at half of P.
#        awk -v what=together -v device=DEVICE -f gpu_json.awk -f gpu_plan.awk kind=plan FILE kind=card FILE kind=cpu FILE ..
#            a table row for the card (DEVICE) and for cpu0 alone, for copies of the model on both (kind=replicas), and for a model that is
#            split (kind=pipeline): FILEs have the plan of both devices, and what `ternion batch` printed
#        awk -v what=split -f gpu_json.awk -f gpu_plan.awk FILE
#            devices and layers of each, as -dev and -ts want them, of the pipeline in a plan; exit status 1: there is none, or one that
#            these flags cannot say
#        awk -v what=plans_head (together_head)  the first two lines of these tables
# What was not predicted, or not measured, is "-".

function print_plans_head() {
    print "| model | test | predicted tokens/s | measured tokens/s | measured / predicted |"
    print "|---|---|---:|---:|---:|"
}

function print_together_head() {
    print "| devices | sequences | predicted tokens/s | measured tokens/s | measured / predicted | of the card alone | of both alone, added |"
    print "|---|---:|---:|---:|---:|---:|---:|"
}

# ---- plans ----

# A field of the plan's device; "": the plan does not know.
function field_of_device(line, key,    at) {
    if ((at = index(line, "\"devices\": [")) == 0) return ""
    line = substr(line, at)
    if ((at = index(line, "\"name\": \"" device "\"")) == 0) return ""
    return field(substr(line, at), key)
}

# The plan's alternatives: option_rate, option_plan by kind; of one device by its name. chosen_plan, chosen_rate: the choice.
function take_options(line,    at, part, kind, plan) {
    if ((at = index(line, "\"options\": [")) == 0) return
    line = substr(line, at)
    sub(/"changes": \[.*/, "", line)
    while ((at = match(line, /\{ *"kind": /)) > 0) {
        line = substr(line, at + 1)
        at = match(line, /\{ *"kind": /)
        part = at > 0 ? substr(line, 1, at - 1) : line
        kind = field(part, "kind")
        plan = field(part, "plan")
        if (kind == "one") kind = substr(plan, 1, index(plan, ": ") - 1)
        option_rate[kind] = field(part, "tokens_per_second") + 0
        option_plan[kind] = plan
        if (field(part, "chosen") == "true") {
            chosen_plan = plan
            chosen_rate = option_rate[kind]
        }
    }
}

function print_plan_row(test, predicted, measured) {
    printf "| %s | %s | %s | %s | %s |\n", name, test, number(predicted, "%.1f"), number(measured, "%.1f"), ratio(measured, predicted)
}

function print_plans(    i, key) {
    for (i = 1; i <= n_replies; i++) print_plan_row(reply_test[i], predicted[reply_key[i]] + 0, reply_rate[i])
    for (i = 1; i <= n_plans; i++) {
        if (!(plan_key[i] in is_measured)) print_plan_row(plan_test[i], predicted[plan_key[i]] + 0, 0)
    }
    if (prompt_rate > 0) print_plan_row("prompt of 256", prompt_predicted, prompt_rate)
    if (expected_error != "") printf "shapes that %s was not measured with are predicted within %.0f %%, says ternion plan\n", device, 100 * expected_error
}

# ---- devices together ----

function print_together_row(label, kind, option,    predicted_rate, measured, card, both) {
    predicted_rate = option_rate[option] + 0
    measured = rate[kind] + 0
    card = rate["card"] + 0
    both = card > 0 && rate["cpu"] + 0 > 0 ? card + rate["cpu"] : 0
    printf "| %s | %s | %s | %s | %s | %s | %s |\n", label, kind in n_seqs ? n_seqs[kind] : "-", number(predicted_rate, "%.1f"), \
        number(measured, "%.1f"), ratio(measured, predicted_rate), ratio(measured, card), ratio(measured, both)
}

function in_a_cell(plan) {
    gsub(/ [|] /, "; ", plan)
    return plan
}

# Copies, or a split model, as they were; what is planned otherwise is no prediction of them, and has a line below the table.
function print_shared_row(label, kind,    is_other) {
    is_other = kind in placed && kind in option_plan && placed[kind] != option_plan[kind]
    print_together_row(label ": " in_a_cell(kind in placed ? placed[kind] : kind in option_plan ? option_plan[kind] : "cpu0 + " device), kind, \
        is_other ? "another" : kind)
    if (is_other) remarks = remarks "ternion plan would have " label " as " in_a_cell(option_plan[kind]) ": " number(option_rate[kind], "%.1f") " tokens/s\n"
}

function print_together() {
    print_together_row(device, "card", device)
    print_together_row("cpu0", "cpu", "cpu0")
    print_shared_row("copies", "replicas")
    if ("pipeline" in option_plan || "pipeline" in placed) print_shared_row("layers", "pipeline")
    printf "%s", remarks
    if (!("pipeline" in option_plan)) print "ternion plan offers no split of the model over cpu0 and " device
    if (chosen_plan != "") printf "ternion plan chooses %s: %s tokens/s\n", in_a_cell(chosen_plan), number(chosen_rate, "%.1f")
}

# ---- a pipeline as flags ----

# Layers that a part of a pipeline says, "embedding, layers 0-2" or "layer 3, head"; 0: none.
function layers_of(text,    ends) {
    if (match(text, /layers [0-9]+-[0-9]+/)) {
        split(substr(text, RSTART + 7, RLENGTH - 7), ends, "-")
        return ends[2] - ends[1] + 1
    }
    return text ~ /layer [0-9]/ ? 1 : 0
}

function print_split(    n, parts, i, at, devices, layers) {
    if (!("pipeline" in option_plan)) exit 1
    n = split(option_plan["pipeline"], parts, / [|] /)
    for (i = 1; i <= n; i++) {
        at = index(parts[i], ": ")
        if (layers_of(parts[i]) == 0) exit 1
        devices = devices (i > 1 ? "," : "") substr(parts[i], 1, at - 1)
        layers = layers (i > 1 ? "," : "") layers_of(parts[i])
    }
    print devices " " layers
}

# ---- input ----

BEGIN {
    if (what == "plans_head") print_plans_head()
    if (what == "together_head") print_together_head()
    if (what ~ /_head$/) exit
}
/^\{.*"options": \[/ {
    take_options($0)
    if (what == "plans") {
        n_plans++
        plan_key[n_plans] = field($0, "n_seqs") SUBSEP field($0, "n_ctx")
        plan_test[n_plans] = field($0, "n_seqs") " sequences of " field($0, "n_ctx") " positions"
        predicted[plan_key[n_plans]] = field_of_device($0, "tokens_per_second") + 0
        expected_error = field_of_device($0, "error")
    }
}
is_bench_row($0) && what == "plans" && field($0, "n_prompt") + 0 == 0 {
    n_replies++
    reply_test[n_replies] = test_name($0)
    reply_rate[n_replies] = field($0, "median_ts") + 0
    reply_key[n_replies] = field($0, "n_pl") SUBSEP (2 * field($0, "n_depth") + field($0, "n_gen"))
    is_measured[reply_key[n_replies]] = 1
}
/^[|] 256 \(a prompt\) [|]/ && what == "plans" {
    split($0, cells, / *[|] */)
    if (cells[3] > 0 && cells[4] > 0) {
        prompt_rate = 256e3 / cells[3]
        prompt_predicted = 256e3 / cells[4]
    }
}
/^plan +.*: |^plan +replicas / && what == "together" {
    placed[kind] = $0
    sub(/^plan +(replicas )?/, "", placed[kind])
    sub(/ +\(predicted .*/, "", placed[kind])
}
/^\{.*"generated_per_second": / && what == "together" {
    rate[kind] = field($0, "generated_per_second") + 0
    n_seqs[kind] = field($0, "concurrency")
}
END {
    if (what == "plans") print_plans()
    if (what == "together") print_together()
    if (what == "split") print_split()
}
