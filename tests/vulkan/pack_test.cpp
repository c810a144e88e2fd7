// Packed weights, read back as the comment of vk_pack.h describes them, against their sources.
#include "kernels/weight_rows.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

extern "C" {
#include "vulkan/vk_pack.h"
}

using namespace tn_test;

namespace
{

constexpr uint32_t kMark = 0xa5a5a5a5u;

struct Packed {
    tn_vk_weight_shape shape;
    std::vector<uint32_t> words;
    std::vector<uint8_t> written; // times each word was handed over
    std::mutex mutex;
    uint32_t n_inside = 0;
    bool overlapped = false;

    // Byte b of unit u of row r.
    uint8_t byte(uint32_t r, uint32_t u, uint32_t b) const
    {
        const uint32_t group = r / shape.interleave, in_group = r % shape.interleave;
        const uint64_t unit = (uint64_t{group} * shape.n_units + u) * shape.interleave + in_group;
        return static_cast<uint8_t>(words[unit * 4 + b / 4] >> (8 * (b % 4)));
    }
    uint32_t half(uint32_t r, uint32_t u, uint32_t h) const
    {
        return byte(r, u, 2 * h) | static_cast<uint32_t>(byte(r, u, 2 * h + 1)) << 8;
    }
    uint32_t word(uint32_t r, uint32_t u, uint32_t w) const { return half(r, u, 2 * w) | half(r, u, 2 * w + 1) << 16; }
};

tn_status take(void *ctx, uint64_t at, const uint32_t *words, uint64_t n)
{
    auto *p = static_cast<Packed *>(ctx);
    if (!p->mutex.try_lock()) p->overlapped = true;
    for (uint64_t i = 0; i < n; i++) {
        p->words.at(at + i) = words[i];
        p->written.at(at + i)++;
    }
    p->mutex.unlock();
    return TN_OK;
}

void pack(const tn_weight_source &source, Packed *p, uint32_t n_threads = 1)
{
    ASSERT_EQ(tn_vk_weight_shape_of(&source, &p->shape), TN_OK) << tn_error_last()->message;
    p->words.assign(p->shape.n_words, kMark);
    p->written.assign(p->shape.n_words, 0);
    ASSERT_EQ(tn_vk_pack_all(&p->shape, &source, n_threads, take, p), TN_OK) << tn_error_last()->message;
    EXPECT_FALSE(p->overlapped) << "two calls of the sink at a time";
    for (uint64_t i = 0; i < p->shape.n_words; i++) ASSERT_EQ(p->written[i], 1) << "word " << i;
    EXPECT_EQ(p->shape.n_words % 4, 0u);
}

void check_ternary(uint32_t N, uint32_t K, tn_scale_kind kind)
{
    SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
    const auto rows = random_ternary(size_t{N} * K, N * 1000 + K);
    Random random(N + K);
    std::vector<float> scales(kind == TN_SCALE_ROW ? N : 1);
    for (auto &s : scales) s = random.range(0, 3) ? std::abs(random.value(-60, 3)) : 0x1p-50f;
    const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, kind, scales);
    Packed p;
    pack(weight.source(), &p);
    const uint32_t n_chunks = (K + 63) / 64, padded = (N + 15) / 16 * 16;
    ASSERT_EQ(p.shape.layout, TN_VK_LAYOUT_TERNARY);
    ASSERT_EQ(p.shape.interleave, 16u);
    ASSERT_EQ(p.shape.n_units, n_chunks);
    ASSERT_EQ(p.shape.group_words, uint64_t{n_chunks} * 64);
    ASSERT_EQ(p.shape.scales_at, uint64_t{padded} * n_chunks * 4);
    ASSERT_EQ(p.shape.n_words, p.shape.scales_at + (kind == TN_SCALE_ROW ? padded : 4));
    for (uint32_t r = 0; r < N; r++) {
        for (uint32_t k = 0; k < n_chunks * 64; k++) {
            const uint32_t s = k % 64 / 16, i = k % 16 / 4, j = k % 4;
            const int want = k < K ? static_cast<int8_t>(rows[size_t{r} * K + k]) + 1 : 1;
            ASSERT_EQ(p.byte(r, k / 64, 4 * s + j) >> (2 * i) & 3, want) << "row " << r << " column " << k;
        }
    }
    for (uint32_t r = N; r < padded; r++) {
        for (uint32_t u = 0; u < n_chunks; u++) {
            for (uint32_t b = 0; b < 16; b++) ASSERT_EQ(p.byte(r, u, b), 0) << "padding row " << r;
        }
    }
    for (uint64_t i = 0; p.shape.scales_at + i < p.shape.n_words; i++) {
        const uint32_t want = i < scales.size() ? tn_bits(tn_fl(scales[i])) : 0;
        ASSERT_EQ(p.words[p.shape.scales_at + i], want) << "scale " << i;
    }
}

TEST(VkPack, PutsTernaryCodesAndScalesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 15u, 16u, 17u, 40u}) {
        for (uint32_t K : {1u, 4u, 63u, 64u, 65u, 128u, 301u}) {
            check_ternary(N, K, TN_SCALE_ROW);
            check_ternary(N, K, TN_SCALE_TENSOR);
        }
    }
}

void check_padding(const Packed &p, uint32_t N)
{
    const uint32_t padded = (N + p.shape.interleave - 1) / p.shape.interleave * p.shape.interleave;
    for (uint32_t r = N; r < padded; r++) {
        for (uint32_t u = 0; u < p.shape.n_units; u++) {
            for (uint32_t b = 0; b < 16; b++) ASSERT_EQ(p.byte(r, u, b), 0) << "padding row " << r << " unit " << u;
        }
    }
    ASSERT_EQ(p.shape.n_groups * p.shape.interleave, padded);
    ASSERT_EQ(p.shape.group_words, uint64_t{p.shape.n_units} * 4 * p.shape.interleave);
    ASSERT_EQ(p.shape.scales_at, p.shape.group_words * p.shape.n_groups);
}

// F32, F16, BF16 and all that is dequantised: element by element.
void check_elements(tn_dtype dtype, uint32_t N, uint32_t K)
{
    SCOPED_TRACE(seed_hint() + " " + tn_dtype_get(dtype)->name + " N " + std::to_string(N) + " K " + std::to_string(K));
    const auto rows = random_rows(dtype, N, K, N * 1000 + K + dtype);
    const Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
    Packed p;
    pack(weight.source(), &p);
    const bool is_f16 = dtype == TN_DTYPE_F16 && N > 1, is_bf16 = dtype == TN_DTYPE_BF16 && N > 1; // gains are f32
    ASSERT_EQ(p.shape.layout, is_f16 ? TN_VK_LAYOUT_F16 : is_bf16 ? TN_VK_LAYOUT_BF16 : TN_VK_LAYOUT_F32);
    ASSERT_EQ(p.shape.interleave, N == 1 ? 1u : 16u);
    const uint32_t padded = (K + 31) / 32 * 32;
    ASSERT_EQ(p.shape.n_units, padded / (is_f16 || is_bf16 ? 8 : 4));
    ASSERT_EQ(p.shape.n_words, p.shape.scales_at);
    const size_t row_bytes = tn_dtype_row_bytes(dtype, K);
    std::vector<float> want(K);
    for (uint32_t r = 0; r < N; r++) {
        tn_dense_to_f32(dtype, rows.data() + r * row_bytes, K, want.data());
        for (uint32_t k = 0; k < padded; k++) {
            const uint32_t value = k < K ? tn_bits(tn_fl(want[k])) : 0;
            if (is_f16) {
                uint16_t h = 0;
                if (k < K) std::memcpy(&h, rows.data() + r * row_bytes + 2 * size_t{k}, 2);
                ASSERT_EQ(p.half(r, k / 8, k % 8), h) << "row " << r << " column " << k;
            } else if (is_bf16) {
                ASSERT_EQ(p.half(r, k / 8, k % 8) << 16, value) << "row " << r << " column " << k;
            } else {
                ASSERT_EQ(p.word(r, k / 4, k % 4), value) << "row " << r << " column " << k;
            }
        }
    }
    check_padding(p, N);
}

TEST(VkPack, KeepsElementsWithFlAndDequantisesWhatHasNoShader)
{
    for (uint32_t N : {1u, 2u, 16u, 17u, 37u}) {
        for (uint32_t K : {1u, 5u, 31u, 32u, 301u}) {
            for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) check_elements(dtype, N, K);
        }
        for (tn_dtype dtype : {TN_DTYPE_Q4_1, TN_DTYPE_Q5_0, TN_DTYPE_Q5_1}) check_elements(dtype, N, 96);
        for (tn_dtype dtype : {TN_DTYPE_Q4_K, TN_DTYPE_Q5_K}) check_elements(dtype, N, 512);
    }
}

// Codes times scales, as the layout has them, are the format's own values: every code, factor and scale stands in its place.
void check_small_blocks(tn_dtype dtype, uint32_t N, uint32_t K)
{
    SCOPED_TRACE(seed_hint() + " " + tn_dtype_get(dtype)->name + " N " + std::to_string(N) + " K " + std::to_string(K));
    const bool is_q4 = dtype == TN_DTYPE_Q4_0;
    const auto rows = random_rows(dtype, N, K, N * 1000 + K + dtype);
    const Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
    Packed p;
    pack(weight.source(), &p);
    const uint32_t n_blocks = (K + 255) / 256, block_units = is_q4 ? 9 : 17;
    ASSERT_EQ(p.shape.layout, is_q4 ? TN_VK_LAYOUT_Q4_0 : TN_VK_LAYOUT_Q8_0);
    ASSERT_EQ(p.shape.interleave, N == 1 ? 1u : 16u);
    ASSERT_EQ(p.shape.n_units, n_blocks * block_units);
    ASSERT_EQ(p.shape.n_words, p.shape.scales_at);
    const size_t row_bytes = tn_dtype_row_bytes(dtype, K), file_block = tn_dtype_get(dtype)->block_bytes;
    for (uint32_t r = 0; r < N; r++) {
        for (uint32_t k = 0; k < n_blocks * 256; k++) {
            const uint32_t first = k / 256 * block_units, in = k % 256;
            const uint8_t *block = rows.data() + r * row_bytes + k / 32 * file_block;
            int code = 0, want = 0;
            if (is_q4) {
                const uint32_t s = in % 32 / 8, i = in % 8 / 4, j = in % 4;
                code = p.byte(r, first + in / 32, 4 * s + j) >> (4 * i) & 15;
                if (k < K) want = k % 32 < 16 ? block[2 + k % 16] & 15 : block[2 + k % 16] >> 4;
            } else {
                code = static_cast<int8_t>(p.byte(r, first + in / 16, in % 16));
                if (k < K) want = static_cast<int8_t>(block[2 + k % 32]);
            }
            ASSERT_EQ(code, want) << "row " << r << " column " << k;
            uint16_t scale = 0;
            if (k < K) std::memcpy(&scale, block, 2);
            ASSERT_EQ(p.half(r, first + block_units - 1, in / 32), scale) << "row " << r << " column " << k;
        }
    }
    check_padding(p, N);
}

TEST(VkPack, PutsBlocksOf32WhereTheLayoutSays)
{
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q4_0}) {
        for (uint32_t N : {1u, 16u, 37u}) {
            for (uint32_t K : {32u, 96u, 256u, 288u, 800u}) check_small_blocks(dtype, N, K);
        }
    }
}

TEST(VkPack, PutsQ6KWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 2u, 16u, 37u}) {
        for (uint32_t K : {256u, 768u}) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            const auto rows = random_rows(TN_DTYPE_Q6_K, N, K, N + K);
            const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_Q6_K, N, K, rows);
            Packed p;
            pack(weight.source(), &p);
            const uint32_t n_blocks = K / 256, lanes = N == 1 ? 1 : 16;
            ASSERT_EQ(p.shape.layout, TN_VK_LAYOUT_Q6_K);
            ASSERT_EQ(p.shape.interleave, lanes);
            ASSERT_EQ(p.shape.n_blocks, n_blocks);
            ASSERT_EQ(p.shape.n_units, n_blocks * 13);
            check_padding(p, N);
            const uint64_t n_scales = uint64_t{p.shape.n_groups} * lanes * n_blocks;
            ASSERT_EQ(p.shape.n_words, (p.shape.scales_at + n_scales + 3) / 4 * 4);
            std::vector<uint32_t> scales(p.shape.n_words - p.shape.scales_at, 0);
            std::vector<float> want(K);
            for (uint32_t r = 0; r < N; r++) {
                const uint8_t *row = rows.data() + r * tn_dtype_row_bytes(TN_DTYPE_Q6_K, K);
                tn_dense_to_f32(TN_DTYPE_Q6_K, row, K, want.data());
                for (uint32_t k = 0; k < K; k++) {
                    const uint32_t b = k / 256, in = k % 256, first = b * 13, j = in % 4;
                    const uint32_t low = p.byte(r, first + in / 32, 4 * (in % 32 / 8) + j) >> (in % 8 / 4 * 4) & 15u;
                    const uint32_t high = p.byte(r, first + 8 + in / 64, 4 * (in % 64 / 16) + j) >> (in % 16 / 4 * 2) & 3u;
                    const int factor = static_cast<int8_t>(p.byte(r, first + 12, in / 16));
                    const uint64_t scale_at = (uint64_t{r / lanes} * n_blocks + b) * lanes + r % lanes;
                    const float d = tn_float(p.words[p.shape.scales_at + scale_at]);
                    const int code = static_cast<int>(low | high << 4) - 32;
                    ASSERT_EQ(tn_bits((d * static_cast<float>(factor)) * static_cast<float>(code)), tn_bits(want[k]))
                        << "row " << r << " column " << k;
                    scales[scale_at] = tn_bits(tn_f16_to_f32(static_cast<uint16_t>(row[b * 210 + 208] | row[b * 210 + 209] << 8)));
                }
            }
            // Scales in their places, zeros in all others.
            EXPECT_EQ(std::memcmp(scales.data(), &p.words[p.shape.scales_at], scales.size() * 4), 0);
        }
    }
}

TEST(VkPack, KeepsTablesAndGainsAsTheyAre)
{
    Random random(1);
    std::vector<uint8_t> rows(7 * 5 * 4);
    for (auto &b : rows) b = static_cast<uint8_t>(random.bits());
    const Weight table(TN_WEIGHT_TABLE, TN_DTYPE_F32, 7, 5, rows);
    Packed p;
    pack(table.source(), &p);
    ASSERT_EQ(p.shape.layout, TN_VK_LAYOUT_TABLE);
    ASSERT_EQ(p.shape.n_words, 36u);
    EXPECT_EQ(std::memcmp(p.words.data(), rows.data(), rows.size()), 0) << "subnormals and NaN too";
    EXPECT_EQ(p.words[35], 0u);
    Packed gains;
    const Weight one(TN_WEIGHT_DENSE, TN_DTYPE_F32, 1, 35, random_rows(TN_DTYPE_F32, 1, 35, 2));
    pack(one.source(), &gains);
    for (uint32_t i = 0; i < 35; i++) {
        float v;
        std::memcpy(&v, one.rows().data() + 4 * i, 4);
        ASSERT_EQ(gains.words[i], tn_bits(tn_fl(v))) << "gains are read as one array";
    }
}

TEST(VkPack, GivesTheSameBytesOnAnyNumberOfThreadsAndReleasesAllRows)
{
    const uint32_t N = 5003, K = 2560; // some bands, the last one short
    Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, random_ternary(size_t{N} * K, 7), TN_SCALE_ROW, std::vector<float>(N, 0.5f));
    static std::atomic<uint64_t> n_released;
    tn_weight_source source = weight.source();
    source.release_rows = [](const tn_weight_source *, uint32_t, uint32_t n) { n_released += n; };
    Packed one;
    pack(source, &one);
    for (uint32_t n_threads : {0u, 2u, 7u, 1000u}) {
        Packed many;
        n_released = 0;
        pack(source, &many, n_threads);
        EXPECT_EQ(many.words, one.words) << n_threads << " threads";
        EXPECT_EQ(n_released, 2u * N) << "each band, then all";
    }
}

TEST(VkPack, PassesOnWhatReadingAndWritingReport)
{
    const uint32_t N = 5000, K = 2560;
    Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, random_ternary(size_t{N} * K, 7), TN_SCALE_ROW, std::vector<float>(N, 0.5f));
    tn_weight_source source = weight.source();
    source.read_rows = [](const tn_weight_source *self, uint32_t row, uint32_t n, void *dst) -> tn_status {
        const auto &rows = static_cast<const Weight *>(self->ctx)->rows();
        std::memcpy(dst, rows.data() + size_t{row} * self->n_cols, size_t{n} * self->n_cols);
        return row < 3200 ? TN_OK : tn_fail(TN_IO, "row %u was cut off", static_cast<unsigned>(row));
    };
    for (uint32_t n_threads : {1u, 4u}) {
        Packed p;
        ASSERT_EQ(tn_vk_weight_shape_of(&source, &p.shape), TN_OK);
        p.words.resize(p.shape.n_words);
        p.written.resize(p.shape.n_words);
        EXPECT_EQ(tn_vk_pack_all(&p.shape, &source, n_threads, take, &p), TN_IO);
        if (n_threads == 1) {
            EXPECT_STREQ(tn_error_last()->message, "row 3200 was cut off");
        } else {
            EXPECT_NE(std::strstr(tn_error_last()->message, "was cut off"), nullptr) << tn_error_last()->message;
        }
    }
    tn_vk_weight_shape shape;
    ASSERT_EQ(tn_vk_weight_shape_of(&weight.source(), &shape), TN_OK);
    tn_vk_pack_sink *full = [](void *, uint64_t, const uint32_t *, uint64_t) -> tn_status { return tn_fail(TN_DEVICE_LOST, "gone"); };
    EXPECT_EQ(tn_vk_pack_all(&shape, &weight.source(), 3, full, nullptr), TN_DEVICE_LOST);
    EXPECT_STREQ(tn_error_last()->message, "gone");
}

TEST(VkPack, RefusesWhatHasNoForm)
{
    expect_refused_weights([](const tn_weight_source &source) {
        tn_vk_weight_shape of;
        const tn_status status = tn_vk_weight_shape_of(&source, &of);
        return std::pair(status, of.n_words != 0);
    });
    tn_vk_weight_shape shape;
    const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_F32, 33, 32, random_rows(TN_DTYPE_F32, 33, 32, 3));
    ASSERT_EQ(tn_vk_weight_shape_of(&weight.source(), &shape), TN_OK);
    uint32_t word;
    EXPECT_EQ(tn_vk_pack_rows(&shape, &weight.source(), 2, 2, &word, &word), TN_INTERNAL);
    EXPECT_EQ(tn_vk_pack_rows(&shape, &weight.source(), UINT32_MAX, 1, &word, &word), TN_INTERNAL);
}

} // namespace
