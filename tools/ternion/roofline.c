// Steps as cmd_bench.c makes them, one after another, each with its cost.
#include "roofline.h"

static uint32_t least(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static void add_step(tn_cli_work *work, const tn_session_costs *costs, double n_tokens, double n_logits, double n_positions)
{
    work->n_tokens += n_tokens;
    work->read_bytes += (double)costs->ternary_bytes + (double)costs->other_bytes + n_tokens * (double)costs->token_bytes +
                        n_positions * (double)costs->kv_position_bytes;
    if (n_logits > 0) work->read_bytes += (double)costs->head_bytes;
    work->int8_ops += 2 * (n_tokens * (double)costs->ternary_products + n_logits * (double)costs->head_products);
}

// Tokens [begin, end) of prompts that lie one after another, in a call that ends at `call_end`.
static void add_prompt_step(tn_cli_work *work, const tn_session_costs *costs, const tn_cli_bench_test *t, uint64_t begin, uint64_t end,
                            uint64_t call_end)
{
    double n_positions = 0, n_logits = 0;
    for (uint64_t seq = begin / t->n_prompt; seq * t->n_prompt < end; seq++) {
        const uint64_t first = seq * t->n_prompt, behind = first + t->n_prompt;
        n_positions += (double)t->n_depth + (double)((behind < end ? behind : end) - first);
        const uint64_t last_of_call = (behind < call_end ? behind : call_end) - 1; // whose logits are wanted
        n_logits += last_of_call >= begin && last_of_call < end;
    }
    add_step(work, costs, (double)(end - begin), n_logits, n_positions);
}

tn_cli_work tn_cli_work_of(const tn_session_costs *costs, const tn_cli_bench_test *t)
{
    tn_cli_work work = {0, 0, 0};
    const uint64_t all = (uint64_t)t->n_prompt * t->n_pl;
    for (uint64_t call = 0; call < all; call += t->n_batch) {
        const uint64_t call_end = call + least(t->n_batch, all - call);
        for (uint64_t begin = call; begin < call_end; begin += t->n_ubatch)
            add_prompt_step(&work, costs, t, begin, begin + least(t->n_ubatch, call_end - begin), call_end);
    }
    for (uint32_t i = 0; i < t->n_gen; i++) {
        const double n_positions = (double)t->n_depth + t->n_prompt + i + 1;
        for (uint32_t seq = 0; seq < t->n_pl; seq += least(t->n_ubatch, t->n_pl - seq)) {
            const double n = least(t->n_ubatch, t->n_pl - seq);
            add_step(&work, costs, n, n, n * n_positions);
        }
    }
    return work;
}

tn_cli_shares tn_cli_shares_of(const tn_cli_work *work, double ns, double memory_bytes_per_s, double int8_ops_per_s)
{
    tn_cli_shares shares = {-1, -1, -1};
    if (ns <= 0) return shares;
    if (memory_bytes_per_s > 0) shares.memory = work->read_bytes / memory_bytes_per_s * 1e9 / ns;
    if (int8_ops_per_s > 0) shares.int8 = work->int8_ops / int8_ops_per_s * 1e9 / ns;
    // The time that each limit takes at least: the longer one is the roof.
    if (shares.memory >= 0 && shares.int8 >= 0) shares.roofline = shares.memory > shares.int8 ? shares.memory : shares.int8;
    return shares;
}

double tn_cli_best_limit(const tn_device_limit *list, size_t n, tn_limit_kind kind, uint32_t n_threads)
{
    double best = 0;
    bool known = false;
    for (size_t i = 0; i < n; i++) {
        if (list[i].kind != kind || list[i].n_threads > n_threads) continue;
        known = known || list[i].n_threads == n_threads;
        if (list[i].best > best) best = list[i].best;
    }
    return known ? best : 0;
}
