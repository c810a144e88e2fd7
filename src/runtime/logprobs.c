// Log-probabilities: the row's maximum and its best, then a sum of exponentials in order of the ids.
#include "runtime/logprobs.h"

#include "base/float_mode.h"
#include "base/status.h"
#include "runtime/sampler_math.h"

#include <math.h>

// Puts a token into the list of the best so far, [n] of at most n_top, in ranking order.
static uint32_t insert(tn_token_logprob *top, uint32_t n, uint32_t n_top, int32_t token, float logit)
{
    uint32_t at = n < n_top ? n++ : n_top - 1;
    for (; at > 0 && top[at - 1].logprob < logit; at--) top[at] = top[at - 1];
    top[at] = (tn_token_logprob){token, logit};
    return n;
}

static tn_status logprobs_row(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                              tn_token_logprob *out_top)
{
    float best = -INFINITY;
    uint32_t n = 0;
    for (uint32_t id = 0; id < n_vocab; id++) {
        if (!(logits[id] < INFINITY)) return tn_fail(TN_INVALID_ARGUMENT, "the logit of token %u is %g", (unsigned)id, (double)logits[id]);
        if (logits[id] > best) best = logits[id];
        if (n_top && (n < n_top || logits[id] > out_top[n - 1].logprob)) n = insert(out_top, n, n_top, (int32_t)id, logits[id]);
    }
    double sum = 0;
    for (uint32_t id = 0; id < n_vocab; id++) sum += tn_sampler_exp((double)logits[id] - (double)best);
    const double log_sum = tn_sampler_log(sum);
    *out_logprob = (float)(((double)logits[token] - (double)best) - log_sum);
    for (uint32_t i = 0; i < n; i++) out_top[i].logprob = (float)(((double)out_top[i].logprob - (double)best) - log_sum);
    return TN_OK;
}

tn_status tn_logprobs_row(const float *logits, uint32_t n_vocab, int32_t token, uint32_t n_top, float *out_logprob,
                          tn_token_logprob *out_top)
{
    const tn_float_mode mode = tn_float_mode_enter();
    const tn_status status = logprobs_row(logits, n_vocab, token, n_top, out_logprob, out_top);
    tn_float_mode_leave(mode);
    return status;
}
