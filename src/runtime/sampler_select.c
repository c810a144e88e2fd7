// Candidates are counted into buckets by logit. The sum of the buckets before one is known, whatever the order, as closely as the order
// matters: only the bucket in which the bound is passed is ranked.
#include "runtime/sampler_select.h"

enum { BUCKETS = 512 };

// Never falls from one logit to a lower one: each operation is monotonic.
typedef struct buckets {
    double top, scale;
    double mass[BUCKETS];
} buckets;

static size_t bucket_of(const buckets *b, double logit) { return (size_t)((b->top - logit) * b->scale); }

static void fill(buckets *b, const tn_candidate *c, const double *weights, size_t n)
{
    double bottom = c[0].logit;
    *b = (buckets){.top = c[0].logit};
    for (size_t i = 1; i < n; i++) {
        b->top = c[i].logit > b->top ? c[i].logit : b->top;
        bottom = c[i].logit < bottom ? c[i].logit : bottom;
    }
    const double range = b->top - bottom;
    b->scale = range > 0x1p-900 ? (BUCKETS - 1) / range : 0;
    for (size_t i = 0; i < n; i++) b->mass[bucket_of(b, c[i].logit)] += weights[i];
}

// The candidates of a bucket, with their indices for ids, -> out. Returns their number.
static size_t take(const buckets *b, size_t bucket, const tn_candidate *c, size_t n, tn_candidate *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (bucket_of(b, c[i].logit) == bucket) out[found++] = (tn_candidate){c[i].logit, (int32_t)i};
    return found;
}

bool tn_sampler_select(const tn_candidate *c, const double *weights, size_t n, tn_sampler_interval bound, tn_candidate *spare,
                       size_t *out_index)
{
    if (n == 0) return false;
    buckets b;
    fill(&b, c, weights, n);
    double reached = 0; // by all that comes before
    size_t bucket = 0;
    for (; bucket < BUCKETS; bucket++) {
        if (tn_sampler_sum_within(reached + b.mass[bucket], n, 0).high > bound.low) break;
        reached += b.mass[bucket];
    }
    if (bucket == BUCKETS) return false;

    const size_t m = tn_sampler_rank(spare, take(&b, bucket, c, n, spare), n, spare + n);
    for (size_t i = 0; i < m; i++) {
        const double before = reached;
        reached += weights[spare[i].id];
        if (!(tn_sampler_sum_within(reached, n, 0).low > bound.high)) continue;
        *out_index = (size_t)spare[i].id;
        return (bucket == 0 && i == 0) || tn_sampler_sum_within(before, n, 0).high < bound.low;
    }
    return false;
}
