// What is measured of a device, and what becomes of it. Layers of four shapes are fitted, each as one layer and as several: what a submit,
// a layer and an element take can be told apart so. A fifth shape is only predicted, which tells how well that goes.
#include "runtime/calibrate.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/calibrate_net.h"
#include "runtime/calibrate_program.h"

#include <string.h>

enum {
    SAMPLES_MAX = 96,
    N_LAYER_SHAPES = 5, // the last one is not fitted
    N_HEAD_SHAPES = 4,  // the same
    N_HEAD_STEPS = 4,   // more rows of logits than this are rare, and follow in proportion
    N_LINK_SIZES = 4,
    N_FAR_SIZES = 3, // larger steps compute for longer than they read
    // Figures: each shape's layers, as one and as several; steps of long contexts; heads; embeddings; links.
    N_CONTEXTS = 8,
    N_FIGURES = 2 * N_LAYER_SHAPES * TN_COST_STEPS - (TN_COST_STEPS - N_FAR_SIZES) + N_CONTEXTS +
                TN_COST_HEADS * N_HEAD_SHAPES * N_HEAD_STEPS + 2 * TN_COST_STEPS + 2 * N_LINK_SIZES,
    SHARE_MAX = 60, // no figure has more than this part of all the time
    TOO_SLOW = 12,  // times its share a step may take, as far as can be said before
    PASSES_MAX = 2,
    DEADLINE = 3, // times the given time that all passes may take by the clock, and packing_ns
};
// Where shapes that were not learned from are predicted worse than this, something disturbed the first pass.
static const double error_expected = 0.2;
// What packing and compiling take of a pass, however little time is given; those of small models are nothing.
static const uint64_t packing_ns = UINT64_C(1500000000);

typedef struct calibration {
    tn_device *device;
    const tn_calibration_params *params;
    tn_cost_table *table;
    tn_cost_sample samples[SAMPLES_MAX];
    uint32_t n_samples, n_done; // figures
    bool has_head[TN_COST_HEADS];
    uint32_t pass;
    uint64_t spent_ns;              // on steps and transfers that count, of params->time_ns
    uint64_t deadline_ns;           // of the clock
    bool was_late;                  // the first pass was cut short by it
    tn_cost_sample kept[N_FIGURES]; // the shortest of the passes so far; 0 ns: never timed
} calibration;

static const tn_calibration_shape layer_shapes[2][N_LAYER_SHAPES] = {
    {
        {8, 256, 768, 4, 2, 64, 64, TN_DTYPE_Q8_0},
        {4, 640, 1728, 10, 5, 64, 64, TN_DTYPE_Q8_0},
        {2, 1536, 4096, 12, 4, 128, 64, TN_DTYPE_Q8_0},
        {0, 2560, 6912, 20, 5, 128, 64, TN_DTYPE_Q8_0},
        {2, 2048, 5632, 16, 4, 128, 64, TN_DTYPE_Q8_0},
    },
    {
        {4, 64, 192, 2, 1, 32, 64, TN_DTYPE_Q8_0},
        {4, 96, 320, 2, 1, 48, 64, TN_DTYPE_Q8_0},
        {2, 128, 384, 4, 2, 32, 64, TN_DTYPE_Q8_0},
        {2, 256, 768, 4, 2, 64, 64, TN_DTYPE_Q8_0},
        {2, 192, 512, 4, 2, 48, 64, TN_DTYPE_Q8_0},
    },
};

// Rows and columns of heads; 0 rows: as many as leave the cache.
static const uint32_t head_shapes[2][N_HEAD_SHAPES][2] = {
    {{512, 768}, {8192, 768}, {0, 2560}, {12288, 1536}},
    {{64, 256}, {512, 256}, {1024, 512}, {512, 512}},
};
static const tn_dtype head_types[TN_COST_HEADS] = {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_K, TN_DTYPE_F16};
static const uint64_t link_sizes[N_LINK_SIZES] = {4u << 10, 64u << 10, 1u << 20, 4u << 20};

static const uint32_t layer_parts = 1u << TN_COST_SUBMIT | 1u << TN_COST_LAYER | 1u << TN_COST_TERNARY_NEAR | 1u << TN_COST_TERNARY_FAR |
                                    1u << TN_COST_VALUES | 1u << TN_COST_ATTENTION_MANY | 1u << TN_COST_ATTENTION_ONE;
static const uint32_t embed_parts = 1u << TN_COST_EMBED | 1u << TN_COST_EMBED_VALUES;

static uint32_t head_parts(uint32_t head) { return 7u << (TN_COST_HEADS_FIRST + 3 * head); }

// ---- figures ----

// Whether the deadline is over. Steps of one token are measured all the same, since nothing could be predicted without them.
static bool is_late(calibration *c)
{
    const bool late = tn_clock_ns() >= c->deadline_ns;
    c->was_late = c->was_late || (late && c->pass == 0);
    return late;
}

// Time for the next figure: what is left, shared by those that are left.
static uint64_t slot_ns(calibration *c)
{
    const uint64_t spent = c->spent_ns, all = c->params->time_ns, least = all / N_FIGURES / 4;
    const uint64_t left = spent < all && !is_late(c) ? all - spent : 0, n_left = c->n_done < N_FIGURES ? N_FIGURES - c->n_done : 1;
    const uint64_t share = left / n_left > all / SHARE_MAX ? all / SHARE_MAX : left / n_left;
    return share > least ? share : least;
}

static tn_status figures_done(calibration *c, uint32_t n)
{
    c->n_done += n;
    return tn_progress_report(c->params->progress, c->pass ? "measuring again" : "measuring", c->n_done < N_FIGURES ? c->n_done : N_FIGURES,
                              N_FIGURES);
}

// Late in a further pass, the figures of the one before stand as they are, and nothing is packed for new ones.
static bool is_kept_enough(calibration *c) { return c->pass > 0 && is_late(c); }

// What else the machine does only ever adds to a time, so an earlier pass may know a shorter one.
static void keep_shortest(calibration *c, uint32_t figure, const tn_cost_sample *sample)
{
    tn_cost_sample *kept = &c->kept[figure];
    if (kept->ns == 0.0 || sample->ns < kept->ns) *kept = *sample;
}

// Times a step as the figure's.
static tn_status time_figure(calibration *c, tn_calibration_program *program, const tn_cost_step *step, uint32_t size, uint32_t figure,
                             uint64_t slot, double *out_ns)
{
    tn_cost_sample sample;
    TN_TRY(tn_calibration_program_time(program, step, size, c->params->cache_bytes, slot / 2, &c->spent_ns, &sample));
    keep_shortest(c, figure, &sample);
    *out_ns = sample.ns;
    return TN_OK;
}

static tn_cost_step step_of(uint32_t size, bool has_logits)
{
    const uint32_t n = tn_cost_step_sizes[size];
    return (tn_cost_step){
        .n_tokens = n, .n_logits = has_logits ? n : 0, .n_seqs = n < 4 || n > 64 ? 1 : 4, .n_positions = n > 64 ? n / 2 : 64};
}

// Times a step of each size as figures from c->n_done on, in two rounds: what else the machine does for a moment disturbs one of them. Left
// out are steps that would take too long, as far as the smaller ones say, and late ones.
static tn_status time_sizes(calibration *c, tn_calibration_program *program, uint32_t n_sizes, bool has_logits)
{
    const uint32_t first = c->n_done;
    double expected_ns = 0.0, ns;
    uint32_t n_timed = 0;
    for (; n_timed < n_sizes; n_timed++) {
        const uint32_t k = n_timed;
        const tn_cost_step step = step_of(k, has_logits);
        const uint64_t slot = slot_ns(c);
        TN_TRY(figures_done(c, 1));
        if (expected_ns > (double)slot * TOO_SLOW || (k > 0 && is_late(c))) break;
        TN_TRY(time_figure(c, program, &step, k, first + k, slot, &ns));
        if (k + 1 < n_sizes) expected_ns = ns * (tn_cost_step_sizes[k + 1] / tn_cost_step_sizes[k]) / 2;
    }
    for (uint32_t k = 0; k < n_timed && !is_late(c); k++) {
        const tn_cost_step step = step_of(k, has_logits);
        TN_TRY(time_figure(c, program, &step, k, first + k, slot_ns(c), &ns));
    }
    return TN_OK;
}

// Fitted ones become samples of the fit; of the others the error is noted for `group`. Without a program what is kept counts.
static tn_status measure_sizes(calibration *c, tn_calibration_program *program, uint32_t n_sizes, bool has_logits, bool fitted,
                               uint32_t group)
{
    const uint32_t first = c->n_done;
    if (program) TN_TRY(time_sizes(c, program, n_sizes, has_logits));
    for (uint32_t k = 0; k < n_sizes && c->kept[first + k].ns > 0.0; k++) {
        if (!fitted)
            tn_cost_note_error(c->table, group, &c->kept[first + k]);
        else if (c->n_samples < SAMPLES_MAX)
            c->samples[c->n_samples++] = c->kept[first + k];
    }
    return figures_done(c, first + n_sizes - c->n_done);
}

static bool is_size_known(const calibration *c, uint32_t n_samples, uint32_t size)
{
    for (uint32_t i = 0; i < n_samples; i++) {
        if (c->samples[i].step == size) return true;
    }
    return false;
}

// What attention takes, by steps in long contexts, which end amid a chunk as they do on average: of many sequences, as replies have it, and
// of one, as prompts do.
static tn_status measure_contexts(calibration *c, tn_calibration_program *program)
{
    static const struct {
        uint32_t step, n_seqs, n_positions;
    } contexts[N_CONTEXTS] = {{0, 1, 448}, {0, 1, 1856}, {1, 4, 960}, {2, 16, 704}, {2, 1, 448}, {3, 64, 448}, {3, 1, 448}, {4, 1, 960}};
    const uint32_t n_before = c->n_samples, first = c->n_done;
    double ns;
    for (uint32_t round = 0; program && round < 2; round++) {
        for (uint32_t i = 0; i < N_CONTEXTS; i++) {
            const uint32_t size = contexts[i].step;
            const tn_cost_step step = {
                .n_tokens = tn_cost_step_sizes[size], .n_seqs = contexts[i].n_seqs, .n_positions = contexts[i].n_positions};
            const uint64_t slot = slot_ns(c);
            if (round == 0) TN_TRY(figures_done(c, 1));
            // Where other steps of that size took too long, nothing could be told from this one alone.
            if (!is_size_known(c, n_before, size) || ((size > 0 || round > 0) && is_late(c))) continue;
            TN_TRY(time_figure(c, program, &step, size, first + i, slot, &ns));
        }
    }
    for (uint32_t i = 0; i < N_CONTEXTS && c->n_samples < SAMPLES_MAX; i++) {
        const tn_cost_sample *kept = &c->kept[first + i];
        if (kept->ns > 0.0 && is_size_known(c, n_before, contexts[i].step)) c->samples[c->n_samples++] = *kept;
    }
    return figures_done(c, first + N_CONTEXTS - c->n_done);
}

// ---- layers ----

// A shape's figures by one layer or several; weights NULL: those that are kept.
static tn_status measure_layers_of(calibration *c, const tn_calibration_weights *weights, uint32_t n_layers, uint32_t n_sizes, bool fitted,
                                   bool with_contexts)
{
    tn_status status;
    const uint32_t n_tokens = tn_cost_step_sizes[TN_COST_STEPS - 1];
    tn_calibration_program *program = NULL;
    if (weights) TN_TRY(tn_calibration_program_create(weights, n_layers, n_tokens, with_contexts ? 64 : 4, &program));
    TN_TRY_GOTO(measure_sizes(c, program, n_sizes, false, fitted, TN_COST_GROUP_LAYER));
    if (with_contexts) TN_TRY_GOTO(measure_contexts(c, program));
fail:
    tn_calibration_program_destroy(program);
    return status;
}

static tn_status measure_layer_programs(calibration *c, const tn_calibration_weights *weights, uint32_t index, uint32_t n_layers)
{
    const bool fitted = index + 1 < N_LAYER_SHAPES, with_contexts = index == 2, is_far = index + 2 == N_LAYER_SHAPES;
    TN_TRY(measure_layers_of(c, weights, 1, TN_COST_STEPS, fitted, false));
    return measure_layers_of(c, weights, n_layers, is_far ? N_FAR_SIZES : TN_COST_STEPS, fitted, with_contexts);
}

static tn_status measure_layer_shape(calibration *c, uint32_t index)
{
    tn_status status;
    tn_calibration_net *net;
    tn_calibration_weights weights = {0};
    tn_calibration_shape shape = layer_shapes[c->params->small][index];
    const bool fitted = index + 1 < N_LAYER_SHAPES;
    if (is_kept_enough(c) || (!fitted && is_late(c))) return measure_layer_programs(c, NULL, index, shape.n_layers);
    if (index + 2 == N_LAYER_SHAPES) shape.n_layers = tn_calibration_far_layers(&shape, c->params->cache_bytes, c->params->memory_bytes);
    TN_TRY(tn_calibration_net_create(&shape, &net));
    TN_TRY_GOTO(tn_calibration_weights_init(&weights, c->device, tn_calibration_net_graph(net), 1, shape.n_layers));
    TN_TRY_GOTO(measure_layer_programs(c, &weights, index, shape.n_layers));
fail:
    tn_calibration_weights_deinit(&weights);
    tn_calibration_net_destroy(net);
    return status;
}

static tn_status measure_layers(calibration *c)
{
    for (uint32_t i = 0; i + 1 < N_LAYER_SHAPES; i++) TN_TRY(measure_layer_shape(c, i));
    tn_cost_fit(c->table, layer_parts, c->samples, c->n_samples);
    tn_cost_complete(c->table, layer_parts);
    return measure_layer_shape(c, N_LAYER_SHAPES - 1);
}

// ---- heads and embeddings ----

static tn_calibration_shape head_shape(const calibration *c, uint32_t head, uint32_t index)
{
    const uint32_t *sizes = head_shapes[c->params->small][index];
    tn_calibration_shape shape = {0, sizes[1], sizes[1], 2, 1, 64, sizes[0], head_types[head]};
    if (shape.n_vocab == 0) shape.n_vocab = tn_calibration_far_rows(&shape, c->params->cache_bytes, c->params->memory_bytes);
    return shape;
}

// A unit of a head's model: the head itself, or its embedding.
static tn_status measure_ends_of(calibration *c, const tn_calibration_shape *shape, uint32_t unit, bool fitted, uint32_t group)
{
    tn_status status;
    tn_calibration_net *net;
    tn_calibration_program *program = NULL;
    tn_calibration_weights weights = {0};
    const uint32_t n_sizes = unit ? N_HEAD_STEPS : TN_COST_STEPS;
    if (is_kept_enough(c) || (!fitted && is_late(c))) return measure_sizes(c, NULL, n_sizes, unit != 0, fitted, group);
    TN_TRY(tn_calibration_net_create(shape, &net));
    TN_TRY_GOTO(tn_calibration_weights_init(&weights, c->device, tn_calibration_net_graph(net), unit, 1));
    TN_TRY_GOTO(tn_calibration_program_create(&weights, 1, tn_cost_step_sizes[n_sizes - 1], 4, &program));
    TN_TRY_GOTO(measure_sizes(c, program, n_sizes, unit != 0, fitted, group));
fail:
    tn_calibration_program_destroy(program);
    tn_calibration_weights_deinit(&weights);
    tn_calibration_net_destroy(net);
    return status;
}

static tn_status measure_head(calibration *c, uint32_t head)
{
    const uint32_t first = c->n_done, group = TN_COST_GROUP_HEADS_FIRST + head;
    c->n_samples = 0;
    if (c->pass > 0 && !c->has_head[head]) return figures_done(c, N_HEAD_SHAPES * N_HEAD_STEPS);
    for (uint32_t i = 0; i < N_HEAD_SHAPES; i++) {
        const bool fitted = i + 1 < N_HEAD_SHAPES;
        const tn_calibration_shape shape = head_shape(c, head, i);
        if (!fitted) {
            tn_cost_fit(c->table, head_parts(head), c->samples, c->n_samples);
            tn_cost_complete(c->table, head_parts(head));
        }
        const tn_status status = measure_ends_of(c, &shape, 1, fitted, group);
        if (status == TN_UNSUPPORTED) return figures_done(c, first + N_HEAD_SHAPES * N_HEAD_STEPS - c->n_done);
        TN_TRY(status);
    }
    c->has_head[head] = true;
    return TN_OK;
}

// A type that the device has no head of costs what values of floating point do: whoever places one there is told by the device itself.
static void copy_unsupported(calibration *c)
{
    double(*heads)[TN_COST_STEPS] = &c->table->ns[TN_COST_HEADS_FIRST];
    for (uint32_t head = 0; head < TN_COST_HEADS; head++) {
        if (!c->has_head[head]) memcpy(heads[3 * head], heads[3 * TN_COST_HEAD_FLOAT], 3 * sizeof *heads);
    }
}

static tn_status measure_ends(calibration *c)
{
    for (uint32_t head = 0; head < TN_COST_HEADS; head++) TN_TRY(measure_head(c, head));
    copy_unsupported(c);
    c->n_samples = 0;
    for (uint32_t i = 0; i < 2; i++) {
        const tn_calibration_shape shape = head_shape(c, TN_COST_HEAD_Q6_K, i + 1);
        TN_TRY(measure_ends_of(c, &shape, 0, true, TN_COST_GROUP_EMBED));
    }
    tn_cost_fit(c->table, embed_parts, c->samples, c->n_samples);
    tn_cost_complete(c->table, embed_parts);
    return TN_OK;
}

// ---- links ----

static tn_status time_transfer(calibration *c, tn_buffer *buffer, void *host, uint64_t bytes, bool to_device, double *out_ns)
{
    const tn_backend *backend = c->device->backend;
    const uint64_t slot = slot_ns(c), begun_ns = tn_clock_ns();
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < 3 || (tn_clock_ns() - begun_ns < slot && !is_late(c)); i++) {
        const uint64_t at_ns = tn_clock_ns();
        TN_TRY(to_device ? backend->buffer_write(buffer, 0, host, bytes) : backend->buffer_read(buffer, 0, host, bytes));
        const uint64_t ns = tn_clock_ns() - at_ns;
        if (ns < least) least = ns;
    }
    c->spent_ns += tn_clock_ns() - begun_ns;
    keep_shortest(c, c->n_done, &(tn_cost_sample){.ns = least ? (double)least : 1.0});
    *out_ns = c->kept[c->n_done].ns;
    return figures_done(c, 1);
}

static tn_status measure_links(calibration *c)
{
    tn_status status;
    tn_buffer *buffer = NULL;
    uint8_t *host;
    double ns[N_LINK_SIZES];
    TN_TRY(tn_alloc_aligned(link_sizes[N_LINK_SIZES - 1], 64, &host));
    TN_TRY_GOTO(c->device->backend->buffer_create(c->device, link_sizes[N_LINK_SIZES - 1], &buffer));
    for (uint32_t i = 0; i < N_LINK_SIZES; i++) TN_TRY_GOTO(time_transfer(c, buffer, host, link_sizes[i], true, &ns[i]));
    c->table->to_device = tn_cost_fit_link(link_sizes, ns, N_LINK_SIZES);
    for (uint32_t i = 0; i < N_LINK_SIZES; i++) TN_TRY_GOTO(time_transfer(c, buffer, host, link_sizes[i], false, &ns[i]));
    c->table->to_host = tn_cost_fit_link(link_sizes, ns, N_LINK_SIZES);
fail:
    if (buffer) c->device->backend->buffer_destroy(buffer);
    tn_free(host);
    return status;
}

// How fast weights are read from memory, by the faster one of a step of one token's largest readers.
static void note_memory(calibration *c)
{
    const double ternary_bytes = 0.25, q8_0_bytes = 34.0 / 32.0; // of an element, about
    const double ternary_ns = c->table->ns[TN_COST_TERNARY_FAR][0],
                 q8_0_ns = c->table->ns[TN_COST_HEADS_FIRST + 3 * TN_COST_HEAD_Q8_0 + 2][0];
    const double by_ternary = ternary_ns > 0.0 ? ternary_bytes / ternary_ns * 1e9 : 0.0,
                 by_q8_0 = q8_0_ns > 0.0 ? q8_0_bytes / q8_0_ns * 1e9 : 0.0;
    c->table->memory_bytes_per_s = by_ternary > by_q8_0 ? by_ternary : by_q8_0;
}

static double worst_error(const tn_cost_table *table)
{
    double worst = 0.0;
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        if (table->error[TN_COST_GROUP_LAYER][k] > worst) worst = table->error[TN_COST_GROUP_LAYER][k];
    }
    return worst;
}

static tn_status measure_all(calibration *c)
{
    tn_cost_table_init(c->table);
    c->table->cache_bytes = c->params->cache_bytes;
    c->n_samples = c->n_done = 0;
    c->spent_ns = 0;
    TN_TRY(measure_layers(c));
    TN_TRY(measure_ends(c));
    TN_TRY(measure_links(c));
    note_memory(c);
    return TN_OK;
}

// Small models are noise for the most part, which no further pass takes away.
static bool is_pass_worth(calibration *c)
{
    if (c->pass == 0) return true;
    return c->pass < PASSES_MAX && !c->params->small && worst_error(c->table) > error_expected && !is_late(c);
}

tn_status tn_calibrate(tn_device *device, const tn_calibration_params *params, tn_cost_table *out_table, bool *out_late)
{
    calibration *c;
    tn_status status = TN_OK;
    tn_cost_table_init(out_table);
    *out_late = false;
    TN_TRY(tn_alloc_zero(1, sizeof *c, &c));
    c->device = device;
    c->params = params;
    c->table = out_table;
    c->deadline_ns = tn_clock_ns() + DEADLINE * params->time_ns + (params->small ? 0 : packing_ns);
    for (; status == TN_OK && is_pass_worth(c); c->pass++) status = measure_all(c);
    *out_late = c->was_late;
    tn_free(c);
    return status;
}
