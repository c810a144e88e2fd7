// Runs a graph token by token with the functions of src/ref: plain vectors, no pages, no tiles, no threads.
#ifndef TN_TESTS_CONFORMANCE_REF_NET_H
#define TN_TESTS_CONFORMANCE_REF_NET_H

#include "conformance/net.h"

#include <functional>
#include <map>

extern "C" {
#include "ref/ref.h"
}

namespace conformance
{

struct Token {
    int32_t id;
    uint32_t seq, position;
};

// What one token's row holds, by value.
struct RefRow {
    std::map<uint32_t, std::vector<float>> f32;
    uint32_t poison = 0;
};

struct RefCodes {
    std::vector<int8_t> q;
    float scale;
    int32_t sum;
};

// What a node stored for a token: one of them.
struct RefStored {
    std::vector<float> *row = nullptr;
    RefCodes *codes = nullptr;
    // Of the first KV head.
    int16_t *k = nullptr, *v = nullptr;
    float *k_scale = nullptr, *v_scale = nullptr;
};

class RefNet
{
  public:
    explicit RefNet(const Net &net) : RefNet(net.graph, [&net](uint32_t weight) { return net.weights[weight].reference(); }) {}
    // `weight`: rows as the sources' read_rows gives them, with FL applied.
    RefNet(const tn_graph *graph, std::function<const uint8_t *(uint32_t)> weight) : graph_(graph), weight_(std::move(weight)) {}

    // Told what a node has stored before anybody reads it, and may change it.
    std::function<void(uint32_t node, const Token &, const RefStored &)> stored = [](uint32_t, const Token &, const RefStored &) {};

    // Runs the whole graph for the next token of its sequence. `first` overrides the value of the first node's output where not empty.
    RefRow run(const Token &token, const std::vector<float> &first = {})
    {
        RefRow row;
        codes_.clear();
        for (uint32_t i = 0; i < graph_->n_nodes; i++) {
            const tn_node &n = graph_->nodes[i];
            uint32_t absmax = 0;
            if (i == 0 && !first.empty()) {
                row.f32[n.out] = first;
                continue;
            }
            run_node(n, token, &row, &absmax);
            if (absmax >= TN_ABS_BITS_2P56 && row.poison == 0) row.poison = i + 1;
        }
        return row;
    }

  private:
    struct Cache { // of one (sequence, layer, KV head)
        std::vector<int16_t> k, v;
        std::vector<float> k_scale, v_scale;
    };

    void run_node(const tn_node &n, const Token &token, RefRow *row, uint32_t *absmax)
    {
        const tn_weight_source *source = n.weight == TN_NONE ? nullptr : &graph_->weights[n.weight];
        const uint8_t *w = n.weight == TN_NONE ? nullptr : weight_(n.weight);
        const uint32_t width = n.out == TN_NONE ? 0 : graph_->values[n.out].width, node = static_cast<uint32_t>(&n - graph_->nodes);
        const float *a = n.in[0] == TN_NONE || !row->f32.count(n.in[0]) ? nullptr : row->f32[n.in[0]].data();
        const float *b = n.in[1] == TN_NONE ? nullptr : row->f32[n.in[1]].data();
        std::vector<float> y(width);
        RefCodes codes{std::vector<int8_t>(width), 0, 0};
        switch (n.op) {
        case TN_OP_EMBED:
            *absmax = tn_ref_embed(source->dtype, w + tn_dtype_row_bytes(source->dtype, width) * size_t(token.id), width, y.data());
            break;
        case TN_OP_NORM_QUANT: {
            std::vector<float> gains = gains_of(*source, w);
            tn_ref_norm_quant(a, gains.data(), width, n.p.norm.eps, codes.q.data(), &codes.scale, &codes.sum);
            store_codes(node, token, codes);
            return;
        }
        case TN_OP_QUANT:
            tn_ref_quant(a, width, codes.q.data(), &codes.scale, &codes.sum);
            store_codes(node, token, codes);
            return;
        case TN_OP_NORM: {
            std::vector<float> gains = gains_of(*source, w);
            *absmax = tn_ref_norm(a, gains.data(), width, n.p.norm.eps, y.data());
            break;
        }
        case TN_OP_MATMUL_TERNARY: {
            const RefCodes &x = codes_.at(n.in[0]);
            *absmax = tn_ref_matmul_ternary(x.q.data(), x.scale, reinterpret_cast<const int8_t *>(w), source->scale_kind, source->scales,
                                            width, source->n_cols, y.data());
            break;
        }
        case TN_OP_MATMUL_DENSE: *absmax = tn_ref_matmul_dense(a, source->dtype, w, width, source->n_cols, y.data()); break;
        case TN_OP_ROPE: {
            const float *table = reinterpret_cast<const float *>(w) + size_t(token.position) * source->n_cols;
            *absmax = tn_ref_rope(a, table, n.p.rope.n_heads, n.p.rope.head_dim, n.p.rope.pairs, y.data());
            break;
        }
        case TN_OP_KV_APPEND: append(n, token, a, b); return;
        case TN_OP_ATTENTION: *absmax = attend(n, token, a, y.data()); break;
        case TN_OP_GLU: *absmax = tn_ref_glu(n.p.glu.kind, a, b, width, y.data()); break;
        case TN_OP_ADD: *absmax = tn_ref_add(a, b, width, y.data()); break;
        case TN_OP_COPY: y.assign(a, a + width); break;
        case TN_OP_COUNT_: break;
        }
        RefStored what;
        what.row = &y;
        stored(node, token, what);
        row->f32[n.out] = y;
    }

    void store_codes(uint32_t node, const Token &token, RefCodes &codes)
    {
        RefStored what;
        what.codes = &codes;
        stored(node, token, what);
        codes_[graph_->nodes[node].out] = codes;
    }

    static std::vector<float> gains_of(const tn_weight_source &source, const uint8_t *w)
    {
        std::vector<float> gains(source.n_cols);
        tn_ref_embed(source.dtype, w, source.n_cols, gains.data());
        return gains;
    }

    void append(const tn_node &n, const Token &token, const float *k, const float *v)
    {
        const uint32_t head_dim = n.p.attention.head_dim;
        for (uint32_t h = 0; h < n.p.attention.n_kv_heads; h++) {
            Cache &cache = caches_[{token.seq, n.layer, h}];
            cache.k.resize(size_t(token.position + 1) * head_dim);
            cache.v.resize(size_t(token.position + 1) * head_dim);
            cache.k_scale.resize(token.position + 1);
            cache.v_scale.resize(token.position + 1);
            const size_t at = size_t(token.position) * head_dim;
            tn_ref_quant_head(k + size_t(h) * head_dim, head_dim, tn_kv_a_qk(head_dim), &cache.k[at], &cache.k_scale[token.position]);
            tn_ref_quant_head(v + size_t(h) * head_dim, head_dim, TN_KV_A_V, &cache.v[at], &cache.v_scale[token.position]);
        }
        Cache &cache = caches_[{token.seq, n.layer, 0}];
        const size_t at = size_t(token.position) * head_dim;
        RefStored what;
        what.k = &cache.k[at], what.v = &cache.v[at];
        what.k_scale = &cache.k_scale[token.position], what.v_scale = &cache.v_scale[token.position];
        stored(static_cast<uint32_t>(&n - graph_->nodes), token, what);
    }

    uint32_t attend(const tn_node &n, const Token &token, const float *q, float *y)
    {
        const uint32_t head_dim = n.p.attention.head_dim, shared = n.p.attention.n_heads / n.p.attention.n_kv_heads;
        uint32_t absmax = 0;
        std::vector<int16_t> codes(head_dim);
        for (uint32_t h = 0; h < n.p.attention.n_heads; h++) {
            const Cache &cache = caches_.at({token.seq, n.layer, h / shared});
            float scale;
            tn_ref_quant_head(q + size_t(h) * head_dim, head_dim, tn_kv_a_qk(head_dim), codes.data(), &scale);
            uint32_t bits = tn_ref_attention(codes.data(), tn_ref_query_scale(scale, head_dim), cache.k.data(), cache.k_scale.data(),
                                             cache.v.data(), cache.v_scale.data(), token.position + 1, head_dim, y + size_t(h) * head_dim);
            if (bits > absmax) absmax = bits;
        }
        return absmax;
    }

    const tn_graph *graph_;
    std::function<const uint8_t *(uint32_t)> weight_;
    std::map<uint32_t, RefCodes> codes_;
    std::map<std::tuple<uint32_t, int32_t, uint32_t>, Cache> caches_;
};

} // namespace conformance

#endif
