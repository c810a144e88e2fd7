// The self-test's net by src/ref: a node after the other, a token after the other.
#include "ref/ref.h"
#include "selftest/selftest_net.h"

#include <string.h>

uint32_t tn_selftest_n_rows(const tn_selftest_net *net, uint32_t value, const tn_selftest_step *step)
{
    return net->values[value].rows == TN_ROWS_LOGITS ? step->n_logits : step->n_tokens;
}

static const float *input(const tn_selftest_net *net, const tn_node *node, uint32_t which, uint32_t row)
{
    const uint32_t value = node->in[which];
    return net->rows[value].f32 + (size_t)row * net->values[value].width;
}

static void append(tn_selftest_net *net, const tn_node *node, uint32_t row, const tn_selftest_step *step)
{
    const uint32_t seq = step->seqs[row], at = step->positions[row], n = node->p.attention.head_dim;
    for (uint32_t h = 0; h < node->p.attention.n_kv_heads; h++) {
        tn_selftest_kv *kv = &net->kv[node->layer][h];
        tn_ref_quant_head(input(net, node, 0, row) + h * n, n, tn_kv_a_qk(n), kv->k[seq] + at * n, &kv->k_scale[seq][at]);
        tn_ref_quant_head(input(net, node, 1, row) + h * n, n, TN_KV_A_V, kv->v[seq] + at * n, &kv->v_scale[seq][at]);
    }
}

static uint32_t attention(const tn_selftest_net *net, const tn_node *node, uint32_t row, const tn_selftest_step *step, float *y)
{
    uint32_t largest = 0;
    const uint32_t seq = step->seqs[row], n = node->p.attention.head_dim, group = node->p.attention.n_heads / node->p.attention.n_kv_heads;
    for (uint32_t h = 0; h < node->p.attention.n_heads; h++) {
        const tn_selftest_kv *kv = &net->kv[node->layer][h / group];
        int16_t q[TN_SELFTEST_HEAD_DIM_MAX];
        float scale;
        tn_ref_quant_head(input(net, node, 0, row) + h * n, n, tn_kv_a_qk(n), q, &scale);
        const uint32_t bits = tn_ref_attention(q, tn_ref_query_scale(scale, n), kv->k[seq], kv->k_scale[seq], kv->v[seq], kv->v_scale[seq],
                                               step->positions[row] + 1, n, y + h * n);
        if (bits > largest) largest = bits;
    }
    return largest;
}

static void quantise(tn_selftest_net *net, const tn_node *node, uint32_t row)
{
    const uint32_t n = net->values[node->in[0]].width;
    tn_selftest_rows *y = &net->rows[node->out];
    int8_t *codes = y->codes + (size_t)row * n;
    if (node->op == TN_OP_QUANT)
        tn_ref_quant(input(net, node, 0, row), n, codes, &y->scales[row], &y->sums[row]);
    else
        tn_ref_norm_quant(input(net, node, 0, row), net->weights[node->weight].ctx, n, node->p.norm.eps, codes, &y->scales[row],
                          &y->sums[row]);
}

static uint32_t multiply(const tn_selftest_net *net, const tn_node *node, uint32_t row, float *y)
{
    const tn_weight_source *w = &net->weights[node->weight];
    const tn_selftest_rows *x = &net->rows[node->in[0]];
    if (node->op == TN_OP_MATMUL_DENSE) return tn_ref_matmul_dense(input(net, node, 0, row), w->dtype, w->ctx, w->n_rows, w->n_cols, y);
    return tn_ref_matmul_ternary(x->codes + (size_t)row * w->n_cols, x->scales[row], w->ctx, w->scale_kind, w->scales, w->n_rows, w->n_cols,
                                 y);
}

// One row of a node's output; gives the largest bits stored as f32.
static uint32_t run_row(tn_selftest_net *net, const tn_node *node, uint32_t row, const tn_selftest_step *step)
{
    const uint32_t n = node->out == TN_NONE ? 0 : net->values[node->out].width;
    float *y = n && net->rows[node->out].f32 ? net->rows[node->out].f32 + (size_t)row * n : NULL;
    const tn_weight_source *w = node->weight == TN_NONE ? NULL : &net->weights[node->weight];
    switch (node->op) {
    case TN_OP_EMBED: return tn_ref_embed(w->dtype, (const uint8_t *)w->ctx + step->tokens[row] * tn_dtype_row_bytes(w->dtype, n), n, y);
    case TN_OP_NORM: return tn_ref_norm(input(net, node, 0, row), w->ctx, n, node->p.norm.eps, y);
    case TN_OP_NORM_QUANT:
    case TN_OP_QUANT: quantise(net, node, row); return 0;
    case TN_OP_MATMUL_TERNARY:
    case TN_OP_MATMUL_DENSE: return multiply(net, node, row, y);
    case TN_OP_ROPE:
        return tn_ref_rope(input(net, node, 0, row), (const float *)w->ctx + (size_t)step->positions[row] * w->n_cols, node->p.rope.n_heads,
                           node->p.rope.head_dim, node->p.rope.pairs, y);
    case TN_OP_KV_APPEND: append(net, node, row, step); return 0;
    case TN_OP_ATTENTION: return attention(net, node, row, step, y);
    case TN_OP_GLU: return tn_ref_glu(node->p.glu.kind, input(net, node, 0, row), input(net, node, 1, row), n, y);
    case TN_OP_ADD: return tn_ref_add(input(net, node, 0, row), input(net, node, 1, row), n, y);
    case TN_OP_COPY: memcpy(y, input(net, node, 0, step->logit_rows[row]), n * sizeof *y); return 0;
    case TN_OP_COUNT_: break;
    }
    return 0;
}

void tn_selftest_reference(tn_selftest_net *net, const tn_selftest_part *part, const tn_selftest_step *step)
{
    memset(net->poison, 0, sizeof net->poison);
    for (uint32_t i = part->first_node; i < part->first_node + part->n_nodes; i++) {
        const tn_node *node = &net->nodes[i];
        const uint32_t shown = node->out == TN_NONE ? node->in[0] : node->out, n = tn_selftest_n_rows(net, shown, step);
        for (uint32_t row = 0; row < n; row++) {
            const uint32_t token = net->values[shown].rows == TN_ROWS_LOGITS ? step->logit_rows[row] : row;
            if (run_row(net, node, row, step) >= TN_ABS_BITS_2P56 && net->poison[token] == 0) net->poison[token] = i + 1;
        }
    }
}
