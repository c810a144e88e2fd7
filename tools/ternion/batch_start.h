// The session and the batcher of a batch: how many answers at a time, in how much memory.
#ifndef TERNION_TOOL_BATCH_START_H
#define TERNION_TOOL_BATCH_START_H

#include "batch_request.h"
#include "ternion/batch.h"

// What --concurrency and --kv-memory come to.
typedef struct tn_cli_batch_size {
    uint32_t n_seqs;
    uint64_t kv_bytes;
    bool automatic; // n_seqs is what fits, and may be more than is useful
} tn_cli_batch_size;

// n_given: sequences, 0: automatic; kv_given: bytes, 0: automatic. seq_bytes: of a whole context; free_bytes: that the session may use.
tn_cli_batch_size tn_cli_batch_size_of(uint32_t n_given, uint64_t kv_given, uint64_t seq_bytes, uint64_t free_bytes);
// --kv-memory, 0 where it is not given. Returns 0 or the exit status after a message.
int tn_cli_batch_kv_memory(const tn_cli *cli, uint64_t *out_bytes);
// Opens host, placement and session of the engine, and the batcher on them; with an automatic number of sequences it is measured. Returns 0
// or the exit status after a message.
int tn_cli_batch_start(tn_cli *cli, tn_cli_engine *engine, const tn_cli_batch_context *context, tn_batcher **out_batcher);

#endif
