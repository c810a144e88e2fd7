// Tensors of a file to weights of a graph.
#include "model/loader.h"

#include "base/alloc.h"
#include "base/exact_math.h"
#include "base/log.h"
#include "format/dense.h"
#include "model/rope_table.h"

#include <stdio.h>

static tn_status read_ternary_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_model_weight *weight = self->ctx;
    TN_TRY(tn_ternary_read_rows(&weight->ternary, row, n, dst));
    return tn_gguf_check_intact(weight->gguf);
}

static tn_status read_dense_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_model_weight *weight = self->ctx;
    size_t row_bytes = tn_dtype_row_bytes(self->dtype, self->n_cols);
    memcpy(dst, weight->tensor->data + (size_t)row * row_bytes, (size_t)n * row_bytes);
    return tn_gguf_check_intact(weight->gguf);
}

// The file's bytes of whole rows. Ternary types may share bytes between four rows, or have tiles: then neighbours go too and come back.
static void release_rows(const tn_weight_source *self, uint32_t row, uint32_t n)
{
    const tn_model_weight *weight = self->ctx;
    const uint64_t row_bytes = weight->tensor->size_bytes / self->n_rows;
    tn_gguf_release(weight->gguf, weight->tensor, row * row_bytes, n == self->n_rows - row ? UINT64_MAX : n * row_bytes);
}

// Gains are widened to f32, so that every backend's norms take one type.
static tn_status read_gains(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_model_weight *weight = self->ctx;
    (void)row;
    float *gains = dst;
    tn_dense_to_f32(weight->tensor->dtype, weight->tensor->data, (size_t)n * self->n_cols, gains);
    TN_TRY(tn_gguf_check_intact(weight->gguf));
    // Codes are not checked for poison when they are made, so gains must not be able to make it.
    for (uint32_t i = 0; i < n * self->n_cols; i++) {
        if (tn_abs_bits(gains[i]) < TN_ABS_BITS_2P56) continue;
        return tn_fail(TN_BAD_FILE, "%s: element %u of norm '%s' is not below 2^56 or not a number: the file is damaged",
                       tn_gguf_path(weight->gguf), (unsigned)i, self->name);
    }
    return TN_OK;
}

static tn_status read_rope_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    const tn_model_weight *weight = self->ctx;
    float *rows = dst;
    for (uint32_t i = 0; i < n; i++) tn_rope_row(weight->inverse, self->n_cols / 2, row + i, rows + (size_t)i * self->n_cols);
    return TN_OK;
}

static tn_status missing(const tn_loader *loader, const char *name)
{
    return tn_fail(TN_BAD_FILE, "%s: tensor '%s.weight' is missing: the file is incomplete or of another architecture than its '%s'",
                   tn_gguf_path(loader->gguf), name, loader->arch);
}

static const tn_gguf_tensor *find(const tn_loader *loader, const char *name, const char *suffix)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    return tn_gguf_find_tensor(loader->gguf, full);
}

bool tn_loader_has(const tn_loader *loader, const char *name) { return find(loader, name, ".weight") != NULL; }

static void mark_used(tn_loader *loader, const tn_gguf_tensor *tensor) { loader->used[tensor - tn_gguf_tensor_at(loader->gguf, 0)] = 1; }

static tn_status check_shape(const tn_loader *loader, const tn_gguf_tensor *tensor, uint64_t n_rows, uint64_t n_cols)
{
    bool fits = tensor->ne[0] == n_cols && tensor->ne[1] == n_rows && tensor->ne[2] == 1 && tensor->ne[3] == 1;
    if (fits) return TN_OK;
    return tn_fail(TN_BAD_FILE, "%s: tensor '%.*s' is %llu x %llu, the model needs %llu x %llu: the file does not fit its own keys",
                   tn_gguf_path(loader->gguf), TN_STR_ARGS(tensor->name), (unsigned long long)tensor->ne[0],
                   (unsigned long long)tensor->ne[1], (unsigned long long)n_cols, (unsigned long long)n_rows);
}

static tn_status new_weight(tn_loader *loader, const tn_gguf_tensor *tensor, const char *name, tn_model_weight **out)
{
    if (loader->n_weights >= loader->n_weights_max) return tn_fail(TN_INTERNAL, "more weights than tensors");
    tn_model_weight *weight = &loader->weights[loader->n_weights++];
    *weight = (tn_model_weight){.gguf = loader->gguf, .tensor = tensor};
    snprintf(weight->name, sizeof weight->name, "%s", name);
    if (tensor) mark_used(loader, tensor);
    *out = weight;
    return tn_progress_report(loader->progress, "loading", loader->n_weights, loader->n_weights_max);
}

// The optional one-element tensor "<name>.scale" multiplies the weight's scale, or that of each of its rows. 1 where there is none.
static tn_status read_extra_scale(tn_loader *loader, const char *name, float *out_factor)
{
    *out_factor = 1;
    const tn_gguf_tensor *extra = find(loader, name, ".scale");
    if (!extra) return TN_OK;
    if (extra->n_elements != 1 || extra->dtype != TN_DTYPE_F32)
        return tn_fail(TN_UNSUPPORTED, "%s: tensor '%s.scale' is not a single F32 number", tn_gguf_path(loader->gguf), name);
    float factor;
    memcpy(&factor, extra->data, sizeof factor);
    if (!(tn_abs_bits(factor) < TN_ABS_BITS_2P56))
        return tn_fail(TN_BAD_FILE, "%s: the number in '%s.scale' is infinite or not a number: the file is damaged",
                       tn_gguf_path(loader->gguf), name);
    mark_used(loader, extra);
    *out_factor = factor;
    return TN_OK;
}

static tn_status load_scales(tn_loader *loader, const char *name, tn_model_weight *weight)
{
    float factor;
    TN_TRY(read_extra_scale(loader, name, &factor));
    if (factor < 0) { // a negative scale gives its sign to the codes
        weight->ternary.negate = !weight->ternary.negate;
        factor = -factor;
    }
    uint32_t n = 1;
    float *scales = &weight->scale;
    weight->scale = weight->ternary.scale;
    if (weight->ternary.row_scales) {
        n = weight->ternary.n_rows;
        TN_TRY(tn_alloc(n, sizeof *weight->row_scales, &weight->row_scales));
        scales = weight->row_scales;
        tn_ternary_row_scales(&weight->ternary, scales);
    }
    for (uint32_t i = 0; i < n; i++) {
        scales[i] = tn_fl(scales[i] * factor);
        if (tn_abs_bits(scales[i]) < TN_ABS_BITS_2P56) continue;
        return tn_fail(TN_BAD_FILE, "%s: a scale of '%s' times the number in '%s.scale' is not below 2^56: the file is damaged",
                       tn_gguf_path(loader->gguf), name, name);
    }
    return TN_OK;
}

static tn_status refuse_type(const tn_loader *loader, const tn_gguf_tensor *tensor, tn_dtype_class class_)
{
    char names[TN_DTYPE_NAMES_BYTES];
    return tn_fail(TN_UNSUPPORTED, "%s: tensor '%.*s' is of type %s, which is not a %s type that this version runs: use a file with %s",
                   tn_gguf_path(loader->gguf), TN_STR_ARGS(tensor->name), tensor->type_name,
                   class_ == TN_CLASS_TERNARY ? "ternary" : "dense", tn_dtype_names(class_, names));
}

tn_status tn_loader_ternary(tn_loader *loader, const char *name, uint32_t n_rows, uint32_t n_cols, uint32_t *out_weight)
{
    const tn_gguf_tensor *tensor = find(loader, name, ".weight");
    if (!tensor) return missing(loader, name);
    if (tn_dtype_get(tensor->dtype)->class_ != TN_CLASS_TERNARY) return refuse_type(loader, tensor, TN_CLASS_TERNARY);
    TN_TRY(check_shape(loader, tensor, n_rows, n_cols));
    tn_model_weight *weight;
    TN_TRY(new_weight(loader, tensor, name, &weight));
    if (tn_ternary_open_as(tensor, &loader->ternary, &weight->ternary) != TN_OK) return tn_fail_prefix("%s: ", tn_gguf_path(loader->gguf));
    TN_TRY(load_scales(loader, name, weight));
    tn_gguf_release(loader->gguf, tensor, 0, UINT64_MAX); // reading scales touches every page of some types
    tn_weight_source source = {.name = weight->name,
                               .kind = TN_WEIGHT_TERNARY,
                               .n_rows = n_rows,
                               .n_cols = n_cols,
                               .scale_kind = weight->row_scales ? TN_SCALE_ROW : TN_SCALE_TENSOR,
                               .scales = weight->row_scales ? weight->row_scales : &weight->scale,
                               .read_rows = read_ternary_rows,
                               .ctx = weight,
                               .release_rows = release_rows};
    return tn_graph_add_weight(loader->graph, &source, out_weight);
}

tn_status tn_loader_dense(tn_loader *loader, const char *name, uint32_t n_rows, uint32_t n_cols, uint32_t *out_weight)
{
    const tn_gguf_tensor *tensor = find(loader, name, ".weight");
    if (!tensor) return missing(loader, name);
    if (tn_dtype_get(tensor->dtype)->class_ != TN_CLASS_DENSE) return refuse_type(loader, tensor, TN_CLASS_DENSE);
    TN_TRY(check_shape(loader, tensor, n_rows, n_cols));
    tn_model_weight *weight;
    TN_TRY(new_weight(loader, tensor, name, &weight));
    tn_weight_source source = {.name = weight->name,
                               .kind = TN_WEIGHT_DENSE,
                               .dtype = tensor->dtype,
                               .n_rows = n_rows,
                               .n_cols = n_cols,
                               .read_rows = read_dense_rows,
                               .ctx = weight,
                               .release_rows = release_rows};
    return tn_graph_add_weight(loader->graph, &source, out_weight);
}

tn_status tn_loader_gains(tn_loader *loader, const char *name, uint32_t n, uint32_t *out_weight)
{
    TN_TRY(tn_loader_dense(loader, name, 1, n, out_weight));
    tn_weight_source *source = &loader->graph->weights[*out_weight];
    if (source->dtype != TN_DTYPE_F32 && source->dtype != TN_DTYPE_F16 && source->dtype != TN_DTYPE_BF16)
        return tn_fail(TN_UNSUPPORTED, "%s: the norm '%s' is of type %s; F32, F16 and BF16 are read", tn_gguf_path(loader->gguf), name,
                       tn_dtype_get(source->dtype)->name);
    source->dtype = TN_DTYPE_F32;
    source->read_rows = read_gains;
    return TN_OK;
}

tn_status tn_loader_rope(tn_loader *loader, uint32_t *out_weight)
{
    const tn_hparams *h = &loader->hparams;
    const tn_gguf_tensor *tensor = find(loader, "rope_freqs", ".weight");
    tn_model_weight *weight;
    TN_TRY(new_weight(loader, tensor, "rope", &weight));
    TN_TRY(tn_alloc(h->head_dim / 2, sizeof *loader->inverse, &loader->inverse));
    float *factors = NULL;
    if (tensor) {
        TN_TRY(check_shape(loader, tensor, 1, h->head_dim / 2));
        if (tensor->dtype != TN_DTYPE_F32) return tn_fail(TN_UNSUPPORTED, "%s: 'rope_freqs.weight' is not F32", tn_gguf_path(loader->gguf));
        TN_TRY(tn_alloc(h->head_dim / 2, sizeof *factors, &factors));
        memcpy(factors, tensor->data, h->head_dim / 2 * sizeof *factors);
        for (uint32_t i = 0; i < h->head_dim / 2; i++) {
            if (factors[i] >= 1e-6f && factors[i] <= 1e6f) continue;
            tn_free(factors);
            return tn_fail(TN_BAD_FILE, "%s: factor %u of 'rope_freqs.weight' is out of range: the file is damaged",
                           tn_gguf_path(loader->gguf), (unsigned)i);
        }
    }
    tn_rope_inverse_frequencies((double)h->rope_theta, h->rope_scale, factors, h->head_dim, loader->inverse);
    tn_free(factors);
    weight->inverse = loader->inverse;
    tn_weight_source source = {.name = weight->name,
                               .kind = TN_WEIGHT_TABLE,
                               .dtype = TN_DTYPE_F32,
                               .n_rows = h->n_ctx,
                               .n_cols = h->head_dim,
                               .read_rows = read_rope_rows,
                               .ctx = weight};
    return tn_graph_add_weight(loader->graph, &source, out_weight);
}

tn_status tn_loader_check_all_used(const tn_loader *loader)
{
    for (size_t i = 0; i < tn_gguf_n_tensors(loader->gguf); i++) {
        if (loader->used[i]) continue;
        const tn_gguf_tensor *tensor = tn_gguf_tensor_at(loader->gguf, i);
        return tn_fail(TN_UNSUPPORTED,
                       "%s: the file has a tensor '%.*s' that architecture '%s' does not use here: its answers would be wrong",
                       tn_gguf_path(loader->gguf), TN_STR_ARGS(tensor->name), loader->arch);
    }
    return TN_OK;
}
