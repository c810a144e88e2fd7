// Launches of RoPE, append and attention, and how attention is cut for a device.
#include "cuda/cuda_emit.h"
#include "ref/ref.h"

static struct tn_cuda_kv kv_of(const tn_cuda_compiler *c, int32_t layer)
{
    const uint64_t page = tn_kv_page_layer_bytes(c->graph->n_kv_heads, c->graph->head_dim);
    const uint64_t n_before = (uint64_t)(uint32_t)(layer - c->desc->first_layer) * c->desc->limits.n_kv_pages;
    return (struct tn_cuda_kv){
        .at = tn_cuda_buffer_of(c->desc->kv)->at + n_before * page, .page_bytes = page, .n_pages = c->desc->limits.n_kv_pages};
}

// Of the nodes q, k and append, any of them TN_NONE.
static tn_status rope_of(const tn_cuda_compiler *c, const uint32_t nodes[3], struct tn_cuda_rope *out)
{
    const tn_node *q = tn_cuda_node_of(c, nodes[0]), *k = tn_cuda_node_of(c, nodes[1]), *append = tn_cuda_node_of(c, nodes[2]),
                  *turned = q ? q : k;
    const uint32_t head_dim = turned ? turned->p.rope.head_dim : append->p.attention.head_dim, a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    *out = (struct tn_cuda_rope){.head_dim = head_dim, .a_qk = a_qk, .recip_a_qk = (float)(1.0 / a_qk)};
    if (turned) {
        tn_cuda_weight table;
        TN_TRY(tn_cuda_find_weight(c, turned->weight, &table));
        out->table = table.at;
        out->is_adjacent = turned->p.rope.pairs == TN_ROPE_ADJACENT;
    }
    if (q) {
        out->n_q = q->p.rope.n_heads;
        out->q = c->values[q->in[0]].rows;
        out->q_node = tn_cuda_number_of(nodes[0]);
    }
    if (append) {
        out->n_kv = append->p.attention.n_kv_heads;
        out->k = c->values[k ? k->in[0] : append->in[0]].rows;
        out->v = c->values[append->in[1]].rows;
        out->k_node = tn_cuda_number_of(nodes[1]); // 0: keys are appended as they are
    }
    return TN_OK;
}

tn_status tn_cuda_emit_rope(tn_cuda_compiler *c, const tn_group *group)
{
    const tn_node *q = tn_cuda_node_of(c, group->nodes[0]), *k = tn_cuda_node_of(c, group->nodes[1]),
                  *append = tn_cuda_node_of(c, group->nodes[2]);
    const uint32_t first = q ? group->nodes[0] : k ? group->nodes[1] : group->nodes[2], input = tn_cuda_node_of(c, first)->in[0];
    struct tn_cuda_rope_params p = {.step = c->step, .poison = tn_cuda_poison_of(c, input)};
    TN_TRY(rope_of(c, group->nodes, &p.rope));
    if (q) p.qy = c->values[q->out].rows;
    if (append) p.kv = kv_of(c, append->layer);
    const uint32_t n_rows = tn_cuda_rows_max_of(c, input);
    const bool is_of_submit = (q && (!p.rope.q.at || !p.qy.at)) || (append && (!p.rope.k.at || !p.rope.v.at));
    const bool is_many = n_rows > TN_CUDA_MANY_TOKENS && !is_of_submit && tn_cuda_rope_many_fits(p.rope.head_dim, p.rope.is_adjacent);
    const tn_cuda_launch l = is_many ? tn_cuda_launch_of(TN_CUDA_rope_many, n_rows, 1, 1, first)
                                     : tn_cuda_launch_of(TN_CUDA_rope_append, n_rows,
                                                         tn_cuda_ceil_div(p.rope.n_q + 2 * p.rope.n_kv, TN_CUDA_ROPE_HEADS), 1, first);
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

// What blocks that share a token's chunks leave for the last one: each chunk's part of each head of each token.
static uint64_t partials_bytes(const tn_cuda_compiler *c, const tn_node *node)
{
    return (uint64_t)c->list->n_tokens_max * node->p.attention.n_heads * c->desc->limits.n_seq_pages * (node->p.attention.head_dim + 4) *
           sizeof(float);
}

// Row tiles of the steps' tiles.
static uint32_t row_tiles_of(const tn_cuda_compiler *c, const tn_node *node)
{
    return tn_cuda_ceil_div(c->list->n_tokens_max, TN_CUDA_ATTENTION_TOKENS) *
           tn_cuda_attention_row_tiles(node->p.attention.n_heads, node->p.attention.n_kv_heads);
}

// What blocks that share row tiles leave for one another.
static uint64_t row_tile_parts_bytes(const tn_cuda_compiler *c, const tn_node *node)
{
    return (uint64_t)row_tiles_of(c, node) * c->desc->limits.n_seq_pages * TN_CUDA_ATTENTION_PART_FLOATS * sizeof(float);
}

// What shared memory blocks of attention_few_mma and attention_tile_mma have beside the dynamic one, or a little more.
enum { FEW_OWN_BYTES = 11264, ROW_TILE_OWN_BYTES = 40960 };

// Blocks that a multiprocessor has at once by their shared memory, at most as many as their registers allow. Of each block a KiB is the
// system's, and a multiprocessor has one more than a block can ask for.
static uint32_t blocks_at_once(const tn_cuda_device *device, uint32_t shared_bytes, uint32_t n_most)
{
    enum { SYSTEM_BYTES = 1024 };
    const uint32_t n = (device->traits.shared_bytes + SYSTEM_BYTES) / (shared_bytes + SYSTEM_BYTES);
    return n == 0 ? 1 : tn_cuda_at_most(n, n_most);
}
static uint32_t few_blocks_at_once(const tn_cuda_device *device)
{
    enum { BY_REGISTERS = 3 };
    return blocks_at_once(device, TN_CUDA_ATTENTION_CHUNK_BYTES + FEW_OWN_BYTES, BY_REGISTERS);
}
static uint32_t row_tile_blocks_at_once(const tn_cuda_device *device)
{
    enum { BY_REGISTERS = 2, ONE_FROM_CAPABILITY = 100 };
    const uint32_t n_most = device->traits.capability >= ONE_FROM_CAPABILITY ? 1 : BY_REGISTERS;
    return blocks_at_once(device, TN_CUDA_ATTENTION_TILE_KV_BYTES + ROW_TILE_OWN_BYTES, n_most);
}

// How the attention of a list's steps is cut.
typedef struct attention_plan {
    bool is_split; // every token by itself; else tiles of one sequence are tiles of matrix instructions where there are any
    bool has_few;  // tokens by themselves are done by attention_one_mma and attention_few_mma
    bool leaves_partials;
    uint32_t n_splits;             // of a token's chunks
    uint64_t partials_bytes;       // of tokens by themselves; and behind them
    uint64_t row_tile_parts_bytes; // of row tiles of one sequence; 0: blocks have whole ones
} attention_plan;

// Tiles read keys and values once for many tokens, by so few blocks that a long context leaves most of the device idle: a token of its own
// for each block and several blocks for a token's chunks fill it. So do steps of a tile or less, and larger ones where contexts may be
// long, as far as there is memory for it. Tokens of many sequences share nothing anyhow, and are split until the device is full.
static attention_plan attention_plan_of(const tn_cuda_compiler *c, const tn_node *node)
{
    enum { SPLIT_TOKENS = 64, LONG_CHUNKS = 32 };
    const uint32_t n_tokens = c->list->n_tokens_max, n_chunks = c->desc->limits.n_seq_pages, head_dim = node->p.attention.head_dim;
    const uint32_t n_sms = c->device->traits.n_sms, n_one = node->p.attention.n_kv_heads * n_tokens;
    const bool is_tile = n_tokens <= TN_CUDA_ATTENTION_TOKENS;
    const uint64_t bytes_max = UINT64_C(512) << 20;
    const bool may_split = is_tile || (n_tokens <= SPLIT_TOKENS && partials_bytes(c, node) <= bytes_max);
    attention_plan plan = {.is_split = is_tile || (may_split && n_chunks > LONG_CHUNKS),
                           .has_few = c->device->traits.has_mma && head_dim <= TN_CUDA_ATTENTION_MMA_DIM && head_dim % 8 == 0,
                           .n_splits = 1};
    const uint32_t n_wanted =
        plan.has_few && n_tokens > 1 ? few_blocks_at_once(c->device) * n_sms / n_one : tn_cuda_ceil_div(2 * n_sms, n_one);
    if (may_split && n_wanted > 1) plan.n_splits = tn_cuda_at_most(n_wanted, n_chunks);
    plan.leaves_partials = plan.has_few ? plan.n_splits > 1 || n_tokens == 1 : plan.is_split;
    if (plan.leaves_partials) plan.partials_bytes = (partials_bytes(c, node) + 15) & ~(uint64_t)15;
    const bool has_row_tiles = !plan.is_split && c->device->traits.has_mma && head_dim <= TN_CUDA_ATTENTION_MMA_DIM;
    if (has_row_tiles && row_tiles_of(c, node) < n_sms && row_tile_parts_bytes(c, node) <= bytes_max)
        plan.row_tile_parts_bytes = row_tile_parts_bytes(c, node);
    return plan;
}

// Tokens by themselves: as many blocks as the device has at once, as far as there are tokens.
static tn_status emit_attention_few(tn_cuda_compiler *c, struct tn_cuda_attention_params *p, uint32_t node)
{
    const uint32_t n_tokens = c->list->n_tokens_max, n_tiles = tn_cuda_ceil_div(n_tokens, TN_CUDA_ATTENTION_TOKENS);
    const uint32_t n_fit = few_blocks_at_once(c->device) * c->device->traits.n_sms / (n_tiles * p->n_kv_heads * p->n_splits);
    p->n_shares = tn_cuda_at_most(n_fit > 1 ? n_fit : 1, tn_cuda_at_most(n_tokens, TN_CUDA_ATTENTION_TOKENS));
    tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_attention_few_mma, n_tiles * p->n_shares, p->n_kv_heads, p->n_splits, node);
    l.shared_bytes = TN_CUDA_ATTENTION_CHUNK_BYTES;
    return tn_cuda_emit(c, &l, p, sizeof *p);
}

// Tiles of one sequence on matrix instructions. Where there are fewer row tiles than the device has multiprocessors, blocks without one do
// a part of those that have more chunks than others, as far as there is memory for it; else each block has a row tile, the longest first.
static tn_status emit_row_tiles(tn_cuda_compiler *c, const attention_plan *plan, const struct tn_cuda_attention_params *p, uint64_t parts,
                                uint32_t node)
{
    struct tn_cuda_attention_params own = *p;
    const uint32_t n_row_tiles = row_tiles_of(c, tn_cuda_node_of(c, node)), n_at_once = row_tile_blocks_at_once(c->device);
    const uint32_t n_blocks = n_at_once * c->device->traits.n_sms;
    own.tiles = TN_CUDA_TILES_OF_ONE;
    own.partials = plan->row_tile_parts_bytes ? parts : 0;
    if (own.partials) tn_cuda_need_counters(c, n_row_tiles);
    tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_attention_tile_mma, plan->row_tile_parts_bytes ? n_blocks : n_row_tiles, 1, 1, node);
    const bool has_room = c->device->traits.shared_bytes >= n_at_once * (2 * TN_CUDA_ATTENTION_TILE_KV_BYTES + ROW_TILE_OWN_BYTES);
    own.values_at = has_room ? TN_CUDA_ATTENTION_TILE_KV_BYTES / 16 : 0;
    l.shared_bytes = (has_room ? 2 : 1) * TN_CUDA_ATTENTION_TILE_KV_BYTES;
    return tn_cuda_emit(c, &l, &own, sizeof own);
}

// Tiles of tokens and a KV head, on matrix instructions where the tile is of one sequence; else several blocks share a tile's tokens, so
// that the device is full.
static tn_status emit_tiles(tn_cuda_compiler *c, const attention_plan *plan, struct tn_cuda_attention_params *p, uint64_t scratch,
                            uint32_t node)
{
    const uint32_t n_tiles = tn_cuda_ceil_div(c->list->n_tokens_max, TN_CUDA_ATTENTION_TOKENS);
    const uint32_t n_fit = 2 * c->device->traits.n_sms / (n_tiles * p->n_kv_heads);
    const uint32_t n_shares = tn_cuda_at_most(n_fit > 1 ? n_fit : 1, TN_CUDA_ATTENTION_TOKENS);
    p->tiles = TN_CUDA_TILES_ALL;
    if (c->device->traits.has_mma && p->rope.head_dim <= TN_CUDA_ATTENTION_MMA_DIM) {
        TN_TRY(emit_row_tiles(c, plan, p, scratch + plan->partials_bytes, node));
        p->tiles = TN_CUDA_TILES_OF_SEVERAL;
    }
    if (plan->has_few) return emit_attention_few(c, p, node);
    const tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_attention_tile, n_tiles, p->n_kv_heads, n_shares, node);
    return tn_cuda_emit(c, &l, p, sizeof *p);
}

tn_status tn_cuda_emit_attention(tn_cuda_compiler *c, const tn_group *group, uint32_t time)
{
    const tn_node *node = tn_cuda_node_of(c, group->nodes[0]);
    const attention_plan plan = attention_plan_of(c, node);
    const uint32_t head_dim = node->p.attention.head_dim, n_kv_heads = node->p.attention.n_kv_heads, n_tokens = c->list->n_tokens_max;
    const uint32_t a_qk = (uint32_t)tn_kv_a_qk(head_dim);
    struct tn_cuda_attention_params p = {.step = c->step,
                                         .rope = {.head_dim = head_dim, .a_qk = a_qk, .recip_a_qk = (float)(1.0 / a_qk)},
                                         .n_heads = node->p.attention.n_heads,
                                         .n_kv_heads = n_kv_heads,
                                         .y = c->values[node->out].rows,
                                         .kv = kv_of(c, node->layer),
                                         .poison = tn_cuda_poison_of(c, node->out),
                                         .node = tn_cuda_number_of(group->nodes[0]),
                                         .n_splits = plan.n_splits,
                                         .n_chunks_max = c->desc->limits.n_seq_pages,
                                         .counters = c->places->counters,
                                         .recip_a_v = (float)(1.0 / TN_KV_A_V),
                                         .log2e_by_sqrt = tn_ref_query_scale(1.0f, head_dim)};
    if (group->rope[0] != TN_NONE)
        TN_TRY(rope_of(c, group->rope, &p.rope));
    else
        p.q = c->values[node->in[0]].rows;
    const uint64_t scratch = c->places->arena + tn_group_scratch_at(&c->groups, time) * 4;
    if (plan.leaves_partials) {
        p.partials = scratch;
        tn_cuda_need_counters(c, (uint64_t)n_tokens * n_kv_heads);
    }
    if (!plan.is_split) return emit_tiles(c, &plan, &p, scratch, group->nodes[0]);
    if (group->rope[0] == TN_NONE && plan.has_few) return emit_attention_few(c, &p, group->nodes[0]);
    const tn_cuda_kernel of_one = plan.has_few ? TN_CUDA_attention_one_mma : TN_CUDA_attention_one;
    tn_cuda_launch l = tn_cuda_launch_of(TN_CUDA_attention_split, p.n_splits, n_kv_heads, n_tokens, group->nodes[0]);
    if (group->rope[0] != TN_NONE) l.kernel = of_one;
    if (l.kernel == TN_CUDA_attention_one_mma) {
        TN_TRY(tn_cuda_largest_of(c, node->out, &p.next));
        l.shared_bytes = TN_CUDA_ATTENTION_CHUNK_BYTES;
    }
    return tn_cuda_emit(c, &l, &p, sizeof p);
}

uint64_t tn_cuda_attention_scratch(const tn_cuda_compiler *c, const tn_node *node)
{
    const attention_plan plan = attention_plan_of(c, node);
    return plan.partials_bytes + plan.row_tile_parts_bytes;
}
