// Packed weights in device memory, read back as the comment of cuda_pack.h describes them, against their sources: where each value lies is
// computed here from its row and column, the other way round than packing does it.
#include "cuda_host/device_rig.hpp"
#include "kernels/weight_rows.h"

#include <memory>
#include <set>

extern "C" {
#include "cuda/cuda_pack.h"
}

namespace cuda_test
{
namespace
{

using tn_test::Random;
using tn_test::random_rows;
using tn_test::random_ternary;
using tn_test::Weight;

constexpr uint32_t kBefore = 256; // bytes of the buffer that are not the weight's, with a mark, and as many behind
constexpr uint8_t kMark = 0xa5;

uint64_t rounded(uint64_t n, uint64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

class CudaPack : public DriverTest
{
  protected:
    CudaPack() : device(std::make_unique<OpenDevice>(host)) {}
    ~CudaPack() override { device.reset(); }

    void pack(const tn_weight_source &source)
    {
        tn_buffer *buffer = nullptr;
        ASSERT_EQ(tn_cuda_weight_shape_of(&source, &shape), TN_OK) << last_error();
        tn_weight_layout layout;
        ASSERT_EQ(tn_cuda_weight_layout(device->get(), &source, &layout), TN_OK) << last_error();
        ASSERT_EQ(layout.size_bytes, shape.n_bytes);
        ASSERT_EQ(shape.n_bytes % 256, 0u);
        const std::vector<uint8_t> marks(shape.n_bytes + 2 * kBefore, kMark);
        std::vector<uint8_t> all(marks.size());
        ASSERT_EQ(tn_cuda_buffer_create(device->get(), marks.size(), &buffer), TN_OK) << last_error();
        ASSERT_EQ(tn_cuda_buffer_write(buffer, 0, marks.data(), marks.size()), TN_OK);
        ASSERT_EQ(tn_cuda_enter(device->cuda()), TN_OK);
        ASSERT_EQ(tn_cuda_leave(device->cuda(), tn_cuda_weight_pack(device->get(), &source, buffer, kBefore)), TN_OK) << last_error();
        ASSERT_EQ(tn_cuda_buffer_read(buffer, 0, all.data(), all.size()), TN_OK);
        tn_cuda_buffer_destroy(buffer);
        for (uint32_t i = 0; i < kBefore; i++) {
            ASSERT_EQ(all[i], kMark) << "byte " << i;
            ASSERT_EQ(all[all.size() - 1 - i], kMark) << "byte " << i << " from the end";
        }
        bytes.assign(all.begin() + kBefore, all.end() - kBefore);
    }
    uint32_t word(uint64_t at) const
    {
        uint32_t v;
        std::memcpy(&v, &bytes.at(at + 3) - 3, 4);
        return v;
    }
    uint16_t half(uint64_t at) const { return static_cast<uint16_t>(bytes.at(at) | bytes.at(at + 1) << 8); }
    // First byte of unit u of row r, of quantised types: of 32 rows the units lie side by side.
    uint64_t unit(uint32_t r, uint32_t u) const { return ((uint64_t{r / 32} * shape.n_units + u) * 32 + r % 32) * 16; }

    void check_ternary(uint32_t N, uint32_t K, tn_scale_kind kind);
    void check_elements(tn_dtype dtype, uint32_t N, uint32_t K);
    void check_small_blocks(tn_dtype dtype, uint32_t N, uint32_t K);
    void check_q6_k(uint32_t N, uint32_t K);

    Host host;
    std::unique_ptr<OpenDevice> device;
    tn_cuda_weight_shape shape = {};
    std::vector<uint8_t> bytes;
};

// The byte of a tile of 16 x 128, and the bit in it, where the code of its row and column lies.
std::pair<uint32_t, uint32_t> place_in_tile(uint32_t row, uint32_t col)
{
    const uint32_t g = row % 8, t = col / 32, s = col % 32 / 8, j = col % 4;
    const uint32_t word = 2 * (col % 8 / 4) + (row < 8 ? 0 : 1), lane = 4 * g + t;
    return {16 * lane + 4 * word + j, 2 * s};
}

TEST(CudaTile, HoldsEachCodeOnce)
{
    std::set<std::pair<uint32_t, uint32_t>> places;
    for (uint32_t row = 0; row < 16; row++) {
        for (uint32_t col = 0; col < 128; col++) places.insert(place_in_tile(row, col));
    }
    EXPECT_EQ(places.size(), 16u * 128); // of 512 bytes every pair of bits
    EXPECT_EQ(places.rbegin()->first, 511u);
}

void CudaPack::check_ternary(uint32_t N, uint32_t K, tn_scale_kind kind)
{
    SCOPED_TRACE(tn_test::seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
    const auto rows = random_ternary(size_t{N} * K, N * 1000 + K);
    Random random(N + K);
    std::vector<float> scales(kind == TN_SCALE_ROW ? N : 1);
    for (auto &s : scales) s = random.range(0, 3) ? std::abs(random.value(-60, 3)) : 0x1p-50f;
    const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, kind, scales);
    pack(weight.source());
    const uint32_t n_blocks = (K + 127) / 128, padded = static_cast<uint32_t>(rounded(N, 16));
    ASSERT_EQ(shape.layout, TN_CUDA_LAYOUT_TERNARY);
    ASSERT_EQ(shape.scales_bytes, uint64_t{padded} / 16 * n_blocks * 512);
    ASSERT_EQ(shape.n_bytes, rounded(shape.scales_bytes + 4 * uint64_t{kind == TN_SCALE_ROW ? padded : 1}, 256));
    for (uint32_t r = 0; r < padded; r++) {
        for (uint32_t k = 0; k < n_blocks * 128; k++) {
            const auto [byte, bit] = place_in_tile(r % 16, k % 128);
            const uint64_t tile = uint64_t{r / 16} * n_blocks + k / 128;
            const int want = r < N && k < K ? static_cast<int8_t>(rows[size_t{r} * K + k]) + 1 : 1;
            ASSERT_EQ(bytes.at(tile * 512 + byte) >> bit & 3, want) << "row " << r << " column " << k;
        }
    }
    for (uint32_t i = 0; i < (kind == TN_SCALE_ROW ? padded : 1); i++)
        ASSERT_EQ(word(shape.scales_bytes + 4 * i), i < scales.size() ? tn_bits(tn_fl(scales[i])) : 0) << "scale " << i;
}

TEST_F(CudaPack, PutsTernaryCodesAndScalesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 8u, 15u, 16u, 17u, 40u}) {
        for (uint32_t K : {1u, 4u, 31u, 127u, 128u, 129u, 301u, 512u}) {
            check_ternary(N, K, TN_SCALE_ROW);
            check_ternary(N, K, TN_SCALE_TENSOR);
        }
    }
}

// Lanes of a warp find elements l, l + 32, .. side by side.
void CudaPack::check_elements(tn_dtype dtype, uint32_t N, uint32_t K)
{
    SCOPED_TRACE(tn_test::seed_hint() + " " + tn_dtype_get(dtype)->name + " N " + std::to_string(N) + " K " + std::to_string(K));
    const auto rows = random_rows(dtype, N, K, N * 1000 + K + dtype);
    const Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
    pack(weight.source());
    const bool is_f16 = dtype == TN_DTYPE_F16 && N > 1, is_bf16 = dtype == TN_DTYPE_BF16 && N > 1; // gains are f32
    const uint32_t E = is_f16 || is_bf16 ? 8 : 4, padded = static_cast<uint32_t>(rounded(K, 32 * E));
    ASSERT_EQ(shape.layout, is_f16 ? TN_CUDA_LAYOUT_F16 : is_bf16 ? TN_CUDA_LAYOUT_BF16 : TN_CUDA_LAYOUT_F32);
    ASSERT_EQ(shape.n_units, padded / E);
    ASSERT_EQ(shape.n_bytes, rounded(uint64_t{N} * padded / E * 16, 256));
    const size_t row_bytes = tn_dtype_row_bytes(dtype, K);
    std::vector<float> want(K);
    for (uint32_t r = 0; r < N; r++) {
        tn_dense_to_f32(dtype, rows.data() + r * row_bytes, K, want.data());
        for (uint32_t e = 0; e < padded; e++) {
            const uint64_t at = (uint64_t{r} * shape.n_units + e / (32 * E) * 32 + e % 32) * 16 + e / 32 % E * (16 / E);
            const uint32_t value = e < K ? tn_bits(tn_fl(want[e])) : 0;
            uint16_t h = 0;
            if (is_f16 && e < K) std::memcpy(&h, rows.data() + r * row_bytes + 2 * size_t{e}, 2);
            const uint32_t got = is_f16 ? half(at) : is_bf16 ? uint32_t{half(at)} << 16 : word(at);
            ASSERT_EQ(got, is_f16 ? h : value) << "row " << r << " column " << e;
        }
    }
}

TEST_F(CudaPack, KeepsElementsWithFlAndDequantisesWhatHasNoKernel)
{
    for (uint32_t N : {1u, 2u, 37u}) {
        for (uint32_t K : {1u, 31u, 32u, 128u, 129u, 256u, 301u}) {
            for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) check_elements(dtype, N, K);
        }
        for (tn_dtype dtype : {TN_DTYPE_Q4_1, TN_DTYPE_Q5_0, TN_DTYPE_Q5_1}) check_elements(dtype, N, 96);
        for (tn_dtype dtype : {TN_DTYPE_Q4_K, TN_DTYPE_Q5_K}) check_elements(dtype, N, 512);
    }
}

void CudaPack::check_small_blocks(tn_dtype dtype, uint32_t N, uint32_t K)
{
    SCOPED_TRACE(tn_test::seed_hint() + " " + tn_dtype_get(dtype)->name + " N " + std::to_string(N) + " K " + std::to_string(K));
    const bool is_q4 = dtype == TN_DTYPE_Q4_0;
    const auto rows = random_rows(dtype, N, K, N * 1000 + K + dtype);
    const Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
    pack(weight.source());
    const uint32_t n_blocks = (K + 255) / 256, block_units = is_q4 ? 9 : 17, padded = static_cast<uint32_t>(rounded(N, 32));
    ASSERT_EQ(shape.layout, is_q4 ? TN_CUDA_LAYOUT_Q4_0 : TN_CUDA_LAYOUT_Q8_0);
    ASSERT_EQ(shape.n_units, n_blocks * block_units);
    ASSERT_EQ(shape.n_bytes, uint64_t{padded} * shape.n_units * 16);
    const size_t row_bytes = tn_dtype_row_bytes(dtype, K), file_block = tn_dtype_get(dtype)->block_bytes;
    for (uint32_t r = 0; r < padded; r++) {
        for (uint32_t k = 0; k < n_blocks * 256; k++) {
            const bool is_there = r < N && k < K;
            const uint8_t *block = is_there ? rows.data() + r * row_bytes + k / 32 * file_block : nullptr;
            const uint32_t first = k / 256 * block_units, in = k % 256;
            int code = 0, want = 0;
            if (is_q4) {
                code = bytes.at(unit(r, first + in / 32) + 4 * (in % 32 / 8) + in % 4) >> (4 * (in % 8 / 4)) & 15;
                if (is_there) want = k % 32 < 16 ? block[2 + k % 16] & 15 : block[2 + k % 16] >> 4;
            } else {
                code = static_cast<int8_t>(bytes.at(unit(r, first + in / 16) + in % 16));
                if (is_there) want = static_cast<int8_t>(block[2 + k % 32]);
            }
            ASSERT_EQ(code, want) << "row " << r << " column " << k;
            const uint16_t scale = is_there ? static_cast<uint16_t>(block[0] | block[1] << 8) : 0;
            ASSERT_EQ(half(unit(r, first + block_units - 1) + 2 * (in / 32)), scale) << "row " << r << " column " << k;
        }
    }
}

TEST_F(CudaPack, PutsBlocksOf32WhereTheLayoutSays)
{
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q4_0}) {
        for (uint32_t N : {1u, 31u, 32u, 70u}) {
            for (uint32_t K : {32u, 96u, 256u, 288u, 800u}) check_small_blocks(dtype, N, K);
        }
    }
}

void CudaPack::check_q6_k(uint32_t N, uint32_t K)
{
    SCOPED_TRACE(tn_test::seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
    const auto rows = random_rows(TN_DTYPE_Q6_K, N, K, N + K);
    const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_Q6_K, N, K, rows);
    pack(weight.source());
    const uint32_t n_blocks = K / 256, padded = static_cast<uint32_t>(rounded(N, 32));
    ASSERT_EQ(shape.layout, TN_CUDA_LAYOUT_Q6_K);
    ASSERT_EQ(shape.n_units, n_blocks * 13);
    ASSERT_EQ(shape.scales_bytes, rounded(uint64_t{padded} * shape.n_units * 16, 256));
    ASSERT_EQ(shape.n_bytes, rounded(shape.scales_bytes + uint64_t{padded} * n_blocks * 4, 256));
    std::vector<float> want(K);
    for (uint32_t r = 0; r < padded; r++) {
        const uint8_t *row = r < N ? rows.data() + r * tn_dtype_row_bytes(TN_DTYPE_Q6_K, K) : nullptr;
        if (row) tn_dense_to_f32(TN_DTYPE_Q6_K, row, K, want.data());
        for (uint32_t k = 0; k < K; k++) {
            const uint32_t b = k / 256, in = k % 256, first = b * 13;
            const uint32_t low = bytes.at(unit(r, first + in / 32) + 4 * (in % 32 / 8) + in % 4) >> (4 * (in % 8 / 4)) & 15u;
            const uint32_t high = bytes.at(unit(r, first + 8 + in / 64) + 4 * (in % 64 / 16) + in % 4) >> (2 * (in % 16 / 4)) & 3u;
            const int factor = static_cast<int8_t>(bytes.at(unit(r, first + 12) + in / 16));
            const uint32_t d = word(shape.scales_bytes + 4 * ((uint64_t{r / 32} * n_blocks + b) * 32 + r % 32));
            if (!row) {
                ASSERT_EQ(low | high | static_cast<uint32_t>(factor) | d, 0u) << "padding row " << r << " column " << k;
                continue;
            }
            const int code = static_cast<int>(low | high << 4) - 32;
            ASSERT_EQ(tn_bits((tn_float(d) * static_cast<float>(factor)) * static_cast<float>(code)), tn_bits(want[k]))
                << "row " << r << " column " << k;
            ASSERT_EQ(d, tn_bits(tn_f16_to_f32(static_cast<uint16_t>(row[b * 210 + 208] | row[b * 210 + 209] << 8))));
        }
    }
}

TEST_F(CudaPack, PutsQ6KWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 32u, 37u}) {
        for (uint32_t K : {256u, 768u}) check_q6_k(N, K);
    }
}

TEST_F(CudaPack, KeepsTablesAsTheyAre)
{
    Random random(1);
    std::vector<uint8_t> rows(7 * 5 * 4);
    for (auto &b : rows) b = static_cast<uint8_t>(random.bits());
    const Weight table(TN_WEIGHT_TABLE, TN_DTYPE_F32, 7, 5, rows);
    pack(table.source());
    ASSERT_EQ(shape.layout, TN_CUDA_LAYOUT_TABLE);
    ASSERT_EQ(shape.n_bytes, 256u);
    EXPECT_EQ(std::memcmp(bytes.data(), rows.data(), rows.size()), 0) << "subnormals and NaN too";
}

TEST_F(CudaPack, RefusesWhatHasNoForm)
{
    tn_test::expect_refused_weights([](const tn_weight_source &source) {
        tn_cuda_weight_shape of;
        const tn_status status = tn_cuda_weight_shape_of(&source, &of);
        return std::pair(status, of.n_bytes != 0);
    });
    const auto rows = random_ternary(33 * 5, 1);
    const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 33, 5, rows, TN_SCALE_TENSOR, {1.0f});
    ASSERT_EQ(tn_cuda_weight_shape_of(&weight.source(), &shape), TN_OK);
    uint8_t byte;
    EXPECT_EQ(tn_cuda_pack_rows(&shape, &weight.source(), 2, 2, &byte, &byte, &byte), TN_INTERNAL); // of three groups
    EXPECT_EQ(tn_cuda_pack_rows(&shape, &weight.source(), UINT32_MAX, 1, &byte, &byte, &byte), TN_INTERNAL);
}

} // namespace
} // namespace cuda_test
