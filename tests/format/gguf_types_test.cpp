// Tests of tensor type ids: the table, and ids to which forks gave different meanings.
#include "gguf_support.hpp"

extern "C" {
#include "format/file_type.h"
}

namespace
{

using namespace tn_test;

struct Row {
    uint32_t id;
    const char *name;
    tn_dtype dtype;
    uint64_t elements, bytes; // a tensor of eight rows of `elements` has 8 * bytes
};

// Written anew from the formats' definitions, so that an error in the library's table shows.
const Row kRows[] = {
    {0, "F32", TN_DTYPE_F32, 1, 4},
    {1, "F16", TN_DTYPE_F16, 1, 2},
    {2, "Q4_0", TN_DTYPE_Q4_0, 32, 2 + 16},
    {3, "Q4_1", TN_DTYPE_Q4_1, 32, 2 + 2 + 16},
    {6, "Q5_0", TN_DTYPE_Q5_0, 32, 2 + 4 + 16},
    {7, "Q5_1", TN_DTYPE_Q5_1, 32, 2 + 2 + 4 + 16},
    {8, "Q8_0", TN_DTYPE_Q8_0, 32, 2 + 32},
    {9, "Q8_1", TN_DTYPE_OTHER, 32, 2 + 2 + 32},
    {10, "Q2_K", TN_DTYPE_OTHER, 256, 16 + 64 + 2 + 2},
    {11, "Q3_K", TN_DTYPE_OTHER, 256, 32 + 64 + 12 + 2},
    {12, "Q4_K", TN_DTYPE_Q4_K, 256, 2 + 2 + 12 + 128},
    {13, "Q5_K", TN_DTYPE_Q5_K, 256, 2 + 2 + 12 + 32 + 128},
    {14, "Q6_K", TN_DTYPE_Q6_K, 256, 128 + 64 + 16 + 2},
    {15, "Q8_K", TN_DTYPE_OTHER, 256, 4 + 256 + 16 * 2},
    {16, "IQ2_XXS", TN_DTYPE_OTHER, 256, 2 + 64},
    {17, "IQ2_XS", TN_DTYPE_OTHER, 256, 2 + 64 + 8},
    {18, "IQ3_XXS", TN_DTYPE_OTHER, 256, 2 + 96},
    {19, "IQ1_S", TN_DTYPE_OTHER, 256, 2 + 32 + 16},
    {20, "IQ4_NL", TN_DTYPE_OTHER, 32, 2 + 16},
    {21, "IQ3_S", TN_DTYPE_OTHER, 256, 2 + 64 + 8 + 32 + 4},
    {22, "IQ2_S", TN_DTYPE_OTHER, 256, 2 + 64 + 8 + 8},
    {23, "IQ4_XS", TN_DTYPE_OTHER, 256, 2 + 2 + 4 + 128},
    {24, "I8", TN_DTYPE_OTHER, 1, 1},
    {25, "I16", TN_DTYPE_OTHER, 1, 2},
    {26, "I32", TN_DTYPE_OTHER, 1, 4},
    {27, "I64", TN_DTYPE_OTHER, 1, 8},
    {28, "F64", TN_DTYPE_OTHER, 1, 8},
    {29, "IQ1_M", TN_DTYPE_OTHER, 256, 32 + 16 + 8},
    {30, "BF16", TN_DTYPE_BF16, 1, 2},
    {34, "TQ1_0", TN_DTYPE_TQ1_0, 256, 48 + 4 + 2},
    {35, "TQ2_0", TN_DTYPE_TQ2_0, 256, 64 + 2},
    {39, "MXFP4", TN_DTYPE_OTHER, 32, 1 + 16},
    {40, "NVFP4", TN_DTYPE_OTHER, 64, 4 + 32},
    {41, "Q1_0", TN_DTYPE_OTHER, 128, 2 + 16},
    {42, "Q2_0", TN_DTYPE_OTHER, 64, 2 + 16},
    {134, "IQ1_BN", TN_DTYPE_IQ1_BN, 64, 2 + 13},
    {135, "IQ2_BN", TN_DTYPE_IQ2_BN, 64, 4 + 16},
    {142, "PQ2_0", TN_DTYPE_OTHER, 128, 2 + 32},
    {143, "PTQ1_0", TN_DTYPE_OTHER, 128, 24 + 2 + 2},
    {335, "IQ2_BN_R4", TN_DTYPE_IQ2_BN_R4, 64, 4 + 16},
};

TEST(GgufTypes, EachIdHasItsNameAndSize)
{
    for (const Row &row : kRows) {
        GgufBuilder b;
        b.tensor("w", {row.elements, 8}, row.id, static_cast<size_t>(8 * row.bytes)).tensor<float>("end", {1}, 0, {1});
        const Gguf g = parse(b.build());
        ASSERT_EQ(g.status, TN_OK) << row.name << ": " << g.message;
        const tn_gguf_tensor *w = tn_gguf_find_tensor(g, "w");
        EXPECT_STREQ(w->type_name, row.name);
        EXPECT_EQ(w->dtype, row.dtype) << row.name;
        EXPECT_EQ(w->size_bytes, 8 * row.bytes) << row.name;
        EXPECT_EQ(w->file_type, row.id);
        EXPECT_TRUE(g.log.empty()) << g.log[0];
    }
}

TEST(GgufTypes, TypesOfUnknownSizeAreListedWithoutOne)
{
    for (uint32_t id : {4u, 5u, 45u, 136u}) {
        GgufBuilder b;
        b.tensor("w", {64}, id, 100).tensor<float>("end", {1}, 0, {1});
        const Gguf g = parse(b.build());
        ASSERT_EQ(g.status, TN_OK) << g.message;
        EXPECT_EQ(tn_gguf_tensor_at(g, 0)->size_bytes, 0u);
        EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_OTHER);
        EXPECT_NE(std::string(tn_gguf_tensor_at(g, 0)->type_name), "");
    }
}

TEST(GgufTypes, Id36IsI2SWhereTheSizesSayIt)
{
    GgufBuilder b;
    b.kv("general.architecture", "llama").tensor("w", {256, 3}, 36, 256 * 3 / 4 + 32).tensor("v", {128, 5}, 36, 128 * 5 / 4 + 32);
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_I2_S);
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->size_bytes, 256u * 3 / 4 + 32);
    EXPECT_STREQ(tn_gguf_tensor_at(g, 1)->type_name, "I2_S");
}

TEST(GgufTypes, Id36IsTheRetiredTypeWhereTheSizesSayThat)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").tensor("w", {256, 3}, 36, 256 * 3 / 32 * 18); // sizes beat the architecture
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_STREQ(tn_gguf_tensor_at(g, 0)->type_name, "IQ4_NL_4_4");
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_OTHER);
}

TEST(GgufTypes, I2SWithRowsThatAreNotWholeBlocksIsRefused)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").tensor("w", {96, 4}, 36, 96 * 4 / 4 + 32);
    expect_refused(b.build(), TN_UNSUPPORTED, {"tensor \"w\"", "rows of 96 weights", "64", "another type"});
}

TEST(GgufTypes, I2SThatIsCutShortIsRefusedWithBothSizes)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").tensor("w", {256, 4}, 36, 288).tensor("v", {256, 4}, 36, 288);
    Bytes bytes = b.build();
    bytes.resize(bytes.size() - 32);
    expect_refused(bytes, TN_BAD_FILE, {"tensor \"v\"", "as I2_S (id 36)", "288 bytes", "leaves 256"});
}

TEST(GgufTypes, I2SWithAGapIsRefused)
{
    GgufBuilder b;
    b.tensor("w", {256, 4}, 36, 288 + 64).tensor<float>("end", {1}, 0, {1});
    expect_refused(b.build(), TN_BAD_FILE, {"tensor \"w\"", "as I2_S (id 36)", "288 bytes", "leaves 352"});
}

TEST(GgufTypes, DataThatDoesNotStartAtOffsetZeroFitsNoMeaning)
{
    GgufBuilder b;
    GgufMap map;
    b.tensor("w", {256, 4}, 36, 288 + 32);
    Bytes bytes = b.build(&map);
    patch<uint64_t>(bytes, map.tensors[0].offset, 32);
    expect_refused(bytes, TN_BAD_FILE, {"tensor \"w\"", "type id 36", "no meaning fits"});
}

TEST(GgufTypes, TheOrderOfTheInfosDoesNotMatter)
{
    GgufBuilder b;
    b.tensor("w", {128, 2}, 36, 96).tensor("v", {128, 2}, 36, 96);
    GgufMap map;
    Bytes bytes = b.build(&map);
    patch<uint64_t>(bytes, map.tensors[0].offset, 96);
    patch<uint64_t>(bytes, map.tensors[1].offset, 0);
    const Gguf g = parse(bytes);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->offset_bytes, map.data + 96);
}

TEST(GgufTypes, Ids38And39AreTheForksTableTypesWhereTheSizesSayIt)
{
    // TL1: a quarter byte a weight and 32 bytes of tail. TL2 of 512 x 96: 256 columns in triples, 256 in pairs.
    const size_t tl2 = ((512 - 256) * 96 / 3 * 5 / 8 + 256 * 96 / 2 * 4 / 8 + 31) / 32 * 32 + 32;
    GgufBuilder b;
    b.tensor("tl1", {256, 64}, 38, 256 * 64 / 4 + 32).tensor("tl2", {512, 96}, 39, tl2).tensor<float>("end", {1}, 0, {1});
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_STREQ(tn_gguf_tensor_at(g, 0)->type_name, "TL1");
    EXPECT_STREQ(tn_gguf_tensor_at(g, 1)->type_name, "TL2");
    EXPECT_EQ(tn_gguf_tensor_at(g, 1)->size_bytes, tl2);
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_TL1);
    EXPECT_EQ(tn_gguf_tensor_at(g, 1)->dtype, TN_DTYPE_TL2);
}

// The fork's converter leaves the tail out of the weight and writes it as a tensor of its own that the infos do not list: the same bytes.
TEST(GgufTypes, Tl2WhoseTailTheForksWriterWroteByItselfIsRead)
{
    const size_t n = ((1536 - 256) * 256 / 3 * 5 / 8 + 256 * 256 / 2 * 4 / 8 + 31) / 32 * 32;
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").tensor("w", {1536, 256}, 39, n + 32).tensor("v", {1536, 256}, 39, n + 32 + 32);
    b.tensor<float>("end", {1}, 0, {1}); // "v" has one scale more after its tail
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_TL2);
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->size_bytes, n + 32);
    EXPECT_EQ(tn_gguf_tensor_at(g, 1)->size_bytes, n + 32);
}

TEST(GgufTypes, Tl1WithRowsThatAreNotWholeBytesIsRefused)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").tensor("w", {6, 4}, 38, 6 + 32);
    expect_refused(b.build(), TN_UNSUPPORTED, {"tensor \"w\"", "rows of 6 weights", "TL1", "another type"});
}

TEST(GgufTypes, Tl2OfAPublishedShapeHasThePublishedSize)
{
    uint64_t bytes = 0;
    const tn_file_type *type = tn_file_type_find(39, TN_DIALECT_BITNET);
    ASSERT_NE(type, nullptr);
    ASSERT_TRUE(tn_file_type_size(type, 4096, UINT64_C(4096) * 14336, &bytes));
    EXPECT_EQ(bytes, 12386336u);
    EXPECT_FALSE(tn_file_type_size(type, 128, 128 * 4, &bytes)); // narrower than the part in pairs
}

TEST(GgufTypes, TheForksWriterMayLeaveScalesBetweenTensors)
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet-b1.58").tensor("w", {256, 4}, 36, 288 + 32).tensor<float>("end", {1}, 0, {1});
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_tensor_at(g, 0)->dtype, TN_DTYPE_I2_S);
}

TEST(GgufTypes, Id42IsToldApartByItsGroupSize)
{
    const struct {
        size_t bytes;
        const char *name;
    } cases[] = {
        {256 * 16 / 64 * 18, "Q2_0"}, {256 * 16 / 128 * 34, "Q2_0_G128"}, {256 * 16 / 32 * 6, "Q1_0_G32"}, {256 * 16 / 4, "I2_V_4"}};
    for (const auto &one : cases) {
        GgufBuilder b;
        b.tensor("w", {256, 16}, 42, one.bytes).tensor<float>("end", {1}, 0, {1});
        const Gguf g = parse(b.build());
        ASSERT_EQ(g.status, TN_OK) << g.message;
        EXPECT_STREQ(tn_gguf_tensor_at(g, 0)->type_name, one.name);
        EXPECT_EQ(tn_gguf_tensor_at(g, 0)->size_bytes, one.bytes);
    }
}

TEST(GgufTypes, Ids39To41AreToldApartFromTheirRivals)
{
    GgufBuilder mx, vlut;
    mx.tensor("w", {512, 96}, 39, 512 * 96 / 32 * 17).tensor("i2_s", {128, 2}, 36, 96);
    const Gguf g = parse(mx.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_STREQ(tn_gguf_tensor_at(g, 0)->type_name, "MXFP4"); // with I2_S: one family knows both
    EXPECT_STREQ(tn_gguf_tensor_at(g, 1)->type_name, "I2_S");
    vlut.tensor("a", {64, 4}, 40, 64).tensor("b", {128, 4}, 41, 128).tensor<float>("end", {1}, 0, {1});
    const Gguf h = parse(vlut.build());
    ASSERT_EQ(h.status, TN_OK) << h.message;
    EXPECT_STREQ(tn_gguf_tensor_at(h, 0)->type_name, "I2_V");
    EXPECT_STREQ(tn_gguf_tensor_at(h, 1)->type_name, "I2_V_2");
}

TEST(GgufTypes, MeaningsOfDifferentFamiliesDoNotMix)
{
    GgufBuilder b;
    b.tensor("a", {128, 2}, 36, 96).tensor("b", {256, 4}, 42, 1024 / 64 * 18).tensor<float>("end", {1}, 0, {1});
    expect_refused(b.build(), TN_BAD_FILE, {"type id 42", "no meaning fits"});
}

TEST(GgufTypes, WhereSizesDoNotDecideTheFilesOtherSignsDo)
{
    // Padded to 4096 bytes, one small tensor has the same place under both meanings of its id.
    const auto file = [](uint32_t id, uint64_t ne0, const char *key) {
        GgufBuilder b;
        b.align(4096).kv("general.architecture", "llama");
        if (key != nullptr) b.kv<uint32_t>(key, 1);
        b.tensor("w", {ne0}, id, 2000).tensor<float>("end", {1}, 0, {1});
        return parse(b.build());
    };
    const Gguf i2_s = file(36, 256, nullptr), upstream = file(42, 256, nullptr), prism = file(42, 256, "prism.version");
    ASSERT_EQ(i2_s.status, TN_OK) << i2_s.message;
    EXPECT_STREQ(tn_gguf_tensor_at(i2_s, 0)->type_name, "I2_S");
    ASSERT_EQ(i2_s.log.size(), 1u);
    EXPECT_NE(i2_s.log[0].find("type id 36"), std::string::npos) << i2_s.log[0];
    EXPECT_NE(i2_s.log[0].find("I2_S"), std::string::npos) << i2_s.log[0];
    EXPECT_STREQ(tn_gguf_tensor_at(upstream, 0)->type_name, "Q2_0");
    EXPECT_STREQ(tn_gguf_tensor_at(prism, 0)->type_name, "Q2_0_G128");
}

TEST(GgufTypes, TheArchitectureSaysWhichFamilyWroteTheFile)
{
    for (const char *arch : {"bitnet", "bitnet-b1.58", "bitnet-25"}) {
        GgufBuilder b;
        b.align(65536).kv("general.architecture", arch);
        b.tensor("w", {288}, 39, 2000).tensor<float>("end", {1}, 0, {1}); // 288: possible as TL2 and as MXFP4
        const Gguf g = parse(b.build());
        ASSERT_EQ(g.status, TN_OK) << g.message;
        EXPECT_STREQ(tn_gguf_tensor_at(g, 0)->type_name, "TL2") << arch;
    }
}

TEST(GgufTypes, OpeningAFileWarnsOnce)
{
    GgufBuilder b;
    b.align(4096).tensor("w", {256}, 36, 2000).tensor<float>("end", {1}, 0, {1});
    const std::string path = testing::TempDir() + "tn_gguf_warns_once.gguf";
    write_file(path, b.build());
    const Gguf g = open(path);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(g.log.size(), 1u);
    std::remove(path.c_str());
}

} // namespace
