// Rows quantised by groups against src/ref, bit for bit.
#include "cuda_host/rows_rig.hpp"

using namespace cuda_host;

namespace
{

constexpr uint32_t kGridRows = 4;

struct Groups {
    uint32_t group, sum_group;
};

class QuantGroup : public testing::TestWithParam<Groups>
{
};

// One row: what the reference makes of it, sums by hand, zeros to the end of the last block.
void expect_row(const Groups &groups, const float *x, uint32_t n, const int8_t *codes, const float *scales, const int32_t *sums)
{
    const uint32_t padded = (n + 255) / 256 * 256;
    std::vector<int8_t> want(padded, 0);
    std::vector<float> want_scales(padded / groups.group, 0.0f);
    std::vector<int32_t> want_sums(padded / groups.sum_group, 0), unused(padded / groups.group);
    tn_ref_quant_group(x, n, groups.group, want.data(), want_scales.data(), unused.data());
    for (uint32_t i = 0; i < n; i++) want_sums[i / groups.sum_group] += want[i];
    EXPECT_EQ(std::memcmp(codes, want.data(), padded), 0) << n;
    EXPECT_EQ(std::memcmp(scales, want_scales.data(), want_scales.size() * sizeof(float)), 0) << n;
    EXPECT_EQ(std::memcmp(sums, want_sums.data(), want_sums.size() * sizeof(int32_t)), 0) << n;
}

void check(const Groups &groups, uint32_t n, bool is_logits, uint32_t n_rows)
{
    const uint32_t padded = (n + 255) / 256 * 256, stride = n + 4;
    const uint32_t n_scales = padded / groups.group, n_sums = padded / groups.sum_group;
    Memory<float> x((size_t)kGridRows * stride), scales((size_t)kGridRows * (n_scales + 3));
    Memory<int8_t> codes((size_t)kGridRows * (padded + 128));
    Memory<int32_t> sums((size_t)kGridRows * (n_sums + 1));
    std::mt19937 random(n);
    const float sizes[kGridRows] = {1.0f, 1e-7f, 1e12f, 1e-3f};
    for (uint32_t r = 0; r < kGridRows; r++) {
        const std::vector<float> row = random_floats(random, n, sizes[r]);
        std::copy(row.begin(), row.end(), &x[(size_t)r * stride]);
    }
    std::fill_n(&x[0], 32, 0.0f);
    std::vector<uint32_t> logit_rows;
    for (uint32_t r = 0; is_logits && r < n_rows; r++) logit_rows.push_back(3 * r);
    const Step step(is_logits ? 40 : n_rows, logit_rows, nullptr);
    tn_cuda_group_params p = {};
    p.step = step.params();
    p.x = {x.data(), stride};
    p.n = n;
    p.is_logits = is_logits;
    p.group = groups.group, p.sum_group = groups.sum_group;
    p.codes = codes.data(), p.scales = scales.data(), p.sums = sums.data();
    p.codes_stride = padded + 128, p.scales_stride = n_scales + 3, p.sums_stride = n_sums + 1;
    launch("quant_group", p, kGridRows);
    for (uint32_t r = 0; r < n_rows; r++) {
        expect_row(groups, &x[(size_t)r * stride], n, &codes[(size_t)r * p.codes_stride], &scales[(size_t)r * p.scales_stride],
                   &sums[(size_t)r * p.sums_stride]);
    }
    const uint8_t *rest = (const uint8_t *)codes.data() + (size_t)n_rows * p.codes_stride,
                  *end = (const uint8_t *)codes.data() + codes.size();
    EXPECT_TRUE(std::all_of(rest, end, [](uint8_t byte) { return byte == 0xcd; }));
}

TEST_P(QuantGroup, EveryWidthHasTheBitsOfTheReference)
{
    for (uint32_t n = GetParam().group; n <= 5 * 256; n += GetParam().group) check(GetParam(), n, false, kGridRows);
    check(GetParam(), 40 * 256, false, 1);
    if (GetParam().group == 32) check(GetParam(), 9 * 256 + 224, false, 2);
}

TEST_P(QuantGroup, RowsThatTheStepLacksAreLeftAlone)
{
    check(GetParam(), 512, false, 2);
    check(GetParam(), 512, true, 3);
    check(GetParam(), 512, true, 0);
}

INSTANTIATE_TEST_SUITE_P(All, QuantGroup, testing::Values(Groups{32, 32}, Groups{256, 16}));

} // namespace
