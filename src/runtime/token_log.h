// The token of every position that the KV cache holds, by page: from them all keys and values can be computed again. Who shares a page
// shares its tokens.
#ifndef TN_RUNTIME_TOKEN_LOG_H
#define TN_RUNTIME_TOKEN_LOG_H

#include "base/status.h"

typedef struct tn_token_log {
    int32_t *tokens; // [n_pages][TN_KV_PAGE_POSITIONS], owned
} tn_token_log;

// Errors: OUT_OF_MEMORY.
tn_status tn_token_log_init(tn_token_log *log, uint32_t n_pages);
void tn_token_log_deinit(tn_token_log *log);
void tn_token_log_put(tn_token_log *log, uint32_t page, uint32_t offset, int32_t token);
int32_t tn_token_log_get(const tn_token_log *log, uint32_t page, uint32_t offset);
// The first `n` tokens of page `to` are those of page `from`.
void tn_token_log_copy(tn_token_log *log, uint32_t from, uint32_t to, uint32_t n);

#endif
