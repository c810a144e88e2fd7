// How good logits are: perplexity, and how far they are from those of a base model, in the figures of llama-perplexity.
#ifndef TERNION_EVAL_H
#define TERNION_EVAL_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

// Adds up rows of logits. One thread at a time. The same rows in the same order give the same bits on every machine.
typedef struct tn_eval_stats tn_eval_stats;

// Errors (named *_error) are standard errors: of a mean of n values sqrt(variance / (n - 1)), with the variance that divides by n; of what
// is computed from means by first-order propagation, with covariances. 0 where n is below 2. Quantiles are interpolated linearly between
// the two nearest of the n values: p999 is at 99.9 %, p001 at 0.1 %. Probabilities and their differences are fractions of 1. All logarithms
// are natural.
typedef struct tn_eval_summary {
    uint32_t struct_size;
    bool has_base;         // what stands below ppl_error is 0 without
    uint64_t n_scored;     // tokens
    double nll, nll_error; // mean of -ln(probability of the target)
    double ppl, ppl_error; // exp(nll)
    double ppl_base, ppl_base_error;
    double cor_ln_ppl;                       // correlation of the targets' log-probabilities, -1 to 1; 0 where one of them does not vary
    double ln_ppl_ratio, ln_ppl_ratio_error; // ln(ppl / ppl_base)
    double ppl_ratio, ppl_ratio_error;       // ppl / ppl_base
    double ppl_diff, ppl_diff_error;         // ppl - ppl_base
    // Kullback-Leibler divergence of a token's distribution: sum over the vocabulary of p_base * ln(p_base / p).
    double mean_kld, mean_kld_error;
    double max_kld, kld_p999, kld_p99, kld_p95, kld_p90, kld_median, kld_p10, kld_p05, kld_p01, kld_p001, min_kld;
    // Probability of the target less that of the base.
    double mean_dp, mean_dp_error;
    double max_dp, dp_p999, dp_p99, dp_p95, dp_p90, dp_p75, dp_median, dp_p25, dp_p10, dp_p05, dp_p01, dp_p001, min_dp;
    double rms_dp, rms_dp_error;
    double same_top, same_top_error; // share of tokens at which both think the same token the most probable; of equal ones the lowest id
} tn_eval_summary;
#define TN_EVAL_SUMMARY_INIT TN_PARAMS_INIT(tn_eval_summary)

// Statistics over rows of `n_vocab` logits. Returns owned.  Errors: INVALID_ARGUMENT (n_vocab is 0 or above INT32_MAX), OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_eval_stats_create(uint32_t n_vocab, tn_eval_stats **out_stats);
TN_API void tn_eval_stats_destroy(tn_eval_stats *stats);
// Scores one token: `logits` [n_vocab] are those at the position before it, `target` is its id. `base` [n_vocab]: the base model's logits
// at that position, or NULL for perplexity alone; all rows have one, or none has. Keeps 16 bytes a row with a base, else nothing.
// Errors: INVALID_ARGUMENT (a logit is not finite, the target is outside the vocabulary, rows with and without base mixed),
// OUT_OF_MEMORY. Nothing is added then.
TN_NODISCARD TN_API tn_status tn_eval_stats_add(tn_eval_stats *stats, const float *logits, const float *base, int32_t target);
// Fills the fields that the caller's version of the struct has; its struct_size must be set, and where it is none of a version nothing is
// written. Can be called between rows, as often as wanted; sorts the rows' figures, so the time is that of n * log(n).
TN_API void tn_eval_stats_summarise(const tn_eval_stats *stats, tn_eval_summary *out_summary);
// The same in a time that does not depend on n, without what needs all rows: quantiles, least and greatest are 0.
TN_API void tn_eval_stats_summarise_means(const tn_eval_stats *stats, tn_eval_summary *out_summary);

// The natural logarithm of the probability that `logits` [n_vocab] give to `target`, in f64: what tasks are scored by.
// Threads: any. Allocates nothing.  Errors: INVALID_ARGUMENT (as tn_eval_stats_add).
TN_NODISCARD TN_API tn_status tn_eval_logprob(const float *logits, uint32_t n_vocab, int32_t target, double *out_logprob);

#ifdef __cplusplus
}
#endif
#endif
