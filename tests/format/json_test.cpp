// Tests of the JSON layer: kinds, order, absent values, refusals with their place.
#include "format/temp_folder.h"

#include <gtest/gtest.h>
#include <memory>
#include <string>

extern "C" {
#include "format/json.h"
}

namespace
{

struct Destroy {
    void operator()(tn_json *j) const { tn_json_destroy(j); }
};
using Json = std::unique_ptr<tn_json, Destroy>;

Json parse(const std::string &text)
{
    tn_json *root = nullptr;
    EXPECT_EQ(TN_OK, tn_json_parse(text.data(), text.size(), "x.json", &root)) << tn_error_last()->message;
    return Json(root);
}

TEST(Json, TellsKindsApart)
{
    const Json j = parse("{\"n\":null,\"t\":true,\"f\":false,\"i\":7,\"m\":-7,\"r\":1.5,\"s\":\"x\",\"a\":[1,\"b\"],\"o\":{\"k\":1}}");
    const auto at = [&](const char *key) { return tn_json_get(j.get(), key); };
    EXPECT_TRUE(tn_json_absent(at("n")));
    EXPECT_TRUE(tn_json_absent(at("missing")));
    EXPECT_FALSE(tn_json_absent(at("f")));
    EXPECT_TRUE(tn_json_is_true(at("t")));
    EXPECT_FALSE(tn_json_is_true(at("f")));
    EXPECT_TRUE(tn_json_is_bool(at("f")));
    EXPECT_FALSE(tn_json_is_bool(at("i")));
    uint64_t u = 99;
    double d = 99;
    tn_str s = {"99", 2};
    EXPECT_FALSE(tn_json_u64(at("m"), &u) || tn_json_u64(at("r"), &u) || tn_json_u64(at("s"), &u) || tn_json_u64(nullptr, &u));
    EXPECT_FALSE(tn_json_f64(at("s"), &d) || tn_json_f64(nullptr, &d));
    EXPECT_FALSE(tn_json_str(at("i"), &s) || tn_json_str(nullptr, &s));
    EXPECT_EQ(99u, u);
    EXPECT_EQ(99.0, d);
    EXPECT_EQ(2u, s.len);
    EXPECT_TRUE(tn_json_u64(at("i"), &u) && u == 7);
    EXPECT_TRUE(tn_json_f64(at("i"), &d) && d == 7);
    EXPECT_TRUE(tn_json_f64(at("r"), &d) && d == 1.5);
    EXPECT_TRUE(tn_json_str(at("s"), &s) && tn_str_is(s, "x"));
    EXPECT_EQ(2u, tn_json_size(at("a")));
    EXPECT_EQ(1u, tn_json_size(at("o")));
    EXPECT_EQ(0u, tn_json_size(at("s")));
    EXPECT_EQ(0u, tn_json_size(nullptr));
    EXPECT_TRUE(tn_json_is_array(at("a")) && !tn_json_is_array(at("o")) && tn_json_is_object(at("o")));
    EXPECT_EQ(nullptr, tn_json_at(at("a"), 2));
    EXPECT_EQ(nullptr, tn_json_at(at("o"), 0));
    EXPECT_EQ(nullptr, tn_json_get(at("a"), "k"));
    EXPECT_EQ(nullptr, tn_json_get(nullptr, "k"));
}

TEST(Json, StepsThroughAnObjectInTheOrderOfTheFile)
{
    const Json j = parse("{\"z\":1,\"a\":2,\"m\":3}");
    std::string keys;
    void *at = nullptr;
    tn_str key;
    const tn_json *value = nullptr;
    while (tn_json_next(j.get(), &at, &key, &value)) {
        uint64_t v = 0;
        EXPECT_TRUE(tn_json_u64(value, &v));
        keys += std::string(key.data, key.len) + std::to_string(v);
    }
    EXPECT_EQ("z1a2m3", keys);
    at = nullptr;
    EXPECT_FALSE(tn_json_next(nullptr, &at, &key, &value));
}

TEST(Json, RefusesBadTextWithItsPlace)
{
    for (const char *text :
         {"", "{", "[]", "7", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}", "{\"a\":1} x", "{\"a\":NaN}"}) {
        tn_json *root = nullptr;
        EXPECT_EQ(TN_BAD_FILE, tn_json_parse(text, std::string(text).size(), "x.json", &root)) << text;
        EXPECT_EQ(nullptr, root);
        EXPECT_NE(std::string::npos, std::string(tn_error_last()->message).find("'x.json'")) << tn_error_last()->message;
    }
    tn_json *root = nullptr;
    EXPECT_EQ(TN_BAD_FILE, tn_json_parse("{\n\"a\":,}", 8, "x.json", &root));
    EXPECT_NE(std::string::npos, std::string(tn_error_last()->message).find("line 2")) << tn_error_last()->message;
}

TEST(Json, ReadsFilesUpToALimit)
{
    TempFolder folder;
    folder.write("a.json", "{\"a\":1}");
    tn_json *root = nullptr;
    ASSERT_EQ(TN_OK, tn_json_open(folder.at("a.json").c_str(), 7, &root)) << tn_error_last()->message;
    EXPECT_EQ(1u, tn_json_size(root));
    tn_json_destroy(root);
    EXPECT_EQ(TN_BAD_FILE, tn_json_open(folder.at("a.json").c_str(), 6, &root));
    EXPECT_EQ(nullptr, root);
    EXPECT_EQ(TN_NOT_FOUND, tn_json_open(folder.at("b.json").c_str(), 7, &root));
    folder.write("empty.json", "");
    EXPECT_EQ(TN_BAD_FILE, tn_json_open(folder.at("empty.json").c_str(), 7, &root));
}

} // namespace
