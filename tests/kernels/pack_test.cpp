// Packing against a naive restatement of the layouts in kernel.h.
#include "matmul_fixture.h"

#include <set>

using namespace tn_test;

namespace
{

// Packs with marks around the packed bytes, groups in descending order, and reports a group that writes twice or past the end.
std::vector<uint8_t> pack(const tn_weight_source &source, tn_weight_layout *layout, tn_cpu_layout ternary = TN_CPU_LAYOUT_T2_16)
{
    EXPECT_EQ(tn_cpu_pack_layout(&source, ternary, layout), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(layout->alignment_bytes, 64u);
    EXPECT_EQ(layout->size_bytes % 64, 0u);
    Bytes packed(layout->size_bytes + 64);
    std::vector<uint8_t> scratch(tn_cpu_pack_scratch_bytes(&source));
    for (uint32_t g = tn_cpu_pack_n_groups(&source); g-- > 0;) {
        EXPECT_EQ(tn_cpu_pack_group(&source, ternary, g, packed.data(), scratch.data()), TN_OK) << tn_error_last()->message;
    }
    for (size_t i = layout->size_bytes; i < packed.size(); i++) EXPECT_EQ(packed.data()[i], 0xa5) << "written past the end";
    return {packed.data(), packed.data() + layout->size_bytes};
}

float f32_at(const std::vector<uint8_t> &bytes, size_t at)
{
    float v;
    std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
}

TEST(Pack, PutsTernaryCodesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 15u, 16u, 17u, 40u}) {
        for (uint32_t K : {1u, 4u, 15u, 16u, 17u, 64u, 77u}) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 1000 + K);
            std::vector<uint8_t> rows(size_t{N} * K);
            for (auto &v : rows) v = static_cast<uint8_t>(random.range(-1, 1));
            std::vector<float> scales(N);
            for (auto &s : scales) s = random.range(0, 3) ? std::abs(random.value(-60, 3)) : 0x1p-50f; // FL's both sides and its edge
            const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, TN_SCALE_ROW, scales);
            tn_weight_layout layout;
            const auto packed = pack(weight.source(), &layout);
            const uint32_t panels = (N + 15) / 16, blocks = (K + 15) / 16;
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_T2_16));
            ASSERT_EQ(packed.size(), size_t{panels} * blocks * 64 + size_t{panels} * 64);
            for (uint32_t n = 0; n < panels * 16; n++) {
                for (uint32_t k = 0; k < blocks * 16; k++) {
                    const uint32_t p = k % 16 / 4, j = k % 4, r = n % 16;
                    const uint8_t byte = packed[(size_t{n / 16} * blocks + k / 16) * 64 + 4 * r + j];
                    const int expected = n < N && k < K ? static_cast<int8_t>(rows[size_t{n} * K + k]) + 1 : 1;
                    ASSERT_EQ((byte >> (2 * p)) & 3, expected) << "row " << n << " column " << k;
                }
                const float scale = f32_at(packed, size_t{panels} * blocks * 64 + 4 * size_t{n});
                ASSERT_EQ(tn_bits(scale), n < N ? tn_bits(tn_fl(scales[n])) : 0u) << "row " << n;
            }
            tn_cpu_weight view;
            tn_cpu_pack_view(&weight.source(), TN_CPU_LAYOUT_T2_16, packed.data(), &view);
            EXPECT_EQ(view.data, packed.data());
            EXPECT_EQ(view.stride_bytes, size_t{blocks} * 64);
            EXPECT_EQ(view.n_blocks, blocks);
            EXPECT_EQ(reinterpret_cast<const uint8_t *>(view.scales), packed.data() + size_t{panels} * blocks * 64);
            EXPECT_EQ(view.n_rows, N);
            EXPECT_EQ(view.n_cols, K);
        }
    }
}

// The byte of five codes as t5.h's table in words: an own search through what a decoder of the stated ranges gives.
int t5_code(uint8_t byte, uint32_t p)
{
    if (p == 4) return byte / 85;
    const int low = byte & 127;
    int state = low <= 40 ? low : low <= 81 ? low - 1 : low - 45;
    if (byte >= 213) state = 80 - state;
    for (uint32_t i = 0; i < p; i++) state /= 3;
    return state % 3;
}

TEST(Pack, PutsFiveCodesIntoEachByteOfTheDenseLayout)
{
    for (uint32_t N : {1u, 16u, 17u, 40u}) {
        for (uint32_t K : {1u, 4u, 19u, 20u, 21u, 64u, 1260u}) { // 1260 x 40 codes: each of the 243 bytes many times
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 1000 + K);
            std::vector<uint8_t> rows(size_t{N} * K);
            for (auto &v : rows) v = static_cast<uint8_t>(random.range(-1, 1));
            const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, rows, TN_SCALE_TENSOR, {0.5f});
            tn_weight_layout layout;
            const auto packed = pack(weight.source(), &layout, TN_CPU_LAYOUT_T5_16);
            const uint32_t panels = (N + 15) / 16, blocks = (K + 19) / 20;
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_T5_16));
            ASSERT_EQ(packed.size(), size_t{panels} * blocks * 64 + size_t{panels} * 64);
            std::set<uint8_t> seen;
            for (uint32_t n = 0; n < panels * 16; n++) {
                for (uint32_t k = 0; k < blocks * 20; k++) {
                    const uint8_t byte = packed[(size_t{n / 16} * blocks + k / 20) * 64 + 4 * (n % 16) + k % 4];
                    seen.insert(byte);
                    const int expected = n < N && k < K ? static_cast<int8_t>(rows[size_t{n} * K + k]) + 1 : 1;
                    ASSERT_EQ(t5_code(byte, k % 20 / 4), expected) << "row " << n << " column " << k;
                }
                ASSERT_EQ(f32_at(packed, size_t{panels} * blocks * 64 + 4 * size_t{n}), n < N ? 0.5f : 0.0f);
            }
            if (N == 40 && K == 1260) {
                EXPECT_EQ(seen.size(), 243u) << "a byte for each way to choose five codes";
            }
            tn_cpu_weight view;
            tn_cpu_pack_view(&weight.source(), TN_CPU_LAYOUT_T5_16, packed.data(), &view);
            EXPECT_EQ(view.stride_bytes, size_t{blocks} * 64);
            EXPECT_EQ(view.n_blocks, blocks);
        }
    }
}

TEST(Pack, RepeatsTheScaleOfATensorForEveryRealRow)
{
    const Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 18, 16, std::vector<uint8_t>(18 * 16, 1), TN_SCALE_TENSOR, {0.75f});
    tn_weight_layout layout;
    const auto packed = pack(weight.source(), &layout);
    for (uint32_t n = 0; n < 32; n++) EXPECT_EQ(f32_at(packed, 2 * 64 + 4 * n), n < 18 ? 0.75f : 0.0f) << n;
}

TEST(Pack, PutsQ8CodesAndScalesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 16u, 19u}) {
        for (uint32_t K : {32u, 96u, 288u}) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 1000 + K);
            const uint32_t blocks = K / 32, panels = (N + 15) / 16;
            std::vector<uint8_t> rows(size_t{N} * blocks * 34);
            for (size_t i = 0; i < rows.size(); i++)
                rows[i] = static_cast<uint8_t>(i % 34 == 1 ? random.bits() & 0x83 : random.bits()); // no infinities
            const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_Q8_0, N, K, rows);
            tn_weight_layout layout;
            const auto packed = pack(weight.source(), &layout);
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_Q8_16));
            ASSERT_EQ(packed.size(), size_t{panels} * blocks * 576);
            for (uint32_t n = 0; n < panels * 16; n++) {
                for (uint32_t b = 0; b < blocks; b++) {
                    const size_t block = (size_t{n / 16} * blocks + b) * 576;
                    const uint8_t *src = rows.data() + (size_t{n} * blocks + b) * 34;
                    uint16_t d = 0;
                    if (n < N) std::memcpy(&d, src, 2);
                    ASSERT_EQ(tn_bits(f32_at(packed, block + 4 * (n % 16))), tn_bits(tn_fl(tn_f16_to_f32(d))))
                        << "row " << n << " block " << b;
                    for (uint32_t k = 0; k < 32; k++) {
                        const int expected = n < N ? static_cast<int8_t>(src[2 + k]) + 128 : 128;
                        ASSERT_EQ(packed[block + 64 + 64 * (k / 4) + 4 * (n % 16) + k % 4], expected)
                            << "row " << n << " block " << b << " element " << k;
                    }
                }
            }
        }
    }
}

// Code 0..63 of element e as the format has it: low 4 bits in bytes that two elements share, high 2 in bytes that four share.
int q6_code(const uint8_t *block, uint32_t e)
{
    const uint32_t half = e / 128, quarter = e % 128 / 32, column = e % 32;
    const int low = block[64 * half + 32 * (quarter % 2) + column] >> (quarter < 2 ? 0 : 4) & 15;
    const int high = block[128 + 32 * half + column] >> (2 * quarter) & 3;
    return low + 16 * high;
}

TEST(Pack, PutsQ6CodesFactorsAndScalesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 16u, 19u}) {
        for (uint32_t K : {256u, 768u}) {
            SCOPED_TRACE(seed_hint() + " N " + std::to_string(N) + " K " + std::to_string(K));
            Random random(N * 1000 + K);
            const uint32_t blocks = K / 256, panels = (N + 15) / 16;
            std::vector<uint8_t> rows(size_t{N} * blocks * 210);
            for (size_t i = 0; i < rows.size(); i++)
                rows[i] = static_cast<uint8_t>(i % 210 == 209 ? random.bits() & 0x83 : random.bits()); // no infinities
            const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_Q6_K, N, K, rows);
            tn_weight_layout layout;
            const auto packed = pack(weight.source(), &layout);
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_Q6_16));
            ASSERT_EQ(packed.size(), size_t{panels} * blocks * 3392);
            for (uint32_t n = 0; n < panels * 16; n++) {
                for (uint32_t b = 0; b < blocks; b++) {
                    const uint8_t *block = packed.data() + (size_t{n / 16} * blocks + b) * 3392;
                    const uint8_t *src = n < N ? rows.data() + (size_t{n} * blocks + b) * 210 : nullptr;
                    uint16_t d = 0;
                    if (src) std::memcpy(&d, src + 208, 2);
                    ASSERT_EQ(tn_bits(f32_at(packed, static_cast<size_t>(block - packed.data()) + 4 * (n % 16))),
                              tn_bits(tn_fl(tn_f16_to_f32(d))))
                        << "row " << n << " block " << b;
                    for (uint32_t e = 0; e < 256; e++) {
                        ASSERT_EQ(block[64 + e / 16 * 16 + n % 16], src ? src[192 + e / 16] : 0) << "row " << n << " block " << b;
                        const uint8_t *group = block + 320 + e / 16 * 192 + 4 * (n % 16) + e % 4;
                        const int code =
                            e % 16 < 12 ? group[e % 16 / 4 * 64] & 63 : group[0] >> 6 | group[64] >> 6 << 2 | group[128] >> 6 << 4;
                        ASSERT_EQ(code, src ? q6_code(src, e) : 0) << "row " << n << " block " << b << " element " << e;
                    }
                }
            }
        }
    }
}

TEST(Pack, PutsQ4CodesAndScalesWhereTheLayoutSays)
{
    for (uint32_t N : {1u, 16u, 19u}) {
        const uint32_t K = 96, blocks = K / 32, panels = (N + 15) / 16;
        Random random(N);
        std::vector<uint8_t> rows(size_t{N} * blocks * 18);
        for (size_t i = 0; i < rows.size(); i++)
            rows[i] = static_cast<uint8_t>(i % 18 == 1 ? random.bits() & 0x83 : random.bits()); // no infinities
        const Weight weight(TN_WEIGHT_DENSE, TN_DTYPE_Q4_0, N, K, rows);
        tn_weight_layout layout;
        const auto packed = pack(weight.source(), &layout);
        ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_Q4_16));
        ASSERT_EQ(packed.size(), size_t{panels} * blocks * 320);
        for (uint32_t n = 0; n < panels * 16; n++) {
            for (uint32_t b = 0; b < blocks; b++) {
                const size_t block = (size_t{n / 16} * blocks + b) * 320;
                const uint8_t *src = n < N ? rows.data() + (size_t{n} * blocks + b) * 18 : nullptr;
                uint16_t d = 0;
                if (src) std::memcpy(&d, src, 2);
                ASSERT_EQ(tn_bits(f32_at(packed, block + 4 * (n % 16))), tn_bits(tn_fl(tn_f16_to_f32(d)))) << "row " << n << " block " << b;
                for (uint32_t k = 0; k < 32; k++) {
                    const int byte = packed[block + 64 + 64 * (k % 16 / 4) + 4 * (n % 16) + k % 4], code = k < 16 ? byte & 15 : byte >> 4;
                    const int expected = !src ? 8 : k < 16 ? src[2 + k] & 15 : src[2 + k - 16] >> 4;
                    ASSERT_EQ(code, expected) << seed_hint() << " row " << n << " block " << b << " element " << k;
                }
            }
        }
    }
}

TEST(Pack, PadsFloatRowsAndFlushesSmallWeights)
{
    for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) {
        for (uint32_t K : {1u, 16u, 31u, 32u, 50u}) {
            SCOPED_TRACE(seed_hint() + " type " + tn_dtype_get(dtype)->name + " K " + std::to_string(K));
            Random random(K);
            const uint32_t N = 21;
            const size_t element = dtype == TN_DTYPE_F32 ? 4 : 2, stride = (K * element + 63) / 64 * 64;
            std::vector<uint8_t> rows(N * K * element);
            for (size_t i = 0; i < rows.size(); i += element) {
                // Around 2^-50 and its exact edge; f16 is random.
                uint32_t bits = tn_bits(random.value(-53, -47));
                if (random.range(0, 4) == 0)
                    bits = TN_ABS_BITS_2M50 - static_cast<uint32_t>(random.range(0, 1)) * (dtype == TN_DTYPE_F32 ? 1u : 0x10000u);
                if (dtype == TN_DTYPE_F32) std::memcpy(&rows[i], &bits, 4);
                const uint16_t half = static_cast<uint16_t>(dtype == TN_DTYPE_BF16 ? bits >> 16 : random.bits());
                if (dtype != TN_DTYPE_F32) std::memcpy(&rows[i], &half, 2);
            }
            const Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
            tn_weight_layout layout;
            const auto packed = pack(weight.source(), &layout);
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_ROWS));
            ASSERT_EQ(packed.size(), N * stride);
            for (uint32_t n = 0; n < N; n++) {
                for (size_t at = 0; at < stride; at += element) {
                    uint32_t got = 0, source = 0;
                    std::memcpy(&got, &packed[n * stride + at], element);
                    if (at < K * element) std::memcpy(&source, &rows[n * K * element + at], element);
                    const uint32_t as_f32 = dtype == TN_DTYPE_F32 ? source : source << 16;
                    const uint32_t expected = dtype != TN_DTYPE_F16 && (as_f32 & 0x7fffffffu) < TN_ABS_BITS_2M50 ? 0 : source;
                    ASSERT_EQ(got, expected) << "row " << n << " byte " << at;
                }
            }
        }
    }
}

TEST(Pack, PutsTheCopyThatScreensBehindTheRows)
{
    for (tn_dtype dtype : {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16}) {
        for (uint32_t K : {32u, 96u}) {
            Random random(K);
            const uint32_t N = 21, panels = 2;
            std::vector<float> values(N * K);
            for (float &v : values) v = random.value(-9, 1);
            std::vector<uint8_t> rows(N * tn_dtype_row_bytes(dtype, K));
            ASSERT_EQ(tn_dense_from_f32(dtype, values.data(), values.size(), rows.data()), TN_OK);
            tn_dense_to_f32(dtype, rows.data(), values.size(), values.data());
            Weight weight(TN_WEIGHT_DENSE, dtype, N, K, rows);
            tn_weight_layout plain_layout, layout;
            const auto plain = pack(weight.source(), &plain_layout);
            weight.set_screening(TN_SCREENING_AUTO);
            const auto packed = pack(weight.source(), &layout);
            ASSERT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_ROWS_Q8_16));
            ASSERT_EQ(layout.size_bytes, plain.size() + panels * (K / 32 * TN_Q8_BLOCK_BYTES + TN_SCREEN_NORM_BYTES));
            EXPECT_EQ(layout.screen_bytes, layout.size_bytes - plain.size());
            EXPECT_EQ(plain_layout.screen_bytes, 0u);
            EXPECT_EQ(std::memcmp(packed.data(), plain.data(), plain.size()), 0);
            for (uint32_t n = 0; n < panels * 16; n++) {
                for (uint32_t k = 0; k < K; k++) {
                    const size_t block = plain.size() + (size_t{n / 16} * (K / 32) + k / 32) * TN_Q8_BLOCK_BYTES;
                    const float scale = f32_at(packed, block + 4 * (n % 16));
                    const int code = packed[block + 64 + 64 * (k % 32 / 4) + 4 * (n % 16) + k % 4] - 128;
                    if (n >= N) {
                        ASSERT_EQ(scale, 0);
                        ASSERT_EQ(code, 0);
                        continue;
                    }
                    ASSERT_GE(scale, TN_SCREEN_SCALE_MIN);
                    ASSERT_LE(std::abs(scale * static_cast<float>(code) - values[n * K + k]), 0.5001f * scale) << seed_hint();
                    ASSERT_LE(std::abs(code), 127);
                }
            }
        }
    }
}

TEST(Pack, MakesNoCopyOfWhatCannotBeScreened)
{
    tn_weight_layout plain, asked;
    for (auto [dtype, rows, cols] :
         {std::tuple<tn_dtype, uint32_t, uint32_t>{TN_DTYPE_Q8_0, 40, 64}, {TN_DTYPE_F16, 40, 48}, {TN_DTYPE_F32, 1, 64}}) {
        Weight weight(TN_WEIGHT_DENSE, dtype, rows, cols, std::vector<uint8_t>(rows * tn_dtype_row_bytes(dtype, cols)));
        pack(weight.source(), &plain);
        weight.set_screening(TN_SCREENING_ALWAYS);
        pack(weight.source(), &asked);
        EXPECT_EQ(asked.layout_id, plain.layout_id) << tn_dtype_get(dtype)->name;
        EXPECT_EQ(asked.size_bytes, plain.size_bytes);
    }
}

TEST(Pack, LeavesRowsOfBlocksAndTablesAsTheyAre)
{
    Random random(3);
    tn_weight_layout layout;
    std::vector<uint8_t> packed;
    for (tn_dtype dtype : {TN_DTYPE_Q5_K, TN_DTYPE_Q4_K, TN_DTYPE_Q5_1, TN_DTYPE_Q5_0, TN_DTYPE_Q4_1}) {
        std::vector<uint8_t> rows(5 * tn_dtype_row_bytes(dtype, 512));
        for (auto &v : rows) v = static_cast<uint8_t>(random.bits());
        const Weight weight(TN_WEIGHT_DENSE, dtype, 5, 512, rows);
        packed = pack(weight.source(), &layout);
        EXPECT_EQ(std::memcmp(packed.data(), rows.data(), rows.size()), 0) << seed_hint();
        EXPECT_EQ(layout.size_bytes, (rows.size() + 63) / 64 * 64);
        EXPECT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_ROWS));
    }

    const float tiny = 0x1p-60f;
    std::vector<uint8_t> table(2 * 16 * 4);
    for (size_t i = 0; i < table.size(); i += 4) std::memcpy(&table[i], &tiny, 4);
    const Weight rope(TN_WEIGHT_TABLE, TN_DTYPE_F32, 2, 16, table);
    packed = pack(rope.source(), &layout);
    EXPECT_EQ(std::memcmp(packed.data(), table.data(), table.size()), 0);
}

TEST(Pack, PassesOnWhatReadingRowsReturns)
{
    Weight weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, 16, 16, std::vector<uint8_t>(256), TN_SCALE_TENSOR, {1.0f});
    tn_weight_source source = weight.source();
    source.read_rows = [](const tn_weight_source *, uint32_t, uint32_t, void *) { return TN_BAD_FILE; };
    Bytes packed(1024);
    std::vector<uint8_t> scratch(256);
    EXPECT_EQ(tn_cpu_pack_group(&source, TN_CPU_LAYOUT_T2_16, 0, packed.data(), scratch.data()), TN_BAD_FILE);
    EXPECT_EQ(tn_cpu_pack_group(&weight.source(), TN_CPU_LAYOUT_T5_16, 1, packed.data(), scratch.data()), TN_INTERNAL);
}

TEST(Pack, RefusesTypesItDoesNotKnowByName)
{
    tn_weight_source source{};
    source.name = "blk.0.odd";
    source.kind = TN_WEIGHT_DENSE;
    source.n_rows = source.n_cols = 256;
    source.dtype = TN_DTYPE_TQ2_0;
    tn_weight_layout layout;
    EXPECT_EQ(tn_cpu_pack_layout(&source, TN_CPU_LAYOUT_T2_16, &layout), TN_UNSUPPORTED);
    EXPECT_NE(std::string(tn_error_last()->message).find("blk.0.odd"), std::string::npos);
    EXPECT_NE(std::string(tn_error_last()->message).find(tn_dtype_get(TN_DTYPE_TQ2_0)->name), std::string::npos);
    EXPECT_EQ(layout.size_bytes, 0u);
    source.kind = TN_WEIGHT_TABLE;
    source.dtype = TN_DTYPE_F16;
    EXPECT_EQ(tn_cpu_pack_layout(&source, TN_CPU_LAYOUT_T2_16, &layout), TN_UNSUPPORTED);
}

TEST(Pack, RefusesShapesThatCannotBe)
{
    tn_weight_source source{};
    source.name = "w";
    source.kind = TN_WEIGHT_DENSE;
    tn_weight_layout layout;
    for (auto [dtype, rows, cols] : {std::tuple<tn_dtype, uint32_t, uint32_t>{TN_DTYPE_Q8_0, 1, 33},
                                     {TN_DTYPE_Q6_K, 1, 128},
                                     {TN_DTYPE_F32, 0, 4},
                                     {TN_DTYPE_F32, 4, 0}}) {
        source.dtype = dtype;
        source.n_rows = rows;
        source.n_cols = cols;
        EXPECT_EQ(tn_cpu_pack_layout(&source, TN_CPU_LAYOUT_T2_16, &layout), TN_BAD_FILE) << rows << " x " << cols;
    }
    source.dtype = TN_DTYPE_F32;
    source.n_rows = source.n_cols = UINT32_MAX;
    EXPECT_EQ(tn_cpu_pack_layout(&source, TN_CPU_LAYOUT_T2_16, &layout), TN_BAD_FILE) << "2^32 x 2^32 floats pass 64 bits";
}

} // namespace
