// The session and the batcher of a batch: how many answers at a time, in how much memory.
#ifndef TERNION_TOOL_BATCH_START_H
#define TERNION_TOOL_BATCH_START_H

#include "batch_request.h"
#include "ternion/batch.h"

// --kv-memory, 0 where it is not given. Returns 0 or the exit status after a message.
int tn_cli_batch_kv_memory(const tn_cli *cli, uint64_t *out_bytes);
// Opens host, placement and session of the engine, and the batcher on them; with an automatic number of sequences it is measured. Returns 0
// or the exit status after a message.
int tn_cli_batch_start(tn_cli *cli, tn_cli_engine *engine, const tn_cli_batch_context *context, tn_batcher **out_batcher);

#endif
