// Tests of models split into several files.
#include "gguf_support.hpp"

#include <filesystem>
#include <unistd.h>

namespace
{

using namespace tn_test;

class Shards : public testing::Test
{
  protected:
    void SetUp() override
    {
        folder = testing::TempDir() + "tn_shards_" + std::to_string(getpid()) + "/";
        std::filesystem::create_directories(folder);
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    static std::string name(int number, int count)
    {
        char text[64];
        std::snprintf(text, sizeof text, "model-%05d-of-%05d.gguf", number, count);
        return text;
    }
    static GgufBuilder shard(uint16_t no, uint16_t count, int32_t n_tensors)
    {
        GgufBuilder b;
        if (no == 0) b.kv("general.architecture", "llama");
        b.kv<uint16_t>("split.no", no).kv<uint16_t>("split.count", count).kv<int32_t>("split.tensors.count", n_tensors);
        return b;
    }
    void write(const std::string &file, const GgufBuilder &b) const { write_file(folder + file, b.build()); }
    // Three parts with 1, 2 and 0 tensors.
    void write_three() const
    {
        write(name(1, 3), shard(0, 3, 3).tensor<float>("a", {1}, 0, {10}));
        write(name(2, 3), shard(1, 3, 3).tensor<float>("b", {1}, 0, {20}).tensor<float>("c", {1}, 0, {30}));
        write(name(3, 3), shard(2, 3, 3));
    }
    Gguf open_first() const { return open(folder + name(1, 3)); }
    void expect_open_fails(tn_status status, const std::vector<std::string> &parts) const
    {
        const Gguf g = open_first();
        EXPECT_EQ(g.status, status) << g.message;
        for (const auto &part : parts) EXPECT_NE(g.message.find(part), std::string::npos) << "no \"" << part << "\" in: " << g.message;
    }
    std::string folder;
};

TEST_F(Shards, AllPartsAreOneModel)
{
    write_three();
    const Gguf g = open_first();
    ASSERT_EQ(g.status, TN_OK) << g.message;
    ASSERT_EQ(tn_gguf_n_tensors(g), 3u);
    const char *names[] = {"a", "b", "c"};
    uint64_t bytes = 0;
    for (size_t i = 0; i < 3; ++i) {
        const tn_gguf_tensor *tensor = tn_gguf_find_tensor(g, names[i]);
        ASSERT_EQ(tensor, tn_gguf_tensor_at(g, i));
        float value;
        std::memcpy(&value, tensor->data, 4);
        EXPECT_EQ(value, 10.0f * static_cast<float>(i + 1));
        bytes += std::filesystem::file_size(folder + name(static_cast<int>(i) + 1, 3));
    }
    EXPECT_EQ(tn_gguf_file_bytes(g), bytes);
    tn_str arch;
    EXPECT_EQ(tn_gguf_get_str(g, "general.architecture", &arch), TN_OK);
    EXPECT_EQ(tn_gguf_check_intact(g), TN_OK);
    EXPECT_EQ(tn_gguf_path(g), folder + name(1, 3));
}

TEST_F(Shards, APartCutShortMeanwhileIsReported)
{
    write_three();
    const Gguf g = open_first();
    ASSERT_EQ(g.status, TN_OK) << g.message;
    std::filesystem::resize_file(folder + name(2, 3), 0);
    const volatile uint8_t *c = tn_gguf_find_tensor(g, "c")->data;
    EXPECT_EQ(*c, 0);
    EXPECT_EQ(tn_gguf_check_intact(g), TN_IO);
    EXPECT_NE(last_error().find(name(2, 3)), std::string::npos) << last_error();
}

TEST_F(Shards, AnotherPartThanTheFirstNamesTheFirst)
{
    write_three();
    const Gguf g = open(folder + name(2, 3));
    EXPECT_EQ(g.status, TN_INVALID_ARGUMENT);
    EXPECT_NE(g.message.find("part 2 of 3"), std::string::npos) << g.message;
    EXPECT_NE(g.message.find("open " + folder + name(1, 3) + " instead"), std::string::npos) << g.message;
    std::filesystem::rename(folder + name(2, 3), folder + "renamed.gguf");
    const Gguf renamed = open(folder + "renamed.gguf");
    EXPECT_EQ(renamed.status, TN_INVALID_ARGUMENT);
    EXPECT_NE(renamed.message.find("open the file of part 1 instead"), std::string::npos) << renamed.message;
}

TEST_F(Shards, AMissingPartIsNotFoundByName)
{
    write_three();
    std::filesystem::remove(folder + name(2, 3));
    expect_open_fails(TN_NOT_FOUND, {"part 2 of 3", name(2, 3)});
}

TEST_F(Shards, ADamagedPartIsNamed)
{
    write_three();
    std::filesystem::resize_file(folder + name(3, 3), 30);
    expect_open_fails(TN_BAD_FILE, {"part 3 of 3", name(3, 3), "at byte"});
}

TEST_F(Shards, TheFirstPartMustHaveItsName)
{
    write_three();
    std::filesystem::rename(folder + name(1, 3), folder + "model.gguf");
    const Gguf g = open(folder + "model.gguf");
    EXPECT_EQ(g.status, TN_BAD_FILE);
    EXPECT_NE(g.message.find("must end in -00001-of-00003.gguf"), std::string::npos) << g.message;
}

TEST_F(Shards, PartsMustKnowTheirPlace)
{
    write_three();
    write(name(2, 3), shard(2, 3, 3).tensor<float>("b", {1}, 0, {1}));
    expect_open_fails(TN_BAD_FILE, {"part 2 of 3", "says it is part 3 of 3"});
    write(name(2, 3), shard(1, 4, 3).tensor<float>("b", {1}, 0, {1}));
    expect_open_fails(TN_BAD_FILE, {"part 2 of 3", "says it is part 2 of 4"});
    write(name(2, 3), GgufBuilder().tensor<float>("b", {1}, 0, {1}));
    expect_open_fails(TN_BAD_FILE, {"part 2 of 3", "split.no", "missing"});
}

TEST_F(Shards, TheNumberOfTensorsMustAgree)
{
    write_three();
    write(name(2, 3), shard(1, 3, 3).tensor<float>("b", {1}, 0, {20}));
    expect_open_fails(TN_BAD_FILE, {"split.tensors.count is 3", "have 2 tensors"});
    GgufBuilder without;
    without.kv<uint16_t>("split.no", 0).kv<uint16_t>("split.count", 3);
    write(name(1, 3), without);
    expect_open_fails(TN_BAD_FILE, {"split.tensors.count", "missing"});
}

TEST_F(Shards, ATensorMayBeInOnePartOnly)
{
    write_three();
    write(name(3, 3), shard(2, 3, 4).tensor<float>("a", {1}, 0, {1}));
    write(name(1, 3), shard(0, 3, 4).tensor<float>("a", {1}, 0, {10}));
    expect_open_fails(TN_BAD_FILE, {"tensor \"a\" is in two parts"});
}

TEST_F(Shards, SplitKeysOfAWrongTypeAreRefused)
{
    write(name(1, 3), GgufBuilder().kv("split.count", "3"));
    expect_open_fails(TN_BAD_FILE, {"split.count", "must be an integer"});
    write(name(1, 3), GgufBuilder().kv<uint32_t>("split.count", 70000).kv<uint16_t>("split.no", 0));
    expect_open_fails(TN_BAD_FILE, {"split.count is 70000", "65535"});
    write(name(1, 3), GgufBuilder().kv<uint32_t>("split.count", 3).kv<uint32_t>("split.no", UINT32_MAX));
    expect_open_fails(TN_INVALID_ARGUMENT, {"part 4294967296 of 3"});
}

TEST_F(Shards, ASplitIntoOneIsAnOrdinaryFile)
{
    write("any.gguf", shard(0, 1, 1).tensor<float>("a", {1}, 0, {10}));
    const Gguf g = open(folder + "any.gguf");
    ASSERT_EQ(g.status, TN_OK) << g.message;
    EXPECT_EQ(tn_gguf_n_tensors(g), 1u);
}

} // namespace
