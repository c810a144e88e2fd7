// Quantises the output head while it is packed, a row at a time: never more than one row in f32.
#include "runtime/head_type.h"

#include "base/alloc.h"
#include "format/dense.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    tn_dtype dtype;
} TYPES[] = {{"keep", TN_DTYPE_NONE}, {"q8_0", TN_DTYPE_Q8_0}, {"q6_k", TN_DTYPE_Q6_K}};

static tn_status parse(const char *name, tn_dtype *out_dtype)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (strcasecmp(name, TYPES[i].name) != 0) continue;
        *out_dtype = TYPES[i].dtype;
        return TN_OK;
    }
    return tn_fail(TN_INVALID_ARGUMENT, "the output head can not be made '%.40s': keep, q8_0 or q6_k are known", name);
}

static void release_file_rows(const tn_weight_source *self, uint32_t row, uint32_t n)
{
    const tn_weight_source *from = self->ctx;
    from->release_rows(from, row, n);
}

static tn_status read_quantised_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_weight_source *from = self->ctx;
    const size_t row_bytes = tn_dtype_row_bytes(self->dtype, self->n_cols), file_bytes = tn_dtype_row_bytes(from->dtype, self->n_cols);
    tn_status status = TN_OK;
    uint8_t *file_row = NULL;
    float *values = NULL;
    TN_TRY(tn_alloc(self->n_cols, sizeof *values, &values));
    TN_TRY_GOTO(tn_alloc(file_bytes, 1, &file_row));
    for (uint32_t i = 0; i < n; i++) {
        TN_TRY_GOTO(from->read_rows(from, row + i, 1, file_row));
        tn_dense_to_f32(from->dtype, file_row, self->n_cols, values);
        status = tn_dense_from_f32(self->dtype, values, self->n_cols, (uint8_t *)dst + i * row_bytes);
        if (status != TN_OK) {
            status = tn_fail_prefix("the head '%s' cannot be made %s, row %u: ", self->name, tn_dtype_get(self->dtype)->name, row + i);
            goto fail;
        }
    }
fail:
    tn_free(file_row);
    tn_free(values);
    return status;
}

static tn_status check(const tn_weight_source *head, tn_dtype dtype)
{
    const tn_dtype_info *info = tn_dtype_get(dtype), *file = tn_dtype_get(head->dtype);
    if (file->block_elements > 1) {
        return tn_fail(TN_INVALID_ARGUMENT,
                       "the head '%s' is %s: making it %s would round values that were rounded before; leave the head's type as it is "
                       "(keep), or convert the checkpoint again",
                       head->name, file->name, info->name);
    }
    if (head->n_cols % info->block_elements != 0) {
        return tn_fail(TN_INVALID_ARGUMENT,
                       "the head '%s' has rows of %u values, and %s needs a multiple of %u: leave the head's type as it is (keep)%s",
                       head->name, head->n_cols, info->name, info->block_elements, head->n_cols % 32 == 0 ? ", or use q8_0" : "");
    }
    return TN_OK;
}

tn_status tn_head_type_set(tn_graph *graph, const char *name, tn_weight_source *file_source)
{
    tn_dtype dtype = TN_DTYPE_NONE;
    if (name) TN_TRY(parse(name, &dtype));
    if (dtype == TN_DTYPE_NONE) return TN_OK;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op != TN_OP_MATMUL_DENSE) continue;
        tn_weight_source *head = &graph->weights[graph->nodes[i].weight];
        if (head->dtype == dtype) return TN_OK;
        TN_TRY(check(head, dtype));
        *file_source = *head;
        head->dtype = dtype;
        head->read_rows = read_quantised_rows;
        if (head->release_rows) head->release_rows = release_file_rows;
        head->ctx = file_source;
        return TN_OK;
    }
    return TN_OK;
}
