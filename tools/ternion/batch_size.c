// Sequences and pages from memory, without asking any device.
#include "batch_size.h"

#define AUTOMATIC_MAX 64u

tn_cli_batch_size tn_cli_batch_size_of(uint32_t n_given, uint64_t kv_given, uint64_t seq_bytes, uint64_t free_bytes)
{
    const uint64_t budget = kv_given ? kv_given : free_bytes / 2, n_fit = budget / seq_bytes;
    tn_cli_batch_size size = {.n_seqs = n_given, .automatic = n_given == 0};
    if (size.automatic) size.n_seqs = n_fit < 1 ? 1 : n_fit > AUTOMATIC_MAX ? AUTOMATIC_MAX : (uint32_t)n_fit;
    const uint64_t whole = size.n_seqs <= UINT64_MAX / seq_bytes ? size.n_seqs * seq_bytes : UINT64_MAX;
    size.kv_bytes = budget < whole ? budget : whole;
    if (!kv_given && size.kv_bytes < seq_bytes) size.kv_bytes = seq_bytes; // less could not hold the longest answer
    return size;
}
