// Tokens by page.
#include "runtime/token_log.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "graph/op.h"

#include <string.h>

static size_t place_of(uint32_t page, uint32_t offset) { return (size_t)page * TN_KV_PAGE_POSITIONS + offset; }

tn_status tn_token_log_init(tn_token_log *log, uint32_t n_pages)
{
    uint64_t n;
    *log = (tn_token_log){0};
    if (!tn_ckd_mul(n_pages, TN_KV_PAGE_POSITIONS, &n)) return tn_fail(TN_INVALID_ARGUMENT, "the KV cache has too many pages");
    return tn_alloc_zero(n, sizeof *log->tokens, &log->tokens);
}

void tn_token_log_deinit(tn_token_log *log)
{
    tn_free(log->tokens);
    *log = (tn_token_log){0};
}

void tn_token_log_put(tn_token_log *log, uint32_t page, uint32_t offset, int32_t token) { log->tokens[place_of(page, offset)] = token; }

int32_t tn_token_log_get(const tn_token_log *log, uint32_t page, uint32_t offset) { return log->tokens[place_of(page, offset)]; }

void tn_token_log_copy(tn_token_log *log, uint32_t from, uint32_t to, uint32_t n)
{
    memcpy(log->tokens + place_of(to, 0), log->tokens + place_of(from, 0), n * sizeof *log->tokens);
}
