// Checks and sizes of weights that GPU backends pack.
#include "backend/pack_source.h"

#include "base/checked.h"

tn_status tn_pack_source_check(const tn_weight_source *source, const char *devices)
{
    const tn_dtype_info *type = tn_dtype_get(source->dtype);
    if (source->n_rows == 0 || source->n_cols == 0)
        return tn_fail(TN_BAD_FILE, "%.200s is empty (%u x %u): get another copy of the model", source->name, (unsigned)source->n_rows,
                       (unsigned)source->n_cols);
    if (source->kind == TN_WEIGHT_TERNARY) return TN_OK;
    if (type->class_ != TN_CLASS_DENSE || (source->kind == TN_WEIGHT_TABLE && source->dtype != TN_DTYPE_F32)) {
        char names[TN_DTYPE_NAMES_BYTES];
        return tn_fail(TN_UNSUPPORTED, "%.200s is %s, which %s devices do not take in this place: convert it to one of %s", source->name,
                       type->name, devices, tn_dtype_names(TN_CLASS_DENSE, names));
    }
    if (source->n_cols % type->block_elements != 0)
        return tn_fail(TN_BAD_FILE, "%.200s has rows of %u elements, not a multiple of the %u of a %s block: get another copy of the model",
                       source->name, (unsigned)source->n_cols, (unsigned)type->block_elements, type->name);
    return TN_OK;
}

tn_status tn_pack_source_too_large(const tn_weight_source *source)
{
    return tn_fail(TN_BAD_FILE, "the size of %.200s (%u x %u) overflows 64 bits: get another copy of the model", source->name,
                   (unsigned)source->n_rows, (unsigned)source->n_cols);
}

uint64_t tn_pack_source_row_bytes(const tn_weight_source *source)
{
    return source->kind == TN_WEIGHT_TERNARY ? source->n_cols : tn_dtype_row_bytes(source->dtype, source->n_cols);
}

tn_status tn_pack_scratch_of(const tn_weight_source *source, uint32_t group_rows, uint64_t padded_bytes, tn_pack_scratch *out_scratch)
{
    tn_pack_scratch s;
    *out_scratch = (tn_pack_scratch){0};
    if (!tn_ckd_mul(tn_pack_source_row_bytes(source), group_rows, &s.rows_bytes) || !tn_ckd_round_up(s.rows_bytes, 64, &s.rows_bytes) ||
        !tn_ckd_add(s.rows_bytes, padded_bytes, &s.n_bytes) || s.n_bytes > SIZE_MAX)
        return tn_fail(TN_BAD_FILE, "the rows of %.200s are too long to pack: get another copy of the model", source->name);
    *out_scratch = s;
    return TN_OK;
}

tn_status tn_pack_groups_check(const tn_weight_source *source, uint32_t n_groups, uint32_t first, uint32_t n)
{
    if (first <= n_groups && n <= n_groups - first) return TN_OK;
    return tn_fail(TN_INTERNAL, "row groups %u to %u of %.200s do not exist: please report this", (unsigned)first, (unsigned)first + n,
                   source->name);
}
