// Costs of units: what they are made of, prediction by a table, and its corrections.
#include "scheduler/cost.h"

#include "base/checked.h"
#include "scheduler/cost_table.h"

#include <string.h>

const uint32_t tn_cost_step_sizes[TN_COST_STEPS] = {1, 4, 16, 64, 256};

// This part of a cache keeps weights from step to step; the rest is for what else a step touches.
static const double near_share = 0.75;
// How far a real step moves a correction, and how far corrections may go.
static const double observed_share = 0.125;
const double tn_cost_correction_max = 4.0;

tn_cost_head tn_cost_head_of(tn_dtype dtype)
{
    switch (dtype) {
    case TN_DTYPE_Q8_0: return TN_COST_HEAD_Q8_0;
    case TN_DTYPE_Q6_K: return TN_COST_HEAD_Q6_K;
    case TN_DTYPE_F32:
    case TN_DTYPE_F16:
    case TN_DTYPE_BF16: return TN_COST_HEAD_FLOAT;
    default: return TN_COST_HEAD_OTHER;
    }
}

const char *tn_cost_head_name(tn_cost_head head)
{
    static const char *const names[TN_COST_HEADS] = {"q8_0", "q6_k", "quantised", "float"};
    return names[head];
}

void tn_cost_table_init(tn_cost_table *table)
{
    memset(table, 0, sizeof *table);
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        for (uint32_t g = 0; g < TN_COST_GROUPS; g++) {
            table->correction[g][k] = 1.0;
            table->error[g][k] = -1.0;
        }
        for (uint32_t r = 0; r < TN_COST_READERS; r++) table->together[r][k] = 1.0;
    }
}

// The group of a part; TN_COST_GROUPS for what is in none.
static uint32_t group_of(uint32_t part)
{
    if (part == TN_COST_SUBMIT) return TN_COST_GROUPS;
    if (part < TN_COST_EMBED) return TN_COST_GROUP_LAYER;
    if (part < TN_COST_HEADS_FIRST) return TN_COST_GROUP_EMBED;
    return TN_COST_GROUP_HEADS_FIRST + (part - TN_COST_HEADS_FIRST) / 3;
}

// ---- what units are made of ----

static tn_cost_unit unit_of(const tn_node *node)
{
    return node->layer == TN_LAYER_EMBED ? TN_COST_UNIT_EMBED : node->layer == TN_LAYER_HEAD ? TN_COST_UNIT_HEAD : TN_COST_UNIT_LAYER;
}

static uint64_t n_elements(const tn_weight_source *weight) { return (uint64_t)weight->n_rows * weight->n_cols; }

static bool add_ternary(const tn_weight_source *weight, tn_cost_work *work)
{
    return tn_ckd_add(work->n_ternary, n_elements(weight), &work->n_ternary) &&
           tn_ckd_add(work->weight_bytes, n_elements(weight) / 4 + 1, &work->weight_bytes);
}

static bool add_dense(const tn_weight_source *weight, bool is_embedding, tn_cost_work *work)
{
    uint64_t bytes;
    work->head_type = weight->dtype;
    if (is_embedding)
        work->n_values += weight->n_cols;
    else if (!tn_ckd_add(work->n_dense, n_elements(weight), &work->n_dense))
        return false;
    return tn_ckd_mul(tn_dtype_row_bytes(weight->dtype, weight->n_cols), weight->n_rows, &bytes) &&
           tn_ckd_add(work->weight_bytes, bytes, &work->weight_bytes);
}

static bool add_node(const tn_graph *graph, const tn_node *node, tn_cost_work *work)
{
    switch (node->op) {
    case TN_OP_MATMUL_TERNARY: return add_ternary(&graph->weights[node->weight], work);
    case TN_OP_MATMUL_DENSE:
    case TN_OP_EMBED: return add_dense(&graph->weights[node->weight], node->op == TN_OP_EMBED, work);
    case TN_OP_ATTENTION: work->n_attention += (uint64_t)node->p.attention.n_heads * node->p.attention.head_dim; return true;
    case TN_OP_KV_APPEND: work->n_values += (uint64_t)graph->values[node->in[0]].width + graph->values[node->in[1]].width; return true;
    default:
        if (node->op == TN_OP_GLU && node->p.glu.kind == TN_GLU_RELU2) work->has_relu2 = true;
        work->n_values += graph->values[node->out].width;
        return true;
    }
}

tn_status tn_cost_works(const tn_graph *graph, tn_cost_work *out)
{
    const uint32_t n = graph->n_layers + 2;
    uint64_t resident = 0;
    bool fits = true;
    memset(out, 0, n * sizeof *out);
    for (uint32_t i = 0; i < n; i++) out[i].unit = i == 0 ? TN_COST_UNIT_EMBED : i + 1 == n ? TN_COST_UNIT_HEAD : TN_COST_UNIT_LAYER;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const tn_node *node = &graph->nodes[i];
        const tn_cost_unit unit = unit_of(node);
        const uint32_t at = unit == TN_COST_UNIT_EMBED ? 0 : unit == TN_COST_UNIT_HEAD ? n - 1 : 1 + (uint32_t)node->layer;
        fits = add_node(graph, node, &out[at]) && fits;
    }
    for (uint32_t i = 1; i < n; i++) fits = tn_ckd_add(resident, out[i].weight_bytes, &resident) && fits; // of the embedding rows alone
    if (!fits) return tn_fail(TN_INVALID_ARGUMENT, "the model's weights are larger than any memory");
    for (uint32_t i = 0; i < n; i++) out[i].resident_bytes = resident;
    return TN_OK;
}

// The share of weights that a step does not find in the cache. Of weights that do not fit, read in turns, today's caches keep some.
static double share_far(uint64_t resident_bytes, uint64_t cache_bytes)
{
    const double kept_bytes = near_share * (double)cache_bytes, bytes = (double)resident_bytes;
    return kept_bytes <= 0.0 ? 1.0 : bytes > kept_bytes ? 1.0 - kept_bytes / bytes : 0.0;
}

// Positions as attention pays for them: in whole chunks, of which the last one is half full on average.
static double paid_positions(uint32_t n_positions)
{
    const double half = TN_KV_PAGE_POSITIONS / 2;
    return n_positions < half ? 2 * half : n_positions + half;
}

void tn_cost_add_amounts(const tn_cost_work *work, const tn_cost_step *step, uint64_t cache_bytes, double amounts[TN_COST_PARTS])
{
    const double far = share_far(work->resident_bytes, cache_bytes);
    if (work->unit == TN_COST_UNIT_EMBED) {
        amounts[TN_COST_EMBED] += 1.0;
        amounts[TN_COST_EMBED_VALUES] += (double)work->n_values;
        return;
    }
    if (work->unit == TN_COST_UNIT_HEAD) {
        double *head = amounts + TN_COST_HEADS_FIRST + 3 * tn_cost_head_of(work->head_type);
        head[0] += 1.0;
        head[1] += (double)work->n_dense * (1.0 - far);
        head[2] += (double)work->n_dense * far;
        return;
    }
    const double attention = (double)work->n_attention * paid_positions(step->n_positions);
    const double many = step->n_tokens > 1 && step->n_seqs < step->n_tokens
                            ? (step->n_seqs > 1 ? (step->n_seqs - 1.0) / (step->n_tokens - 1.0) : 0.0)
                            : 1.0;
    amounts[TN_COST_LAYER] += 1.0;
    amounts[TN_COST_TERNARY_NEAR] += (double)work->n_ternary * (1.0 - far);
    amounts[TN_COST_TERNARY_FAR] += (double)work->n_ternary * far;
    amounts[TN_COST_VALUES] += (double)work->n_values;
    amounts[TN_COST_ATTENTION_MANY] += attention * many;
    amounts[TN_COST_ATTENTION_ONE] += attention * (1.0 - many);
}

// ---- prediction ----

double tn_cost_at_step(const tn_cost_table *table, const double amounts[TN_COST_PARTS], uint32_t step)
{
    double ns = 0.0;
    for (uint32_t p = 0; p < TN_COST_PARTS; p++) {
        const uint32_t group = group_of(p);
        ns += table->ns[p][step] * amounts[p] * (group < TN_COST_GROUPS ? table->correction[group][step] : 1.0);
    }
    return ns;
}

// The sizes of steps that n lies between, and how far it is from the lower one to the upper; above the last size more than 1.
static uint32_t bracket(uint32_t n, double *out_share)
{
    uint32_t lower = 0;
    while (lower + 2 < TN_COST_STEPS && n > tn_cost_step_sizes[lower + 1]) lower++;
    const double first = tn_cost_step_sizes[lower], last = tn_cost_step_sizes[lower + 1];
    *out_share = (n - first) / (last - first);
    return lower;
}

// Time of amounts in a step of n tokens or rows. Noise may have made a table's larger step the cheaper one: it then costs what the smaller
// does.
static double at_size(const tn_cost_table *table, const double amounts[TN_COST_PARTS], uint32_t n)
{
    double ns[TN_COST_STEPS], share;
    if (n == 0) return 0.0;
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        ns[k] = tn_cost_at_step(table, amounts, k);
        if (k > 0 && ns[k] < ns[k - 1]) ns[k] = ns[k - 1];
    }
    const uint32_t lower = bracket(n, &share);
    return ns[lower] + (ns[lower + 1] - ns[lower]) * share;
}

static uint32_t size_of(const tn_cost_work *work, const tn_cost_step *step)
{
    return work->unit == TN_COST_UNIT_HEAD ? step->n_logits : step->n_tokens;
}

double tn_cost_unit_ns(const tn_cost_table *table, const tn_cost_work *work, const tn_cost_step *step)
{
    double amounts[TN_COST_PARTS] = {0};
    tn_cost_add_amounts(work, step, table->cache_bytes, amounts);
    return at_size(table, amounts, size_of(work, step));
}

double tn_cost_submit_ns(const tn_cost_table *table, const tn_cost_step *step)
{
    const double amounts[TN_COST_PARTS] = {[TN_COST_SUBMIT] = 1.0};
    return at_size(table, amounts, step->n_tokens);
}

double tn_cost_segment_ns(const tn_cost_table *table, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step)
{
    double ns = tn_cost_submit_ns(table, step);
    for (uint32_t i = 0; i < n_works; i++) ns += tn_cost_unit_ns(table, &works[i], step);
    return ns;
}

static double link_ns(const tn_cost_link *link, uint64_t bytes)
{
    return link->latency_ns + (link->bytes_per_s > 0.0 ? (double)bytes / link->bytes_per_s * 1e9 : 0.0);
}

double tn_cost_hop_ns(const tn_cost_table *from, const tn_cost_table *to, uint64_t bytes)
{
    return link_ns(&from->to_host, bytes) + link_ns(&to->to_device, bytes);
}

// ---- refinement ----

static double clamp(double x)
{
    return x < 1.0 / tn_cost_correction_max ? 1.0 / tn_cost_correction_max : x > tn_cost_correction_max ? tn_cost_correction_max : x;
}

static void move_correction(double *correction, double ratio, double share)
{
    *correction = clamp(*correction * (1.0 + share * (ratio - 1.0)));
}

void tn_cost_observe(tn_cost_table *table, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step, double measured_ns)
{
    double group_ns[TN_COST_GROUPS] = {0};
    const double predicted_ns = tn_cost_segment_ns(table, works, n_works, step);
    if (!(measured_ns > 0.0 && predicted_ns > 0.0)) return;
    const double ratio = clamp(measured_ns / predicted_ns);
    for (uint32_t i = 0; i < n_works; i++) {
        const uint32_t group = works[i].unit == TN_COST_UNIT_EMBED   ? TN_COST_GROUP_EMBED
                               : works[i].unit == TN_COST_UNIT_LAYER ? TN_COST_GROUP_LAYER
                                                                     : TN_COST_GROUP_HEADS_FIRST + tn_cost_head_of(works[i].head_type);
        group_ns[group] += tn_cost_unit_ns(table, &works[i], step);
    }
    for (uint32_t g = 0; g < TN_COST_GROUPS; g++) {
        const uint32_t n = g >= TN_COST_GROUP_HEADS_FIRST ? step->n_logits : step->n_tokens;
        double upper;
        if (n == 0) continue;
        const uint32_t lower = bracket(n, &upper);
        if (upper > 1.0) upper = 1.0;
        const double share = observed_share * group_ns[g] / predicted_ns;
        move_correction(&table->correction[g][lower], ratio, share * (1.0 - upper));
        move_correction(&table->correction[g][lower + 1], ratio, share * upper);
    }
    if (table->n_observed < UINT32_MAX) table->n_observed++;
}
