// How many sequences a batch may have, and how much memory for them.
#ifndef TERNION_TOOL_BATCH_SIZE_H
#define TERNION_TOOL_BATCH_SIZE_H

#include <stdbool.h>
#include <stdint.h>

// What --concurrency and --kv-memory come to.
typedef struct tn_cli_batch_size {
    uint32_t n_seqs;
    uint64_t kv_bytes;
    bool automatic; // n_seqs is what fits, and may be more than is useful
} tn_cli_batch_size;

// n_given: sequences, 0: automatic; kv_given: bytes, 0: automatic. seq_bytes: of a whole context; free_bytes: that the session may use.
tn_cli_batch_size tn_cli_batch_size_of(uint32_t n_given, uint64_t kv_given, uint64_t seq_bytes, uint64_t free_bytes);

#endif
