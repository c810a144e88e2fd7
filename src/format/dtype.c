// The table of tensor types that ternion computes with, and of all type ids found in model files.
#include "format/dtype.h"

#include "base/checked.h"
#include "format/file_type.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// I2_S: the orders of its codes need rows of 64 or 128; ternary.c checks for the order that was asked for.
static const tn_dtype_info tn_dtypes[] = {
    {TN_DTYPE_NONE, "none", TN_CLASS_OTHER, 0, 0, 0, 0},         {TN_DTYPE_F32, "F32", TN_CLASS_DENSE, 1, 4, 0, 0},
    {TN_DTYPE_F16, "F16", TN_CLASS_DENSE, 1, 2, 0, 0},           {TN_DTYPE_BF16, "BF16", TN_CLASS_DENSE, 1, 2, 0, 0},
    {TN_DTYPE_Q8_0, "Q8_0", TN_CLASS_DENSE, 32, 34, 0, 0},       {TN_DTYPE_Q6_K, "Q6_K", TN_CLASS_DENSE, 256, 210, 0, 0},
    {TN_DTYPE_Q5_K, "Q5_K", TN_CLASS_DENSE, 256, 176, 0, 0},     {TN_DTYPE_Q4_K, "Q4_K", TN_CLASS_DENSE, 256, 144, 0, 0},
    {TN_DTYPE_Q5_1, "Q5_1", TN_CLASS_DENSE, 32, 24, 0, 0},       {TN_DTYPE_Q5_0, "Q5_0", TN_CLASS_DENSE, 32, 22, 0, 0},
    {TN_DTYPE_Q4_1, "Q4_1", TN_CLASS_DENSE, 32, 20, 0, 0},       {TN_DTYPE_Q4_0, "Q4_0", TN_CLASS_DENSE, 32, 18, 0, 0},
    {TN_DTYPE_I2_S, "I2_S", TN_CLASS_TERNARY, 64, 16, 0, 32},    {TN_DTYPE_TQ1_0, "TQ1_0", TN_CLASS_TERNARY, 256, 54, 0, 0},
    {TN_DTYPE_TQ2_0, "TQ2_0", TN_CLASS_TERNARY, 256, 66, 0, 0},  {TN_DTYPE_IQ1_BN, "IQ1_BN", TN_CLASS_TERNARY, 64, 13, 2, 0},
    {TN_DTYPE_IQ2_BN, "IQ2_BN", TN_CLASS_TERNARY, 64, 16, 4, 0}, {TN_DTYPE_IQ2_BN_R4, "IQ2_BN_R4", TN_CLASS_TERNARY, 64, 16, 4, 0},
    {TN_DTYPE_TL1, "TL1", TN_CLASS_TERNARY, 4, 1, 0, 32},        {TN_DTYPE_TL2, "TL2", TN_CLASS_TERNARY, 1, 0, 0, 32},
    {TN_DTYPE_OTHER, "other", TN_CLASS_OTHER, 0, 0, 0, 0},
};
static_assert(sizeof tn_dtypes / sizeof tn_dtypes[0] == TN_DTYPE_OTHER + 1, "a row for each dtype, in the order of the enum");

#define TN_FILE_TYPE(id, dialects, name, dtype, rule, elements, bytes, extra)                                                              \
    {id, dialects, name, dtype, TN_SIZE_##rule, elements, bytes, extra},
static const tn_file_type tn_file_types[] = {
#include "format/file_types.inc"
};
#undef TN_FILE_TYPE

const tn_dtype_info *tn_dtype_get(tn_dtype dtype)
{
    if ((unsigned)dtype > TN_DTYPE_OTHER) return &tn_dtypes[TN_DTYPE_NONE];
    return &tn_dtypes[dtype];
}

tn_status tn_dtype_parse(const char *name, tn_dtype *out_dtype)
{
    *out_dtype = TN_DTYPE_NONE;
    char known[512] = "";
    for (tn_dtype d = TN_DTYPE_NONE + 1; d < TN_DTYPE_OTHER; d++) {
        const size_t used = strlen(known);
        if (strcasecmp(name, tn_dtypes[d].name) == 0) {
            *out_dtype = d;
            return TN_OK;
        }
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", tn_dtypes[d].name);
    }
    return tn_fail(TN_INVALID_ARGUMENT, "there is no tensor type '%.100s' here; there are %s", name, known);
}

const char *tn_dtype_names(tn_dtype_class class_, char buffer[TN_DTYPE_NAMES_BYTES])
{
    size_t at = 0;
    for (size_t i = 0; i < sizeof tn_dtypes / sizeof tn_dtypes[0]; ++i) {
        if (tn_dtypes[i].class_ != class_) continue;
        at += (size_t)snprintf(buffer + at, TN_DTYPE_NAMES_BYTES - at, "%s%s", at ? ", " : "", tn_dtypes[i].name);
        assert(at < TN_DTYPE_NAMES_BYTES);
    }
    return buffer;
}

// The fork books 256 columns for the part in pairs of weights, whatever the real width is, then rounds up to the 32 bytes of its tail.
// Its intermediate divisions truncate, so they are done in the same order here.
static bool tl2_size(uint64_t ne0, uint64_t n, uint64_t *out_bytes)
{
    uint64_t rows = n / ne0, triples, pairs, bytes;
    if (ne0 < 256 || !tn_ckd_mul(ne0 - 256, rows, &triples) || !tn_ckd_mul(triples / 3, 5, &triples)) return false;
    if (!tn_ckd_mul(256, rows, &pairs) || !tn_ckd_mul(pairs / 2, 4, &pairs)) return false;
    return tn_ckd_add(triples / 8, pairs / 8, &bytes) && tn_ckd_round_up(bytes, 32, &bytes) && tn_ckd_add(bytes, 32, out_bytes);
}

static bool dtype_bytes(const tn_dtype_info *info, uint64_t ne0, uint64_t n, uint64_t *out_bytes)
{
    if (info->dtype == TN_DTYPE_TL2) return tl2_size(ne0, n, out_bytes);
    uint64_t blocks, rows, bytes;
    return tn_ckd_mul(n / info->block_elements, info->block_bytes, &blocks) && tn_ckd_mul(n / ne0, info->row_bytes_extra, &rows) &&
           tn_ckd_add(blocks, rows, &bytes) && tn_ckd_add(bytes, info->tail_bytes, out_bytes);
}

tn_status tn_dtype_size(tn_dtype dtype, uint64_t ne0, uint64_t n, uint64_t *out_bytes)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    *out_bytes = 0;
    if (info->block_elements == 0) {
        return tn_fail(TN_UNSUPPORTED, "a tensor of type %s has no size that ternion knows: convert it to another type", info->name);
    }
    if (ne0 == 0 || ne0 % info->block_elements != 0 || n % ne0 != 0) {
        return tn_fail(TN_BAD_FILE, "%llu elements in rows of %llu cannot be %s, whose blocks have %u elements: correct the shape or type",
                       (unsigned long long)n, (unsigned long long)ne0, info->name, info->block_elements);
    }
    uint64_t bytes;
    if (!dtype_bytes(info, ne0, n, &bytes)) {
        return tn_fail(TN_BAD_FILE,
                       "%llu elements of %s in rows of %llu are more bytes than 64 bits can count, or rows too short: correct the shape",
                       (unsigned long long)n, info->name, (unsigned long long)ne0);
    }
    *out_bytes = bytes;
    return TN_OK;
}

size_t tn_dtype_row_bytes(tn_dtype dtype, uint64_t n)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    assert(info->block_elements != 0 && n % info->block_elements == 0 && info->tail_bytes == 0);
    return (size_t)(n / info->block_elements * info->block_bytes) + info->row_bytes_extra;
}

const tn_file_type *tn_file_type_find(uint32_t id, unsigned dialects)
{
    for (size_t i = 0; i < sizeof tn_file_types / sizeof tn_file_types[0]; ++i) {
        if (tn_file_types[i].id == id && (tn_file_types[i].dialects & dialects) != 0) return &tn_file_types[i];
    }
    return NULL;
}

bool tn_file_type_is_ambiguous(uint32_t id)
{
    const tn_file_type *type = tn_file_type_find(id, TN_DIALECT_ALL);
    return type != NULL && type->dialects != TN_DIALECT_ALL;
}

bool tn_file_type_size(const tn_file_type *type, uint64_t ne0, uint64_t n, uint64_t *out_bytes)
{
    uint64_t bytes, extra;
    if (ne0 == 0 || n % ne0 != 0) return false;
    switch (type->size_rule) {
    case TN_SIZE_UNKNOWN: *out_bytes = 0; return true;
    case TN_SIZE_TL2: return tl2_size(ne0, n, out_bytes);
    case TN_SIZE_TAIL:
        if (n % type->block_elements != 0 || !tn_ckd_mul(n / type->block_elements, type->block_bytes, &bytes)) return false;
        return tn_ckd_add(bytes, type->extra_bytes, out_bytes);
    case TN_SIZE_ROWS:
        if (ne0 % type->block_elements != 0 || !tn_ckd_mul(n / type->block_elements, type->block_bytes, &bytes)) return false;
        if (!tn_ckd_mul(n / ne0, type->extra_bytes, &extra)) return false;
        return tn_ckd_add(bytes, extra, out_bytes);
    }
    return false;
}
