// Where bits part, between sides that are as users have them, and sides that fail, change their mind or leave something out.
#include "cli/exact_rig.hpp"
#include "support/isa_levels.hpp"

using namespace tn_test;

namespace
{

// A bit of the file, whose op, layer and token are known, and the sides that run it.
struct FileBit {
    const char *tensor;
    std::function<size_t(const std::vector<int32_t> &tokens)> byte;
    uint8_t mask;
    const char *op;
    int32_t layer;
    uint32_t position;
};

} // namespace

TEST_F(ExactSides, ABitOfTheFileIsFoundBetweenAnyTwoLevelsAndPlacements)
{
    const FileBit bits[] = {
        {"token_embd.weight", [](auto &t) { return embedding_byte(t, 13); }, 1, "embed", -1, first_of_token(tokens, 13)},
        {"blk.1.ffn_norm.weight", [](auto &) { return 4 * 9 + 2; }, 0x40, "glu", 1, 0}, // an upper bit of a gain's mantissa
        {"output_norm.weight", [](auto &) { return 4 * 9; }, 1, "norm", -1, 0},
        {"output.weight", [](auto &) { return size_t{3 * 128 * 2 + 1}; }, 0x02, "logits", -1, 0},
    };
    const std::string whole = write("exact_whole", exact_model());
    ExactSide a(whole, "scalar");
    for (const FileBit &bit : bits) {
        SCOPED_TRACE(bit.tensor);
        const std::string other =
            write("exact_bit", exact_model(), [&](auto &all) { tensor(all, bit.tensor).bytes[bit.byte(tokens)] ^= bit.mask; });
        ExactSide same(whole, isa_levels().back().c_str(), 2, 2), b(other, isa_levels().back().c_str(), 2, 2);
        same.devices = b.devices = "cpu1,cpu0,cpu1";
        EXPECT_EQ(find(a, same).result.kind, TN_CLI_EXACT_SAME);
        for (const bool is_swapped : {false, true}) {
            const Found found = is_swapped ? find(b, a) : find(a, b);
            EXPECT_EQ(found.result.kind, TN_CLI_EXACT_PARTED) << found.sentence;
            EXPECT_EQ(found.result.position, bit.position);
            EXPECT_EQ(found.result.layer, bit.layer);
            EXPECT_STREQ(found.result.op, bit.op);
        }
    }
}

class ExactBent : public ExactSides
{
  protected:
    // Layer 1's attention, token 7.
    BentBit bit()
    {
        const tn_graph *graph = tn_model_graph(a.model);
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
            if (graph->nodes[i].op == TN_OP_ATTENTION && graph->nodes[i].layer == 1) return {i, 7, StoredPart::VALUE, 3, 20};
        }
        ADD_FAILURE();
        return {};
    }
    std::string path = write("exact_bent", exact_model());
    ExactSide a{path}, b{path};
    BentDevice device{b.host};
};

TEST_F(ExactBent, TheSentenceNamesBothTheTokenTheLayerTheOpAndTheValues)
{
    device.bent = {bit()};
    const Found found = find_exact({{a.side("cpu-avx2"), b.side("vulkan0")}, tokens.data(), exact_n_tokens, 300, 0, {}});
    const std::vector<float> &was = a.kept.rows.at({7, "L1.attn"}), &is = b.kept.rows.at({7, "L1.attn"});
    char values[100];
    snprintf(values, sizeof values, "%a against %a", static_cast<double>(was[3]), static_cast<double>(is[3]));
    EXPECT_EQ(found.sentence, std::string("cpu-avx2 and vulkan0 part at token 307 (position 7), layer 1, op attn, element 3: ") + values);
    EXPECT_EQ(a.n_opened, 2);
    EXPECT_EQ(b.n_opened, 2);
}

TEST_F(ExactBent, CallsOfAnyNumberOfTokensFindTheSame)
{
    device.bent = {bit()};
    for (const uint32_t n : {1u, 7u, 8u, 19u, 20u, 1000u}) {
        SCOPED_TRACE(n);
        n_feed = n;
        const Found found = find(a, b);
        EXPECT_EQ(found.result.kind, TN_CLI_EXACT_PARTED);
        EXPECT_EQ(found.result.position, 7u);
        EXPECT_STREQ(found.result.op, "attn");
        EXPECT_EQ(b.kept.rows.count({19, "logits"}), n > 8 ? (n < 19 ? 0u : n == 19 ? 0u : 1u) : 0u) << "the second run ends with its call";
    }
    n_feed = 0;
    b.n_logits_max = 3; // all that a call of this side may have
    EXPECT_EQ(find(a, b).result.position, 7u);
}

// The step computes the embedding of all its tokens before any layer.
TEST_F(ExactBent, OfTwoBitsThatAtTheEarlierTokenIsFirst)
{
    device.bent = {bit(), {0, 12, StoredPart::VALUE, 0, 3}};
    a.n_ubatch = b.n_ubatch = exact_n_tokens;
    const Found found = find(a, b);
    EXPECT_EQ(found.result.position, 7u);
    EXPECT_EQ(found.result.layer, 1);
    EXPECT_STREQ(found.result.op, "attn");
}

// Rows that one side lacks are no difference; what both have is compared.
TEST_F(ExactBent, OpsThatOneSideDoesNotTellAreLeftOut)
{
    device.bent = {bit()};
    b.kept.drops = [](const std::string &op) { return op == "L1.attn" || op == "embed"; };
    Found found = find(a, b);
    EXPECT_EQ(found.result.kind, TN_CLI_EXACT_PARTED) << found.sentence;
    EXPECT_STREQ(found.result.op, "mid");
    EXPECT_EQ(found.result.layer, 1);
    EXPECT_EQ(found.result.position, 7u);
    found = find(b, a);
    EXPECT_STREQ(found.result.op, "mid");
}

TEST_F(ExactBent, WhatPartsOnlyWithoutTracesIsFoundInTheLogits)
{
    device.bent = {bit()};
    device.is_bent = [](const tn_program_desc &desc) { return desc.n_taps == 0; };
    const Found found = find(a, b);
    EXPECT_EQ(found.result.kind, TN_CLI_EXACT_UNTRACED);
    EXPECT_EQ(found.result.position, 7u);
    EXPECT_EQ(found.result.layer, -1);
    EXPECT_STREQ(found.result.op, "logits");
    EXPECT_NE(found.result.values[0], found.result.values[1]);
    EXPECT_NE(found.sentence.find("a and b part at token 7 (position 7), op logits, element "), std::string::npos) << found.sentence;
    EXPECT_NE(found.sentence.find("the same bits where ops are traced"), std::string::npos) << found.sentence;
}

TEST_F(ExactBent, ASideThatDiffersFromItselfIsNamed)
{
    using Bits = std::vector<BentBit>;
    const Bits none, early = {bit()}, late = {{0, 12, StoredPart::VALUE, 0, 3}};
    const std::pair<Bits, Bits> runs[] = {{early, none}, {late, early}, {early, late}};
    for (const auto &[first, second] : runs) {
        b.n_opened = 0;
        b.before = [&](int n) {
            device.bent = n == 0 ? first : second;
            return TN_OK;
        };
        const Found found = find(a, b);
        EXPECT_EQ(found.result.kind, TN_CLI_EXACT_UNSTABLE);
        EXPECT_EQ(found.result.side, 1u);
        EXPECT_EQ(found.sentence,
                  "b differs from itself: at token 7 (position 7), layer 1, op attn it had other bits when it computed the same again");
        b.n_opened = 0;
        EXPECT_EQ(find(b, a).result.side, 0u);
        EXPECT_EQ(a.n_open + b.n_open, 0);
    }
}

TEST_F(ExactBent, ASideThatCannotBeOpenedIsNamedWithItsReason)
{
    device.bent = {bit()};
    for (const int nth : {0, 1}) {
        for (ExactSide *side : {&a, &b}) {
            SCOPED_TRACE(nth);
            a.n_opened = b.n_opened = 0;
            side->before = [&](int n) { return n == nth ? tn_fail(TN_DEVICE_LOST, "the device is made to fail") : TN_OK; };
            const Found found = find(a, b);
            side->before = [](int) { return TN_OK; };
            EXPECT_EQ(found.result.kind, TN_CLI_EXACT_FAILED);
            EXPECT_EQ(found.result.status, TN_DEVICE_LOST);
            EXPECT_EQ(found.sentence,
                      std::string(side == &a ? "a" : "b") + " failed while its ops were looked at: the device is made to fail");
        }
    }
}

TEST_F(ExactBent, WhoWaitsMayStop)
{
    progress.update = [](void *, const char *, uint64_t, uint64_t) { return false; };
    EXPECT_EQ(find(a, b).result.kind, TN_CLI_EXACT_FAILED);
    EXPECT_EQ(find(a, b).result.status, TN_CANCELLED);
}

// A bit that makes a value enormous ends the sequence; where it was is found all the same.
TEST_F(ExactBent, APoisonedSequenceIsComparedUntilItEnds)
{
    device.bent = {bit()};
    device.bent[0].bit = 30;
    const Found found = find(a, b);
    EXPECT_EQ(found.result.kind, TN_CLI_EXACT_PARTED) << found.sentence;
    EXPECT_EQ(found.result.position, 7u);
    EXPECT_STREQ(found.result.op, "attn");
}

TEST_F(ExactSides, SidesThatAreBothPoisonedHaveNothingToCompare)
{
    const auto poison = [](auto &all) {
        const std::vector<float> gains(exact_model().n_embd, 0x1.fp55f); // the largest that a file may have
        tensor(all, "blk.2.attn_norm.weight").bytes = raw_bytes(gains.data(), gains.size() * sizeof(float));
    };
    const std::string path = write("exact_poison", exact_model(), poison);
    const std::string bent = write("exact_poison_bit", exact_model(), [&](auto &all) {
        poison(all);
        tensor(all, "token_embd.weight").bytes[embedding_byte(tokens, 13)] ^= 1;
    });
    ExactSide a(path), b(path, "scalar"), c(bent);
    for (ExactSide *other : {&b, &c}) {
        const Found found = find(a, *other);
        EXPECT_EQ(found.result.kind, TN_CLI_EXACT_FAILED) << found.sentence;
        EXPECT_EQ(found.result.status, TN_POISON);
        EXPECT_NE(found.sentence.find("(layer 2)"), std::string::npos) << found.sentence;
    }
}

TEST(ExactValue, IsPrintedWithAllItsBits)
{
    const auto print = [](uint32_t bits) {
        float value;
        char text[TN_CLI_EXACT_VALUE];
        memcpy(&value, &bits, sizeof value);
        tn_cli_exact_value(value, text);
        return std::string(text);
    };
    EXPECT_EQ(print(0x41400000), "0x1.8p+3");
    EXPECT_EQ(print(0x41400001), "0x1.800002p+3");
    EXPECT_EQ(print(0x80000000), "-0x0p+0");
    EXPECT_EQ(print(0x00000001), "0x1p-149");
    EXPECT_EQ(print(0xff800000), "-inf");
    EXPECT_EQ(print(0x7fc00001), "nan (0x7fc00001)");
}
