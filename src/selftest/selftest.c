// Real programs are compiled and submitted, so that what a backend fuses, its steps' sizes and poison are tested with its kernels.
#include "selftest/selftest.h"

#include "base/alloc.h"
#include "selftest/selftest_net.h"

#include <stdio.h>
#include <string.h>

// Of a program under test: what it writes to, and the step's block.
typedef struct trial {
    const tn_selftest_params *params;
    tn_device *device;
    const tn_backend *backend; // the device's
    tn_selftest_net *net;
    tn_buffer *weights, *kv;
    tn_packed_weight packed[TN_SELFTEST_WEIGHTS];

    const tn_selftest_part *part;
    tn_graph graph; // the net's, with the part's heads
    tn_program *program;
    tn_buffer *in, *out;
    tn_tap taps[TN_SELFTEST_VALUES];
    uint32_t n_taps;
    tn_step_limits limits;
    tn_step_layout layout;
    tn_step *step; // owned
    float *rows;   // owned: of one value, as the device has them
    bool differs;  // from the reference; else a failure is another one
    tn_progress progress;
} trial;

static const uint32_t pages[TN_SELFTEST_SEQS][TN_SELFTEST_SEQ_PAGES] = {{3, 1}, {0, 2}};
enum { COPIED_SEQ = 1, COPIED_TO = 4 }; // its first page moves on in the last step

// ---- weights ----

static tn_status pack_weights(trial *t)
{
    uint64_t size = 0;
    const tn_graph *graph = &t->net->graph;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        tn_weight_layout *layout = &t->packed[i].layout;
        TN_TRY(t->backend->weight_layout(t->device, &graph->weights[i], layout));
        size = (size + layout->alignment_bytes - 1) / layout->alignment_bytes * layout->alignment_bytes;
        t->packed[i].offset_bytes = size;
        size += layout->size_bytes;
    }
    TN_TRY(t->backend->buffer_create(t->device, size, &t->weights));
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        t->packed[i].buffer = t->weights;
        TN_TRY(t->backend->weight_pack(t->device, &graph->weights[i], t->weights, t->packed[i].offset_bytes));
    }
    return TN_OK;
}

// ---- programs ----

// Whatever a backend calls its part: to whoever waits this is the self-test.
static bool tell(void *user, const char *stage, uint64_t done, uint64_t total)
{
    const tn_progress *outer = ((const trial *)user)->params->progress;
    (void)stage;
    return outer->update(outer->user, "testing kernels", done, total);
}

static uint64_t value_bytes(const trial *t, uint32_t value)
{
    return (uint64_t)t->limits.n_tokens * t->net->values[value].width * sizeof(float);
}

static tn_status create_taps(trial *t)
{
    for (uint32_t i = t->part->first_node; i < t->part->first_node + t->part->n_nodes; i++) {
        const uint32_t value = t->net->nodes[i].out;
        if (value == TN_NONE || !t->net->is_tapped[value] || value == t->part->out_value) continue;
        if (t->params->rope_unseen && t->net->nodes[i].op == TN_OP_ROPE) continue;
        t->taps[t->n_taps].value = value;
        TN_TRY(t->backend->buffer_create(t->device, value_bytes(t, value), &t->taps[t->n_taps].buffer));
        t->n_taps++;
    }
    return TN_OK;
}

static tn_status open_part(trial *t, const tn_selftest_part *part, uint32_t n_tokens)
{
    t->part = part;
    t->graph = t->net->graph;
    t->graph.n_kv_heads = part->n_kv_heads;
    t->graph.head_dim = part->head_dim;
    t->limits = (tn_step_limits){n_tokens, n_tokens, TN_SELFTEST_SEQS, TN_SELFTEST_SEQ_PAGES, TN_SELFTEST_PAGES};
    TN_TRY(tn_step_layout_of(&t->limits, &t->layout));
    TN_TRY(tn_alloc_aligned((size_t)t->layout.n_words * sizeof(uint32_t), 64, &t->step));
    TN_TRY(create_taps(t));
    if (part->in_value != TN_NONE) TN_TRY(t->backend->buffer_create(t->device, value_bytes(t, part->in_value), &t->in));
    TN_TRY(t->backend->buffer_create(t->device, value_bytes(t, part->out_value), &t->out));
    const uint64_t kv_bytes = tn_kv_page_layer_bytes(part->n_kv_heads, part->head_dim) * TN_SELFTEST_PAGES * part->n_layers;
    if (kv_bytes) TN_TRY(t->backend->buffer_create(t->device, kv_bytes, &t->kv));
    const tn_program_desc desc = {.graph = &t->graph,
                                  .first_node = part->first_node,
                                  .n_nodes = part->n_nodes,
                                  .in_value = part->in_value,
                                  .out_value = part->out_value,
                                  .weights = t->packed,
                                  .kv = t->kv,
                                  .first_layer = (int32_t)part->first_layer,
                                  .n_layers = part->n_layers,
                                  .limits = t->limits,
                                  .taps = t->taps,
                                  .n_taps = t->n_taps,
                                  .progress = &t->progress};
    return t->backend->program_create(t->device, &desc, &t->program);
}

static void close_part(trial *t)
{
    t->backend->program_destroy(t->program);
    t->backend->buffer_destroy(t->in);
    t->backend->buffer_destroy(t->out);
    t->backend->buffer_destroy(t->kv);
    for (uint32_t i = 0; i < t->n_taps; i++) t->backend->buffer_destroy(t->taps[i].buffer);
    tn_free(t->step);
    t->program = NULL;
    t->in = t->out = t->kv = NULL;
    t->n_taps = 0;
    t->step = NULL;
}

// ---- steps ----

static void fill_step(trial *t, const tn_selftest_step *step, bool copies_page)
{
    memset(t->step, 0, (size_t)t->layout.n_words * sizeof(uint32_t));
    *t->step = (tn_step){.n_tokens = step->n_tokens, .n_logits = step->n_logits, .n_seqs = TN_SELFTEST_SEQS, .n_copies = copies_page};
    for (uint32_t i = 0; i < step->n_tokens; i++) tn_step_tokens(t->step, &t->layout)[i] = (int32_t)step->tokens[i];
    memcpy(tn_step_positions(t->step, &t->layout), step->positions, step->n_tokens * sizeof *step->positions);
    memcpy(tn_step_seqs(t->step, &t->layout), step->seqs, step->n_tokens * sizeof *step->seqs);
    memcpy(tn_step_logit_rows(t->step, &t->layout), step->logit_rows, step->n_logits * sizeof *step->logit_rows);
    for (uint32_t seq = 0; seq < TN_SELFTEST_SEQS; seq++) memcpy(tn_step_pages(t->step, &t->layout, seq), pages[seq], sizeof pages[seq]);
    if (!copies_page) return;
    const uint32_t copy[2] = {pages[COPIED_SEQ][0], COPIED_TO};
    memcpy(tn_step_copies(t->step, &t->layout), copy, sizeof copy);
    tn_step_pages(t->step, &t->layout, COPIED_SEQ)[0] = COPIED_TO;
}

// "norm_quant, matmul_ternary": the ops of nodes [first, end), each once in a row.
static void name_ops(const tn_selftest_net *net, uint32_t first, uint32_t end, char *text, size_t capacity)
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = first; i < end && n < capacity; i++) {
        if (i > first && net->nodes[i].op == net->nodes[i - 1].op) continue;
        n += (size_t)snprintf(text + n, capacity - n, "%s%s", i > first ? ", " : "", tn_op_name(net->nodes[i].op));
    }
}

// What is wrong lies in the nodes [first, end): what came before them was right.
static tn_status other_bits(trial *t, uint32_t first, uint32_t end, const tn_selftest_step *step, const char *what)
{
    char ops[160];
    t->differs = true;
    name_ops(t->net, first, end, ops, sizeof ops);
    return tn_fail(TN_INTERNAL,
                   "%s: self-test: %s (%s, a step of %u tokens) gives other %s than the reference: %.95s; this device is left out",
                   t->params->name, ops, t->params->form, (unsigned)step->n_tokens, what, t->params->driver);
}

// Rows of poisoned tokens may be anything.
static bool same_rows(const trial *t, uint32_t value, const tn_selftest_step *step)
{
    const uint32_t width = t->net->values[value].width, n = tn_selftest_n_rows(t->net, value, step);
    for (uint32_t row = 0; row < n; row++) {
        const uint32_t token = t->net->values[value].rows == TN_ROWS_LOGITS ? step->logit_rows[row] : row;
        const size_t at = (size_t)row * width;
        if (t->net->poison[token] == 0 && memcmp(t->rows + at, t->net->rows[value].f32 + at, width * sizeof(float)) != 0) return false;
    }
    return true;
}

static tn_status compare_value(trial *t, uint32_t value, tn_buffer *buffer, const tn_selftest_step *step, uint32_t *first_node)
{
    const uint64_t n_bytes = (uint64_t)tn_selftest_n_rows(t->net, value, step) * t->net->values[value].width * sizeof(float);
    TN_TRY(t->backend->buffer_read(buffer, 0, t->rows, n_bytes));
    uint32_t end = *first_node;
    while (t->net->nodes[end].out != value) end++;
    end++;
    if (!same_rows(t, value, step)) return other_bits(t, *first_node, end, step, "bits");
    *first_node = end;
    return TN_OK;
}

static tn_status compare(trial *t, const tn_selftest_step *step, const uint32_t *poison)
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

static tn_status run_step(trial *t, const tn_selftest_step *step, bool copies_page)
{
    uint32_t poison[TN_SELFTEST_WIDE];
    tn_fence fence;
    memset(poison, 0xff, sizeof poison);
    fill_step(t, step, copies_page);
    if (t->in)
        TN_TRY(t->backend->buffer_write(t->in, 0, t->net->rows[t->part->in_value].f32,
                                        (uint64_t)step->n_tokens * t->net->values[t->part->in_value].width * sizeof(float)));
    const tn_submit submit = {.step = t->step, .in = t->in, .out = t->out, .poison = poison};
    TN_TRY(t->backend->program_submit(t->program, &submit, &fence));
    tn_selftest_reference(t->net, t->part, step); // meanwhile
    TN_TRY(t->backend->fence_wait(t->device, fence));
    return compare(t, step, poison);
}

// ---- rankings ----

enum { N_RANKED = 5 };

static bool is_better(const float *row, uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; }

// The id that so many others are better than.
static uint32_t id_of_place(const float *row, uint32_t n, uint32_t place)
{
    uint32_t id = 0, n_better;
    do {
        n_better = 0;
        for (uint32_t other = 0; other < n; other++) n_better += is_better(row, other, id);
    } while (n_better != place && ++id < n);
    return id;
}

static bool same_ranking(const trial *t, const tn_ranking *ranking)
{
    const uint32_t value = t->part->out_value, width = t->net->values[value].width;
    if (ranking->counts[0] != N_RANKED) return false;
    for (uint32_t place = 0; place < N_RANKED; place++) {
        const uint32_t id = id_of_place(t->net->rows[value].f32, width, place);
        if (ranking->ids[place] != id || memcmp(&ranking->logits[place], &t->net->rows[value].f32[id], sizeof(float)) != 0) return false;
    }
    return true;
}

// The step that ran last, which has one row of logits, once more with its best ones ranked.
static tn_status run_ranked(trial *t, const tn_selftest_step *step)
{
    uint32_t poison[TN_SELFTEST_WIDE], count, ids[N_RANKED];
    float logits[N_RANKED];
    const tn_ranking ranking = {N_RANKED, &count, ids, logits};
    tn_fence fence;
    if (t->device->ranking_max < N_RANKED) return TN_OK;
    t->step->has_top = 1;
    t->step->n_top_ids = t->net->values[t->part->out_value].width;
    tn_step_n_top(t->step, &t->layout)[0] = N_RANKED;
    const tn_submit submit = {.step = t->step, .out = t->out, .poison = poison, .ranking = &ranking};
    TN_TRY(t->backend->program_submit(t->program, &submit, &fence));
    TN_TRY(t->backend->fence_wait(t->device, fence));
    const uint32_t end = t->part->first_node + t->part->n_nodes;
    return same_ranking(t, &ranking) ? TN_OK : other_bits(t, end - 1, end, step, "best logits");
}

// Tokens of both sequences in a step.
typedef struct plan {
    uint32_t n_first, first_position, n_second, second_position;
    bool is_last; // a page is copied, and the last token's residual is poison in the middle of the layers
} plan;

static void add_tokens(tn_selftest_step *step, uint32_t n, uint32_t seq, uint32_t position)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = step->n_tokens++;
        step->tokens[at] = (7 * at + 20) % TN_SELFTEST_VOCAB;
        step->positions[at] = position + i;
        step->seqs[at] = seq;
    }
}

static tn_status run_singles(trial *t, uint32_t n_tokens)
{
    tn_selftest_step step = {.n_logits = 1, .logit_rows = {n_tokens - 1}};
    add_tokens(&step, n_tokens, 0, 0);
    TN_TRY(open_part(t, &t->net->singles, n_tokens));
    TN_TRY(run_step(t, &step, false));
    TN_TRY(run_ranked(t, &step));
    close_part(t);
    return TN_OK;
}

// Over the border of a page, in steps of many, a few and one.
static tn_status run_heads(trial *t, const tn_selftest_part *part)
{
    enum { BORDER = TN_KV_PAGE_POSITIONS, N_FIRST = 10, N_SECOND = TN_SELFTEST_MANY - N_FIRST };
    tn_selftest_step steps[3] = {0};
    add_tokens(&steps[0], N_FIRST, 0, BORDER - 5);
    add_tokens(&steps[0], N_SECOND, 1, 0);
    add_tokens(&steps[1], 3, 0, BORDER - 5 + N_FIRST);
    add_tokens(&steps[1], 2, 1, N_SECOND);
    add_tokens(&steps[2], 1, 0, BORDER - 5 + N_FIRST + 3);
    TN_TRY(open_part(t, part, TN_SELFTEST_MANY));
    for (uint32_t i = 0; i < sizeof steps / sizeof *steps; i++) TN_TRY(run_step(t, &steps[i], false));
    close_part(t);
    return TN_OK;
}

static tn_status run_layers_step(trial *t, const plan *p)
{
    tn_selftest_step step = {0};
    add_tokens(&step, p->n_first, 0, p->first_position);
    add_tokens(&step, p->n_second, 1, p->second_position);
    float *in = t->net->rows[t->part->in_value].f32;
    const uint32_t n = step.n_tokens * t->net->values[t->part->in_value].width;
    for (uint32_t i = 0; i < n; i++) in[i] = tn_selftest_random(t->net, 4.0f);
    if (p->is_last) in[n - 1] = 0x1p57f;
    return run_step(t, &step, p->is_last);
}

// Over the border of a page.
static tn_status run_layers(trial *t, bool alone)
{
    enum { BORDER = TN_KV_PAGE_POSITIONS };
    static const plan one[] = {{1, BORDER - 1, 0, 0, false}, {0, 0, 1, 5, false}, {1, BORDER, 0, 0, false}, {0, 0, 1, 6, true}};
    static const plan all[] = {
        {3, BORDER - 2, TN_SELFTEST_FEW - 3, 5, false}, {1, BORDER + 1, 0, 0, false}, {11, BORDER + 2, TN_SELFTEST_MANY - 11, 7, true}};
    static const plan sizes[] = {
        {5, BORDER - 4, 5, 0, false}, {15, BORDER + 1, 20, 5, false}, {37, BORDER + 16, TN_SELFTEST_TOKENS - 37, 25, true}};
    static const plan wide = {50, BORDER + 2, TN_SELFTEST_WIDE - 50, 7, false}; // in the places of what comes after it
    const bool is_wide = t->params->steps_of_wide;
    const uint32_t n_tokens_max = alone                        ? 1
                                  : is_wide                    ? TN_SELFTEST_WIDE
                                  : t->params->singles_of_many ? TN_SELFTEST_TOKENS
                                                               : TN_SELFTEST_MANY;
    TN_TRY(open_part(t, &t->net->layers[alone ? 0 : TN_SELFTEST_LAYERS - 1], n_tokens_max));
    for (uint32_t i = 0; alone && i < sizeof one / sizeof *one; i++) TN_TRY(run_layers_step(t, &one[i]));
    if (!alone && is_wide) TN_TRY(run_layers_step(t, &wide));
    for (uint32_t i = 0; !alone && i < sizeof all / sizeof *all; i++) TN_TRY(run_layers_step(t, &all[i]));
    for (uint32_t i = 0; t->params->singles_of_many && i < sizeof sizes / sizeof *sizes; i++) TN_TRY(run_layers_step(t, &sizes[i]));
    return TN_OK;
}

tn_status tn_selftest_run(tn_device *device, const tn_selftest_params *params, bool *out_differs)
{
    tn_status status;
    trial t = {.params = params, .device = device, .backend = device->backend};
    if (params->progress && params->progress->update) t.progress = (tn_progress){tell, &t};
    TN_TRY_GOTO(tn_selftest_net_create(&t.net));
    uint32_t width = 0;
    for (uint32_t i = 0; i < t.net->graph.n_values; i++) width = t.net->values[i].width > width ? t.net->values[i].width : width;
    TN_TRY_GOTO(tn_alloc((size_t)TN_SELFTEST_WIDE * width, sizeof *t.rows, &t.rows));
    TN_TRY_GOTO(pack_weights(&t));
    TN_TRY_GOTO(run_singles(&t, params->steps_of_one ? 1 : TN_SELFTEST_FEW));
    if (params->singles_of_many) TN_TRY_GOTO(run_singles(&t, TN_SELFTEST_MANY));
    if (params->steps_of_wide) TN_TRY_GOTO(run_singles(&t, TN_SELFTEST_WIDE));
    for (uint32_t i = 0; params->other_heads && i < TN_SELFTEST_HEAD_PARTS; i++) TN_TRY_GOTO(run_heads(&t, &t.net->heads[i]));
    TN_TRY_GOTO(run_layers(&t, params->steps_of_one));
fail:
    *out_differs = t.differs;
    close_part(&t);
    t.backend->buffer_destroy(t.weights);
    tn_free(t.rows);
    tn_selftest_net_destroy(t.net);
    return status;
}
