// A made-up device, and units of models for it.
#pragma once

extern "C" {
#include "scheduler/cost.h"
}

namespace tn_test
{

constexpr uint64_t kCache = 32u << 20;

// A device of which everything is known: times grow with the step, slowly at first.
inline tn_cost_table made_up()
{
    tn_cost_table table;
    tn_cost_table_init(&table);
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) {
        for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
            const double n = tn_cost_step_sizes[k], base = p == TN_COST_SUBMIT   ? 4000.0
                                                           : p == TN_COST_LAYER  ? 9000.0
                                                           : p == TN_COST_VALUES ? 0.2
                                                                                 : 0.0007 * (p + 1);
            table.ns[p][k] = base * (0.8 + 0.2 * n);
        }
    }
    table.cache_bytes = kCache;
    table.memory_bytes_per_s = 31.5e9;
    table.to_device = {1500.0, 12e9};
    table.to_host = {2500.0, 9e9};
    table.measured_at_s = 1700000000;
    return table;
}

inline tn_cost_work layer(uint64_t d, uint64_t ff, uint64_t resident_bytes)
{
    tn_cost_work work = {};
    work.unit = TN_COST_UNIT_LAYER;
    work.n_ternary = 3 * d * d + 3 * d * ff;
    work.n_values = 9 * d + 2 * ff;
    work.n_attention = d;
    work.resident_bytes = resident_bytes;
    return work;
}

inline tn_cost_work head(uint64_t d, uint64_t n_vocab, tn_dtype dtype, uint64_t resident_bytes)
{
    tn_cost_work work = {};
    work.unit = TN_COST_UNIT_HEAD;
    work.head_type = dtype;
    work.n_dense = d * n_vocab;
    work.resident_bytes = resident_bytes;
    return work;
}

} // namespace tn_test
