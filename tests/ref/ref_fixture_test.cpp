// src/ref against the NumPy form of the exact mode, by bits: tests/data/ref/contract.txt, made by make_ref_fixture.py.
#include "ref/values.h"

#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>

extern "C" {
#include "ref/ref.h"
}

namespace
{

using tn_test::random_bits;
using tn_test::values;
using Params = std::vector<int64_t>;

// Results as the fixture has them: f32 by its bits with -0 as +0, integers as they are.
struct Words {
    std::vector<uint32_t> all;
    void add(float x) { all.push_back(tn_bits(x + 0.0f)); }
    void add_int(int32_t x) { all.push_back(static_cast<uint32_t>(x)); }
    template <typename T> void add_all(const std::vector<T> &v)
    {
        for (T x : v) {
            if constexpr (std::is_same_v<T, float>) {
                add(x);
            } else {
                add_int(x);
            }
        }
    }
};

uint32_t size_of(int64_t n) { return static_cast<uint32_t>(n); }

std::vector<float> flushed(std::vector<float> x)
{
    for (float &v : x) v = tn_fl(v);
    return x;
}

std::vector<uint8_t> raw_bytes(uint64_t seed, size_t n)
{
    std::vector<uint8_t> b(n);
    for (size_t i = 0; i < n; i++) b[i] = static_cast<uint8_t>(random_bits(seed, i));
    return b;
}

void primitive(const std::string &op, const Params &p, Words &out)
{
    auto seed = static_cast<uint64_t>(p[0]);
    auto n = static_cast<size_t>(p[1]);
    if (op == "exp2") {
        for (float t : values(seed, n, 64.0f, 8)) out.add(tn_exp2(t));
    } else if (op == "silu") {
        for (float x : values(seed, n, 128.0f, 12)) out.add(tn_silu(x));
    } else {
        for (float x : values(seed, n, 0x1p40f, 80)) {
            float a = std::fabs(x) + 0x1p-45f;
            out.add(op == "recip" ? tn_recip(a) : tn_rsqrt(a));
        }
    }
}

void sums(const Params &p, Words &out)
{
    auto seed = static_cast<uint64_t>(p[0]);
    uint32_t n = size_of(p[0]);
    std::vector<float> x = values(seed, n, 4.0f, 20), w = values(seed + 5000, n, 2.0f, 9);
    out.add(tn_ref_sum(x.data(), n));
    out.add(tn_ref_sum_squares(x.data(), n));
    out.add(tn_ref_dot_row(x.data(), w.data(), n));
}

void row_op(const std::string &op, const Params &p, Words &out)
{
    auto seed = static_cast<uint64_t>(p[0]);
    uint32_t n = size_of(p[1]);
    bool small = op == "norm_quant_small";
    float scale = small ? 1.0f : std::ldexp(1.0f, static_cast<int>(p[2]));
    std::vector<float> x = flushed(values(seed, n, scale, small ? 1 : static_cast<unsigned>(p[3])));
    std::vector<float> gamma = flushed(values(seed + 100, n, small ? 0x1p-20f : 2.0f)), y(n);
    float eps = small || (p.size() > 4 && p[4]) ? 1e-5f : 0.0f, q_scale;
    std::vector<int8_t> q(n);
    std::vector<int16_t> codes(n);
    int32_t sum;
    if (op == "norm") {
        tn_ref_norm(x.data(), gamma.data(), n, eps, y.data());
        out.add_all(y);
        return;
    }
    if (op == "quant_head") {
        tn_ref_quant_head(x.data(), n, static_cast<int32_t>(p[4]), codes.data(), &q_scale);
        out.add_all(codes);
        out.add(q_scale);
        return;
    }
    if (op == "quant") {
        tn_ref_quant(x.data(), n, q.data(), &q_scale, &sum);
    } else {
        tn_ref_norm_quant(x.data(), gamma.data(), n, eps, q.data(), &q_scale, &sum);
    }
    out.add_all(q);
    out.add(q_scale);
    out.add_int(sum);
}

void pair_op(const std::string &op, const Params &p, Words &out)
{
    auto seed = static_cast<uint64_t>(p[0]);
    uint32_t n = size_of(p[1]);
    std::vector<float> g = flushed(values(seed, n, 16.0f, 12)), u = flushed(values(seed + 100, n, 4.0f, 5)), y(n);
    if (op == "add") {
        tn_ref_add(g.data(), u.data(), n, y.data());
    } else {
        tn_ref_glu(op == "glu_silu" ? TN_GLU_SILU : TN_GLU_RELU2, g.data(), u.data(), n, y.data());
    }
    out.add_all(y);
}

void rope(const Params &p, Words &out)
{
    uint32_t heads = size_of(p[1]), head_dim = size_of(p[2]);
    std::vector<float> x = values(30, heads * head_dim), table = values(31, head_dim), y(x.size());
    tn_ref_rope(x.data(), table.data(), heads, head_dim, p[0] ? TN_ROPE_ADJACENT : TN_ROPE_HALVES, y.data());
    out.add_all(y);
}

void gsum(const Params &p, Words &out)
{
    std::vector<float> terms = values(static_cast<uint64_t>(p[0] + p[1]), static_cast<size_t>(p[1]), 2.0f, 20);
    out.add(tn_ref_gsum(terms.data(), size_of(p[1]), size_of(p[0])));
}

void matmul_ternary(const Params &p, Words &out)
{
    uint32_t N = size_of(p[0]), K = size_of(p[1]);
    std::vector<int8_t> t, q(K);
    for (uint8_t b : raw_bytes(40, N * K)) t.push_back(static_cast<int8_t>(b % 3 - 1));
    std::vector<float> x = values(41, K), y(N);
    float x_scale, w_scale = 0.0371f;
    int32_t sum;
    tn_ref_quant(x.data(), K, q.data(), &x_scale, &sum);
    tn_ref_matmul_ternary(q.data(), x_scale, t.data(), TN_SCALE_TENSOR, &w_scale, N, K, y.data());
    out.add_all(y);
}

void dense(const std::string &op, const Params &p, Words &out)
{
    bool q8 = op.find("q8_0") != std::string::npos;
    uint32_t N = size_of(p[0]), K = size_of(p[1]);
    size_t block = q8 ? 32 : 256, bytes = q8 ? 34 : 210, d_at = q8 ? 0 : 208;
    tn_dtype dtype = q8 ? TN_DTYPE_Q8_0 : TN_DTYPE_Q6_K;
    std::vector<uint8_t> w = raw_bytes(q8 ? 50 : 56, N * K / block * bytes);
    for (size_t i = d_at + 1; i < w.size(); i += bytes) w[i] = static_cast<uint8_t>(0x20 + (w[i] & 7));
    if (op.rfind("matmul", 0) == 0) {
        std::vector<float> x = values(43, K, 1.0f, 6), y(N);
        tn_ref_matmul_dense(x.data(), dtype, w.data(), N, K, y.data());
        out.add_all(y);
        return;
    }
    for (size_t row = 0; row < 2; row++) {
        std::vector<float> y(K);
        tn_ref_embed(dtype, w.data() + row * (K / block * bytes), K, y.data());
        out.add_all(y);
    }
}

// All heads at position p[6], over the keys up to it.
void attention(const Params &p, Words &out)
{
    auto seed = static_cast<uint64_t>(p[0]);
    size_t T = size_of(p[1]), H = size_of(p[2]), KV = size_of(p[3]), hd = size_of(p[4]), at = size_of(p[6]);
    std::vector<float> q = flushed(values(seed, T * H * hd, static_cast<float>(p[5]))), k = values(seed + 100, T * KV * hd),
                       v = values(seed + 200, T * KV * hd);
    for (size_t i = 0; i < KV * hd; i++) {
        k[7 * KV * hd + i] *= 0x1p-40f;
        v[9 * KV * hd + i] *= 0x1p-40f;
    }
    k = flushed(k);
    v = flushed(v);
    auto head_dim = static_cast<uint32_t>(hd), n_pos = static_cast<uint32_t>(at + 1);
    int32_t A = tn_kv_a_qk(head_dim);
    for (size_t h = 0; h < H; h++) {
        size_t g = h / (H / KV);
        std::vector<int16_t> qc(hd), kc(n_pos * hd), vc(n_pos * hd);
        std::vector<float> ks(n_pos), vs(n_pos), y(hd);
        float q_scale;
        tn_ref_quant_head(&q[(at * H + h) * hd], head_dim, A, qc.data(), &q_scale);
        for (size_t i = 0; i < n_pos; i++) {
            tn_ref_quant_head(&k[(i * KV + g) * hd], head_dim, A, &kc[i * hd], &ks[i]);
            tn_ref_quant_head(&v[(i * KV + g) * hd], head_dim, TN_KV_A_V, &vc[i * hd], &vs[i]);
        }
        tn_ref_attention(qc.data(), tn_ref_query_scale(q_scale, head_dim), kc.data(), ks.data(), vc.data(), vs.data(), n_pos, head_dim,
                         y.data());
        out.add_all(y);
    }
}

void compute(const std::string &op, const Params &p, Words &out)
{
    if (op == "recip" || op == "rsqrt" || op == "exp2" || op == "silu") {
        primitive(op, p, out);
    } else if (op == "sums") {
        sums(p, out);
    } else if (op == "gsum") {
        gsum(p, out);
    } else if (op == "rope") {
        rope(p, out);
    } else if (op == "matmul_ternary") {
        matmul_ternary(p, out);
    } else if (op == "attention") {
        attention(p, out);
    } else if (op.rfind("glu", 0) == 0 || op == "add") {
        pair_op(op, p, out);
    } else if (op.rfind("matmul", 0) == 0 || op.rfind("embed", 0) == 0) {
        dense(op, p, out);
    } else {
        row_op(op, p, out);
    }
}

TEST(RefFixture, EveryOpHasTheBitsOfTheNumpyDefinition)
{
    std::ifstream file(TN_SOURCE_DIR "/tests/data/ref/contract.txt");
    ASSERT_TRUE(file) << "tests/data/ref/contract.txt is missing: make it with tests/ref/make_ref_fixture.py";
    std::map<std::string, int> seen;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string op, word;
        words >> op;
        Params params;
        while (words >> word && word != "=") params.push_back(std::stoll(word));
        std::vector<uint32_t> expected;
        while (words >> word) expected.push_back(static_cast<uint32_t>(std::stoul(word, nullptr, 16)));
        Words got;
        compute(op, params, got);
        ASSERT_EQ(got.all.size(), expected.size()) << line.substr(0, 60);
        for (size_t i = 0; i < expected.size(); i++) {
            ASSERT_EQ(got.all[i], expected[i]) << line.substr(0, line.find('=')) << "word " << i;
        }
        seen[op]++;
    }
    EXPECT_EQ(seen.size(), 21u); // ops of the fixture
    EXPECT_GE(seen["attention"], 20);
}

} // namespace
