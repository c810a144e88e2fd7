// Rows copied from everywhere to everywhere.
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr uint32_t kGridRows = 6, kTokens = 5;

struct Copy {
    uint32_t n;
    bool from_input, to_output; // rows of n elements there
    bool is_logits, by_logits;
    std::vector<uint32_t> logit_rows;
};

void check(const Copy &copy)
{
    const uint32_t wide = (copy.n + 3) / 4 * 4 + 4, x_stride = copy.from_input ? copy.n : wide, y_stride = copy.to_output ? copy.n : wide;
    Memory<float> x((size_t)kTokens * x_stride), y((size_t)kGridRows * y_stride);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)i;
    Memory<uint32_t> words(64);
    const uint64_t addresses[2] = {(uint64_t)(uintptr_t)x.data(), (uint64_t)(uintptr_t)y.data()};
    words[0] = kTokens;
    words[1] = (uint32_t)copy.logit_rows.size();
    std::copy(copy.logit_rows.begin(), copy.logit_rows.end(), &words[16]);
    std::memcpy(&words[40], addresses, sizeof addresses);
    tn_cuda_copy_params p = {};
    p.step.words = words.data();
    p.step.logit_rows = 16;
    p.step.addresses = 40;
    p.n = copy.n;
    p.x = {copy.from_input ? nullptr : x.data(), x_stride};
    p.y = {copy.to_output ? nullptr : y.data(), y_stride};
    p.is_logits = copy.is_logits;
    p.by_logits = copy.by_logits;
    launch("copy_rows", p, kGridRows, (copy.n + TN_CUDA_ELEMENTS - 1) / TN_CUDA_ELEMENTS);

    const uint32_t n_rows = copy.is_logits ? words[1] : kTokens;
    for (uint32_t r = 0; r < kGridRows; r++) {
        const uint32_t from = copy.by_logits && r < n_rows ? copy.logit_rows[r] : r;
        const uint8_t *got = (const uint8_t *)&y[(size_t)r * y_stride];
        const size_t n_bytes = r < n_rows ? copy.n * sizeof(float) : 0;
        EXPECT_TRUE(n_bytes == 0 || std::memcmp(got, &x[(size_t)from * x_stride], n_bytes) == 0) << "row " << r << " of " << copy.n;
        EXPECT_TRUE(std::all_of(got + n_bytes, got + y_stride * sizeof(float), [](uint8_t byte) { return byte == 0xcd; })) << r;
    }
}

TEST(CopyRows, AllRowsOfAStep)
{
    for (uint32_t n : {1u, 2u, 3u, 4u, 1023u, 1024u, 1029u, 2560u}) {
        for (const bool from_input : {false, true}) {
            for (const bool to_output : {false, true}) check({n, from_input, to_output, false, false, {}});
        }
    }
}

TEST(CopyRows, WantedRowsAlone)
{
    for (uint32_t n : {5u, 1028u}) {
        check({n, false, false, true, true, {1, 2, 4}});
        check({n, true, true, true, true, {0, 4}});
        check({n, false, true, true, true, {}});
    }
}

TEST(CopyRows, RowsOfLogitsAsTheyAre) { check({1025, false, true, true, false, {2, 4}}); }

} // namespace
