// What the suite's cases share: their result, comparing by bits, and a small model.
#ifndef TN_TESTS_CONFORMANCE_CASES_H
#define TN_TESTS_CONFORMANCE_CASES_H

#include "conformance/rig.h"
#include "support/quick.hpp"

#include <functional>
#include <sstream>

namespace conformance
{

// A test's result: "" where it passed, else what differed.
using Result = std::string;
#define CHECK_RESULT(expr)                                                                                                                 \
    do {                                                                                                                                   \
        Result check_result_ = (expr);                                                                                                     \
        if (!check_result_.empty()) return check_result_;                                                                                  \
    } while (0)

inline Result same_rows(const std::string &what, const std::vector<float> &got, const std::vector<std::vector<float>> &want)
{
    std::vector<float> flat;
    for (const std::vector<float> &row : want) flat.insert(flat.end(), row.begin(), row.end());
    std::ostringstream text;
    if (got.size() != flat.size()) {
        text << what << ": " << got.size() << " values instead of " << flat.size();
        return text.str();
    }
    if (got.empty() || memcmp(got.data(), flat.data(), got.size() * sizeof(float)) == 0) return "";
    size_t i = 0, n_wrong = 0;
    for (size_t k = got.size(); k-- > 0;) {
        if (memcmp(&got[k], &flat[k], sizeof(float)) != 0) i = k, n_wrong++;
    }
    const size_t width = want[0].size();
    text << what << ": " << n_wrong << " of " << got.size() << " values differ, first in row " << i / width << " column " << i % width
         << ": " << std::hexfloat << got[i] << " instead of " << flat[i];
    return text.str();
}

struct Case {
    const char *name;
    Result (*run)(const Target &);
    bool (*applies)(const Target &) = nullptr; // NULL: to every target
};
inline bool is_cpu(const Target &target) { return std::string(target.backend->name) == "cpu"; }
inline bool is_vulkan(const Target &target) { return std::string(target.backend->name) == "vulkan"; }
// Whether a quick run leaves out what takes long on devices that are emulated, as the others often are.
inline bool is_sampled(const Target &target) { return tn_test::is_quick() && !is_cpu(target); }
// The shapes of a case on this target: all, or some of each kind.
using Shapes = std::vector<uint32_t>;
inline Shapes shapes_for(const Target &target, const Shapes &all, const Shapes &some) { return target.is_thorough ? all : some; }

// The device as one that binds little at a time.
constexpr uint64_t kSmallBinding = 256 << 10;
inline Target with_small_bindings(const Target &target)
{
    Target small = target;
    small.vulkan.range_bytes_max = kSmallBinding;
    small.name += "_small_bindings";
    return small;
}

// For GoogleTest's messages.
inline void PrintTo(const Target &target, std::ostream *os) { *os << target.name; }
inline void PrintTo(const Case &test, std::ostream *os) { *os << test.name; }

// The suite, by file.
std::vector<Case> op_cases();
std::vector<Case> model_cases();
std::vector<Case> interface_cases();

// ---- a model of two layers ----

constexpr uint32_t kVocabulary = 61, kHeads = 4, kKvHeads = 2, kHeadDim = 24, kContext = 384, kLayers = 2;

struct Model {
    explicit Model(uint64_t seed, int32_t poison_token = -1, uint32_t n_vocab = kVocabulary) : net(seed)
    {
        net.graph->n_layers = kLayers;
        net.graph->n_kv_heads = kKvHeads;
        net.graph->head_dim = kHeadDim;
        const uint32_t table = net.table_weight(kContext, kHeadDim), width = kHeads * kHeadDim;
        std::vector<float> rows(size_t(n_vocab) * width);
        for (float &x : rows) x = net.random.value(1.0f);
        if (poison_token >= 0) rows[size_t(poison_token) * width + 5] = 0x1p100f; // its square is infinite: NaN follows
        uint32_t x = net.embed(net.dense_weight_of(TN_DTYPE_F32, n_vocab, width, rows));
        for (int32_t l = 0; l < static_cast<int32_t>(kLayers); l++) {
            net.layer = l;
            cuts.push_back({net.graph->n_nodes, x});
            x = add_layer(x, table, l == 0 ? TN_GLU_RELU2 : TN_GLU_SILU);
        }
        net.layer = TN_LAYER_HEAD;
        cuts.push_back({net.graph->n_nodes, x});
        logits = net.dense(net.norm(net.copy(x)), n_vocab, TN_DTYPE_Q8_0);
        MUST(tn_graph_check(net.graph));
    }
    uint32_t add_layer(uint32_t x, uint32_t table, tn_glu_kind glu)
    {
        const uint32_t width = net.width(x);
        const uint32_t a = net.norm_quant(x);
        const uint32_t q = net.rope(net.ternary(a, kHeads * kHeadDim), table, TN_ROPE_HALVES);
        const uint32_t k = net.rope(net.ternary(a, kKvHeads * kHeadDim), table, TN_ROPE_HALVES);
        net.kv_append(k, net.ternary(a, kKvHeads * kHeadDim), kHeads);
        x = net.sum(x, net.ternary(net.norm_quant(net.attention(q, kHeads)), width, TN_SCALE_ROW));
        const uint32_t b = net.norm_quant(x);
        const uint32_t h = net.glu(net.ternary(b, 140), net.ternary(b, 140), glu);
        return net.sum(x, net.ternary(net.norm_quant(h), width));
    }
    struct Cut {
        uint32_t node, value;
    };
    Net net;
    std::vector<Cut> cuts; // before each layer and before the head
    uint32_t logits;
};

// Two sequences of unlike lengths, their tokens mixed.
inline std::vector<Token> mixed_tokens(Random *random, uint32_t n_first, uint32_t n_second, uint32_t n_vocab = kVocabulary)
{
    std::vector<Token> tokens;
    uint32_t n[2] = {0, 0};
    const uint32_t end[2] = {n_first, n_second};
    while (n[0] < end[0] || n[1] < end[1]) {
        uint32_t seq = random->below(2);
        if (n[seq] == end[seq]) seq = 1 - seq;
        tokens.push_back({static_cast<int32_t>(random->below(n_vocab)), seq, n[seq]++});
    }
    return tokens;
}

inline std::vector<std::vector<float>> reference_logits(const Model &model, const std::vector<Token> &tokens)
{
    RefNet reference(model.net);
    std::vector<std::vector<float>> rows;
    for (const Token &token : tokens) rows.push_back(reference.run(token).f32.at(model.logits));
    return rows;
}

inline Bounds two_sequences(uint32_t n_tokens_max)
{
    Bounds bounds;
    bounds.n_tokens_max = bounds.n_logits_max = n_tokens_max;
    bounds.n_seqs_max = 2;
    bounds.n_seq_pages_max = 3;
    return bounds;
}

// The step of tokens [begin, end), every row of logits wanted.
inline Step step_of(const std::vector<Token> &tokens, size_t begin, size_t end, const Bounds &bounds, const std::vector<uint32_t> &pages)
{
    Step step = make_step({tokens.begin() + static_cast<long>(begin), tokens.begin() + static_cast<long>(end)}, bounds, pages);
    for (uint32_t i = 0; i < end - begin; i++) step.logit_rows.push_back(i);
    return step;
}

} // namespace conformance

#endif
