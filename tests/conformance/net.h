// Small graphs with random weights: the same bytes for the device, which packs them, and for the reference, which reads them as they are.
#ifndef TN_TESTS_CONFORMANCE_NET_H
#define TN_TESTS_CONFORMANCE_NET_H

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

extern "C" {
#include "base/exact_math.h"
#include "base/status.h"
#include "format/dense.h"
#include "graph/graph.h"
}

namespace conformance
{

class Random
{
  public:
    explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
    uint32_t bits()
    {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state_ >> 32);
    }
    uint32_t below(uint32_t n) { return bits() % n; }
    // In (-range, range), of many magnitudes now and then, zero now and then.
    float value(float range)
    {
        float x = static_cast<float>(static_cast<int32_t>(bits())) * 0x1p-31f * range;
        uint32_t kind = below(64);
        return kind == 0 ? 0.0f : kind == 1 ? x * 0x1p-12f : kind == 2 ? x * 16.0f : x;
    }

  private:
    uint64_t state_;
};

struct Weight {
    std::string name;
    std::vector<uint8_t> file;      // rows as read_rows gives them
    std::vector<uint8_t> canonical; // the same with FL applied, for the reference; empty: `file` satisfies it
    std::vector<float> scales;
    const uint8_t *reference() const { return canonical.empty() ? file.data() : canonical.data(); }
};

class Net
{
  public:
    explicit Net(uint64_t seed) : random(seed)
    {
        if (tn_graph_create(&graph) != TN_OK) throw std::bad_alloc();
    }
    ~Net() { tn_graph_destroy(graph); }
    Net(const Net &) = delete;
    Net &operator=(const Net &) = delete;

    tn_graph *graph = nullptr;
    std::deque<Weight> weights; // by index; a deque keeps them in place
    Random random;
    int32_t layer = TN_LAYER_EMBED; // of the nodes that follow
    float weight_range = 0.5f;

    // ---- weights ----
    uint32_t ternary_weight(uint32_t n_rows, uint32_t n_cols, tn_scale_kind scale_kind)
    {
        Weight &w = new_weight("ternary");
        w.file.resize(size_t(n_rows) * n_cols);
        for (uint8_t &code : w.file) code = static_cast<uint8_t>(static_cast<int8_t>(static_cast<int32_t>(random.below(3)) - 1));
        w.scales.resize(scale_kind == TN_SCALE_ROW ? n_rows : 1);
        for (float &scale : w.scales) scale = 0.01f + 0.001f * static_cast<float>(random.below(50));
        tn_weight_source source = base_source(w, TN_WEIGHT_TERNARY, TN_DTYPE_NONE, n_rows, n_cols);
        source.scale_kind = scale_kind;
        source.scales = w.scales.data();
        return add(source);
    }
    uint32_t dense_weight(tn_dtype dtype, uint32_t n_rows, uint32_t n_cols)
    {
        std::vector<float> values(size_t(n_rows) * n_cols);
        for (float &x : values) x = random.value(weight_range);
        return dense_weight_of(dtype, n_rows, n_cols, values);
    }
    uint32_t dense_weight_of(tn_dtype dtype, uint32_t n_rows, uint32_t n_cols, const std::vector<float> &values)
    {
        Weight &w = new_weight("dense");
        const size_t row_bytes = tn_dtype_row_bytes(dtype, n_cols);
        w.file.resize(row_bytes * n_rows);
        for (uint32_t r = 0; r < n_rows; r++) {
            if (tn_dense_from_f32(dtype, &values[size_t(r) * n_cols], n_cols, &w.file[row_bytes * r]) != TN_OK) throw std::bad_alloc();
        }
        if (dtype == TN_DTYPE_F32) { // the one type of these tests that can hold values below 2^-50
            std::vector<float> kept = values;
            for (float &x : kept) x = tn_fl(x);
            w.canonical.resize(w.file.size());
            memcpy(w.canonical.data(), kept.data(), w.file.size());
        }
        return add(base_source(w, TN_WEIGHT_DENSE, dtype, n_rows, n_cols));
    }
    uint32_t table_weight(uint32_t n_ctx, uint32_t head_dim)
    {
        Weight &w = new_weight("table");
        std::vector<float> table(size_t(n_ctx) * head_dim);
        for (float &x : table) x = static_cast<float>(static_cast<int32_t>(random.bits())) * 0x1p-31f;
        w.file.resize(table.size() * sizeof(float));
        memcpy(w.file.data(), table.data(), w.file.size());
        graph->n_ctx = n_ctx;
        return add(base_source(w, TN_WEIGHT_TABLE, TN_DTYPE_F32, n_ctx, head_dim));
    }

    // ---- nodes; each returns its value ----
    uint32_t embed(uint32_t weight)
    {
        graph->n_vocab = graph->weights[weight].n_rows;
        return node(TN_OP_EMBED, TN_NONE, TN_NONE, weight, TN_VALUE_F32, graph->weights[weight].n_cols);
    }
    uint32_t embed(uint32_t n_vocab, uint32_t width) { return embed(dense_weight(TN_DTYPE_F32, n_vocab, width)); }
    uint32_t norm(uint32_t x, tn_dtype gains = TN_DTYPE_F32)
    {
        last_eps_ = 1e-5f;
        return node(TN_OP_NORM, x, TN_NONE, dense_weight(gains, 1, width(x)), TN_VALUE_F32, width(x));
    }
    uint32_t norm_quant(uint32_t x)
    {
        last_eps_ = 1e-6f;
        return node(TN_OP_NORM_QUANT, x, TN_NONE, dense_weight(TN_DTYPE_F32, 1, width(x)), TN_VALUE_Q8, width(x));
    }
    uint32_t quant(uint32_t x) { return node(TN_OP_QUANT, x, TN_NONE, TN_NONE, TN_VALUE_Q8, width(x)); }
    uint32_t ternary(uint32_t x, uint32_t n, tn_scale_kind scales = TN_SCALE_TENSOR)
    {
        return node(TN_OP_MATMUL_TERNARY, x, TN_NONE, ternary_weight(n, width(x), scales), TN_VALUE_F32, n);
    }
    uint32_t dense(uint32_t x, uint32_t n, tn_dtype dtype)
    {
        return node(TN_OP_MATMUL_DENSE, x, TN_NONE, dense_weight(dtype, n, width(x)), TN_VALUE_F32, n);
    }
    uint32_t dense_of(uint32_t x, tn_dtype dtype, const std::vector<float> &values)
    {
        const uint32_t n = static_cast<uint32_t>(values.size() / width(x));
        return node(TN_OP_MATMUL_DENSE, x, TN_NONE, dense_weight_of(dtype, n, width(x), values), TN_VALUE_F32, n);
    }
    uint32_t rope(uint32_t x, uint32_t table, tn_rope_pairs pairs)
    {
        const uint32_t head_dim = graph->weights[table].n_cols;
        tn_node n = blank(TN_OP_ROPE, x, TN_NONE, table);
        n.p.rope.n_heads = width(x) / head_dim;
        n.p.rope.head_dim = head_dim;
        n.p.rope.pairs = pairs;
        return add(n, TN_VALUE_F32, width(x));
    }
    void kv_append(uint32_t k, uint32_t v, uint32_t n_heads) { add(attention_node(TN_OP_KV_APPEND, k, v, n_heads), TN_VALUE_F32, 0); }
    uint32_t attention(uint32_t q, uint32_t n_heads)
    {
        return add(attention_node(TN_OP_ATTENTION, q, TN_NONE, n_heads), TN_VALUE_F32, width(q));
    }
    uint32_t glu(uint32_t gate, uint32_t up, tn_glu_kind kind)
    {
        tn_node n = blank(TN_OP_GLU, gate, up, TN_NONE);
        n.p.glu.kind = kind;
        return add(n, TN_VALUE_F32, width(gate));
    }
    uint32_t sum(uint32_t a, uint32_t b) { return node(TN_OP_ADD, a, b, TN_NONE, TN_VALUE_F32, width(a)); }
    uint32_t copy(uint32_t x) { return node(TN_OP_COPY, x, TN_NONE, TN_NONE, TN_VALUE_F32, width(x)); }

    uint32_t width(uint32_t value) const { return graph->values[value].width; }

  private:
    static tn_status read_rows(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
    {
        const auto *w = static_cast<const Weight *>(self->ctx);
        const size_t row_bytes = w->file.size() / self->n_rows;
        memcpy(dst, w->file.data() + row_bytes * row, row_bytes * n);
        return TN_OK;
    }
    Weight &new_weight(const char *what)
    {
        weights.emplace_back();
        weights.back().name = std::string(what) + "." + std::to_string(weights.size());
        return weights.back();
    }
    static tn_weight_source base_source(const Weight &w, tn_weight_kind kind, tn_dtype dtype, uint32_t n_rows, uint32_t n_cols)
    {
        tn_weight_source source = {};
        source.name = w.name.c_str();
        source.kind = kind;
        source.dtype = dtype;
        source.n_rows = n_rows;
        source.n_cols = n_cols;
        source.read_rows = read_rows;
        source.ctx = &w;
        return source;
    }
    uint32_t add(const tn_weight_source &source)
    {
        uint32_t index;
        if (tn_graph_add_weight(graph, &source, &index) != TN_OK) throw std::bad_alloc();
        return index;
    }
    tn_node blank(tn_op op, uint32_t a, uint32_t b, uint32_t weight) const
    {
        tn_node n = {};
        n.op = op;
        n.layer = layer;
        n.in[0] = a;
        n.in[1] = b;
        n.weight = weight;
        return n;
    }
    tn_node attention_node(tn_op op, uint32_t a, uint32_t b, uint32_t n_heads) const
    {
        tn_node n = blank(op, a, b, TN_NONE);
        n.p.attention.n_heads = n_heads;
        n.p.attention.n_kv_heads = graph->n_kv_heads;
        n.p.attention.head_dim = graph->head_dim;
        return n;
    }
    uint32_t node(tn_op op, uint32_t a, uint32_t b, uint32_t weight, tn_value_type type, uint32_t out_width)
    {
        tn_node n = blank(op, a, b, weight);
        if (op == TN_OP_NORM || op == TN_OP_NORM_QUANT) n.p.norm.eps = last_eps_;
        return add(n, type, out_width);
    }
    uint32_t add(const tn_node &n, tn_value_type type, uint32_t out_width)
    {
        uint32_t value;
        if (tn_graph_add_node(graph, &n, type, out_width, &value) != TN_OK) throw std::bad_alloc();
        return value;
    }
    float last_eps_ = 0;
};

} // namespace conformance

#endif
