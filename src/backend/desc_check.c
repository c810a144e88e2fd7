#include "backend/desc_check.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <inttypes.h>

tn_status tn_bad_desc(const char *what) { return tn_fail(TN_INVALID_ARGUMENT, "program description: %s", what); }

static tn_status check_kv(const tn_device *device, const tn_program_desc *desc)
{
    uint64_t bytes = tn_kv_page_layer_bytes(desc->graph->n_kv_heads, desc->graph->head_dim);
    if (!tn_ckd_mul(bytes, desc->n_layers, &bytes) || !tn_ckd_mul(bytes, desc->limits.n_kv_pages, &bytes))
        return tn_bad_desc("its KV cache does not fit into memory");
    return tn_buffer_check(device, desc->kv, 0, bytes, "KV cache");
}

tn_status tn_desc_check(const tn_device *device, const tn_program_desc *desc)
{
    const tn_graph *graph = desc->graph;
    if (desc->n_nodes == 0 || desc->first_node > graph->n_nodes || desc->n_nodes > graph->n_nodes - desc->first_node)
        return tn_bad_desc("its nodes are not in the graph");
    if (desc->limits.n_tokens == 0 || desc->limits.n_seqs == 0) return tn_bad_desc("its steps have no tokens or no sequences");
    if (desc->in_value != TN_NONE && (desc->in_value >= graph->n_values || graph->values[desc->in_value].type != TN_VALUE_F32))
        return tn_bad_desc("its input is not a f32 value of the graph");
    if (desc->out_value >= graph->n_values || graph->values[desc->out_value].type != TN_VALUE_F32 || desc->out_value == desc->in_value)
        return tn_bad_desc("its output is not a f32 value that it computes");
    for (uint32_t t = 0; t < desc->n_taps; t++) {
        if (desc->taps[t].value >= graph->n_values) return tn_bad_desc("it taps a value that it does not compute");
    }
    return desc->n_layers != 0 && desc->kv ? check_kv(device, desc) : TN_OK;
}

tn_status tn_desc_sketch_init(const tn_program_desc *desc, tn_buffer *later, tn_desc_sketch *out_sketch)
{
    *out_sketch = (tn_desc_sketch){.desc = *desc};
    out_sketch->desc.kv = desc->n_layers ? later : NULL;
    TN_TRY(tn_alloc(desc->n_taps, sizeof *out_sketch->taps, &out_sketch->taps));
    for (uint32_t t = 0; t < desc->n_taps; t++) out_sketch->taps[t] = (tn_tap){desc->taps[t].value, later};
    out_sketch->desc.taps = out_sketch->taps;
    return tn_desc_check(later->device, &out_sketch->desc);
}

void tn_desc_sketch_deinit(tn_desc_sketch *sketch) { tn_free(sketch->taps); }

tn_status tn_desc_step_checker(const tn_program_desc *desc, tn_step_checker *out_checker)
{
    TN_TRY(tn_step_checker_init(out_checker, &desc->limits));
    const uint64_t positions = (uint64_t)desc->limits.n_seq_pages * TN_KV_PAGE_POSITIONS;
    out_checker->n_vocab = desc->graph->n_vocab;
    if (desc->n_layers != 0 && positions < UINT32_MAX) out_checker->n_positions = (uint32_t)positions;
    for (uint32_t i = 0; i < desc->n_nodes; i++) {
        const tn_op op = desc->graph->nodes[desc->first_node + i].op;
        if (op == TN_OP_EMBED) out_checker->reads_tokens = true;
        if (op == TN_OP_KV_APPEND || op == TN_OP_ATTENTION) out_checker->reads_kv = true;
        if (op == TN_OP_ROPE && desc->graph->n_ctx < out_checker->n_positions) out_checker->n_positions = desc->graph->n_ctx;
    }
    return TN_OK;
}

tn_status tn_buffer_check(const tn_device *device, const tn_buffer *buffer, uint64_t offset_bytes, uint64_t n_bytes, const char *what)
{
    if (!buffer) return tn_fail(TN_INVALID_ARGUMENT, "%s: the buffer is missing", what);
    if (buffer->device != device) return tn_fail(TN_INVALID_ARGUMENT, "%s: the buffer is of another device", what);
    if (offset_bytes > buffer->size_bytes || n_bytes > buffer->size_bytes - offset_bytes)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: bytes %" PRIu64 " to %" PRIu64 " + %" PRIu64 " are not inside a buffer of %" PRIu64, what,
                       offset_bytes, offset_bytes, n_bytes, buffer->size_bytes);
    return TN_OK;
}
