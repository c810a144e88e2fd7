// Finds what runs in one dispatch: products over one input, a product with the residual or the gate behind it, RoPE with the append, a
// product with the quantisation of its output. Bits do not change: every node's own result is computed and rounded as if it stood alone.
#include "backend/fuse.h"

#include "base/alloc.h"

#include <string.h>

typedef struct fuser {
    const tn_fuse_params *params;
    const tn_graph *graph;
    const tn_node *nodes; // of the graph
    uint32_t first, end;
    uint32_t *n_reads;  // [n_values] nodes of the program that read it, and who else needs it: a tap, the program's caller
    uint32_t *producer; // [n_values] node; TN_NONE: not of the program
    bool *done;         // [n_nodes of the program]
} fuser;

// How far products are looked for behind another.
enum { LOOK_AHEAD = 8 };

static bool is_done(const fuser *f, uint32_t node) { return f->done[node - f->first]; }

static bool is_there(const fuser *f, uint32_t value)
{
    return f->producer[value] == TN_NONE ? value == f->params->desc->in_value : is_done(f, f->producer[value]);
}

// Nobody but one node of the program sees the value.
static bool is_private(const fuser *f, uint32_t value) { return f->n_reads[value] == 1; }

// The node that alone reads a private value.
static uint32_t reader_of(const fuser *f, uint32_t value)
{
    for (uint32_t i = f->producer[value] + 1; i < f->end; i++) {
        if (f->nodes[i].in[0] == value || f->nodes[i].in[1] == value) return i;
    }
    return TN_NONE;
}

static bool is_ternary_of(const fuser *f, uint32_t node, uint32_t input, int32_t layer)
{
    const tn_node *n = &f->nodes[node];
    return n->op == TN_OP_MATMUL_TERNARY && n->in[0] == input && n->layer == layer && !is_done(f, node);
}

// One binding reaches from the first weight to the last.
static bool can_bind(const fuser *f, const uint32_t *nodes, uint32_t n)
{
    uint64_t begin = UINT64_MAX, end = 0;
    const tn_buffer *buffer = NULL;
    if (f->params->range_bytes == UINT64_MAX) return true;
    for (uint32_t i = 0; i < n; i++) {
        const tn_packed_weight *w = &f->params->desc->weights[f->nodes[nodes[i]].weight];
        if (!w->buffer || (buffer && w->buffer != buffer)) return false;
        buffer = w->buffer;
        if (w->offset_bytes < begin) begin = w->offset_bytes;
        if (w->offset_bytes + w->layout.size_bytes > end) end = w->offset_bytes + w->layout.size_bytes;
    }
    return end - begin <= f->params->range_bytes;
}

static uint32_t n_rows(const fuser *f, uint32_t node) { return f->graph->values[f->nodes[node].out].width; }

// GLU over this product and its twin.
static bool add_glu(const fuser *f, uint32_t node, tn_group *group)
{
    if (!is_private(f, f->nodes[node].out)) return false;
    const uint32_t glu = reader_of(f, f->nodes[node].out);
    if (glu == TN_NONE || f->nodes[glu].op != TN_OP_GLU) return false;
    const tn_node *g = &f->nodes[glu];
    const uint32_t gate = f->producer[g->in[0]], up = f->producer[g->in[1]];
    if (gate == TN_NONE || up == TN_NONE || gate == up) return false;
    const uint32_t input = f->nodes[node].in[0], pair[2] = {gate, up};
    const int32_t layer = f->nodes[node].layer;
    if (!is_ternary_of(f, gate, input, layer) || !is_ternary_of(f, up, input, layer)) return false;
    if (!is_private(f, g->in[0]) || !is_private(f, g->in[1]) || n_rows(f, gate) != n_rows(f, up) || !can_bind(f, pair, 2)) return false;
    group->nodes[0] = gate;
    group->nodes[1] = up;
    group->behind = glu;
    return true;
}

// ADD of this product and what is there already.
static bool add_residual(const fuser *f, uint32_t node, tn_group *group)
{
    const uint32_t out = f->nodes[node].out;
    if (!is_private(f, out)) return false;
    const uint32_t sum = reader_of(f, out);
    if (sum == TN_NONE || f->nodes[sum].op != TN_OP_ADD) return false;
    const uint32_t other = f->nodes[sum].in[0] == out ? f->nodes[sum].in[1] : f->nodes[sum].in[0];
    if (other == out || !is_there(f, other)) return false;
    group->behind = sum;
    return true;
}

static void add_siblings(const fuser *f, uint32_t node, tn_group *group)
{
    uint32_t n = 1;
    for (uint32_t i = node + 1; i < f->end && i <= node + LOOK_AHEAD && n < 3; i++) {
        if (!is_ternary_of(f, i, f->nodes[node].in[0], f->nodes[node].layer)) continue;
        group->nodes[n] = i;
        if (can_bind(f, group->nodes, n + 1))
            n++;
        else
            group->nodes[n] = TN_NONE;
    }
}

static bool is_rope_like(const fuser *f, uint32_t node, uint32_t like)
{
    const tn_node *a = &f->nodes[node], *b = &f->nodes[like];
    return a->op == TN_OP_ROPE && !is_done(f, node) && is_there(f, a->in[0]) && a->weight == b->weight && a->layer == b->layer &&
           a->p.rope.head_dim == b->p.rope.head_dim && a->p.rope.pairs == b->p.rope.pairs;
}

// RoPE of q and k and the append of k and v, where all three can run now.
static bool add_append(const fuser *f, uint32_t node, tn_group *group)
{
    uint32_t append = node + 1;
    while (append < f->end && f->nodes[append].op != TN_OP_KV_APPEND) append++;
    if (append == f->end || f->nodes[append].layer != f->nodes[node].layer) return false;
    const tn_node *a = &f->nodes[append];
    const uint32_t k = f->producer[a->in[0]];
    if (k == TN_NONE || !is_rope_like(f, k, node) || !is_private(f, a->in[0]) || !is_there(f, a->in[1])) return false;
    if (f->nodes[k].p.rope.n_heads != a->p.attention.n_kv_heads || f->nodes[k].p.rope.head_dim != a->p.attention.head_dim) return false;
    uint32_t q = node == k ? TN_NONE : node;
    for (uint32_t i = node + 1; q == TN_NONE && i < append; i++) {
        if (i != k && is_rope_like(f, i, node)) q = i;
    }
    group->nodes[0] = q;
    group->nodes[1] = k;
    group->nodes[2] = append;
    return true;
}

static tn_group group_of(const fuser *f, uint32_t node)
{
    static const tn_group_kind kinds[TN_OP_COUNT_] = {
        [TN_OP_EMBED] = TN_GROUP_EMBED,
        [TN_OP_NORM_QUANT] = TN_GROUP_ROW,
        [TN_OP_QUANT] = TN_GROUP_ROW,
        [TN_OP_NORM] = TN_GROUP_ROW,
        [TN_OP_MATMUL_TERNARY] = TN_GROUP_TERNARY,
        [TN_OP_MATMUL_DENSE] = TN_GROUP_DENSE,
        [TN_OP_ROPE] = TN_GROUP_ROPE,
        [TN_OP_KV_APPEND] = TN_GROUP_ROPE,
        [TN_OP_ATTENTION] = TN_GROUP_ATTENTION,
        [TN_OP_GLU] = TN_GROUP_ELEMENT,
        [TN_OP_ADD] = TN_GROUP_ELEMENT,
        [TN_OP_COPY] = TN_GROUP_COPY,
    };
    tn_group group = {.kind = kinds[f->nodes[node].op],
                      .nodes = {node, TN_NONE, TN_NONE},
                      .behind = TN_NONE,
                      .row = TN_NONE,
                      .before = TN_NONE,
                      .rope = {TN_NONE, TN_NONE, TN_NONE}};
    switch (f->nodes[node].op) {
    case TN_OP_MATMUL_TERNARY:
        if (!add_glu(f, node, &group) && !add_residual(f, node, &group)) add_siblings(f, node, &group);
        break;
    case TN_OP_ROPE: add_append(f, node, &group); break;
    case TN_OP_KV_APPEND:
        group.nodes[0] = TN_NONE;
        group.nodes[2] = node;
        break;
    default: break;
    }
    return group;
}

// The value that a group leaves behind it for others (of the residual or GLU where there is one); TN_NONE: several, or none.
static uint32_t out_of(const tn_graph *graph, const tn_group *group)
{
    if (group->behind != TN_NONE) return graph->nodes[group->behind].out;
    if (group->kind == TN_GROUP_ROPE || (group->kind == TN_GROUP_TERNARY && group->nodes[1] != TN_NONE)) return TN_NONE;
    return graph->nodes[group->nodes[0]].out;
}

// The quantisation of what the group makes, where it is the next thing to read it.
static uint32_t row_behind(const fuser *f, const tn_group *group)
{
    if (group->kind != TN_GROUP_TERNARY && !(group->kind == TN_GROUP_EMBED && f->params->fuses_embed)) return TN_NONE;
    const uint32_t out = out_of(f->graph, group);
    if (out == TN_NONE || out == f->params->desc->out_value) return TN_NONE;
    // Of a matrix that is bound in slices each has a last workgroup of its own. (Gate and up were looked at.)
    if (group->nodes[1] == TN_NONE && !can_bind(f, group->nodes, 1)) return TN_NONE;
    for (uint32_t i = f->producer[out] + 1; i < f->end && i <= f->producer[out] + LOOK_AHEAD; i++) {
        const tn_node *n = &f->nodes[i];
        if ((n->op == TN_OP_NORM_QUANT || n->op == TN_OP_QUANT) && n->in[0] == out && !is_done(f, i)) return i;
    }
    return TN_NONE;
}

static void mark_done(const fuser *f, uint32_t node)
{
    if (node != TN_NONE) f->done[node - f->first] = true;
}

static void find_groups(fuser *f, tn_group *groups, uint32_t *out_n_groups)
{
    uint32_t n = 0;
    for (uint32_t i = f->first; i < f->end; i++) {
        if (is_done(f, i)) continue;
        tn_group group = group_of(f, i);
        for (uint32_t k = 0; k < 3; k++) mark_done(f, group.nodes[k]);
        mark_done(f, group.behind);
        if (f->params->rows == TN_FUSE_ROWS_BEHIND) {
            group.row = row_behind(f, &group);
            mark_done(f, group.row);
        }
        groups[n++] = group;
    }
    *out_n_groups = n;
}

// The group in front of `group` is taken into it, where nobody else reads what it makes.
static bool takes_row_before(const fuser *f, const tn_group *front, const tn_group *group)
{
    if (group->kind != TN_GROUP_TERNARY || front->kind != TN_GROUP_ROW || f->nodes[front->nodes[0]].op == TN_OP_NORM) return false;
    const uint32_t codes = f->nodes[front->nodes[0]].out;
    uint32_t n_reads = 0;
    for (uint32_t i = 0; i < 3; i++) n_reads += group->nodes[i] != TN_NONE;
    return f->nodes[group->nodes[0]].in[0] == codes && f->n_reads[codes] == n_reads;
}

static bool takes_rope(const fuser *f, const tn_group *front, const tn_group *group)
{
    if (group->kind != TN_GROUP_ATTENTION || front->kind != TN_GROUP_ROPE) return false;
    for (uint32_t i = 0; i < 3; i++) {
        if (front->nodes[i] == TN_NONE) return false;
    }
    const tn_node *attention = &f->nodes[group->nodes[0]], *append = &f->nodes[front->nodes[2]], *rope_q = &f->nodes[front->nodes[0]];
    return attention->in[0] == rope_q->out && is_private(f, rope_q->out) && append->layer == attention->layer &&
           append->p.attention.n_kv_heads == attention->p.attention.n_kv_heads &&
           append->p.attention.head_dim == attention->p.attention.head_dim;
}

static void take_fronts(const fuser *f, tn_group *groups, uint32_t *n_groups)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < *n_groups; i++) {
        tn_group group = groups[i];
        const tn_group *front = n > 0 ? &groups[n - 1] : NULL;
        if (front && f->params->rows == TN_FUSE_ROWS_BEFORE && takes_row_before(f, front, &group)) {
            group.before = front->nodes[0];
            n--;
        } else if (front && f->params->fuses_rope && takes_rope(f, front, &group)) {
            memcpy(group.rope, front->nodes, sizeof group.rope);
            n--;
        }
        groups[n++] = group;
    }
    *n_groups = n;
}

static void count_reads(const fuser *f)
{
    const tn_program_desc *desc = f->params->desc;
    for (uint32_t v = 0; v < f->graph->n_values; v++) f->producer[v] = TN_NONE;
    for (uint32_t i = f->first; i < f->end; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            if (f->nodes[i].in[k] != TN_NONE) f->n_reads[f->nodes[i].in[k]]++;
        }
        if (f->nodes[i].out != TN_NONE) f->producer[f->nodes[i].out] = i;
    }
    f->n_reads[desc->out_value] += 2; // never private
    for (uint32_t t = 0; t < desc->n_taps; t++) f->n_reads[desc->taps[t].value] += 2;
}

tn_status tn_fuse(const tn_fuse_params *params, tn_group *groups, uint32_t *out_n_groups)
{
    *out_n_groups = 0;
    const tn_program_desc *desc = params->desc;
    tn_status status;
    fuser f = {.params = params,
               .graph = desc->graph,
               .nodes = desc->graph->nodes,
               .first = desc->first_node,
               .end = desc->first_node + desc->n_nodes};
    TN_TRY_GOTO(tn_alloc_zero(f.graph->n_values, sizeof *f.n_reads, &f.n_reads));
    TN_TRY_GOTO(tn_alloc_zero(f.graph->n_values, sizeof *f.producer, &f.producer));
    TN_TRY_GOTO(tn_alloc_zero(desc->n_nodes, sizeof *f.done, &f.done));
    count_reads(&f);
    find_groups(&f, groups, out_n_groups);
    take_fronts(&f, groups, out_n_groups);
    status = TN_OK;
fail:
    tn_free(f.n_reads);
    tn_free(f.producer);
    tn_free(f.done);
    return status;
}
