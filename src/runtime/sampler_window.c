// Counts of the last tokens, in an array sorted by token: it is short, and choosing a token reads it in this order.
#include "runtime/sampler_window.h"

#include "base/alloc.h"

#include <string.h>

// The index of the token, or of the first one behind where it would stand.
static size_t find(const tn_token_window *w, int32_t token)
{
    size_t begin = 0, end = w->n_counts;
    while (begin < end) {
        const size_t middle = begin + (end - begin) / 2;
        if (w->counts[middle].token < token)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static void count_token(tn_token_window *w, int32_t token)
{
    tn_token_count *at = w->counts + find(w, token), *end = w->counts + w->n_counts;
    if (at < end && at->token == token) {
        if (at->count < UINT32_MAX) at->count++;
        return;
    }
    memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
    *at = (tn_token_count){token, 1};
    w->n_counts++;
}

static void uncount_token(tn_token_window *w, int32_t token)
{
    tn_token_count *at = w->counts + find(w, token), *end = w->counts + w->n_counts;
    if (--at->count > 0) return;
    memmove(at, at + 1, (size_t)(end - at - 1) * sizeof *at);
    w->n_counts--;
}

tn_status tn_token_window_add(tn_token_window *w, int32_t last_n, int32_t token)
{
    TN_TRY(tn_grow(&w->counts, &w->counts_capacity, w->n_counts + 1, sizeof *w->counts));
    if (last_n >= 0 && w->n_ring < (size_t)last_n) {
        TN_TRY(tn_grow(&w->ring, &w->ring_capacity, w->n_ring + 1, sizeof *w->ring));
        w->ring[w->n_ring++] = token;
    } else if (last_n >= 0) {
        uncount_token(w, w->ring[w->oldest]);
        w->ring[w->oldest] = token;
        w->oldest = (w->oldest + 1) % (size_t)last_n;
    }
    count_token(w, token);
    return TN_OK;
}

void tn_token_window_deinit(tn_token_window *w)
{
    tn_free(w->ring);
    tn_free(w->counts);
}
