// Opening a model: file, tokenizer, graph; and what the public API tells of it.
#include "base/alloc.h"
#include "base/escape.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/params.h"
#include "model/loader.h"
#include "model/model_internal.h"
#include "model/tokenizer_internal.h"

#include <stdio.h>

struct tn_model {
    tn_gguf *gguf;
    tn_graph *graph;          // NULL: opened without it
    tn_tokenizer *tokenizer;  // NULL: none
    tn_model_weight *weights; // what the graph's sources point to
    double *inverse;          // RoPE's inverse frequencies
    tn_ternary_options ternary;
    char **tensor_names; // terminated copies, [tensors]
    char **keys;         // terminated copies, [metadata entries]
    tn_model_info info;
};

const tn_graph *tn_model_graph(const tn_model *model) { return model->graph; }
const tn_gguf *tn_model_gguf(const tn_model *model) { return model->gguf; }
const tn_tokenizer *tn_model_tokenizer(const tn_model *model) { return model->tokenizer; }
void tn_model_get_info(const tn_model *model, tn_model_info *out_info) { *out_info = model->info; }
size_t tn_model_tensor_count(const tn_model *model) { return tn_gguf_n_tensors(model->gguf); }

tn_status tn_model_identity(const tn_model *model, tn_text *out, bool *out_settled)
{
    TN_TRY(tn_text_printf(out, "i2s %d tl %s;", (int)model->ternary.i2s_layout, tn_tl_preset_name(model->ternary.tl_preset)));
    return tn_gguf_identity(model->gguf, out, out_settled);
}

// For people: text from the file cannot drive a terminal or break a line.
static void copy_str(char *dst, size_t capacity, tn_str src) { tn_escape(src.data, src.len, dst, capacity); }

// The type that most elements are stored as.
static const char *main_type(const tn_gguf *gguf)
{
    enum { N_TYPES_MAX = 64 }; // more than the format has
    const char *names[N_TYPES_MAX];
    uint64_t elements[N_TYPES_MAX];
    size_t n_types = 0, best = 0;
    for (size_t i = 0; i < tn_gguf_n_tensors(gguf); i++) {
        const tn_gguf_tensor *tensor = tn_gguf_tensor_at(gguf, i);
        size_t t = 0;
        while (t < n_types && strcmp(names[t], tensor->type_name) != 0) t++;
        if (t == N_TYPES_MAX) continue;
        if (t == n_types) {
            names[n_types] = tensor->type_name;
            elements[n_types++] = 0;
        }
        elements[t] += tensor->n_elements;
        if (elements[t] > elements[best]) best = t;
    }
    return n_types ? names[best] : "";
}

static tn_status describe_file(tn_model *model)
{
    tn_model_info *info = &model->info;
    tn_str text;
    const char *path = tn_gguf_path(model->gguf);
    const char *slash = strrchr(path, '/');
    copy_str(info->name, sizeof info->name, tn_str_of(slash ? slash + 1 : path));
    if (tn_gguf_find(model->gguf, "general.name")) {
        TN_TRY(tn_gguf_get_str(model->gguf, "general.name", &text));
        copy_str(info->name, sizeof info->name, text);
    }
    if (tn_gguf_find(model->gguf, "general.architecture")) {
        TN_TRY(tn_gguf_get_str(model->gguf, "general.architecture", &text));
        copy_str(info->architecture, sizeof info->architecture, text);
    }
    copy_str(info->type, sizeof info->type, tn_str_of(main_type(model->gguf)));
    info->file_bytes = tn_gguf_file_bytes(model->gguf);
    for (size_t i = 0; i < tn_gguf_n_tensors(model->gguf); i++) info->n_params += tn_gguf_tensor_at(model->gguf, i)->n_elements;
    info->head_tied = !tn_gguf_find_tensor(model->gguf, "output.weight");
    return TN_OK;
}

static tn_status copy_names(tn_model *model)
{
    size_t n_tensors = tn_gguf_n_tensors(model->gguf), n_kv = tn_gguf_n_kv(model->gguf);
    TN_TRY(tn_alloc_zero(n_tensors, sizeof *model->tensor_names, &model->tensor_names));
    for (size_t i = 0; i < n_tensors; i++) {
        tn_str name = tn_gguf_tensor_at(model->gguf, i)->name;
        TN_TRY(tn_strdup(name.data, name.len, &model->tensor_names[i]));
    }
    TN_TRY(tn_alloc_zero(n_kv, sizeof *model->keys, &model->keys));
    for (size_t i = 0; i < n_kv; i++) {
        tn_str key = tn_gguf_kv_at(model->gguf, i)->key;
        TN_TRY(tn_strdup(key.data, key.len, &model->keys[i]));
    }
    return TN_OK;
}

static void describe_graph(tn_model_info *info, const tn_hparams *h)
{
    copy_str(info->activation, sizeof info->activation, tn_str_of(h->glu == TN_GLU_RELU2 ? "relu2" : "silu"));
    info->n_layers = h->n_layers;
    info->n_embd = h->n_embd;
    info->n_ff = h->n_ff;
    info->n_heads = h->n_heads;
    info->n_kv_heads = h->n_kv_heads;
    info->head_dim = h->head_dim;
    info->n_vocab = h->n_vocab;
    info->n_ctx_train = h->n_ctx;
    info->rope_theta = h->rope_theta;
    info->norm_eps = h->norm_eps;
}

static tn_status refuse_unknown_arch(const tn_model *model)
{
    char known[128] = "";
    size_t n;
    const tn_arch *archs = tn_arch_list(&n);
    for (size_t i = 0; i < n; i++) {
        const size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", archs[i].name);
    }
    return tn_fail(TN_UNSUPPORTED, "%s: architecture '%s' is not supported; %s are", tn_gguf_path(model->gguf), model->info.architecture,
                   known);
}

// Keys that change what the weights mean and that this version does not act on.
static tn_status refuse_transformed(const tn_model *model)
{
    for (size_t i = 0; i < tn_gguf_n_kv(model->gguf); i++) {
        if (strncmp(model->keys[i], "prism.hadamard.", 15) == 0)
            return tn_fail(TN_UNSUPPORTED, "%s: the weights are Hadamard-transformed ('%s'), which is not supported",
                           tn_gguf_path(model->gguf), model->keys[i]);
    }
    return TN_OK;
}

// A weight for each tensor of the file, and the RoPE table.
static void tell_ternary_elements(tn_graph *graph)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        if (graph->weights[i].kind == TN_WEIGHT_TERNARY) n += (uint64_t)graph->weights[i].n_rows * graph->weights[i].n_cols;
    }
    for (uint32_t i = 0; i < graph->n_weights; i++) graph->weights[i].n_model_ternary = n;
}

static uint32_t n_weights_max(const tn_model *model) { return (uint32_t)tn_gguf_n_tensors(model->gguf) + 1; }

static tn_status build_graph(tn_model *model, const tn_model_params *params, const tn_ternary_options *ternary)
{
    const tn_arch *arch = tn_arch_find(model->info.architecture);
    if (!arch) return refuse_unknown_arch(model);
    TN_TRY(refuse_transformed(model));
    tn_loader loader = {
        .gguf = model->gguf, .arch = model->info.architecture, .log = &params->log, .progress = &params->progress, .ternary = *ternary};
    tn_status status;
    size_t n_tensors = tn_gguf_n_tensors(model->gguf);
    TN_TRY_GOTO(tn_loader_refuse_variants(&loader));
    TN_TRY_GOTO(tn_loader_read_hparams(&loader, arch));
    loader.n_weights_max = n_weights_max(model);
    TN_TRY_GOTO(tn_alloc_zero(loader.n_weights_max, sizeof *loader.weights, &loader.weights));
    TN_TRY_GOTO(tn_alloc_zero(n_tensors, 1, &loader.used));
    TN_TRY_GOTO(tn_graph_create(&loader.graph));
    loader.graph->n_layers = loader.hparams.n_layers;
    loader.graph->n_vocab = loader.hparams.n_vocab;
    loader.graph->n_ctx = loader.hparams.n_ctx;
    loader.graph->n_kv_heads = loader.hparams.n_kv_heads;
    loader.graph->head_dim = loader.hparams.head_dim;
    TN_TRY_GOTO(arch->build(&loader));
    TN_TRY_GOTO(tn_loader_check_all_used(&loader));
    tell_ternary_elements(loader.graph);
    TN_TRY_GOTO(tn_graph_check(loader.graph));
    describe_graph(&model->info, &loader.hparams);
    status = TN_OK;
fail: // what was made belongs to the model from here on, also on failure
    model->graph = loader.graph;
    model->weights = loader.weights;
    model->inverse = loader.inverse;
    tn_free(loader.used);
    return status;
}

static tn_status open_tokenizer(tn_model *model, const tn_model_params *params)
{
    const tn_tokenizer_gguf_params options = {.arch = model->info.architecture, .pre = params->pre_tokenizer, .log = &params->log};
    tn_status status = tn_tokenizer_create_gguf(model->gguf, &options, &model->tokenizer);
    if (status == TN_NOT_FOUND && params->load == TN_MODEL_LOAD_ALL) {
        tn_log_write(&params->log, TN_LOG_WARN, "%s: the file has no tokenizer; only token ids can be used", tn_gguf_path(model->gguf));
        return TN_OK;
    }
    const char *path = tn_gguf_path(model->gguf);
    if (status != TN_OK && status != TN_OUT_OF_MEMORY && !strstr(tn_error_last()->message, path)) return tn_fail_prefix("%.400s: ", path);
    return status;
}

static tn_status check_vocabulary(const tn_model *model)
{
    if (!model->tokenizer || !model->graph) return TN_OK;
    int32_t n_tokens = tn_tokenizer_n_vocab(model->tokenizer);
    if ((uint32_t)n_tokens <= model->graph->n_vocab) return TN_OK;
    return tn_fail(TN_BAD_FILE, "%s: the tokenizer has %d tokens, the embedding only %u: the file is damaged", tn_gguf_path(model->gguf),
                   (int)n_tokens, (unsigned)model->graph->n_vocab);
}

static tn_status open_model(const char *path, const tn_model_params *params, tn_model **out_model)
{
    tn_model_params known = TN_MODEL_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_model_params, progress, params, &known));
    params = &known;
    if ((unsigned)params->load > TN_MODEL_LOAD_METADATA)
        return tn_fail(TN_INVALID_ARGUMENT, "tn_model_params.load is %d: use a value of tn_model_load", (int)params->load);
    tn_ternary_options ternary;
    TN_TRY(tn_i2s_layout_parse(params->i2s_layout, &ternary.i2s_layout));
    TN_TRY(tn_tl_preset_find(params->tl_preset, &ternary.tl_preset));
    tn_status status;
    tn_model *model;
    TN_TRY(tn_alloc_zero(1, sizeof *model, &model));
    model->ternary = ternary;
    TN_TRY_GOTO(tn_gguf_open(path, &params->log, &model->gguf));
    TN_TRY_GOTO(describe_file(model));
    TN_TRY_GOTO(copy_names(model));
    if (params->load == TN_MODEL_LOAD_ALL) TN_TRY_GOTO(build_graph(model, params, &ternary));
    if (params->load != TN_MODEL_LOAD_METADATA) TN_TRY_GOTO(open_tokenizer(model, params));
    TN_TRY_GOTO(check_vocabulary(model));
    TN_TRY_GOTO(tn_gguf_check_intact(model->gguf));
    *out_model = model;
    return TN_OK;
fail:
    tn_model_close(model);
    return status;
}

tn_status tn_model_open(const char *path, const tn_model_params *params, tn_model **out_model)
{
    TN_REQUIRE(out_model);
    *out_model = NULL;
    TN_REQUIRE(path);
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = open_model(path, params, out_model);
    tn_float_mode_leave(mode);
    return status;
}

void tn_model_close(tn_model *model)
{
    if (!model) return;
    tn_tokenizer_destroy(model->tokenizer);
    tn_graph_destroy(model->graph);
    for (size_t i = 0; model->weights && i < n_weights_max(model); i++) tn_free(model->weights[i].row_scales);
    tn_free(model->weights);
    tn_free(model->inverse);
    for (size_t i = 0; model->tensor_names && i < tn_gguf_n_tensors(model->gguf); i++) tn_free(model->tensor_names[i]);
    for (size_t i = 0; model->keys && i < tn_gguf_n_kv(model->gguf); i++) tn_free(model->keys[i]);
    tn_free(model->tensor_names);
    tn_free(model->keys);
    tn_gguf_destroy(model->gguf);
    tn_free(model);
}

tn_status tn_model_tensor(const tn_model *model, size_t index, tn_tensor_info *out_info)
{
    TN_REQUIRE(model);
    TN_REQUIRE(out_info);
    *out_info = (tn_tensor_info){0};
    if (index >= tn_model_tensor_count(model)) return tn_fail(TN_INVALID_ARGUMENT, "there is no tensor %zu", index);
    const tn_gguf_tensor *tensor = tn_gguf_tensor_at(model->gguf, index);
    *out_info = (tn_tensor_info){.name = model->tensor_names[index],
                                 .type = tensor->type_name,
                                 .n_dims = tensor->n_dims,
                                 .offset_bytes = tensor->offset_bytes,
                                 .size_bytes = tensor->size_bytes};
    memcpy(out_info->dims, tensor->ne, sizeof out_info->dims);
    return TN_OK;
}

const char *tn_model_key(const tn_model *model, size_t index) { return model->keys[index]; }
