// A draw from a whole row, without ranking it. The definition adds the weights of all tokens in ranking order and takes the first token
// whose running sum passes u times the sum. No sum has to be known as it is rounded in that order: it is enough to know bounds for it
// (sampler_mass.h) and to find that the token is the same for all numbers within them (sampler_select.h). top-p is the same question, and
// the draw from what it leaves another one. Where bounds do not tell, which is rare, they are narrowed by exact weights, and where these do
// not either, everything is ranked: the token is the definition's in every case.
#include "base/f64_math.h"
#include "base/status.h"
#include "runtime/sampler_internal.h"
#include "runtime/sampler_row.h"
#include "runtime/sampler_select.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { GAP_PARTS = 4 };

// Tokens that bias or penalties name are apart from the rest, which is taken as it came.
typedef struct whole_row {
    const float *logits; // as they came
    const float *rest;   // minus infinity in place of named tokens
    double best;
} whole_row;

static bool names_tokens(const tn_sampler *s) { return s->params.n_logit_bias + s->window.n_counts > 0; }

static tn_status separate(const tn_sampler *s, const float *logits, float max, whole_row *out_row)
{
    if (names_tokens(s)) {
        float *rest = s->scratch->row;
        memcpy(rest, logits, s->n_vocab * sizeof *rest);
        for (size_t i = 0; i < s->params.n_logit_bias; i++) rest[s->bias[i].token] = -INFINITY;
        for (size_t i = 0; i < s->window.n_counts; i++) rest[s->window.counts[i].token] = -INFINITY;
        TN_TRY(tn_sampler_row_max(rest, s->n_vocab, s->scratch, &max));
        *out_row = (whole_row){logits, rest, (double)max};
    } else {
        *out_row = (whole_row){logits, logits, (double)max};
    }
    const tn_candidate *named = s->scratch->candidates;
    const size_t n_named = tn_sampler_adjust(s, logits, 0);
    for (size_t i = 0; i < n_named; i++) out_row->best = named[i].logit > out_row->best ? named[i].logit : out_row->best;
    return out_row->best == -INFINITY ? tn_sampler_fail_all_forbidden() : TN_OK;
}

// Bounds of the definition's sum of the weights of all tokens.
static tn_sampler_interval sum_all(const tn_sampler *s, const whole_row *row, double temperature, bool exact)
{
    double sum = (exact ? tn_sampler_mass : tn_sampler_mass_near)(row->rest, s->n_vocab, row->best, temperature);
    const tn_candidate *named = s->scratch->candidates;
    const size_t n_named = tn_sampler_adjust(s, row->logits, 0);
    for (size_t i = 0; i < n_named; i++) sum += tn_f64_exp((named[i].logit - row->best) / temperature);
    return tn_sampler_sum_within(sum, s->n_vocab, exact ? 0 : TN_SAMPLER_NEAR_ERROR);
}

// The next f32 above a finite one that is not the largest. (libm's nextafterf would be the library's only need of libm.)
static float float_above(float f)
{
    uint32_t bits;
    if (f == 0) f = 0; // minus zero too
    memcpy(&bits, &f, sizeof bits);
    bits += f < 0 ? UINT32_MAX : 1u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// The least f32 that is not below x; finite where x is not above all that are.
static float float_from(double x)
{
    if (x <= -(double)FLT_MAX) return -FLT_MAX;
    if (x > (double)FLT_MAX) return INFINITY;
    const float f = (float)x;
    return (double)f < x ? float_above(f) : f;
}

// All tokens with a logit of `least` or more, after bias and penalties, -> scratch->candidates, in ascending order of id, and their weights
// -> scratch->weights. Returns their number.
static size_t gather(const tn_sampler *s, const whole_row *row, double least)
{
    const size_t n_found = tn_sampler_row_from(row->rest, s->n_vocab, float_from(least), s->scratch);
    const size_t n = tn_sampler_adjust(s, row->logits, n_found);
    if (!names_tokens(s)) return n;
    tn_candidate *c = s->scratch->candidates;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].logit >= least) c[kept++] = c[i];
    return kept;
}

// Weights of n candidates -> scratch->weights. Returns their sum, in some order.
static double weigh(const tn_sampler *s, size_t n, double best, double temperature)
{
    double *weights = s->scratch->weights, sum = 0;
    for (size_t i = 0; i < n; i++) weights[i] = s->scratch->candidates[i].logit;
    tn_f64_weights(weights, n, best, temperature, weights);
    for (size_t i = 0; i < n; i++) sum += weights[i];
    return sum;
}

// Tokens whose running sum of weights passes the bound, all before them in the ranking, and not many more: candidates and their weights.
// Returns their number.
static size_t gather_beyond(const tn_sampler *s, const whole_row *row, double temperature, tn_sampler_interval bound, double behind)
{
    // Tokens this much below the best weigh, all together, at most half of what is behind the bound. Mostly fewer are enough.
    const double gap = temperature * tn_f64_log((double)s->n_vocab / (behind / 2));
    size_t n = 0;
    for (int part = 1; part <= GAP_PARTS; part++) {
        n = gather(s, row, row->best - (gap * part / GAP_PARTS));
        const double sum = weigh(s, n, row->best, temperature);
        if (tn_sampler_sum_within(sum, n, 0).low > bound.high) break;
    }
    return n;
}

// Finds the first token in ranking order whose running sum of weights passes, or where it may, reaches, a fraction below 1 of the sum over
// all: candidates, with it and all before it among them, their number, and its index. False where it cannot be told.
static bool reach(const tn_sampler *s, const whole_row *row, double temperature, double fraction, size_t *out_n, size_t *out_index)
{
    tn_sampler_scratch *m = s->scratch;
    for (int exact = 0; exact <= 1; exact++) {
        m->n_exact += exact > 0;
        const tn_sampler_interval sum = sum_all(s, row, temperature, exact > 0);
        const tn_sampler_interval bound = {fraction * sum.low, fraction * sum.high};
        const size_t n = *out_n = gather_beyond(s, row, temperature, bound, (1 - fraction) * sum.low);
        if (tn_sampler_select(m->candidates, m->weights, n, bound, m->spare, out_index)) return true;
    }
    return false;
}

// Keeps of n candidates those that rank up to the last one, by index, and have a logit of `least` or more. Returns their number.
static size_t keep_up_to(const tn_sampler *s, size_t n, size_t last, double least)
{
    tn_candidate *c = s->scratch->candidates;
    const double logit = c[last].logit;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].logit >= least && (c[i].logit > logit || (c[i].logit == logit && i <= last))) c[kept++] = c[i];
    return kept;
}

// Draws from n candidates: false where it cannot be told.
static bool draw(const tn_sampler *s, size_t n, double best, double u, size_t *out_index)
{
    tn_sampler_scratch *m = s->scratch;
    const tn_sampler_interval sum = tn_sampler_sum_within(weigh(s, n, best, (double)s->params.temperature), n, 0);
    return tn_sampler_select(m->candidates, m->weights, n, (tn_sampler_interval){u * sum.low, u * sum.high}, m->spare, out_index);
}

static bool choose(const tn_sampler *s, const whole_row *row, double u, size_t *out_index)
{
    const tn_sampler_params *p = &s->params;
    const double least = tn_sampler_least_of_min_p(row->best, p->min_p);
    size_t n = 0, last = 0;
    if (p->top_p < 1) {
        if (!reach(s, row, 1, (double)p->top_p, &n, &last)) return false;
        return draw(s, keep_up_to(s, n, last, least), row->best, u, out_index);
    }
    if (p->min_p > 0) return draw(s, gather(s, row, least), row->best, u, out_index);
    return reach(s, row, (double)p->temperature, u, &n, out_index);
}

tn_status tn_sampler_choose_from_all(const tn_sampler *s, const float *logits, float max, double u, int32_t *out_token)
{
    whole_row row;
    TN_TRY(separate(s, logits, max, &row));
    size_t index = 0;
    if (choose(s, &row, u, &index)) {
        *out_token = s->scratch->candidates[index].id;
        return TN_OK;
    }
    s->scratch->n_ranked++;
    *out_token = tn_sampler_choose_ranked(s, gather(s, &row, -INFINITY), u);
    return TN_OK;
}
