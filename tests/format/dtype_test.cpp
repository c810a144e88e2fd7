// Tests of the table of tensor types and of sizes at the ends of their ranges.
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "format/dtype.h"
#include "format/file_type.h"
}

namespace
{

TEST(Dtype, TheTableHasEachTypesNameClassAndBlock)
{
    const struct {
        tn_dtype dtype;
        const char *name;
        tn_dtype_class class_;
        uint32_t elements, bytes, row, tail;
    } rows[] = {
        {TN_DTYPE_NONE, "none", TN_CLASS_OTHER, 0, 0, 0, 0},
        {TN_DTYPE_F32, "F32", TN_CLASS_DENSE, 1, 4, 0, 0},
        {TN_DTYPE_F16, "F16", TN_CLASS_DENSE, 1, 2, 0, 0},
        {TN_DTYPE_BF16, "BF16", TN_CLASS_DENSE, 1, 2, 0, 0},
        {TN_DTYPE_Q8_0, "Q8_0", TN_CLASS_DENSE, 32, 2 + 32, 0, 0},
        {TN_DTYPE_Q6_K, "Q6_K", TN_CLASS_DENSE, 256, 128 + 64 + 16 + 2, 0, 0},
        {TN_DTYPE_Q5_K, "Q5_K", TN_CLASS_DENSE, 256, 2 + 2 + 12 + 32 + 128, 0, 0},
        {TN_DTYPE_Q4_K, "Q4_K", TN_CLASS_DENSE, 256, 2 + 2 + 12 + 128, 0, 0},
        {TN_DTYPE_Q5_1, "Q5_1", TN_CLASS_DENSE, 32, 2 + 2 + 4 + 16, 0, 0},
        {TN_DTYPE_Q5_0, "Q5_0", TN_CLASS_DENSE, 32, 2 + 4 + 16, 0, 0},
        {TN_DTYPE_Q4_1, "Q4_1", TN_CLASS_DENSE, 32, 2 + 2 + 16, 0, 0},
        {TN_DTYPE_Q4_0, "Q4_0", TN_CLASS_DENSE, 32, 2 + 16, 0, 0},
        {TN_DTYPE_I2_S, "I2_S", TN_CLASS_TERNARY, 64, 16, 0, 32},
        {TN_DTYPE_TQ1_0, "TQ1_0", TN_CLASS_TERNARY, 256, 48 + 4 + 2, 0, 0},
        {TN_DTYPE_TQ2_0, "TQ2_0", TN_CLASS_TERNARY, 256, 64 + 2, 0, 0},
        {TN_DTYPE_IQ1_BN, "IQ1_BN", TN_CLASS_TERNARY, 64, 12 + 1, 2, 0},
        {TN_DTYPE_IQ2_BN, "IQ2_BN", TN_CLASS_TERNARY, 64, 16, 4, 0},
        {TN_DTYPE_IQ2_BN_R4, "IQ2_BN_R4", TN_CLASS_TERNARY, 64, 16, 4, 0},
        {TN_DTYPE_TL1, "TL1", TN_CLASS_TERNARY, 4, 1, 0, 32},
        {TN_DTYPE_TL2, "TL2", TN_CLASS_TERNARY, 1, 0, 0, 32},
        {TN_DTYPE_OTHER, "other", TN_CLASS_OTHER, 0, 0, 0, 0},
    };
    for (const auto &row : rows) {
        const tn_dtype_info *info = tn_dtype_get(row.dtype);
        EXPECT_EQ(info->dtype, row.dtype);
        EXPECT_STREQ(info->name, row.name);
        EXPECT_EQ(info->class_, row.class_) << row.name;
        EXPECT_EQ(info->block_elements, row.elements) << row.name;
        EXPECT_EQ(info->block_bytes, row.bytes) << row.name;
        EXPECT_EQ(info->row_bytes_extra, row.row) << row.name;
        EXPECT_EQ(info->tail_bytes, row.tail) << row.name;
    }
    EXPECT_EQ(tn_dtype_get(static_cast<tn_dtype>(77))->dtype, TN_DTYPE_NONE);
    EXPECT_EQ(tn_dtype_get(static_cast<tn_dtype>(-1))->dtype, TN_DTYPE_NONE);
}

TEST(Dtype, SizesAreThoseOfTheFormats)
{
    uint64_t bytes = 0;
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_F32, 3, 6, &bytes), TN_OK);
    EXPECT_EQ(bytes, 24u);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_Q8_0, 64, 128, &bytes), TN_OK);
    EXPECT_EQ(bytes, 136u);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_I2_S, 2560, 2560 * 640, &bytes), TN_OK);
    EXPECT_EQ(bytes, 409632u); // a tensor of a published model
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_TQ1_0, 512, 1024, &bytes), TN_OK);
    EXPECT_EQ(bytes, 216u);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_IQ1_BN, 8640, 8640 * 3200, &bytes), TN_OK);
    EXPECT_EQ(bytes, 3200u * (2 + 13 * 135));
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_IQ2_BN, 3200, 3200 * 8, &bytes), TN_OK);
    EXPECT_EQ(bytes, 8u * (4 + 3200 / 4));
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_TL1, 3200, 3200 * 8640, &bytes), TN_OK);
    EXPECT_EQ(bytes, 3200u * 8640 / 4 + 32);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_TL2, 4096, UINT64_C(4096) * 14336, &bytes), TN_OK);
    EXPECT_EQ(bytes, 12386336u);
    EXPECT_EQ(tn_dtype_row_bytes(TN_DTYPE_TQ2_0, 512), 132u);
    EXPECT_EQ(tn_dtype_row_bytes(TN_DTYPE_IQ1_BN, 3200), 2u + 13 * 50);
    EXPECT_EQ(tn_dtype_row_bytes(TN_DTYPE_F16, 7), 14u);
}

TEST(Dtype, ImpossibleShapesAreRefused)
{
    uint64_t bytes = 1;
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_Q8_0, 48, 96, &bytes), TN_BAD_FILE);
    EXPECT_EQ(bytes, 0u);
    EXPECT_NE(std::string(tn_error_last()->message).find("Q8_0"), std::string::npos);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_F32, 0, 0, &bytes), TN_BAD_FILE);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_F32, 4, 6, &bytes), TN_BAD_FILE); // no whole rows
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_NONE, 1, 1, &bytes), TN_UNSUPPORTED);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_OTHER, 1, 1, &bytes), TN_UNSUPPORTED);
}

TEST(Dtype, NamesOfAClassAreAllOfThemInOneLine)
{
    char names[TN_DTYPE_NAMES_BYTES];
    EXPECT_STREQ(tn_dtype_names(TN_CLASS_DENSE, names), "F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q5_1, Q5_0, Q4_1, Q4_0");
    EXPECT_STREQ(tn_dtype_names(TN_CLASS_TERNARY, names), "I2_S, TQ1_0, TQ2_0, IQ1_BN, IQ2_BN, IQ2_BN_R4, TL1, TL2");
}

TEST(Dtype, SizesThatOverflowAreRefused)
{
    uint64_t bytes = 1;
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_F32, UINT64_C(1) << 62, UINT64_C(1) << 62, &bytes), TN_BAD_FILE);
    EXPECT_EQ(bytes, 0u);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_TL2, UINT64_C(15) << 60, UINT64_C(15) << 60, &bytes), TN_BAD_FILE);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_TL2, 128, 128 * 4, &bytes), TN_BAD_FILE) << "narrower than the part in pairs";
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_IQ2_BN, 64, UINT64_MAX / 64 * 64, &bytes), TN_OK);
    EXPECT_EQ(bytes, UINT64_MAX / 64 * 20);
    EXPECT_EQ(tn_dtype_size(TN_DTYPE_F32, (UINT64_C(1) << 62) - 1, (UINT64_C(1) << 62) - 1, &bytes), TN_OK);
    EXPECT_EQ(bytes, UINT64_MAX - 3);
}

TEST(FileType, SizeRulesCountRowsAndTails)
{
    uint64_t bytes = 0;
    ASSERT_TRUE(tn_file_type_size(tn_file_type_find(134, TN_DIALECT_ALL), 128, 128 * 3, &bytes));
    EXPECT_EQ(bytes, 3u * (2 + 2 * 13)); // a scale in each row
    ASSERT_TRUE(tn_file_type_size(tn_file_type_find(36, TN_DIALECT_BITNET), 64, 128, &bytes));
    EXPECT_EQ(bytes, 64u); // blocks over the tensor, one tail
    EXPECT_FALSE(tn_file_type_size(tn_file_type_find(36, TN_DIALECT_BITNET), 32, 32, &bytes));
    EXPECT_FALSE(tn_file_type_size(tn_file_type_find(0, TN_DIALECT_ALL), 0, 0, &bytes));
    EXPECT_FALSE(tn_file_type_size(tn_file_type_find(0, TN_DIALECT_ALL), 4, 6, &bytes));
    EXPECT_FALSE(tn_file_type_size(tn_file_type_find(28, TN_DIALECT_ALL), UINT64_C(1) << 61, UINT64_C(1) << 61, &bytes));
}

TEST(FileType, OnlyReusedIdsAreAmbiguous)
{
    for (uint32_t id = 0; id < 400; ++id) {
        const bool expected = id == 36 || (id >= 38 && id <= 42);
        EXPECT_EQ(tn_file_type_is_ambiguous(id), expected) << id;
    }
    EXPECT_EQ(tn_file_type_find(48, TN_DIALECT_ALL), nullptr);
    EXPECT_EQ(tn_file_type_find(40, TN_DIALECT_BITNET), nullptr);
}

TEST(Dtype, ParsesEveryNameInAnyCase)
{
    for (int d = TN_DTYPE_NONE + 1; d < TN_DTYPE_OTHER; d++) {
        std::string name = tn_dtype_get(static_cast<tn_dtype>(d))->name;
        tn_dtype parsed = TN_DTYPE_NONE;
        EXPECT_EQ(tn_dtype_parse(name.c_str(), &parsed), TN_OK);
        EXPECT_EQ(parsed, d);
        for (char &c : name) c = static_cast<char>(tolower(c));
        EXPECT_EQ(tn_dtype_parse(name.c_str(), &parsed), TN_OK);
        EXPECT_EQ(parsed, d);
    }
    for (const char *name : {"", "none", "other", "q8", "f16 "}) {
        tn_dtype parsed = TN_DTYPE_F32;
        EXPECT_EQ(tn_dtype_parse(name, &parsed), TN_INVALID_ARGUMENT) << name;
        EXPECT_EQ(parsed, TN_DTYPE_NONE);
        EXPECT_NE(std::string(tn_error_last()->message).find("F32, F16, BF16"), std::string::npos);
    }
}

} // namespace
