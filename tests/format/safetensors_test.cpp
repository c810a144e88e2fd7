// Tests of the safetensors reader: good files, every check on bad ones, shards.
#include "format/temp_folder.h"

#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "format/safetensors.h"
}

namespace
{

struct Destroy {
    void operator()(tn_safetensors *st) const { tn_safetensors_destroy(st); }
};
using Handle = std::unique_ptr<tn_safetensors, Destroy>;

std::string file_of(const std::string &header, const std::string &data)
{
    std::string bytes;
    for (unsigned i = 0; i < 8; i++) bytes += static_cast<char>(header.size() >> (8 * i) & 255);
    return bytes + header + data;
}

// A parsed file over a copy in memory of exactly its size, so that the address sanitizer sees any read past it.
struct Parsed {
    std::unique_ptr<uint8_t[]> bytes;
    Handle st;
    tn_status status;
};

Parsed parse(const std::string &bytes)
{
    Parsed p;
    p.bytes = std::make_unique<uint8_t[]>(bytes.size());
    if (!bytes.empty()) std::memcpy(p.bytes.get(), bytes.data(), bytes.size());
    tn_safetensors *st = nullptr;
    p.status = tn_safetensors_parse(p.bytes.get(), bytes.size(), "model.safetensors", &st);
    p.st.reset(st);
    EXPECT_EQ(p.status == TN_OK, st != nullptr);
    return p;
}

tn_status parse_status(const std::string &bytes) { return parse(bytes).status; }

tn_status open_folder(const TempFolder &folder, Handle &out)
{
    tn_safetensors *st = nullptr;
    const tn_status status = tn_safetensors_open(folder.path().c_str(), &st);
    EXPECT_EQ(status == TN_OK, st != nullptr);
    out.reset(st);
    return status;
}

bool message_has(const std::string &text) { return std::string(tn_error_last()->message).find(text) != std::string::npos; }

std::string entry(const std::string &name, const std::string &dtype, const std::string &shape, const std::string &offsets)
{
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

const std::string TWO =
    "{\"__metadata__\":{\"format\":\"pt\"}," + entry("b", "BF16", "[2,3]", "[0,12]") + "," + entry("a", "F32", "[2]", "[12,20]") + "}";

TEST(Safetensors, ListsTensorsByNameWithTheirShapesAndBytes)
{
    const Parsed parsed = parse(file_of(TWO + "   ", "0123456789abABCDEFGH"));
    ASSERT_EQ(TN_OK, parsed.status) << tn_error_last()->message;
    const Handle &st = parsed.st;
    ASSERT_EQ(2u, tn_safetensors_count(st.get()));
    EXPECT_STREQ("a", tn_safetensors_at(st.get(), 0)->name);
    EXPECT_EQ(nullptr, tn_safetensors_at(st.get(), 2));
    EXPECT_EQ(nullptr, tn_safetensors_find(st.get(), "c"));
    EXPECT_EQ(nullptr, tn_safetensors_find(st.get(), "__metadata__"));
    const tn_safetensor *b = tn_safetensors_find(st.get(), "b");
    ASSERT_NE(nullptr, b);
    EXPECT_STREQ("BF16", b->dtype_name);
    EXPECT_EQ(TN_DTYPE_BF16, b->dtype);
    ASSERT_EQ(2u, b->n_dims);
    EXPECT_EQ(2u, b->shape[0]);
    EXPECT_EQ(3u, b->shape[1]);
    EXPECT_EQ(6u, b->n_elements);
    EXPECT_EQ(12u, b->size_bytes);
    EXPECT_EQ(0, std::memcmp("0123456789ab", b->data, 12));
    EXPECT_EQ(0, std::memcmp("ABCDEFGH", tn_safetensors_find(st.get(), "a")->data, 8));
    EXPECT_EQ(TN_OK, tn_safetensors_check_intact(st.get()));
}

TEST(Safetensors, NamesTypesThatAreNotFloats)
{
    const Parsed parsed =
        parse(file_of("{" + entry("w", "U8", "[4]", "[0,4]") + "," + entry("s", "F64", "[]", "[4,12]") + "}", "0123456789ab"));
    ASSERT_EQ(TN_OK, parsed.status) << tn_error_last()->message;
    const Handle &st = parsed.st;
    EXPECT_EQ(TN_DTYPE_OTHER, tn_safetensors_find(st.get(), "w")->dtype);
    EXPECT_STREQ("U8", tn_safetensors_find(st.get(), "w")->dtype_name);
    EXPECT_EQ(1u, tn_safetensors_find(st.get(), "s")->n_elements) << "no dimensions: one value";
    EXPECT_EQ(TN_UNSUPPORTED, parse_status(file_of("{" + entry("w", "F3_E1M1", "[4]", "[0,4]") + "}", "0123")));
    EXPECT_TRUE(message_has("F3_E1M1")) << tn_error_last()->message;
}

TEST(Safetensors, RefusesEveryTruncation)
{
    const std::string whole = file_of(TWO, "0123456789abABCDEFGH");
    for (size_t n = 0; n < whole.size(); n++) ASSERT_EQ(TN_BAD_FILE, parse_status(whole.substr(0, n))) << n;
    EXPECT_EQ(TN_OK, parse_status(whole));
}

TEST(Safetensors, RefusesAHeaderLargerThanTheFileOrTheLimit)
{
    std::string bytes = file_of(TWO, "0123456789abABCDEFGH");
    for (const char *length :
         {"\xff\xff\xff\xff\xff\xff\xff\xff", "\xf8\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x80"}) {
        std::memcpy(bytes.data(), length, 8);
        EXPECT_EQ(TN_BAD_FILE, parse_status(bytes));
        EXPECT_TRUE(message_has("header")) << tn_error_last()->message;
    }
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of(std::string(100000001, ' '), "")));
    EXPECT_TRUE(message_has("at most 100000000")) << tn_error_last()->message;
}

TEST(Safetensors, RefusesOverlapsAndBadOffsets)
{
    const std::string data(24, 'x');
    const auto two = [&](const std::string &second) {
        return parse_status(file_of("{" + entry("a", "F32", "[4]", "[0,16]") + "," + second + "}", data));
    };
    EXPECT_EQ(TN_OK, two(entry("b", "F32", "[2]", "[16,24]")));
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[12,20]")));
    EXPECT_TRUE(message_has("overlap")) << tn_error_last()->message;
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[4]", "[0,16]"))) << "the same place twice";
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[1]", "[8,12]"))) << "one inside the other";
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[20,28]"))) << "past the end";
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[24,16]"))) << "end before begin";
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[-8,0]")));
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[16]")));
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[16.0,24.0]")));
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[2]", "[16,18446744073709551616]")));
    EXPECT_EQ(TN_BAD_FILE, two(entry("b", "F32", "[3]", "[16,24]"))) << "size is not the shape's";
    EXPECT_TRUE(message_has("'b'")) << tn_error_last()->message;
}

TEST(Safetensors, RefusesShapesWhoseSizeWrapsAround)
{
    const auto shape = [](const std::string &s, const std::string &offsets) {
        return parse_status(file_of("{" + entry("a", "F32", s, offsets) + "}", "xxxx"));
    };
    EXPECT_EQ(TN_BAD_FILE, shape("[4294967296,4294967296]", "[0,0]")); // 2^64 elements
    EXPECT_EQ(TN_BAD_FILE, shape("[4611686018427387904]", "[0,0]"));   // 2^64 bytes
    EXPECT_EQ(TN_BAD_FILE, shape("[-1]", "[0,4]"));
    EXPECT_EQ(TN_BAD_FILE, shape("[1.0]", "[0,4]"));
    EXPECT_EQ(TN_BAD_FILE, shape("4", "[0,4]"));
    EXPECT_EQ(TN_UNSUPPORTED, shape("[1,1,1,1,1]", "[0,4]"));
    EXPECT_EQ(TN_OK, shape("[1,1,1,1]", "[0,4]"));
    EXPECT_EQ(TN_OK, shape("[0,7]", "[2,2]")) << "an empty tensor";
}

TEST(Safetensors, RefusesHeadersThatAreNotWhatTheyShouldBe)
{
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("{\"a\":", "")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("[]", "")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("", "")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("{\"a\":7}", "")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("{\"a\":{}}", "")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("{" + entry("", "F32", "[1]", "[0,4]") + "}", "xxxx")));
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of("{" + entry("a\\u0000b", "F32", "[1]", "[0,4]") + "}", "xxxx")));
    EXPECT_EQ(TN_BAD_FILE,
              parse_status(file_of("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", "xxxxxxxx")));
    EXPECT_TRUE(message_has("duplicate")) << tn_error_last()->message;
    EXPECT_EQ(TN_BAD_FILE, parse_status(file_of(std::string(100000, '['), "")));
}

// ---- folders ----

std::string one(const std::string &name, const std::string &data) { return file_of("{" + entry(name, "F32", "[1]", "[0,4]") + "}", data); }

std::string index_of(const std::vector<std::pair<std::string, std::string>> &map)
{
    std::string text = "{\"metadata\":{},\"weight_map\":{";
    for (size_t i = 0; i < map.size(); i++) text += (i ? ",\"" : "\"") + map[i].first + "\":\"" + map[i].second + "\"";
    return text + "}}";
}

const char *const INDEX = "model.safetensors.index.json";

TEST(SafetensorsFolder, OpensASingleFile)
{
    TempFolder folder;
    Handle st;
    EXPECT_EQ(TN_NOT_FOUND, open_folder(folder, st));
    EXPECT_TRUE(message_has("model.safetensors")) << tn_error_last()->message;
    folder.write("model.safetensors", one("w", "1234"));
    ASSERT_EQ(TN_OK, open_folder(folder, st)) << tn_error_last()->message;
    EXPECT_EQ(0, std::memcmp("1234", tn_safetensors_find(st.get(), "w")->data, 4));
}

TEST(SafetensorsFolder, OpensTheShardsOfAnIndex)
{
    TempFolder folder;
    folder.write("model-00001-of-00002.safetensors", one("b", "1111"));
    folder.write("model-00002-of-00002.safetensors", one("a", "2222"));
    folder.write(INDEX, index_of({{"a", "model-00002-of-00002.safetensors"}, {"b", "model-00001-of-00002.safetensors"}}));
    Handle st;
    ASSERT_EQ(TN_OK, open_folder(folder, st)) << tn_error_last()->message;
    ASSERT_EQ(2u, tn_safetensors_count(st.get()));
    EXPECT_EQ(0, std::memcmp("2222", tn_safetensors_find(st.get(), "a")->data, 4));
    EXPECT_EQ(0, std::memcmp("1111", tn_safetensors_find(st.get(), "b")->data, 4));
    EXPECT_EQ(TN_OK, tn_safetensors_check_intact(st.get()));
}

TEST(SafetensorsFolder, RefusesAnIndexThatLeavesTheFolder)
{
    TempFolder outer;
    std::filesystem::create_directory(outer.at("inner"));
    outer.write("secret.safetensors", one("a", "2222"));
    for (const std::string &name : {std::string("../secret.safetensors"), outer.at("secret.safetensors"), std::string(".."),
                                    std::string(""), std::string("x/../../secret.safetensors"), std::string("..\\\\secret.safetensors")}) {
        outer.write("inner/model.safetensors.index.json", index_of({{"a", name}}));
        tn_safetensors *st = nullptr;
        EXPECT_EQ(TN_BAD_FILE, tn_safetensors_open(outer.at("inner").c_str(), &st)) << name;
        EXPECT_TRUE(message_has("leaves the folder")) << tn_error_last()->message;
        EXPECT_EQ(nullptr, st);
    }
}

TEST(SafetensorsFolder, RefusesAnIndexThatDoesNotAgreeWithItsShards)
{
    TempFolder folder;
    Handle st;
    folder.write("x.safetensors", one("a", "1111"));
    folder.write("y.safetensors", one("b", "2222"));
    folder.write(INDEX, index_of({{"a", "x.safetensors"}, {"c", "x.safetensors"}}));
    EXPECT_EQ(TN_BAD_FILE, open_folder(folder, st));
    EXPECT_TRUE(message_has("'c'")) << tn_error_last()->message;
    folder.write(INDEX, index_of({{"a", "y.safetensors"}, {"b", "x.safetensors"}}));
    EXPECT_EQ(TN_BAD_FILE, open_folder(folder, st)) << "shards exchanged";
    folder.write(INDEX, index_of({{"a", "x.safetensors"}, {"b", "z.safetensors"}}));
    EXPECT_EQ(TN_NOT_FOUND, open_folder(folder, st));
    folder.write("y.safetensors", one("a", "2222"));
    folder.write(INDEX, "{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y.safetensors\"}}");
    EXPECT_EQ(TN_BAD_FILE, open_folder(folder, st));
    EXPECT_TRUE(message_has("both")) << tn_error_last()->message;
    folder.write(INDEX, "{\"weight_map\":{\"a\":1}}");
    EXPECT_EQ(TN_BAD_FILE, open_folder(folder, st));
    folder.write(INDEX, "{}");
    EXPECT_EQ(TN_BAD_FILE, open_folder(folder, st));
}

} // namespace
