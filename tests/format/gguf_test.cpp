// Tests of reading correct GGUF files: values, tensors, getters, and real files where they are present.
#include "gguf_support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <unistd.h>

namespace
{

using namespace tn_test;

GgufBuilder every_type()
{
    GgufBuilder b;
    b.kv<uint8_t>("v.u8", 200).kv<int8_t>("v.i8", -100).kv<uint16_t>("v.u16", 60000).kv<int16_t>("v.i16", -30000);
    b.kv<uint32_t>("v.u32", 4000000000u).kv<int32_t>("v.i32", -2000000000).kv<float>("v.f32", 1.5f).kv<bool>("v.bool", true);
    b.kv("v.str", "hello").kv<uint64_t>("v.u64", UINT64_MAX).kv<int64_t>("v.i64", INT64_MIN).kv<double>("v.f64", 0.1);
    b.kv("v.empty", "").kv<bool>("v.no", false);
    b.kv_array<std::string>("a.str", {"one", "", "three"}).kv_array<int32_t>("a.i32", {1, -2, 3}).kv_array<float>("a.f32", {});
    return b;
}

// Bytes that are no mapped file's must not be given back: anonymous memory would come back as zeros.
TEST(Gguf, ReleasingTensorsLeavesBytesFromMemoryAlone)
{
    GgufBuilder b;
    b.kv("general.architecture", "x");
    b.tensor("t", {65536}, 0, std::vector<float>(65536, 1.25f));
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    const tn_gguf_tensor *tensor = tn_gguf_tensor_at(g, 0);
    tn_gguf_release(g, tensor, 0, UINT64_MAX);
    for (size_t i = 0; i < tensor->n_elements; i++) {
        float value;
        memcpy(&value, tensor->data + 4 * i, 4);
        ASSERT_EQ(value, 1.25f);
    }
    tn_text identity = {};
    bool is_settled;
    EXPECT_EQ(tn_gguf_identity(g, &identity, &is_settled), TN_INVALID_ARGUMENT);
    tn_text_deinit(&identity);
}

TEST(Gguf, EveryValueTypeIsReadInVersions2And3)
{
    for (uint32_t version : {2u, 3u}) {
        GgufBuilder b = every_type();
        b.version = version;
        const Gguf g = parse(b.build());
        ASSERT_EQ(g.status, TN_OK) << g.message;
        ASSERT_EQ(tn_gguf_n_kv(g), 17u);
        EXPECT_EQ(tn_gguf_find(g, "v.u8")->value.u, 200u);
        EXPECT_EQ(tn_gguf_find(g, "v.i8")->value.i, -100);
        EXPECT_EQ(tn_gguf_find(g, "v.u16")->value.u, 60000u);
        EXPECT_EQ(tn_gguf_find(g, "v.i16")->value.i, -30000);
        EXPECT_EQ(tn_gguf_find(g, "v.u32")->value.u, 4000000000u);
        EXPECT_EQ(tn_gguf_find(g, "v.i32")->value.i, -2000000000);
        EXPECT_EQ(tn_gguf_find(g, "v.f32")->value.f, 1.5);
        EXPECT_EQ(tn_gguf_find(g, "v.bool")->value.u, 1u);
        EXPECT_EQ(tn_gguf_find(g, "v.no")->value.u, 0u);
        EXPECT_EQ(text(tn_gguf_find(g, "v.str")->value.str), "hello");
        EXPECT_EQ(text(tn_gguf_find(g, "v.empty")->value.str), "");
        EXPECT_EQ(tn_gguf_find(g, "v.u64")->value.u, UINT64_MAX);
        EXPECT_EQ(tn_gguf_find(g, "v.i64")->value.i, INT64_MIN);
        EXPECT_EQ(tn_gguf_find(g, "v.f64")->value.f, 0.1);
    }
}

TEST(Gguf, KeysKeepTheOrderOfTheFileAndTheirTypes)
{
    const Gguf g = parse(every_type().build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(text(tn_gguf_kv_at(g, 0)->key), "v.u8");
    EXPECT_EQ(tn_gguf_kv_at(g, 0)->type, TN_GGUF_U8);
    EXPECT_EQ(text(tn_gguf_kv_at(g, 16)->key), "a.f32");
    EXPECT_EQ(tn_gguf_kv_at(g, 16)->type, TN_GGUF_ARRAY);
    EXPECT_EQ(tn_gguf_kv_at(g, 17), nullptr);
    EXPECT_EQ(tn_gguf_find(g, "v.u8"), tn_gguf_kv_at(g, 0));
    EXPECT_EQ(tn_gguf_find(g, "v.u"), nullptr);
    EXPECT_EQ(tn_gguf_find(g, "v.u88"), nullptr);
    EXPECT_EQ(tn_gguf_find(g, ""), nullptr);
}

TEST(Gguf, AnyNonZeroByteIsTrue)
{
    GgufBuilder b;
    b.kv_raw("b", kBool, {0x80});
    const Gguf g = parse(b.build());
    bool value = false;
    ASSERT_EQ(tn_gguf_get_bool(g, "b", &value), TN_OK);
    EXPECT_TRUE(value);
    EXPECT_EQ(tn_gguf_find(g, "b")->value.u, 1u);
}

TEST(Gguf, ArraysGiveTheirElements)
{
    const Gguf g = parse(every_type().build());
    tn_gguf_array array;
    ASSERT_EQ(tn_gguf_get_array(g, "a.str", TN_GGUF_STRING, &array), TN_OK);
    EXPECT_EQ(array.n, 3u);
    std::vector<std::string> strings;
    tn_str s;
    uint64_t at = 0;
    while (tn_gguf_array_next(&array, &at, &s)) strings.push_back(text(s));
    EXPECT_EQ(strings, (std::vector<std::string>{"one", "", "three"}));
    EXPECT_FALSE(tn_gguf_array_next(&array, &at, &s));
    ASSERT_EQ(tn_gguf_get_array(g, "a.i32", TN_GGUF_I32, &array), TN_OK);
    ASSERT_EQ(array.n, 3u);
    int32_t values[3];
    std::memcpy(values, array.data, sizeof values);
    EXPECT_EQ(values[0] + values[1] * 10 + values[2] * 100, 281);
    at = 0;
    EXPECT_FALSE(tn_gguf_array_next(&array, &at, &s)); // not strings
    ASSERT_EQ(tn_gguf_get_array(g, "a.f32", TN_GGUF_F32, &array), TN_OK);
    EXPECT_EQ(array.n, 0u);
}

TEST(Gguf, ArrayGettersRefuseTheWrongElementType)
{
    // The fault behind a public crash: tokenizer scores stored as another type than the reader assumed.
    const Gguf g = parse(every_type().build());
    tn_gguf_array array;
    EXPECT_EQ(tn_gguf_get_array(g, "a.i32", TN_GGUF_F32, &array), TN_BAD_FILE);
    EXPECT_EQ(last_error(), "m.gguf: key \"a.i32\" is an array of i32 and must be one of f32: convert the model again");
    EXPECT_EQ(array.n, 0u);
    EXPECT_EQ(tn_gguf_get_array(g, "v.u8", TN_GGUF_U8, &array), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_array(g, "none", TN_GGUF_U8, &array), TN_NOT_FOUND);
}

TEST(Gguf, IntegerGettersTakeAnyWidthThatFits)
{
    GgufBuilder b;
    b.kv<uint8_t>("u8", 7).kv<uint16_t>("u16", 7).kv<uint32_t>("u32", 7).kv<uint64_t>("u64", 7);
    b.kv<int8_t>("i8", 7).kv<int16_t>("i16", 7).kv<int32_t>("i32", 7).kv<int64_t>("i64", 7);
    const Gguf g = parse(b.build());
    for (const char *key : {"u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"}) {
        uint32_t u = 0;
        int32_t i = 0;
        EXPECT_EQ(tn_gguf_get_u32(g, key, &u), TN_OK) << last_error();
        EXPECT_EQ(tn_gguf_get_i32(g, key, &i), TN_OK) << last_error();
        EXPECT_EQ(u, 7u);
        EXPECT_EQ(i, 7);
    }
}

TEST(Gguf, IntegerGettersRefuseWhatDoesNotFit)
{
    GgufBuilder b;
    b.kv<uint64_t>("u64", UINT64_C(1) << 32).kv<uint64_t>("huge", UINT64_MAX).kv<int32_t>("minus", -1).kv<uint32_t>("u32", UINT32_MAX);
    b.kv<int64_t>("i64", INT64_C(-2147483649)).kv<int64_t>("low", INT32_MIN);
    const Gguf g = parse(b.build());
    uint32_t u = 9;
    int32_t i = 9;
    EXPECT_EQ(tn_gguf_get_u32(g, "u64", &u), TN_BAD_FILE);
    EXPECT_EQ(last_error(), "m.gguf: key \"u64\" is 4294967296, and at most 4294967295 is possible: convert the model again");
    EXPECT_EQ(u, 0u);
    EXPECT_EQ(tn_gguf_get_u32(g, "huge", &u), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_u32(g, "minus", &u), TN_BAD_FILE);
    EXPECT_EQ(last_error(), "m.gguf: key \"minus\" is -1, and 0 to 4294967295 is possible: convert the model again");
    EXPECT_EQ(tn_gguf_get_u32(g, "u32", &u), TN_OK);
    EXPECT_EQ(u, UINT32_MAX);
    EXPECT_EQ(tn_gguf_get_i32(g, "u32", &i), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_i32(g, "huge", &i), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_i32(g, "i64", &i), TN_BAD_FILE);
    EXPECT_EQ(i, 0);
    EXPECT_EQ(tn_gguf_get_i32(g, "low", &i), TN_OK);
    EXPECT_EQ(i, INT32_MIN);
}

TEST(Gguf, FloatGettersTakeFiniteValuesOnly)
{
    GgufBuilder b;
    b.kv<float>("f32", 0.1f).kv<double>("f64", 0.1).kv<double>("big", 1e300).kv<float>("nan", std::nanf("")).kv<float>("inf", INFINITY);
    b.kv<uint32_t>("int", 1);
    const Gguf g = parse(b.build());
    float f = 0;
    EXPECT_EQ(tn_gguf_get_f32(g, "f32", &f), TN_OK);
    EXPECT_EQ(f, 0.1f);
    EXPECT_EQ(tn_gguf_get_f32(g, "f64", &f), TN_OK);
    EXPECT_EQ(f, 0.1f);
    for (const char *key : {"big", "nan", "inf", "int"}) {
        f = 5;
        EXPECT_EQ(tn_gguf_get_f32(g, key, &f), TN_BAD_FILE) << key;
        EXPECT_NE(last_error().find(key), std::string::npos);
        EXPECT_EQ(f, 0.0f);
    }
}

TEST(Gguf, GettersNameTheKeyThatIsMissingOrOfAnotherType)
{
    const Gguf g = parse(every_type().build());
    uint32_t u;
    int32_t i;
    bool flag;
    float f;
    tn_str s;
    EXPECT_EQ(tn_gguf_get_u32(g, "llama.block_count", &u), TN_NOT_FOUND);
    EXPECT_EQ(last_error(), "m.gguf: key \"llama.block_count\" is missing: the model needs it, convert the model again");
    EXPECT_EQ(tn_gguf_get_i32(g, "x", &i), TN_NOT_FOUND);
    EXPECT_EQ(tn_gguf_get_f32(g, "x", &f), TN_NOT_FOUND);
    EXPECT_EQ(tn_gguf_get_bool(g, "x", &flag), TN_NOT_FOUND);
    EXPECT_EQ(tn_gguf_get_str(g, "x", &s), TN_NOT_FOUND);
    EXPECT_EQ(tn_gguf_get_u32(g, "v.str", &u), TN_BAD_FILE);
    EXPECT_EQ(last_error(), "m.gguf: key \"v.str\" is of type string and must be an integer: convert the model again");
    EXPECT_EQ(tn_gguf_get_u32(g, "v.bool", &u), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_u32(g, "a.i32", &u), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_bool(g, "v.u8", &flag), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_str(g, "v.u8", &s), TN_BAD_FILE);
    EXPECT_EQ(tn_gguf_get_str(g, "v.str", &s), TN_OK);
    EXPECT_EQ(text(s), "hello");
}

TEST(Gguf, NamesWithNulBytesAreNotTheirPrefix)
{
    GgufBuilder b;
    b.kv<uint8_t>(std::string("key\0x", 5), 1).kv<uint8_t>("key", 2);
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_find(g, "key")->value.u, 2u);
}

TEST(Gguf, TensorsHaveShapeTypeAndData)
{
    GgufBuilder b;
    b.tensor<float>("a", {3, 2}, 0, {1, 2, 3, 4, 5, 6}).tensor("b", {256}, 35, 66).tensor<float>("c", {1, 1, 1, 1}, 0, {7});
    GgufMap map;
    const Bytes bytes = b.build(&map);
    const Gguf g = parse(bytes);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    ASSERT_EQ(tn_gguf_n_tensors(g), 3u);
    const tn_gguf_tensor *a = tn_gguf_find_tensor(g, "a"), *tq = tn_gguf_find_tensor(g, "b"), *c = tn_gguf_tensor_at(g, 2);
    EXPECT_EQ(tn_gguf_tensor_at(g, 0), a);
    EXPECT_EQ(tn_gguf_tensor_at(g, 3), nullptr);
    EXPECT_EQ(tn_gguf_find_tensor(g, "d"), nullptr);
    EXPECT_EQ(a->n_dims, 2u);
    EXPECT_EQ(a->ne[0], 3u);
    EXPECT_EQ(a->ne[1], 2u);
    EXPECT_EQ(a->ne[2] * a->ne[3], 1u);
    EXPECT_EQ(a->n_elements, 6u);
    EXPECT_EQ(a->dtype, TN_DTYPE_F32);
    EXPECT_EQ(a->file_type, 0u);
    EXPECT_STREQ(a->type_name, "F32");
    EXPECT_EQ(a->size_bytes, 24u);
    EXPECT_EQ(a->offset_bytes, map.data);
    float last;
    std::memcpy(&last, a->data + 20, 4);
    EXPECT_EQ(last, 6.0f);
    EXPECT_EQ(tq->dtype, TN_DTYPE_TQ2_0);
    EXPECT_EQ(tq->size_bytes, 66u);
    EXPECT_EQ(tq->offset_bytes, map.data + 32);
    EXPECT_EQ(tq->data, g.bytes.get() + tq->offset_bytes);
    EXPECT_EQ(text(c->name), "c");
    EXPECT_EQ(c->n_dims, 4u);
    EXPECT_EQ(tn_gguf_file_bytes(g), bytes.size());
    EXPECT_STREQ(tn_gguf_path(g), "m.gguf");
    EXPECT_EQ(tn_gguf_check_intact(g), TN_OK);
}

TEST(Gguf, ThePaddingOfTheLastTensorMayBeMissing)
{
    for (uint32_t type : {0u, 36u}) { // with and without a choice of meanings
        GgufBuilder b;
        b.pad_last = false;
        b.tensor("a", {128}, type, type == 0 ? 512 : 64);
        b.tensor<float>("c", {1}, 0, {7});
        EXPECT_EQ(parse(b.build()).status, TN_OK);
    }
}

TEST(Gguf, TheFilesOwnAlignmentIsUsed)
{
    for (uint32_t alignment : {8u, 64u, 4096u, 65536u}) {
        GgufBuilder b;
        b.align(alignment).tensor<float>("a", {1}, 0, {1}).tensor<float>("b", {1}, 0, {2});
        GgufMap map;
        const Gguf g = parse(b.build(&map));
        ASSERT_EQ(g.status, TN_OK) << g.message;
        EXPECT_EQ(tn_gguf_tensor_at(g, 1)->offset_bytes, map.data + alignment);
        EXPECT_EQ(map.data % alignment, 0u);
        float value;
        std::memcpy(&value, tn_gguf_tensor_at(g, 1)->data, 4);
        EXPECT_EQ(value, 2.0f);
    }
}

TEST(Gguf, MetadataAloneNeedsNoPadding)
{
    GgufBuilder b;
    b.kv("general.architecture", "llama");
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_n_tensors(g), 0u);
    EXPECT_EQ(tn_gguf_find_tensor(g, "a"), nullptr);
    EXPECT_EQ(parse(GgufBuilder().build()).status, TN_OK);
}

TEST(Gguf, TypeNamesAreThoseOfTheFormat)
{
    EXPECT_STREQ(tn_gguf_type_name(TN_GGUF_U8), "u8");
    EXPECT_STREQ(tn_gguf_type_name(TN_GGUF_BOOL), "bool");
    EXPECT_STREQ(tn_gguf_type_name(TN_GGUF_F64), "f64");
    EXPECT_STREQ(tn_gguf_type_name(static_cast<tn_gguf_type>(13)), "unknown");
}

TEST(Gguf, ManyKeysAndTensorsAreFoundByName)
{
    GgufBuilder b;
    for (int i = 0; i < 5000; ++i) b.kv<int32_t>("key." + std::to_string(i), i);
    for (int i = 0; i < 3000; ++i) b.tensor<float>("blk." + std::to_string(i) + ".w", {1}, 0, {static_cast<float>(i)});
    const Gguf g = parse(b.build());
    ASSERT_EQ(g.status, TN_OK) << g.message;
    for (int i = 0; i < 5000; ++i) {
        int32_t value = -1;
        ASSERT_EQ(tn_gguf_get_i32(g, ("key." + std::to_string(i)).c_str(), &value), TN_OK);
        ASSERT_EQ(value, i);
    }
    for (size_t i = 0; i < 3000; ++i) {
        ASSERT_EQ(tn_gguf_find_tensor(g, ("blk." + std::to_string(i) + ".w").c_str()), tn_gguf_tensor_at(g, i));
    }
}

class GgufFile : public testing::Test
{
  protected:
    void SetUp() override
    {
        path = testing::TempDir() + "tn_gguf_" + std::to_string(getpid()) + ".gguf";
        GgufBuilder b;
        b.kv("general.name", "test").kv_array<std::string>("tokens", {"a", "b"}).tensor("t", {65536}, 0, 4 * 65536);
        bytes = b.build();
        write_file(path, bytes);
    }
    void TearDown() override { std::filesystem::remove(path); }
    std::string path;
    Bytes bytes;
};

TEST_F(GgufFile, AFileIsReadLikeItsBytes)
{
    const Gguf g = open(path);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_path(g), path);
    EXPECT_EQ(tn_gguf_file_bytes(g), bytes.size());
    const tn_gguf_tensor *t = tn_gguf_find_tensor(g, "t");
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(std::memcmp(t->data, bytes.data() + t->offset_bytes, t->size_bytes), 0);
    tn_str name;
    ASSERT_EQ(tn_gguf_get_str(g, "general.name", &name), TN_OK);
    EXPECT_EQ(text(name), "test");
}

TEST_F(GgufFile, MetadataDoesNotFollowLaterWritesToTheFile)
{
    const Gguf g = open(path);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const Bytes junk(find_text(bytes, "tokens") + 60, 0xFF);
    file.write(reinterpret_cast<const char *>(junk.data()), static_cast<std::streamsize>(junk.size()));
    file.close();
    tn_gguf_array array;
    ASSERT_EQ(tn_gguf_get_array(g, "tokens", TN_GGUF_STRING, &array), TN_OK);
    uint64_t at = 0;
    tn_str s;
    ASSERT_TRUE(tn_gguf_array_next(&array, &at, &s));
    ASSERT_TRUE(tn_gguf_array_next(&array, &at, &s));
    EXPECT_EQ(text(s), "b");
}

TEST_F(GgufFile, AFileCutShortMeanwhileIsReported)
{
    const Gguf g = open(path);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    const tn_gguf_tensor *t = tn_gguf_find_tensor(g, "t");
    EXPECT_EQ(tn_gguf_check_intact(g), TN_OK);
    std::filesystem::resize_file(path, 100);
    const volatile uint8_t *last = t->data + t->size_bytes - 1;
    EXPECT_EQ(*last, 0);
    EXPECT_EQ(tn_gguf_check_intact(g), TN_IO);
    EXPECT_NE(last_error().find(path), std::string::npos);
}

TEST_F(GgufFile, AFileWithAMissingEndIsRefused)
{
    std::filesystem::resize_file(path, bytes.size() - 1);
    const Gguf g = open(path);
    EXPECT_EQ(g.status, TN_BAD_FILE);
    EXPECT_NE(g.message.find("tensor \"t\""), std::string::npos) << g.message;
    EXPECT_NE(g.message.find(path), std::string::npos) << g.message;
}

TEST_F(GgufFile, AMissingAndAnEmptyFileAreToldApart)
{
    EXPECT_EQ(open(path + ".none").status, TN_NOT_FOUND);
    std::filesystem::resize_file(path, 0);
    const Gguf g = open(path);
    EXPECT_EQ(g.status, TN_BAD_FILE);
    EXPECT_NE(g.message.find("the file is empty"), std::string::npos) << g.message;
}

TEST(GgufCorpus, TheFuzzersSeedsAreReadOrRefusedAsTheirNamesSay)
{
    size_t n_valid = 0, n_bad = 0;
    for (const auto &entry : std::filesystem::directory_iterator(std::string(TN_SOURCE_DIR) + "/tests/fuzz/corpus/gguf")) {
        std::ifstream in(entry.path(), std::ios::binary);
        const Bytes bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
        const std::string name = entry.path().filename();
        const Gguf g = parse(bytes);
        if (name.rfind("valid_", 0) == 0) {
            EXPECT_EQ(g.status, TN_OK) << name << ": " << g.message;
            ++n_valid;
        } else if (name.rfind("bad_", 0) == 0) {
            EXPECT_TRUE(g.status == TN_BAD_FILE || g.status == TN_UNSUPPORTED) << name << ": " << tn_status_name(g.status);
            ++n_bad;
        }
    }
    EXPECT_GE(n_valid, 10u);
    EXPECT_GE(n_bad, 30u);
}

class RealFiles : public testing::TestWithParam<std::pair<const char *, uint64_t>>
{
};

TEST_P(RealFiles, ParseWithTheirVocabulary)
{
    const char *data = std::getenv("TN_TEST_DATA");
    const std::string folder = data != nullptr ? data : std::string(TN_SOURCE_DIR) + "/../shared/data";
    const std::string path = folder + "/llama.cpp-vocab/ggml-vocab-" + GetParam().first + ".gguf";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there (set TN_TEST_DATA)";
    const Gguf g = open(path);
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_n_tensors(g), 0u);
    EXPECT_EQ(tn_gguf_file_bytes(g), std::filesystem::file_size(path));
    tn_gguf_array tokens;
    ASSERT_EQ(tn_gguf_get_array(g, "tokenizer.ggml.tokens", TN_GGUF_STRING, &tokens), TN_OK) << last_error();
    EXPECT_EQ(tokens.n, GetParam().second);
    uint64_t at = 0, n = 0, n_empty = 0;
    tn_str s;
    while (tn_gguf_array_next(&tokens, &at, &s)) {
        ++n;
        n_empty += s.len == 0;
    }
    EXPECT_EQ(n, tokens.n);
    EXPECT_LT(n_empty, 2u);
}

// As an independent reader counts them in the same files.
INSTANTIATE_TEST_SUITE_P(Vocabularies, RealFiles,
                         testing::Values(std::pair<const char *, uint64_t>("llama-spm", 32000),
                                         std::pair<const char *, uint64_t>("phi-3", 32064),
                                         std::pair<const char *, uint64_t>("gpt-2", 50257),
                                         std::pair<const char *, uint64_t>("gpt-neox", 50432),
                                         std::pair<const char *, uint64_t>("falcon", 65024)),
                         [](const auto &one) {
                             std::string name = one.param.first;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

} // namespace
