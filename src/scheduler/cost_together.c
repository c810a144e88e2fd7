// What devices that share memory take while all of them read.
#include "scheduler/cost_table.h"

#include <math.h>

const double tn_cost_together_max = 64.0;

// A submit has at least this share of its time from far weights: less is told apart too badly, by fits of noisy times.
static const double far_share_least = 0.25;

static uint32_t far_part(uint32_t reader)
{
    return reader == TN_COST_READER_TERNARY ? TN_COST_TERNARY_FAR : TN_COST_HEADS_FIRST + 3 * (reader - TN_COST_READER_HEADS_FIRST) + 2;
}

static double clamp(double factor) { return factor > tn_cost_together_max ? tn_cost_together_max : factor > 1.0 ? factor : 1.0; }

// The share of the sample's time that the table gives to its far weights.
static double far_share(const tn_cost_table *table, uint32_t reader, const tn_cost_sample *sample)
{
    const uint32_t part = far_part(reader);
    double amounts[TN_COST_PARTS] = {0};
    amounts[part] = sample->amounts[part];
    const double far_ns = tn_cost_at_step(table, amounts, sample->step), all_ns = tn_cost_at_step(table, sample->amounts, sample->step);
    const double share = all_ns > 0.0 ? far_ns / all_ns : 1.0;
    return share > far_share_least ? share : far_share_least;
}

// By what was measured, if it was.
static double measured_factor(const tn_cost_table *table, const tn_cost_together *measured, uint32_t reader, uint32_t k)
{
    const tn_cost_sample *alone = &measured->alone[reader][k];
    const double together_ns = measured->together_ns[reader][k];
    return alone->ns > 0.0 && together_ns > 0.0 ? clamp(1.0 + (together_ns / alone->ns - 1.0) / far_share(table, reader, alone)) : 0.0;
}

// Steps of every size read the same. A larger one takes at least what the smaller one does, and waits for memory no longer than that did:
// what is measured beyond is what else the machine did.
static void set_factors(tn_cost_table *table, const tn_cost_together *measured, uint32_t reader)
{
    const double *far_ns = table->ns[far_part(reader)];
    double *factors = table->together[reader];
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        const double ratio = k > 0 && far_ns[k] > 0.0 ? far_ns[k - 1] / far_ns[k] : 0.0;
        const double least = k > 0 ? clamp(factors[k - 1] * ratio) : 1.0, most = k > 0 ? 1.0 + (factors[k - 1] - 1.0) * ratio : INFINITY;
        const double factor = clamp(measured_factor(table, measured, reader, k));
        factors[k] = factor > most ? clamp(most) : factor > least ? factor : least;
    }
}

void tn_cost_set_together(tn_cost_table *table, const tn_cost_together *measured, uint32_t n_devices)
{
    for (uint32_t reader = 0; reader < TN_COST_READERS; reader++) set_factors(table, measured, reader);
    table->n_together = n_devices;
}

tn_cost_table tn_cost_shared(const tn_cost_table *table)
{
    tn_cost_table shared = *table;
    for (uint32_t reader = 0; reader < TN_COST_READERS; reader++) {
        for (uint32_t k = 0; k < TN_COST_STEPS; k++) shared.ns[far_part(reader)][k] *= table->together[reader][k];
    }
    return shared;
}
