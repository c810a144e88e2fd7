// From logits to a token: bias and penalties, then top-k, top-p, min-p and temperature in llama.cpp's order, then one draw.
// The definition (docs/design/0001-numerics.md) ranks all candidates and adds their weights in that order. Here as few as decide are
// ranked: with top-k, those that a pass over the row leaves; without (sampler_whole.c), those around the one that is drawn.
#include "base/f64_math.h"
#include "base/status.h"
#include "runtime/philox.h"
#include "runtime/sampler_internal.h"
#include "runtime/sampler_row.h"

#include <math.h>
#include <stdlib.h>

tn_status tn_sampler_fail_all_forbidden(void)
{
    return tn_fail(TN_INVALID_ARGUMENT, "sampler: every token is forbidden: remove a logit bias of -inf");
}

static double penalised(const tn_sampler_params *p, double z, uint32_t count)
{
    const double repeat = (double)p->repeat_penalty;
    const double repeated = z > 0 ? z / repeat : z * repeat;
    return repeated - (((double)count * (double)p->frequency_penalty) + (double)p->presence_penalty);
}

size_t tn_sampler_adjust(const tn_sampler *s, const float *logits, size_t n)
{
    const int32_t *ids = s->scratch->ids;
    size_t i = 0, b = 0, c = 0, found = 0;
    for (;;) {
        int32_t id = INT32_MAX; // no token: n_vocab is at most that
        if (i < n && ids[i] < id) id = ids[i];
        if (b < s->params.n_logit_bias && s->bias[b].token < id) id = s->bias[b].token;
        if (c < s->window.n_counts && s->window.counts[c].token < id) id = s->window.counts[c].token;
        if (id == INT32_MAX) return found;

        double z = (double)logits[id];
        if (i < n && ids[i] == id) i++;
        for (; b < s->params.n_logit_bias && s->bias[b].token == id; b++) z += (double)s->bias[b].bias;
        if (c < s->window.n_counts && s->window.counts[c].token == id) z = penalised(&s->params, z, s->window.counts[c++].count);
        if (z != -INFINITY) s->scratch->candidates[found++] = (tn_candidate){z, id};
    }
}

// How many of the n best candidates, in ranking order, top-p keeps: the shortest prefix whose weight reaches top_p of the whole.
static size_t keep_top_p(const tn_candidate *c, size_t n, float top_p, double *weights)
{
    if (top_p >= 1) return n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = tn_f64_exp(c[i].logit - c[0].logit);
        sum += weights[i];
    }
    const double wanted = (double)top_p * sum;
    double reached = 0;
    for (size_t i = 0; i < n; i++) {
        reached += weights[i];
        if (reached >= wanted) return i + 1;
    }
    return n;
}

double tn_sampler_least_of_min_p(double best, float min_p) { return min_p > 0 ? best + tn_f64_log((double)min_p) : -INFINITY; }

static size_t keep_min_p(const tn_candidate *c, size_t n, float min_p)
{
    const double least = tn_sampler_least_of_min_p(c[0].logit, min_p);
    size_t kept = 1;
    while (kept < n && c[kept].logit >= least) kept++;
    return kept;
}

// Draws from the softmax of n >= 1 ranked candidates at the sampler's temperature: the first whose running sum of weights passes u * sum.
static int32_t draw(const tn_sampler *s, size_t n, double u)
{
    const tn_candidate *c = s->scratch->candidates;
    double *weights = s->scratch->weights;
    const double temperature = (double)s->params.temperature;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = tn_f64_exp((c[i].logit - c[0].logit) / temperature);
        sum += weights[i];
    }
    const double wanted = u * sum;
    double reached = weights[0];
    size_t chosen = 0;
    while (!(reached > wanted)) reached += weights[++chosen]; // ends: u < 1 and the running sum ends at `sum`
    return c[chosen].id;
}

int32_t tn_sampler_choose_ranked(const tn_sampler *s, size_t n, double u)
{
    const tn_sampler_params *p = &s->params;
    tn_candidate *c = s->scratch->candidates;
    const bool greedy = !(p->temperature > 0);
    n = tn_sampler_rank(c, n, greedy ? 1 : p->top_k > 0 ? (size_t)p->top_k : n, s->scratch->spare);
    if (greedy) return c[0].id;
    n = keep_top_p(c, n, p->top_p, s->scratch->weights);
    n = keep_min_p(c, n, p->min_p);
    return draw(s, n, u);
}

// Of the n tokens of scratch->ids, ascending, and those that bias and penalties name.
static tn_status choose_gathered(const tn_sampler *s, const float *logits, size_t n, double u, int32_t *out_token)
{
    n = tn_sampler_adjust(s, logits, n);
    if (n == 0) return tn_sampler_fail_all_forbidden();
    *out_token = tn_sampler_choose_ranked(s, n, u);
    return TN_OK;
}

tn_status tn_sampler_choose(const tn_sampler *s, const float *logits, uint32_t position, int32_t *out_token)
{
    const tn_sampler_params *p = &s->params;
    float max;
    TN_TRY(tn_sampler_row_max(logits, s->n_vocab, s->scratch, &max));
    const bool greedy = !(p->temperature > 0);
    const size_t n_named = p->n_logit_bias + s->window.n_counts;
    if (greedy && n_named == 0) {
        if (max == -INFINITY) return tn_sampler_fail_all_forbidden();
        *out_token = tn_sampler_row_first(logits, s->n_vocab, s->scratch, max);
        return TN_OK;
    }
    const double u = greedy ? 0 : tn_philox_uniform(p->seed, p->sequence, position);
    if (!greedy && (p->top_k <= 0 || (uint32_t)p->top_k >= s->n_vocab)) return tn_sampler_choose_from_all(s, logits, max, u, out_token);

    // Of the k + L best of the row, L tokens being named by bias and penalties, at least k stay as they are. One that is neither among them
    // nor named has these k before it.
    const size_t n = tn_sampler_row_gather(logits, s->n_vocab, (greedy ? 1 : (size_t)p->top_k) + n_named, s->scratch);
    return choose_gathered(s, logits, n, u, out_token);
}

static int compare_ids(const void *left, const void *right)
{
    const int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    return a < b ? -1 : a > b;
}

tn_status tn_sampler_choose_among(const tn_sampler *s, const float *logits, const uint32_t *ids, uint32_t n, uint32_t position,
                                  int32_t *out_token)
{
    const tn_sampler_params *p = &s->params;
    for (uint32_t i = 0; i < n; i++) s->scratch->ids[i] = (int32_t)ids[i];
    qsort(s->scratch->ids, n, sizeof *s->scratch->ids, compare_ids);
    const double u = p->temperature > 0 ? tn_philox_uniform(p->seed, p->sequence, position) : 0;
    return choose_gathered(s, logits, n, u, out_token);
}
