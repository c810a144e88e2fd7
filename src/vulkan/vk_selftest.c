// The self-test at open. A driver whose compiler bends a rule of the exact mode, or loses a barrier, is refused here instead of giving
// other answers later. Real programs are compiled, recorded and submitted, so that fusion, indirect dispatches and poison are tested with
// the shaders.
#include "vulkan/vk_selftest.h"

#include "base/alloc.h"
#include "base/folder.h"
#include "base/hash.h"
#include "base/log.h"
#include "ref/ref.h"
#include "vulkan/vk_describe.h"
#include "vulkan/vk_pack.h"
#include "vulkan/vk_pipeline_file.h"
#include "vulkan/vk_program.h"
#include "vulkan/vk_selftest_net.h"
#include "vulkan/vk_shaders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Of a program under test: what it writes to, and the step's block.
typedef struct trial {
    tn_vk_device *device;
    const char *driver;
    tn_vk_test_net *net;
    tn_buffer *weights, *kv;
    tn_packed_weight packed[TN_VK_TEST_WEIGHTS];

    const tn_vk_test_part *part;
    tn_program *program;
    tn_buffer *in, *out;
    tn_tap taps[TN_VK_TEST_VALUES];
    uint32_t n_taps;
    tn_step_limits limits;
    tn_step_layout layout;
    tn_step *step; // owned
    float *rows;   // owned: of one value, as the device has them
    bool differs;  // from the reference; else a failure is another one
} trial;

static const uint32_t pages[TN_VK_TEST_SEQS][TN_VK_TEST_SEQ_PAGES] = {{3, 1}, {0, 2}};
enum { COPIED_SEQ = 1, COPIED_TO = 4 }; // its first page moves on in the last step

// ---- weights ----

static tn_status pack_weights(trial *t)
{
    uint64_t size = 0;
    const tn_graph *graph = &t->net->graph;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        tn_weight_layout *layout = &t->packed[i].layout;
        TN_TRY(tn_vk_weight_layout(&t->device->base, &graph->weights[i], layout));
        size = (size + layout->alignment_bytes - 1) / layout->alignment_bytes * layout->alignment_bytes;
        t->packed[i].offset_bytes = size;
        size += layout->size_bytes;
    }
    TN_TRY(tn_vk_buffer_create(&t->device->base, size, &t->weights));
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        t->packed[i].buffer = t->weights;
        TN_TRY(tn_vk_weight_pack(&t->device->base, &graph->weights[i], t->weights, t->packed[i].offset_bytes));
    }
    return TN_OK;
}

// ---- programs ----

static uint64_t value_bytes(const trial *t, uint32_t value)
{
    return (uint64_t)t->limits.n_tokens * t->net->values[value].width * sizeof(float);
}

static tn_status create_taps(trial *t)
{
    for (uint32_t i = t->part->first_node; i < t->part->first_node + t->part->n_nodes; i++) {
        const uint32_t value = t->net->nodes[i].out;
        if (value == TN_NONE || !t->net->is_tapped[value] || value == t->part->out_value) continue;
        t->taps[t->n_taps].value = value;
        TN_TRY(tn_vk_buffer_create(&t->device->base, value_bytes(t, value), &t->taps[t->n_taps].buffer));
        t->n_taps++;
    }
    return TN_OK;
}

static tn_status open_part(trial *t, const tn_vk_test_part *part, uint32_t n_tokens)
{
    t->part = part;
    t->limits = (tn_step_limits){n_tokens, n_tokens, TN_VK_TEST_SEQS, TN_VK_TEST_SEQ_PAGES, TN_VK_TEST_PAGES};
    TN_TRY(tn_step_layout_of(&t->limits, &t->layout));
    TN_TRY(tn_alloc_aligned((size_t)t->layout.n_words * sizeof(uint32_t), 64, &t->step));
    TN_TRY(create_taps(t));
    if (part->in_value != TN_NONE) TN_TRY(tn_vk_buffer_create(&t->device->base, value_bytes(t, part->in_value), &t->in));
    TN_TRY(tn_vk_buffer_create(&t->device->base, value_bytes(t, part->out_value), &t->out));
    const uint64_t kv_bytes = tn_kv_page_layer_bytes(TN_VK_TEST_KV_HEADS, TN_VK_TEST_HEAD_DIM) * TN_VK_TEST_PAGES * part->n_layers;
    if (kv_bytes) TN_TRY(tn_vk_buffer_create(&t->device->base, kv_bytes, &t->kv));
    const tn_program_desc desc = {.graph = &t->net->graph,
                                  .first_node = part->first_node,
                                  .n_nodes = part->n_nodes,
                                  .in_value = part->in_value,
                                  .out_value = part->out_value,
                                  .weights = t->packed,
                                  .kv = t->kv,
                                  .n_layers = part->n_layers,
                                  .limits = t->limits,
                                  .taps = t->taps,
                                  .n_taps = t->n_taps};
    return tn_vk_program_create(&t->device->base, &desc, &t->program);
}

static void close_part(trial *t)
{
    tn_vk_program_destroy(t->program);
    tn_vk_buffer_destroy(t->in);
    tn_vk_buffer_destroy(t->out);
    tn_vk_buffer_destroy(t->kv);
    for (uint32_t i = 0; i < t->n_taps; i++) tn_vk_buffer_destroy(t->taps[i].buffer);
    tn_free(t->step);
    t->program = NULL;
    t->in = t->out = t->kv = NULL;
    t->n_taps = 0;
    t->step = NULL;
}

// ---- steps ----

static void fill_step(trial *t, const tn_vk_test_step *step, bool copies_page)
{
    memset(t->step, 0, (size_t)t->layout.n_words * sizeof(uint32_t));
    *t->step = (tn_step){.n_tokens = step->n_tokens, .n_logits = step->n_logits, .n_seqs = TN_VK_TEST_SEQS, .n_copies = copies_page};
    for (uint32_t i = 0; i < step->n_tokens; i++) tn_step_tokens(t->step, &t->layout)[i] = (int32_t)step->tokens[i];
    memcpy(tn_step_positions(t->step, &t->layout), step->positions, step->n_tokens * sizeof *step->positions);
    memcpy(tn_step_seqs(t->step, &t->layout), step->seqs, step->n_tokens * sizeof *step->seqs);
    memcpy(tn_step_logit_rows(t->step, &t->layout), step->logit_rows, step->n_logits * sizeof *step->logit_rows);
    for (uint32_t seq = 0; seq < TN_VK_TEST_SEQS; seq++) memcpy(tn_step_pages(t->step, &t->layout, seq), pages[seq], sizeof pages[seq]);
    if (!copies_page) return;
    const uint32_t copy[2] = {pages[COPIED_SEQ][0], COPIED_TO};
    memcpy(tn_step_copies(t->step, &t->layout), copy, sizeof copy);
    tn_step_pages(t->step, &t->layout, COPIED_SEQ)[0] = COPIED_TO;
}

// "norm_quant, matmul_ternary": the ops of nodes [first, end), each once in a row.
static void name_ops(const tn_vk_test_net *net, uint32_t first, uint32_t end, char *text, size_t capacity)
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = first; i < end && n < capacity; i++) {
        if (i > first && net->nodes[i].op == net->nodes[i - 1].op) continue;
        n += (size_t)snprintf(text + n, capacity - n, "%s%s", i > first ? ", " : "", tn_op_name(net->nodes[i].op));
    }
}

// What is wrong lies in the nodes [first, end): what came before them was right.
static tn_status other_bits(trial *t, uint32_t first, uint32_t end, const tn_vk_test_step *step, const char *what)
{
    char ops[160];
    t->differs = true;
    name_ops(t->net, first, end, ops, sizeof ops);
    return tn_fail(TN_INTERNAL,
                   "%s: self-test: %s (%s, a step of %u tokens) gives other %s than the reference: %.95s; this device is left out",
                   t->device->name, ops, tn_vk_form_name(&t->device->traits), (unsigned)step->n_tokens, what, t->driver);
}

// Rows of poisoned tokens may be anything.
static bool same_rows(const trial *t, uint32_t value, const tn_vk_test_step *step)
{
    const uint32_t width = t->net->values[value].width, n = tn_vk_test_n_rows(t->net, value, step);
    for (uint32_t row = 0; row < n; row++) {
        const uint32_t token = t->net->values[value].rows == TN_ROWS_LOGITS ? step->logit_rows[row] : row;
        const size_t at = (size_t)row * width;
        if (t->net->poison[token] == 0 && memcmp(t->rows + at, t->net->rows[value].f32 + at, width * sizeof(float)) != 0) return false;
    }
    return true;
}

static tn_status compare_value(trial *t, uint32_t value, tn_buffer *buffer, const tn_vk_test_step *step, uint32_t *first_node)
{
    const uint64_t n_bytes = (uint64_t)tn_vk_test_n_rows(t->net, value, step) * t->net->values[value].width * sizeof(float);
    TN_TRY(tn_vk_buffer_read(buffer, 0, t->rows, n_bytes));
    uint32_t end = *first_node;
    while (t->net->nodes[end].out != value) end++;
    end++;
    if (!same_rows(t, value, step)) return other_bits(t, *first_node, end, step, "bits");
    *first_node = end;
    return TN_OK;
}

static tn_status compare(trial *t, const tn_vk_test_step *step, const uint32_t *poison)
{
    uint32_t first_node = t->part->first_node;
    for (uint32_t i = 0; i < t->n_taps; i++) TN_TRY(compare_value(t, t->taps[i].value, t->taps[i].buffer, step, &first_node));
    TN_TRY(compare_value(t, t->part->out_value, t->out, step, &first_node));
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        if (poison[i] == t->net->poison[i]) continue;
        const uint32_t node = (t->net->poison[i] ? t->net->poison[i] : poison[i]) - 1;
        if (node >= t->net->graph.n_nodes) return other_bits(t, t->part->first_node, t->part->first_node + 1, step, "poison");
        return other_bits(t, node, node + 1, step, "poison");
    }
    return TN_OK;
}

static tn_status run_step(trial *t, const tn_vk_test_step *step, bool copies_page)
{
    uint32_t poison[TN_VK_TEST_TOKENS];
    tn_fence fence;
    memset(poison, 0xff, sizeof poison);
    fill_step(t, step, copies_page);
    if (t->in)
        TN_TRY(tn_vk_buffer_write(t->in, 0, t->net->rows[t->part->in_value].f32,
                                  (uint64_t)step->n_tokens * t->net->values[t->part->in_value].width * sizeof(float)));
    const tn_submit submit = {.step = t->step, .in = t->in, .out = t->out, .poison = poison};
    TN_TRY(tn_vk_program_submit(t->program, &submit, &fence));
    tn_vk_test_reference(t->net, t->part, step); // meanwhile
    TN_TRY(tn_vk_fence_wait(&t->device->base, fence));
    return compare(t, step, poison);
}

// Tokens of both sequences in a step.
typedef struct plan {
    uint32_t n_first, first_position, n_second, second_position;
    bool is_last; // a page is copied, and the last token's residual is poison in the middle of the layers
} plan;

static void add_tokens(tn_vk_test_step *step, uint32_t n, uint32_t seq, uint32_t position)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = step->n_tokens++;
        step->tokens[at] = (7 * at + 20) % TN_VK_TEST_VOCAB;
        step->positions[at] = position + i;
        step->seqs[at] = seq;
    }
}

static tn_status run_singles(trial *t, uint32_t n_tokens)
{
    tn_vk_test_step step = {.n_logits = 1, .logit_rows = {n_tokens - 1}};
    add_tokens(&step, n_tokens, 0, 0);
    TN_TRY(open_part(t, &t->net->singles, n_tokens));
    return run_step(t, &step, false);
}

static tn_status run_layers_step(trial *t, const plan *p)
{
    tn_vk_test_step step = {0};
    add_tokens(&step, p->n_first, 0, p->first_position);
    add_tokens(&step, p->n_second, 1, p->second_position);
    float *in = t->net->rows[t->part->in_value].f32;
    const uint32_t n = step.n_tokens * t->net->values[t->part->in_value].width;
    for (uint32_t i = 0; i < n; i++) in[i] = tn_vk_test_random(t->net, 4.0f);
    if (p->is_last) in[n - 1] = 0x1p57f;
    return run_step(t, &step, p->is_last);
}

// Over the border of a page.
static tn_status run_layers(trial *t, bool alone)
{
    enum { BORDER = TN_KV_PAGE_POSITIONS };
    static const plan one[] = {{1, BORDER - 1, 0, 0, false}, {0, 0, 1, 5, false}, {1, BORDER, 0, 0, false}, {0, 0, 1, 6, true}};
    static const plan all[] = {
        {3, BORDER - 2, TN_VK_TEST_FEW - 3, 5, false}, {1, BORDER + 1, 0, 0, false}, {11, BORDER + 2, TN_VK_TEST_TOKENS - 11, 7, true}};
    TN_TRY(open_part(t, &t->net->layers[alone ? 0 : TN_VK_TEST_LAYERS - 1], alone ? 1 : TN_VK_TEST_TOKENS));
    for (uint32_t i = 0; alone && i < sizeof one / sizeof *one; i++) TN_TRY(run_layers_step(t, &one[i]));
    for (uint32_t i = 0; !alone && i < sizeof all / sizeof *all; i++) TN_TRY(run_layers_step(t, &all[i]));
    return TN_OK;
}

// alone: in steps of one token. Software devices take half a minute to compile what is for more.
static tn_status run_all(tn_vk_device *device, const char *driver, bool alone, bool *out_differs)
{
    tn_status status;
    trial t = {.device = device, .driver = driver};
    TN_TRY_GOTO(tn_vk_test_net_create(&t.net));
    uint32_t width = 0;
    for (uint32_t i = 0; i < t.net->graph.n_values; i++) width = t.net->values[i].width > width ? t.net->values[i].width : width;
    TN_TRY_GOTO(tn_alloc((size_t)TN_VK_TEST_TOKENS * width, sizeof *t.rows, &t.rows));
    TN_TRY_GOTO(pack_weights(&t));
    TN_TRY_GOTO(run_singles(&t, alone ? 1 : TN_VK_TEST_FEW));
    close_part(&t);
    TN_TRY_GOTO(run_layers(&t, alone));
fail:
    *out_differs = t.differs;
    close_part(&t);
    tn_vk_buffer_destroy(t.weights);
    tn_free(t.rows);
    tn_vk_test_net_destroy(t.net);
    return status;
}

// ---- what was found out before ----

static uint32_t form_bit(const tn_vk_traits *traits) { return traits->use_dot ? 1 : traits->use_texels ? 2 : 4; }

const char *tn_vk_selftest_verdict(const tn_vk_instance *instance, uint32_t index, const tn_vk_traits *traits)
{
    const tn_vk_tested *tested = &instance->tested[index];
    return tested->failed_forms & form_bit(traits) ? tested->failed : "";
}

// The file's path, and what it holds: of which shaders, sources, form and way to memory the device passed.
static tn_status pass_of(const tn_vk_device *device, char **out_path, char text[256])
{
    snprintf(text, 256, "%s %s %s%s", tn_vk_shaders_hash, TN_VK_SOURCES_ID, tn_vk_form_name(&device->traits),
             device->maps_memory ? "" : " staged");
    const uint64_t parts[2] = {tn_hash(device->cache_key, sizeof device->cache_key), tn_hash(text, strlen(text))};
    const size_t capacity = strlen(device->cache_folder) + 48;
    TN_TRY(tn_alloc(capacity, 1, out_path));
    snprintf(*out_path, capacity, "%s/vulkan-%016" PRIx64 ".selftest", device->cache_folder, tn_hash(parts, sizeof parts));
    return TN_OK;
}

static bool has_passed(const tn_vk_device *device)
{
    char *path, text[256];
    uint8_t *bytes = NULL;
    size_t n = 0;
    if (!device->cache_folder || pass_of(device, &path, text) != TN_OK) return false;
    const bool found =
        tn_vk_pipeline_file_read(path, device->cache_key, text, &bytes, &n) == TN_OK && n == strlen(text) && memcmp(bytes, text, n) == 0;
    tn_free(bytes);
    tn_free(path);
    return found;
}

static tn_status keep_pass(const tn_vk_device *device)
{
    tn_status status;
    char *path = NULL, text[256];
    TN_TRY(tn_folder_make(device->cache_folder, "results of self-tests"));
    TN_TRY(pass_of(device, &path, text));
    status = tn_vk_pipeline_file_write(path, device->cache_key, text, (const uint8_t *)text, strlen(text));
    tn_free(path);
    return status;
}

tn_status tn_vk_selftest(tn_vk_device *device, uint32_t index, const char *driver)
{
    const tn_vk_hooks *hooks = device->instance->hooks;
    const tn_vk_selftest_when when = hooks ? hooks->selftest : TN_VK_SELFTEST_ONCE;
    tn_vk_tested *tested = &device->instance->tested[index];
    const uint32_t form = form_bit(&device->traits);
    if (when == TN_VK_SELFTEST_NEVER) return TN_OK;
    if (when == TN_VK_SELFTEST_ONCE) {
        if (tested->failed_forms & form) return tn_fail(TN_INTERNAL, "%s", tested->failed);
        if ((tested->passed_forms & form) || has_passed(device)) return TN_OK;
    }
    bool differs;
    tn_log_write(&device->log, TN_LOG_INFO, "%s: testing its kernels against the reference, once for this driver and version",
                 device->name);
    const tn_status status = run_all(device, driver, when == TN_VK_SELFTEST_ONCE && device->traits.is_software, &differs);
    if (differs) {
        tested->failed_forms |= form;
        snprintf(tested->failed, sizeof tested->failed, "%.*s", (int)sizeof tested->failed - 1, tn_error_last()->message);
    }
    if (status != TN_OK) return differs ? status : tn_fail_prefix("%s: self-test: ", device->name);
    tested->passed_forms |= form;
    if (device->cache_folder && keep_pass(device) != TN_OK)
        tn_log_write(&device->log, TN_LOG_INFO, "%s: that it passed its self-test is not kept: %s", device->name, tn_error_last()->message);
    return TN_OK;
}
