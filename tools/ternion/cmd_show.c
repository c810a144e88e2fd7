// ternion show: metadata, tensors and sizes of any GGUF file, and the model that is in it.
#include "engine.h"
#include "json_out.h"
#include "place_flags.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPES_MAX   64
#define VALUE_SHORT 160
#define VALUE_LONG  65536

// Sums of the tensors of one type.
typedef struct type_total {
    const char *type;
    uint64_t n_tensors, n_elements, size_bytes;
} type_total;

typedef struct totals {
    type_total types[TYPES_MAX];
    size_t n;
    type_total all;
} totals;

typedef struct show_job {
    tn_cli *cli;
    tn_cli_engine engine;
    bool metadata, tensors, summary; // parts to print
    bool runnable;                   // the file opens as a whole
    char reason[1024];               // why not
    char plan[1024];                 // where it would run, "": nobody asked
    totals sums;
} show_job;

static uint64_t elements(const tn_tensor_info *t)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->n_dims && d < 4; d++) n *= t->dims[d];
    return n;
}

static void add_to(type_total *total, const tn_tensor_info *t)
{
    total->n_tensors++;
    total->n_elements += elements(t);
    total->size_bytes += t->size_bytes;
}

static int sum_tensors(show_job *job)
{
    tn_tensor_info t;
    for (size_t i = 0; i < tn_model_tensor_count(job->engine.model); i++) {
        size_t k = 0;
        if (tn_model_tensor(job->engine.model, i, &t) != TN_OK) return tn_cli_fail_status(NULL);
        while (k < job->sums.n && strcmp(job->sums.types[k].type, t.type) != 0) k++;
        if (k == job->sums.n && k < TYPES_MAX) job->sums.types[job->sums.n++].type = t.type;
        if (k < TYPES_MAX) add_to(&job->sums.types[k], &t);
        add_to(&job->sums.all, &t);
    }
    return 0;
}

static void shape_text(const tn_tensor_info *t, char *text, size_t capacity)
{
    text[0] = '\0';
    for (uint32_t d = 0; d < t->n_dims && d < 4; d++) {
        size_t used = strlen(text);
        snprintf(text + used, capacity - used, "%s%" PRIu64, d ? " x " : "", t->dims[d]);
    }
}

// A line of the summary whose value comes from the file or the user.
static void print_field(const char *label, const char *value)
{
    char text[4 * 4096];
    printf("%-13s %s\n", label, tn_cli_plain(value, strlen(value), text, sizeof text));
}

// Finds the seed that ternion synth leaves in the models that it makes. False: not such a model.
static bool find_synthetic_seed(const show_job *job, char *seed, size_t capacity)
{
    const char *key = NULL, *type = NULL;
    for (size_t i = 0; i < tn_model_metadata_count(job->engine.model); i++) {
        if (tn_model_metadata(job->engine.model, i, &key, &type, seed, capacity) != TN_OK) return false;
        if (strcmp(key, "ternion.synthetic.seed") == 0) return true;
    }
    return false;
}

static void print_summary(const show_job *job)
{
    const tn_model_info *m = &job->engine.info;
    char seed[24], line[64];
    char size[24], count[24];
    tn_cli_format_bytes(m->file_bytes, size, sizeof size);
    tn_cli_format_count((double)m->n_params, count, sizeof count);
    print_field("file", job->engine.path);
    print_field("name", m->name);
    if (find_synthetic_seed(job, seed, sizeof seed)) {
        snprintf(line, sizeof line, "random weights, seed %s", seed);
        print_field("synthetic", line);
    }
    print_field("architecture", m->architecture);
    printf("most weights  %s\nsize          %s\nparameters    %s\n", m->type, size, count);
    if (!job->runnable) {
        char reason[sizeof job->reason + 4];
        snprintf(reason, sizeof reason, "no: %s", job->reason);
        print_field("runs here", reason);
        return;
    }
    print_field("runs here", "yes");
    if (job->plan[0]) print_field("plan", job->plan);
    printf("activation    %s\nlayers        %u\nwidth         %u, feed-forward %u\n", m->activation, m->n_layers, m->n_embd, m->n_ff);
    printf("heads         %u of %u, key and value heads %u\nvocabulary    %u\ncontext       %u\nrope theta    %g, norm epsilon %g\n",
           m->n_heads, m->head_dim, m->n_kv_heads, m->n_vocab, m->n_ctx_train, (double)m->rope_theta, (double)m->norm_eps);
    printf("output head   %s\n", m->head_tied ? "the embedding" : "of its own");
    if (job->engine.tokenizer) print_field("tokenizer", tn_tokenizer_pre(job->engine.tokenizer));
}

static int print_metadata(const show_job *job)
{
    char value[VALUE_SHORT], name[4 * 256], text[4 * VALUE_SHORT];
    const char *key = NULL, *type = NULL;
    size_t width = 0;
    if (job->summary) printf("\nmetadata\n");
    for (size_t i = 0; i < tn_model_metadata_count(job->engine.model); i++) {
        if (tn_model_metadata(job->engine.model, i, &key, &type, value, sizeof value) != TN_OK) return tn_cli_fail_status(NULL);
        if (strlen(key) > width) width = strlen(key) < 64 ? strlen(key) : 64;
    }
    for (size_t i = 0; i < tn_model_metadata_count(job->engine.model); i++) {
        if (tn_model_metadata(job->engine.model, i, &key, &type, value, sizeof value) != TN_OK) return tn_cli_fail_status(NULL);
        printf("%-*s %-9s %s\n", (int)width, tn_cli_plain(key, strlen(key), name, sizeof name), type,
               tn_cli_plain(value, strlen(value), text, sizeof text));
    }
    return 0;
}

static void print_totals(const totals *sums)
{
    char size[24], count[24];
    printf("\n%-8s %8s %11s %12s\n", "type", "tensors", "elements", "size");
    for (size_t i = 0; i <= sums->n; i++) {
        const type_total *t = i < sums->n ? &sums->types[i] : &sums->all;
        tn_cli_format_bytes(t->size_bytes, size, sizeof size);
        tn_cli_format_count((double)t->n_elements, count, sizeof count);
        printf("%-8s %8" PRIu64 " %11s %12s\n", i < sums->n ? t->type : "all", t->n_tensors, count, size);
    }
}

static int print_tensors(const show_job *job)
{
    char shape[96], name[4 * 256];
    tn_tensor_info t;
    if (job->summary) printf("\ntensors\n");
    printf("%-36s %-8s %-22s %12s %14s\n", "name", "type", "shape, innermost first", "bytes", "offset");
    for (size_t i = 0; i < tn_model_tensor_count(job->engine.model); i++) {
        if (tn_model_tensor(job->engine.model, i, &t) != TN_OK) return tn_cli_fail_status(NULL);
        shape_text(&t, shape, sizeof shape);
        printf("%-36s %-8s %-22s %12" PRIu64 " %14" PRIu64 "\n", tn_cli_plain(t.name, strlen(t.name), name, sizeof name), t.type, shape,
               t.size_bytes, t.offset_bytes);
    }
    print_totals(&job->sums);
    return 0;
}

static json_t *json_summary(const show_job *job)
{
    const tn_model_info *m = &job->engine.info;
    json_t *model = tn_cli_json_model(job->engine.path, m);
    char seed[24];
    json_object_set_new(model, "synthetic", json_boolean(find_synthetic_seed(job, seed, sizeof seed)));
    json_object_set_new(model, "runs_here", json_boolean(job->runnable));
    if (!job->runnable) {
        json_object_set_new(model, "reason", tn_cli_json_text(job->reason, strlen(job->reason)));
        return model;
    }
    if (job->plan[0]) json_object_set_new(model, "plan", json_string(job->plan));
    json_object_update_new(model, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b}", "activation", m->activation,
                                            "n_layers", (json_int_t)m->n_layers, "n_embd", (json_int_t)m->n_embd, "n_ff",
                                            (json_int_t)m->n_ff, "n_heads", (json_int_t)m->n_heads, "n_kv_heads", (json_int_t)m->n_kv_heads,
                                            "head_dim", (json_int_t)m->head_dim, "n_vocab", (json_int_t)m->n_vocab, "n_ctx_train",
                                            (json_int_t)m->n_ctx_train, "rope_theta", tn_cli_short_real(m->rope_theta), "norm_eps",
                                            tn_cli_short_real(m->norm_eps), "head_tied", (int)m->head_tied));
    return model;
}

static int json_metadata(const show_job *job, json_t *root)
{
    const char *key = NULL, *type = NULL;
    char *value = malloc(VALUE_LONG);
    json_t *list = json_array();
    tn_status status = TN_OK;
    if (!value) {
        json_decref(list);
        return tn_cli_out_of_memory();
    }
    for (size_t i = 0; i < tn_model_metadata_count(job->engine.model) && status == TN_OK; i++) {
        status = tn_model_metadata(job->engine.model, i, &key, &type, value, VALUE_LONG);
        if (status != TN_OK) break;
        json_array_append_new(list, json_pack("{s:o, s:s, s:o}", "key", tn_cli_json_text(key, strlen(key)), "type", type, "value",
                                              tn_cli_json_text(value, strlen(value))));
    }
    free(value);
    json_object_set_new(root, "metadata", list);
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

static json_t *json_total(const type_total *t)
{
    return json_pack("{s:I, s:I, s:I}", "n_tensors", (json_int_t)t->n_tensors, "n_elements", (json_int_t)t->n_elements, "size_bytes",
                     (json_int_t)t->size_bytes);
}

static int json_tensors(const show_job *job, json_t *root)
{
    tn_tensor_info t;
    json_t *list = json_array(), *types = json_object();
    json_object_set_new(root, "tensors", list);
    json_object_set_new(root, "types", types);
    for (size_t i = 0; i < tn_model_tensor_count(job->engine.model); i++) {
        if (tn_model_tensor(job->engine.model, i, &t) != TN_OK) return tn_cli_fail_status(NULL);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t.n_dims && d < 4; d++) json_array_append_new(shape, json_integer((json_int_t)t.dims[d]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:I, s:I}", "name", tn_cli_json_text(t.name, strlen(t.name)), "type", t.type,
                                              "shape", shape, "size_bytes", (json_int_t)t.size_bytes, "offset_bytes",
                                              (json_int_t)t.offset_bytes));
    }
    for (size_t i = 0; i < job->sums.n; i++) json_object_set_new(types, job->sums.types[i].type, json_total(&job->sums.types[i]));
    return 0;
}

static int print_json(const show_job *job)
{
    json_t *root = json_object();
    int rc = 0;
    if (job->summary) json_object_set_new(root, "model", json_summary(job));
    if (job->metadata) rc = json_metadata(job, root);
    if (rc == 0 && job->tensors) rc = json_tensors(job, root);
    if (rc == 0) return tn_cli_json_print(root);
    json_decref(root);
    return rc;
}

static void print_layout(void *user, const tn_layout_info *l)
{
    char size[24], count[24];
    tn_cli_progress_end(user); // devices are open
    tn_cli_format_bytes(l->size_bytes, size, sizeof size);
    tn_cli_format_count((double)l->n_elements, count, sizeof count);
    printf("%-8s %-10s %-8s %8" PRIu32 " %11s %12s %9.3f\n", l->device, l->layout, l->is_ternary ? "ternary" : "dense", l->n_weights, count,
           size, l->n_elements ? 8.0 * (double)l->size_bytes / (double)l->n_elements : 0);
}

static void json_layout(void *user, const tn_layout_info *l)
{
    json_array_append_new(user, json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "device", l->device, "layout", l->layout, "ternary",
                                          (int)l->is_ternary, "n_weights", (json_int_t)l->n_weights, "n_elements",
                                          (json_int_t)l->n_elements, "size_bytes", (json_int_t)l->size_bytes));
}

// What the two-stage head, the default of run and chat, adds to that.
static int show_two_stage(const show_job *job, json_t *root)
{
    uint64_t bytes = 0;
    char size[24];
    if (tn_placement_two_stage_bytes(job->engine.placement, "auto", &bytes) != TN_OK) return tn_cli_fail_status(NULL);
    if (job->cli->json) {
        json_object_set_new(root, "two_stage_bytes", json_integer((json_int_t)bytes));
        return 0;
    }
    tn_cli_format_bytes(bytes, size, sizeof size);
    if (bytes > 0) printf("\ntwo-stage head: %s more in run and chat, unless --two-stage off\n", size);
    return 0;
}

// Where the model runs here, by the flags.
static int place(show_job *job)
{
    if (!job->runnable) return tn_cli_fail("ternion show", "the file does not run here: %s", job->reason);
    int rc = tn_cli_engine_open_host(job->cli, &job->engine, 0);
    if (rc == 0) rc = tn_cli_engine_place(job->cli, &job->engine, 1, 0);
    if (rc == 0) tn_placement_print(job->engine.placement, job->plan, sizeof job->plan);
    return rc;
}

// What a session here would pack the weights into.
static int show_layouts(show_job *job)
{
    const int placed = place(job);
    if (placed) return placed;
    int rc = 0;
    json_t *list = job->cli->json ? json_array() : NULL;
    if (!job->cli->json)
        printf("%-8s %-10s %-8s %8s %11s %12s %9s\n", "device", "layout", "weights", "number", "elements", "size", "bits each");
    const tn_status status = job->cli->json ? tn_placement_layouts(job->engine.placement, json_layout, list)
                                            : tn_placement_layouts(job->engine.placement, print_layout, &job->cli->progress);
    tn_cli_progress_end(&job->cli->progress);
    if (status != TN_OK) {
        json_decref(list);
        return tn_cli_fail_status(NULL);
    }
    json_t *root = job->cli->json ? json_object() : NULL;
    json_object_set_new(root, "layouts", list); // which takes the list even where there is no root
    rc = show_two_stage(job, root);
    if (rc == 0 && job->cli->json) return tn_cli_json_print(root);
    json_decref(root);
    return rc;
}

// Opens the file as what it is: a model that runs here, or any other GGUF file, with the reason.
static int open_file(show_job *job)
{
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    int rc = tn_cli_engine_find_model(job->cli, &job->engine);
    if (rc) return rc;
    params.load = TN_MODEL_LOAD_ALL;
    tn_cli_engine_model_params(job->cli, &params);
    tn_status status = tn_model_open(job->engine.path, &params, &job->engine.model);
    if (status == TN_OUT_OF_MEMORY) return tn_cli_fail_status(NULL); // says nothing about the file
    job->runnable = status == TN_OK;
    if (status == TN_INVALID_ARGUMENT) return tn_cli_fail_status("ternion show"); // the flag is wrong, not the file
    if (!job->runnable) {
        snprintf(job->reason, sizeof job->reason, "%s", tn_error_last()->message);
        return tn_cli_engine_open_model(job->cli, &job->engine, TN_MODEL_LOAD_METADATA);
    }
    tn_model_get_info(job->engine.model, &job->engine.info);
    job->engine.tokenizer = tn_model_tokenizer(job->engine.model);
    return 0;
}

static int work(show_job *job)
{
    bool only_metadata = tn_cli_given(&job->cli->options, TN_OPT_SHOW_METADATA);
    bool only_tensors = tn_cli_given(&job->cli->options, TN_OPT_SHOW_TENSORS);
    job->summary = !only_metadata && !only_tensors;
    job->metadata = job->summary || only_metadata;
    job->tensors = job->summary || only_tensors;
    int rc = open_file(job);
    if (rc == 0 && tn_cli_given(&job->cli->options, TN_OPT_SHOW_LAYOUTS)) return show_layouts(job);
    if (rc == 0 && tn_cli_place_given(job->cli) && job->runnable) rc = place(job);
    if (rc == 0) rc = sum_tensors(job);
    if (rc) return rc;
    if (job->cli->json) return print_json(job);
    if (job->summary) print_summary(job);
    if (job->metadata) rc = print_metadata(job);
    if (rc == 0 && only_metadata && only_tensors) printf("\n");
    if (rc == 0 && job->tensors) rc = print_tensors(job);
    return rc;
}

int tn_cli_show(tn_cli *cli)
{
    show_job *job = calloc(1, sizeof *job);
    if (!job) return tn_cli_out_of_memory();
    job->cli = cli;
    int rc = work(job);
    tn_cli_engine_close(&job->engine);
    free(job);
    return rc;
}
