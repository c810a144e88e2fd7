// Checks steps: what kernels trust, cheaply, before a program runs.
#include "backend/step_check.h"

#include "base/alloc.h"
#include "graph/op.h"

#include <string.h>

tn_status tn_step_checker_init(tn_step_checker *checker, const tn_step_limits *limits)
{
    *checker = (tn_step_checker){.limits = *limits, .n_vocab = UINT32_MAX, .n_positions = UINT32_MAX};
    TN_TRY(tn_alloc_zero(limits->n_seqs, sizeof *checker->seq_next, &checker->seq_next));
    return tn_alloc_zero(limits->n_kv_pages, sizeof *checker->page_uses, &checker->page_uses);
}

void tn_step_checker_deinit(tn_step_checker *checker)
{
    tn_free(checker->seq_next);
    tn_free(checker->page_uses);
}

static tn_status bad_step(const char *what, uint32_t token)
{
    return tn_fail(TN_INVALID_ARGUMENT, "step: %s (token %u of the step)", what, (unsigned)token);
}

// Tokens of a sequence ascend, so the pages of its last token are those of all.
static tn_status check_pages(const tn_step_checker *checker, const tn_step_view *step, uint32_t token)
{
    const uint32_t *pages = step->page_table + (size_t)step->seqs[token] * checker->limits.n_seq_pages;
    for (uint32_t i = 0; i <= step->positions[token] / TN_KV_PAGE_POSITIONS; i++) {
        if (pages[i] >= checker->limits.n_kv_pages) return bad_step("its sequence has a page outside of the KV cache", token);
    }
    return TN_OK;
}

// Marks what a copy does with its pages; what is wrong with that, or NULL.
static const char *use_pages(tn_step_checker *checker, const uint32_t *copy)
{
    enum { READ = 1, WRITTEN = 2 };
    const uint32_t from = copy[0], to = copy[1];
    if (from >= checker->limits.n_kv_pages || to >= checker->limits.n_kv_pages) return "a page is outside of the KV cache";
    if (from == to) return "a page would be copied to itself";
    if (checker->page_uses[to] & WRITTEN) return "another copy has the same destination";
    if (checker->page_uses[to] & READ || checker->page_uses[from] & WRITTEN) return "a page is copied from and to";
    checker->page_uses[from] |= READ;
    checker->page_uses[to] |= WRITTEN;
    return NULL;
}

// Workers copy side by side, so no copy may depend on another.
static tn_status check_copies(tn_step_checker *checker, const tn_step_view *step)
{
    const char *wrong = NULL;
    uint32_t n = 0;
    if (step->n_copies > checker->limits.n_seqs)
        return tn_fail(TN_INVALID_ARGUMENT, "a step with %u copies of pages; the program takes up to %u", (unsigned)step->n_copies,
                       (unsigned)checker->limits.n_seqs);
    while (n < step->n_copies && !wrong) wrong = use_pages(checker, step->copies + 2 * (size_t)n++);
    for (uint32_t i = 0; i < 2 * n; i++) {
        if (step->copies[i] < checker->limits.n_kv_pages) checker->page_uses[step->copies[i]] = 0;
    }
    return wrong ? tn_fail(TN_INVALID_ARGUMENT, "step: %s (copy %u, of page %u to %u)", wrong, (unsigned)(n - 1),
                           (unsigned)step->copies[2 * (n - 1)], (unsigned)step->copies[2 * (n - 1) + 1])
                 : TN_OK;
}

tn_status tn_step_check(tn_step_checker *checker, const tn_step_view *step)
{
    const tn_step_limits *limits = &checker->limits;
    if (step->n_tokens == 0 || step->n_tokens > limits->n_tokens || step->n_logits > limits->n_logits || step->n_seqs > limits->n_seqs)
        return tn_fail(TN_INVALID_ARGUMENT, "a step of %u tokens, %u rows of logits, %u sequences; the program takes 1 to %u, %u and %u",
                       (unsigned)step->n_tokens, (unsigned)step->n_logits, (unsigned)step->n_seqs, (unsigned)limits->n_tokens,
                       (unsigned)limits->n_logits, (unsigned)limits->n_seqs);
    TN_TRY(check_copies(checker, step));
    memset(checker->seq_next, 0, step->n_seqs * sizeof *checker->seq_next);
    checker->n_positions_max = 0;
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        if (checker->reads_tokens && (uint32_t)step->tokens[i] >= checker->n_vocab) return bad_step("its id is not in the vocabulary", i);
        if (step->positions[i] >= checker->n_positions) return bad_step("its position is beyond the context", i);
        if (step->positions[i] >= checker->n_positions_max) checker->n_positions_max = step->positions[i] + 1;
        if (!checker->reads_kv) continue;
        if (step->seqs[i] >= step->n_seqs) return bad_step("its sequence is not one of the step's", i);
        const uint32_t next = checker->seq_next[step->seqs[i]]; // 0: it is its sequence's first
        if (next != 0 && step->positions[i] != next) return bad_step("its position is not the next one of its sequence", i);
        checker->seq_next[step->seqs[i]] = step->positions[i] + 1;
        if (i + 1 == step->n_tokens || step->seqs[i + 1] != step->seqs[i]) TN_TRY(check_pages(checker, step, i));
    }
    for (uint32_t i = 0; i < step->n_logits; i++) {
        if (step->logit_rows[i] >= step->n_tokens || (i > 0 && step->logit_rows[i] <= step->logit_rows[i - 1]))
            return tn_fail(TN_INVALID_ARGUMENT, "step: wanted rows of logits are not ascending token indexes below %u",
                           (unsigned)step->n_tokens);
    }
    return TN_OK;
}
