// matmul_dense in all its builds against src/ref, bit by bit.
#include "kernels/matmul_fixture.h"
#include "vulkan/shader_rig.hpp"

#include <cmath>
#include <stdexcept>

extern "C" {
#include "vulkan/shaders/shader_params.h"
#include "vulkan/vk_pack.h"
}

using namespace tn_test;

namespace vulkan_test
{
namespace
{

constexpr uint32_t kNone = 0xffffffffu; // no poison; and what memory holds that nobody should read: as a float it is no number
constexpr uint32_t kNode = 7, kBefore = 64;

enum class Form { plain, dot, mul };

struct Variant {
    const char *shader;
    tn_dtype dtype;
    Form form;
    bool by_texels; // as on software devices
};

const Variant kVariants[] = {
    {"matmul_dense_f32", TN_DTYPE_F32, Form::plain, false},          {"matmul_dense_f32_texel", TN_DTYPE_F32, Form::plain, true},
    {"matmul_dense_f16", TN_DTYPE_F16, Form::plain, false},          {"matmul_dense_f16_texel", TN_DTYPE_F16, Form::plain, true},
    {"matmul_dense_bf16", TN_DTYPE_BF16, Form::plain, false},        {"matmul_dense_bf16_texel", TN_DTYPE_BF16, Form::plain, true},
    {"matmul_dense_q8_0_dot", TN_DTYPE_Q8_0, Form::dot, false},      {"matmul_dense_q8_0_mul", TN_DTYPE_Q8_0, Form::mul, false},
    {"matmul_dense_q8_0_mul_texel", TN_DTYPE_Q8_0, Form::mul, true}, {"matmul_dense_q4_0_dot", TN_DTYPE_Q4_0, Form::dot, false},
    {"matmul_dense_q4_0_mul", TN_DTYPE_Q4_0, Form::mul, false},      {"matmul_dense_q4_0_mul_texel", TN_DTYPE_Q4_0, Form::mul, true},
    {"matmul_dense_q6_k_dot", TN_DTYPE_Q6_K, Form::dot, false},      {"matmul_dense_q6_k_mul", TN_DTYPE_Q6_K, Form::mul, false},
    {"matmul_dense_q6_k_mul_texel", TN_DTYPE_Q6_K, Form::mul, true}, {"matmul_dense_q6_k_mul_shuffle", TN_DTYPE_Q6_K, Form::mul, true},
};

// How a dispatch is cut: invocations, rows of W a lane, rows of x a workgroup.
struct Cut {
    uint32_t invocations, rows, cols;
};

// What the values of a case are like.
enum class Values {
    usual,
    extreme, // weights at the ends of their codes, activations at theirs
    tiny,    // products and sums around 2^-50
    poison,  // the second row of x is too large
};

uint32_t group_of(tn_dtype dtype) { return dtype == TN_DTYPE_Q6_K ? 256 : 32; }

void set_scale(uint8_t *at, float value)
{
    const uint16_t h = tn_f32_to_f16(value);
    std::memcpy(at, &h, 2);
}

void store_element(tn_dtype dtype, float value, uint8_t *at)
{
    const uint16_t half = dtype == TN_DTYPE_F16 ? tn_f32_to_f16(value) : static_cast<uint16_t>(tn_bits(value) >> 16);
    if (dtype == TN_DTYPE_F32)
        std::memcpy(at, &value, 4);
    else
        std::memcpy(at, &half, 2);
}

std::vector<uint8_t> make_weights(tn_dtype dtype, uint32_t N, uint32_t K, Values values, Random *random)
{
    std::vector<uint8_t> rows(N * tn_dtype_row_bytes(dtype, K));
    const tn_dtype_info *type = tn_dtype_get(dtype);
    const bool tiny = values == Values::tiny, extreme = values == Values::extreme;
    if (type->block_elements == 1) {
        for (size_t i = 0; i * type->block_bytes < rows.size(); i++) {
            const float v = tiny ? random->value(-30, -20) : extreme ? (random->bits() % 2 ? 6e4f : -6e4f) : random->value(-20, 2);
            store_element(dtype, random->range(0, 15) ? v : 0.0f, &rows[i * type->block_bytes]);
        }
        return rows;
    }
    for (auto &b : rows) b = static_cast<uint8_t>(random->bits());
    for (size_t block = 0; block < rows.size(); block += type->block_bytes) {
        uint8_t *w = &rows[block];
        if (extreme) {
            const uint8_t ends[] = {0x00, 0xff, 0x80, 0x7f};
            const uint64_t which = random->bits(); // whole blocks at one end, or mixed
            for (size_t i = 0; i < type->block_bytes; i++) w[i] = ends[which % 3 ? which / 3 % 4 : random->bits() % 4];
            if (dtype == TN_DTYPE_Q6_K && random->bits() % 2) std::memset(w + 192, 0x80, 16);
        }
        set_scale(dtype == TN_DTYPE_Q6_K ? w + 208 : w, tiny ? random->value(-24, -20) : random->value(-16, 2));
    }
    return rows;
}

float make_activation(Values values, uint32_t token, Random *random)
{
    if (values == Values::extreme) return random->bits() % 2 ? 1.0f : -1.0f; // codes +-127
    if (values == Values::tiny) return random->value(-32, -24);
    if (values == Values::poison && token == 1) return random->value(50, 55);
    return random->range(0, 15) ? random->value(-12, 3) : 0.0f;
}

// One product: its inputs, and what src/ref makes of them.
struct Case {
    tn_dtype dtype;
    uint32_t N, K, n_tokens;
    std::unique_ptr<Weight> weight;
    std::vector<float> x, want;
    std::vector<uint32_t> poison;
    std::vector<uint32_t> packed;
    tn_vk_weight_shape shape;

    Case(tn_dtype type, uint32_t n, uint32_t k, uint32_t tokens, Values values, uint64_t stream) : dtype(type), N(n), K(k), n_tokens(tokens)
    {
        Random random(stream);
        weight = std::make_unique<Weight>(TN_WEIGHT_DENSE, dtype, N, K, make_weights(dtype, N, K, values, &random));
        x.resize(size_t{n_tokens} * K);
        for (size_t i = 0; i < x.size(); i++) x[i] = tn_fl(make_activation(values, static_cast<uint32_t>(i / K), &random));
        finish();
    }
    // One row of x.
    Case(tn_dtype type, uint32_t n, uint32_t k, std::vector<uint8_t> rows, std::vector<float> row_of_x)
        : dtype(type), N(n), K(k), n_tokens(1), x(std::move(row_of_x))
    {
        weight = std::make_unique<Weight>(TN_WEIGHT_DENSE, dtype, N, K, std::move(rows));
        finish();
    }
    void finish()
    {
        want.resize(size_t{n_tokens} * N);
        poison.assign(n_tokens, kNone);
        for (uint32_t t = 0; t < n_tokens; t++) {
            const uint32_t largest = tn_ref_matmul_dense(&x[size_t{t} * K], dtype, weight->rows().data(), N, K, &want[size_t{t} * N]);
            if (largest >= TN_ABS_BITS_2P56) poison[t] = kNode;
        }
        if (tn_vk_weight_shape_of(&weight->source(), &shape) != TN_OK) throw std::runtime_error(tn_error_last()->message);
        packed.assign(shape.n_words, kNone);
        tn_vk_pack_sink *sink = [](void *ctx, uint64_t at, const uint32_t *words, uint64_t n_words) {
            std::copy(words, words + n_words, static_cast<std::vector<uint32_t> *>(ctx)->begin() + static_cast<int64_t>(at));
            return TN_OK;
        };
        if (tn_vk_pack_all(&shape, &weight->source(), 1, sink, &packed) != TN_OK) throw std::runtime_error(tn_error_last()->message);
    }
};

uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

// Codes of one row in the form's words, as quant_group leaves them.
void put_codes(const int8_t *codes, uint32_t n, Form form, uint32_t *words)
{
    for (uint32_t k = 0; k < n; k += 4) {
        const auto at = [&](uint32_t i) { return static_cast<uint32_t>(static_cast<int32_t>(codes[k + i])); };
        if (form == Form::dot) {
            words[k / 4] = (at(0) & 255) | (at(1) & 255) << 8 | (at(2) & 255) << 16 | (at(3) & 255) << 24;
        } else {
            words[k / 2] = (at(0) << 16) + at(2);
            words[k / 2 + 1] = (at(1) << 16) + at(3);
        }
    }
}

// The arena's words and the params that say where they lie.
void put_inputs(const Case &c, Form form, Bindings *b, tn_vk_dense_params *p)
{
    b->arena.assign(kBefore, kNone);
    p->x_at = kBefore;
    if (form == Form::plain) {
        p->x_stride = round_up(c.K, 4);
        b->arena.resize(kBefore + size_t{c.n_tokens} * p->x_stride, kNone);
        for (uint32_t t = 0; t < c.n_tokens; t++) std::memcpy(&b->arena[kBefore + size_t{t} * p->x_stride], &c.x[size_t{t} * c.K], c.K * 4);
        return;
    }
    const uint32_t group = group_of(c.dtype), sum_group = group == 32 ? 32 : 16, padded = round_up(c.K, 256);
    p->x_stride = padded / (form == Form::dot ? 4 : 2) + 4;
    p->scales = p->x_at + c.n_tokens * p->x_stride;
    p->scales_stride = padded / group + (group == 32 ? 4 : 1);
    p->sums = round_up(p->scales + c.n_tokens * p->scales_stride, 4);
    p->sums_stride = padded / sum_group + 4;
    b->arena.resize(p->sums + size_t{c.n_tokens} * p->sums_stride, kNone);
    for (uint32_t t = 0; t < c.n_tokens; t++) {
        std::vector<int8_t> codes(padded, 0);
        std::vector<float> scales(padded / group, 0.0f);
        std::vector<int32_t> sums(padded / group);
        tn_ref_quant_group(&c.x[size_t{t} * c.K], c.K, group, codes.data(), scales.data(), sums.data());
        put_codes(codes.data(), padded, form, &b->arena[p->x_at + size_t{t} * p->x_stride]);
        std::memcpy(&b->arena[p->scales + size_t{t} * p->scales_stride], scales.data(), scales.size() * 4);
        for (uint32_t i = 0; i < padded / sum_group; i++) {
            int32_t sum = 0;
            for (uint32_t k = 0; k < sum_group; k++) sum += codes[i * sum_group + k];
            b->arena[p->sums + size_t{t} * p->sums_stride + i] = static_cast<uint32_t>(sum);
        }
    }
}

tn_vk_dense_params params_of(const Case &c)
{
    tn_vk_dense_params p = {};
    p.w.n_units = c.shape.n_units;
    p.w.interleave = c.shape.interleave;
    p.w.scales_at = static_cast<uint32_t>(c.shape.scales_at);
    p.w.n_blocks = c.shape.n_blocks;
    p.n = c.K;
    p.n_rows = c.N;
    p.y_at = 5;
    p.y_stride = c.N + 3;
    p.node = kNode;
    return p;
}

uint32_t n_groups(uint32_t n, uint32_t of) { return (n + of - 1) / of; }

// Where y differs from the reference, and what else the shader wrote.
void expect_result(const Case &c, const tn_vk_dense_params &p, const Bindings &b)
{
    std::vector<uint32_t> want(b.out.size(), kNone);
    for (uint32_t t = p.first_token; t < c.n_tokens; t++) {
        for (uint32_t r = 0; r < c.N; r++) want[p.y_at + (t - p.first_token) * p.y_stride + r] = tn_bits(c.want[size_t{t} * c.N + r]);
    }
    for (size_t i = 0; i < want.size(); i++) {
        const bool zero = (want[i] & 0x7fffffffu) == 0 && (b.out[i] & 0x7fffffffu) == 0; // the sign of zero is free
        const bool nan = (want[i] & 0x7fffffffu) > 0x7f800000u && want[i] != kNone && (b.out[i] & 0x7fffffffu) > 0x7f800000u;
        ASSERT_TRUE(b.out[i] == want[i] || zero || nan) << "word " << i << " is " << float_of(b.out[i]) << ", not " << float_of(want[i]);
    }
    for (uint32_t t = 0; t < c.n_tokens; t++) ASSERT_EQ(b.state[t], t < p.first_token ? kNone : c.poison[t]) << "poison of row " << t;
}

void run_case(ShaderRig *rig, const Variant &variant, const Case &c, const Cut &cut, uint32_t first_token = 0)
{
    SCOPED_TRACE(seed_hint() + " " + variant.shader + " N " + std::to_string(c.N) + " K " + std::to_string(c.K) + " tokens " +
                 std::to_string(c.n_tokens) + " invocations " + std::to_string(cut.invocations) + " ROWS " + std::to_string(cut.rows) +
                 " COLS " + std::to_string(cut.cols));
    Bindings b;
    tn_vk_dense_params p = params_of(c);
    put_inputs(c, variant.form, &b, &p);
    p.first_token = first_token;
    b.step = {c.n_tokens, 12345};
    b.weights = b.kv = c.packed; // kv: scales
    b.state.assign(c.n_tokens, kNone);
    b.out.assign(p.y_at + size_t{c.n_tokens} * p.y_stride, kNone);
    rig->run(variant.shader, {cut.invocations, cut.rows, cut.cols}, p, n_groups(c.N, cut.invocations * cut.rows),
             n_groups(c.n_tokens - first_token, cut.cols), 1, &b);
    expect_result(c, p, b);
}

class MatmulDense : public testing::TestWithParam<Variant>
{
  protected:
    static ShaderRig *rig()
    {
        static ShaderRig rig; // with its pipelines
        return &rig;
    }
    static std::vector<uint32_t> widths()
    {
        switch (GetParam().dtype) {
        case TN_DTYPE_Q6_K: return {256, 512, 768};
        case TN_DTYPE_Q8_0:
        case TN_DTYPE_Q4_0: return {32, 96, 256, 512, 800};
        default: return {5, 32, 96, 256, 301, 512, 800};
        }
    }
    void SetUp() override
    {
        if (GetParam().form == Form::dot && !rig()->has_dot()) GTEST_SKIP() << "the device has no OpSDot";
        const std::string name = GetParam().shader;
        if (name.find("_shuffle") != name.npos && !rig()->has_shuffle())
            GTEST_SKIP() << "the device has no subgroups of 8 lanes with shuffles";
    }
};

TEST_P(MatmulDense, EqualsTheReferenceHoweverItIsCut)
{
    std::vector<Cut> cuts = {{8, 1, 1}, {32, 1, 3}, {64, 2, 2}, {128, 1, 1}, {256, 1, 8}};
    // Software devices work on many rows a lane, and compile other builds slowly.
    if (GetParam().by_texels) cuts.insert(cuts.end(), {{8, 4, 1}, {8, 4, 4}, {8, 8, 1}});
    uint64_t stream = 0;
    for (uint32_t K : widths()) {
        for (uint32_t N : {1u, 16u, 37u, 100u}) {
            // One row of halves is packed as f32.
            if (N == 1 && (GetParam().dtype == TN_DTYPE_F16 || GetParam().dtype == TN_DTYPE_BF16)) continue;
            for (uint32_t n_tokens : {1u, 7u, 10u}) {
                const Case c(GetParam().dtype, N, K, n_tokens, Values::usual, stream++);
                for (const Cut &cut : cuts) run_case(rig(), GetParam(), c, cut);
                if (HasFatalFailure()) return;
            }
        }
    }
}

TEST_P(MatmulDense, IsExactAtTheEndsOfTheCodesAndAroundWhatFlMakesZero)
{
    for (Values values : {Values::extreme, Values::tiny}) {
        for (uint64_t round = 0; round < 4; round++) {
            const Case c(GetParam().dtype, 37, 512, 3, values, 1000 + round);
            run_case(rig(), GetParam(), c, {8, 1, 1});
            run_case(rig(), GetParam(), c, {32, 1, 3});
        }
    }
}

TEST_P(MatmulDense, MarksTheRowsThatAreTooLarge)
{
    const Case c(GetParam().dtype, 37, 512, 4, Values::poison, 2000);
    EXPECT_EQ(c.poison, (std::vector<uint32_t>{kNone, kNode, kNone, kNone})) << "the case is what it should be";
    run_case(rig(), GetParam(), c, {32, 1, 3});
    run_case(rig(), GetParam(), c, {64, 2, 2});
}

// Rows of logits: their number and the tokens whose poison they mark come from the step. A slice of W's rows, and of x's.
TEST_P(MatmulDense, ComputesSlicesOfRowsOfLogits)
{
    const uint32_t N = 100, n_x = 4, first_row = 48, n_rows = 37, first_token = 1, logit_rows = 3;
    const uint32_t K = GetParam().dtype == TN_DTYPE_Q6_K ? 512 : 96;
    const Case c(GetParam().dtype, N, K, n_x, Values::poison, 3000);
    Bindings b;
    tn_vk_dense_params p = params_of(c);
    put_inputs(c, GetParam().form, &b, &p);
    b.weights.assign(c.packed.begin() + static_cast<std::ptrdiff_t>(first_row / 16 * c.shape.group_words), c.packed.end());
    b.kv = c.packed; // scales
    p.w.scales_at += first_row / 16 * 16 * c.shape.n_blocks;
    p.first_row = first_row;
    p.n_rows = n_rows;
    p.first_token = first_token;
    p.is_logits = 1;
    p.logit_rows = logit_rows;
    b.step = {9, n_x, 12345, 8, 5, 2, 0}; // tokens of the rows of logits: 8, 5, 2, 0
    b.state.assign(9, kNone);
    b.out.assign(p.y_at + n_x * p.y_stride, kNone);
    rig()->run(GetParam().shader, {64, 2, 2}, p, n_groups(n_rows, 128), n_groups(n_x - first_token, 2), 1, &b);
    std::vector<uint32_t> want(b.out.size(), kNone);
    for (uint32_t t = first_token; t < n_x; t++) {
        for (uint32_t r = first_row; r < first_row + n_rows; r++)
            want[p.y_at + (t - first_token) * p.y_stride + r] = tn_bits(c.want[size_t{t} * N + r]);
    }
    for (size_t i = 0; i < want.size(); i++) {
        const bool zero = ((want[i] | b.out[i]) << 1) == 0;
        ASSERT_TRUE(zero || b.out[i] == want[i]) << "word " << i;
    }
    for (uint32_t t = 0; t < 9; t++) EXPECT_EQ(b.state[t], t == 5 ? kNode : kNone) << "poison of token " << t;
}

// What a file may hold besides numbers makes poison, as in src/ref, and nothing else.
TEST_P(MatmulDense, KeepsWeightsThatAreNoNumbers)
{
    const tn_dtype dtype = GetParam().dtype;
    const uint32_t N = 17, K = dtype == TN_DTYPE_Q6_K ? 256 : 64;
    Case c(dtype, N, K, 1, Values::usual, 4000);
    std::vector<uint8_t> rows = c.weight->rows();
    const size_t bytes = tn_dtype_get(dtype)->block_bytes, row_bytes = tn_dtype_row_bytes(dtype, K);
    const float special[] = {INFINITY, -INFINITY, NAN, 0x1p-24f, -0x3p-24f, 0x1.ff8p-15f, 0x1p-14f};
    for (uint32_t i = 0; i < 7; i++) {
        uint8_t *row = &rows[2 * i * row_bytes];
        if (GetParam().form == Form::plain)
            store_element(dtype, special[i], row + (33 + i) * bytes);
        else
            set_scale(row + row_bytes - (dtype == TN_DTYPE_Q6_K ? 2 : bytes), special[i]);
    }
    const Case changed(dtype, N, K, std::move(rows), c.x);
    EXPECT_EQ(changed.poison[0], kNode);
    run_case(rig(), GetParam(), changed, {8, 1, 1});
}

} // namespace

INSTANTIATE_TEST_SUITE_P(Variants, MatmulDense, testing::ValuesIn(kVariants),
                         [](const auto &tested) { return std::string(tested.param.shader); });

} // namespace vulkan_test
