# What is wanted of a card beside what it did: a table row for each figure, met or not. POSIX awk alone.
#
# usage: awk -v main=NAME -v other=NAME -v batches=N,.. -v prompts=N,.. -v exact=1 -v vulkan_exact=1 -f gpu_json.awk -f gpu_wanted.awk \
#            LIMITS model=NAME weights=BYTES kv=BYTES ROWS.. model=vulkan ROWS..
#   LIMITS   the output of a bench with limits; ROWS: what `ternion bench -o jsonl` printed of the model, by Vulkan of main
#   weights  bytes that a step reads however many sequences it has, kv: bytes of keys and values a position
#   other    a second model, or nothing
#   exact    1: on this card the backend was shown to compute the CPU's bits; else no figure of it is met
#
# Wanted, of main: a reply at 45 and at 60 % of the speed that memory allows, N sequences at 60 % of the model (weights + N positions kv) /
# memory, prompts at 100 000 tokens a second, and Vulkan's reply at half of CUDA's. Of other: 60 % of what memory and products allow.
# Memory is twice there: as this run measured it, and as others published what an H100 (3.0 of its 3.35 TB/s) and an H200 (4.3 of 4.8)
# give a reader; of other cards by the data sheet. So are products: as measured, and by the data sheet.
# A figure that was not measured is never met, nor is one whose limit is not known.

function print_row(figure, wanted, of_what, wanted_rate, limit, measured, is_exact,    met) {
    met = is_exact ? "yes" : "fast enough, but not shown to be exact"
    if (measured <= 0) met = "not measured"
    else if (wanted_rate <= 0) met = "limit not known"
    else if (measured < wanted_rate) met = "no"
    printf "| %s | %s %s | %s | %s | %s | %s |\n", figure, wanted, of_what, number(wanted_rate, "%.0f"), number(measured, "%.1f"), \
        share(measured, limit), met
}

# The part of a limit that is wanted, in tokens a second.
function want_part(figure, percent, limit, of_what, measured) {
    print_row(figure, percent " %", "of " (limit > 0 ? sprintf("%.0f, ", limit) : "") of_what, percent / 100 * limit, limit, measured, exact)
}

function is_near(value, published) { return value > 0.98 * published && value < 1.02 * published }

function add_memory(rate, name) {
    memory_rate[++n_memory] = rate
    memory_name[n_memory] = name (rate > 0 ? sprintf(" (%.2f TB/s)", rate / 1e12) : "")
}

function add_int8(rate, name) {
    int8_rate[++n_int8] = rate
    int8_name[n_int8] = name (rate > 0 ? sprintf(" (%.0f Tops/s)", rate / 1e12) : "")
}

function choose_limits(    theory) {
    theory = limit_theory["memory_read"] + 0
    add_memory(limit_best["memory_read"] + 0, "memory as measured")
    if (is_near(theory, 3.35e12)) add_memory(3.0e12, "memory as published of an H100")
    else if (is_near(theory, 4.8e12)) add_memory(4.3e12, "memory as published of an H200")
    else add_memory(theory, "memory by the data sheet")
    add_int8(limit_best["int8_dot"] + 0, "products as measured")
    add_int8(limit_theory["int8_dot"] + 0, "products by the data sheet")
}

# Tokens a second that reading `bytes` a token allows.
function by_memory(memory, bytes) { return bytes > 0 ? memory / bytes : 0 }

function want_reply(name, percent,    i) {
    for (i = 1; i <= n_memory; i++)
        want_part(name ", reply", percent, by_memory(memory_rate[i], bytes[name, "reply"] + 0), memory_name[i], speed[name, "reply"] + 0)
}

function want_batches(name,    n, list, i, k, key, step_bytes) {
    n = split(batches, list, ",")
    for (k = 1; k <= n; k++) {
        key = "batch " list[k]
        step_bytes = weights_of[name] + list[k] * depth[name, key] * kv_of[name]
        for (i = 1; i <= n_memory; i++)
            want_part(name ", " list[k] " sequences" (depth[name, key] > 0 ? " behind " depth[name, key] : ""), 60, \
                depth[name, key] > 0 ? by_memory(memory_rate[i] * list[k], step_bytes) : 0, memory_name[i], speed[name, key] + 0)
    }
}

function want_prompts(name,    n, list, k, key) {
    n = split(prompts, list, ",")
    for (k = 1; k <= n; k++) {
        key = "prompt " list[k]
        print_row(name ", prompt of " list[k], "100000", "tokens/s", 100000, 0, speed[name, key] + 0, exact)
    }
}

# Reading and multiplying go on at the same time; memory is as it was measured in the first, as published in the second row.
function want_part_of_prompts(name,    n, list, k, key, i, limit, by_reading) {
    n = split(prompts, list, ",")
    for (k = 1; k <= n; k++) {
        key = "prompt " list[k]
        for (i = 1; i <= n_int8; i++) {
            limit = ops[name, key] > 0 ? int8_rate[i] / ops[name, key] : 0
            by_reading = by_memory(memory_rate[i], bytes[name, key] + 0)
            if (by_reading > 0 && by_reading < limit) limit = by_reading
            want_part(name ", prompt of " list[k], 60, limit, int8_name[i], speed[name, key] + 0)
        }
    }
}

function print_all(    half) {
    choose_limits()
    print "| figure | wanted | tokens/s wanted | tokens/s measured | of the limit | met |"
    print "|---|---|---:|---:|---:|---|"
    want_reply(main, 45)
    want_reply(main, 60)
    want_batches(main)
    want_prompts(main)
    half = speed[main, "reply"] / 2
    print_row(main ", reply by Vulkan", "half", "of CUDA's", half, speed[main, "reply"] + 0, speed["vulkan", "reply"] + 0, exact && vulkan_exact)
    if (other == "") return
    want_reply(other, 60)
    want_batches(other)
    want_part_of_prompts(other)
}

# Which figure a row is of; "": none.
function key_of(line,    n_prompt, n_pl, n_depth) {
    n_prompt = field(line, "n_prompt") + 0
    n_pl = field(line, "n_pl") + 0
    n_depth = field(line, "n_depth") + 0
    if (n_prompt > 0) return n_pl == 1 && n_depth == 0 && field(line, "n_gen") + 0 == 0 ? "prompt " n_prompt : ""
    if (n_depth > 0) return "batch " n_pl
    return n_pl == 1 ? "reply" : ""
}

is_bench_row($0) && model == "" {
    take_limits($0)
    next
}
is_bench_row($0) {
    key = key_of($0)
    speed[model, key] = field($0, "median_ts") + 0
    bytes[model, key] = field($0, "read_bytes_per_token") + 0
    ops[model, key] = field($0, "int8_ops_per_token") + 0
    depth[model, key] = field($0, "n_depth") + 0
    weights_of[model] = weights
    kv_of[model] = kv
}
END { print_all() }
