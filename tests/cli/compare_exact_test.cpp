// Where bits part: a bit that is flipped in what any op stores is found at its token, layer, op and element.
#include "cli/exact_rig.hpp"

using namespace tn_test;

namespace
{

constexpr uint32_t kTokens = 20;
const char *const kReference = "cpu0", *const kOther = "bent0";

class ModelFile
{
  public:
    const std::string path = exact_path("exact", exact_model());
    ~ModelFile() { std::remove(path.c_str()); }
};

class CompareExact : public testing::Test
{
  protected:
    tn_cli_exact_result find()
    {
        const Found found = find_exact(request);
        sentence = found.sentence;
        return found.result;
    }
    const tn_graph *graph() { return tn_model_graph(reference.model); }

    ModelFile file;
    // Steps of both are cut differently.
    ExactSide reference{file.path}, other{file.path};
    BentDevice device{other.host};
    std::vector<int32_t> tokens = exact_tokens(kTokens, exact_model().n_vocab);
    tn_cli_exact_request request = {{reference.side(kReference), other.side(kOther)}, tokens.data(), kTokens, 100, 0, {}};
    std::string sentence;

    void SetUp() override { other.n_ubatch = 6; }
};

std::string name_of(const tn_node &node)
{
    char name[32];
    tn_node_trace_name(&node, name);
    return name;
}

// -1: of the embedding or the head.
int32_t layer_of(const tn_node &node) { return node.layer == TN_LAYER_HEAD ? -1 : node.layer; }

// The place of a difference, as a result has it.
struct Place {
    uint32_t position = 0;
    int32_t layer = 0;
    std::string op;
    uint32_t element = 0;
    float values[2] = {};
};

bool same_bits(float a, float b) { return memcmp(&a, &b, sizeof a) == 0; }

// By looking at everything that both sides stored.
bool find_by_all_rows(const tn_graph *graph, const KeptRows &a, const KeptRows &b, Place *out)
{
    for (uint32_t position = 0; position < kTokens; position++) {
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
            const tn_node &node = graph->nodes[i];
            if (!node.trace) continue;
            const std::vector<float> &x = a.rows.at({position, name_of(node)}), &y = b.rows.at({position, name_of(node)});
            for (uint32_t e = 0; e < x.size(); e++) {
                if (same_bits(x[e], y[e])) continue;
                *out = {position, layer_of(node), node.trace, e, {x[e], y[e]}};
                return true;
            }
        }
    }
    return false;
}

// The first traced node that computes from what `node` stored, or is it.
const tn_node &shown_by(const tn_graph *graph, uint32_t node)
{
    std::vector<bool> depends(graph->n_values, false);
    const tn_node &bent = graph->nodes[node];
    for (uint32_t i = node; i < graph->n_nodes; i++) {
        const tn_node &n = graph->nodes[i];
        bool does = i == node || (n.op == TN_OP_ATTENTION && bent.op == TN_OP_KV_APPEND && n.layer == bent.layer);
        for (uint32_t in : n.in) does = does || (in != TN_NONE && depends[in]);
        if (does && n.trace) return n;
        if (does && n.out != TN_NONE) depends[n.out] = true;
    }
    ADD_FAILURE() << "nothing shows node " << node;
    return bent;
}

void expect_place(const tn_cli_exact_result &result, const Place &place)
{
    EXPECT_EQ(result.position, place.position);
    EXPECT_EQ(result.token, place.position + 100u);
    EXPECT_EQ(result.layer, place.layer);
    EXPECT_EQ(result.op, place.op);
    EXPECT_EQ(result.element, place.element);
    EXPECT_TRUE(same_bits(result.values[0], place.values[0])) << result.values[0];
    EXPECT_TRUE(same_bits(result.values[1], place.values[1])) << result.values[1];
}

std::vector<StoredPart> parts_of(const tn_graph *graph, const tn_node &node)
{
    if (node.op == TN_OP_KV_APPEND) return {StoredPart::KEY, StoredPart::KEY_SCALE, StoredPart::KV_VALUE, StoredPart::KV_VALUE_SCALE};
    if (graph->values[node.out].type == TN_VALUE_Q8) return {StoredPart::CODE, StoredPart::SCALE};
    return {StoredPart::VALUE};
}

uint32_t elements_of(const tn_graph *graph, const tn_node &node)
{
    return node.op == TN_OP_KV_APPEND ? graph->head_dim : graph->values[node.out].width;
}

// Bits below the sign of a code, and those of a float's mantissa.
uint32_t bits_of(StoredPart part)
{
    switch (part) {
    case StoredPart::CODE: return 7;
    case StoredPart::KEY:
    case StoredPart::KV_VALUE: return 11;
    default: return 23;
    }
}

std::string print(const tn_graph *graph, const BentBit &b)
{
    const tn_node &node = graph->nodes[b.node];
    return std::string(tn_op_name(node.op)) + " (node " + std::to_string(b.node) + ") of layer " + std::to_string(node.layer) + ", token " +
           std::to_string(b.position) + ", part " + std::to_string(static_cast<int>(b.part)) + ", element " + std::to_string(b.element) +
           ", bit " + std::to_string(b.bit);
}

} // namespace

TEST_F(CompareExact, WhatHasTheSameBitsIsTheSame)
{
    EXPECT_EQ(find().kind, TN_CLI_EXACT_SAME);
    EXPECT_EQ(sentence, "cpu0 and bent0 have the same bits in all 20 tokens, whether ops are traced or not");
}

// Of ops that traces show, the row is named in which the bit is. Of others it is the first one behind them that traces show, at the same
// token: unless rounding has swallowed the bit there, in which case it is the first row that has it, or none.
class CompareExactBit : public CompareExact
{
  protected:
    // False: rounding swallowed it.
    bool is_found(const BentBit &b)
    {
        SCOPED_TRACE(print(graph(), b));
        device.bent = {b};
        const tn_cli_exact_result result = find();
        Place place;
        if (!find_by_all_rows(graph(), reference.kept, other.kept, &place)) {
            EXPECT_EQ(result.kind, TN_CLI_EXACT_SAME) << sentence;
            return false;
        }
        EXPECT_EQ(result.kind, TN_CLI_EXACT_PARTED) << sentence;
        expect_place(result, place);
        const tn_node &node = graph()->nodes[b.node], &shown = shown_by(graph(), b.node);
        const bool is_there = place.position == b.position && place.op == shown.trace && place.layer == layer_of(shown);
        if (node.trace) {
            EXPECT_TRUE(is_there) << sentence;
            EXPECT_EQ(place.element, b.element);
            uint32_t bits[2];
            memcpy(bits, place.values, sizeof bits);
            EXPECT_EQ(bits[0] ^ bits[1], 1u << b.bit);
        }
        EXPECT_GE(place.position, b.position) << "tokens do not see those behind them";
        return is_there;
    }
};

TEST_F(CompareExactBit, TheLowestAndTheSignAreFoundInEveryRowThatTracesShow)
{
    for (uint32_t i = 0; i < graph()->n_nodes; i++) {
        const tn_node &node = graph()->nodes[i];
        if (!node.trace) continue;
        for (uint32_t bit : {0u, 31u}) EXPECT_TRUE(is_found({i, 5, StoredPart::VALUE, elements_of(graph(), node) - 1, bit}));
    }
}

class CompareExactOps : public CompareExactBit, public testing::WithParamInterface<tn_op>
{
};

// Where rounding swallows the bit, a higher one is flipped.
TEST_P(CompareExactOps, AFlippedBitIsFoundInEveryLayerAtSeveralTokens)
{
    tiny_random random(static_cast<uint64_t>(GetParam()) + 1);
    int n_flipped = 0;
    for (uint32_t i = 0; i < graph()->n_nodes; i++) {
        const tn_node &node = graph()->nodes[i];
        if (node.op != GetParam()) continue;
        for (StoredPart part : parts_of(graph(), node)) {
            for (uint32_t position : {0u, 11u, kTokens - 1}) {
                BentBit b = {i, position, part, static_cast<uint32_t>(random.bits() % elements_of(graph(), node)), 0};
                b.bit = static_cast<uint32_t>(random.bits() % bits_of(part));
                while (!is_found(b) && ++b.bit < bits_of(part)) {}
                EXPECT_LT(b.bit, bits_of(part)) << "no bit is found: " << print(graph(), b);
                n_flipped++;
            }
        }
    }
    EXPECT_GE(n_flipped, 3);
}

INSTANTIATE_TEST_SUITE_P(All, CompareExactOps, testing::Range(static_cast<tn_op>(0), TN_OP_COUNT_, static_cast<tn_op>(1)),
                         [](const auto &test) { return std::string(tn_op_name(test.param)); });
