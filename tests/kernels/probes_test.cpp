// The probes of the machine's limits do what they claim to time: every byte is read, every product is made.
#include "matmul_fixture.h"

namespace
{

using namespace tn_test;

class ReadStream : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(ReadStream, TakesEveryWordOnce)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *read = reinterpret_cast<tn_k_read_stream_fn *>(GetParam().function);
    std::mt19937_64 random(seed());
    for (size_t n_lines : {0u, 1u, 3u, 4u, 15u, 16u, 17u, 31u, 64u, 1000u}) {
        std::vector<uint64_t> words(n_lines * 8 + 1);
        uint64_t expected = 0;
        for (size_t i = 0; i < n_lines * 8; i++) expected ^= words[i] = random();
        words.back() = ~uint64_t{0}; // past the end
        EXPECT_EQ(read(reinterpret_cast<const uint8_t *>(words.data()), n_lines * 64), expected) << n_lines << " lines, " << seed_hint();
        for (size_t i = 0; i < n_lines * 8; i += 7) {
            words[i] ^= 1;
            ASSERT_EQ(read(reinterpret_cast<const uint8_t *>(words.data()), n_lines * 64), expected ^ 1)
                << "word " << i << " of " << n_lines;
            words[i] ^= 1;
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Rows, ReadStream, ::testing::ValuesIn(rows_of({TN_SLOT_read_stream})), row_name);

class PeakDot : public ::testing::TestWithParam<tn_kernel_row>
{
};

TEST_P(PeakDot, MakesTheProductsThatItCounts)
{
    TN_SKIP_WITHOUT_ISA(GetParam());
    auto *dot = reinterpret_cast<tn_k_peak_dot_fn *>(GetParam().function);
    uint64_t of_a_group = 0;
    for (uint32_t n_groups : {0u, 1u, 2u, 7u, 40u}) {
        for (int code : {0, 1, 2}) {
            for (int q : {-127, -3, 0, 1, 127}) {
                uint32_t sum = 1;
                const uint64_t products = dot(static_cast<uint8_t>(code), static_cast<int8_t>(q), n_groups, &sum);
                if (n_groups == 1) of_a_group = products;
                EXPECT_EQ(products, of_a_group * n_groups);
                EXPECT_EQ(sum, static_cast<uint32_t>(static_cast<int64_t>(products) * code * q)) << n_groups << " x " << code << " x " << q;
            }
        }
    }
    EXPECT_GE(of_a_group, 1000u);
    EXPECT_EQ(of_a_group % (uint64_t{GetParam().MR} * GetParam().NR * GetParam().K_BLOCK), 0u) << "groups are whole tiles of the row";
}
INSTANTIATE_TEST_SUITE_P(Rows, PeakDot, ::testing::ValuesIn(rows_of({TN_SLOT_peak_dot})), row_name);

} // namespace
