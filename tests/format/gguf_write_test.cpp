// Tests of the GGUF writer: its bytes against ones put together here, its file handling, and the reader's view of the result.
#include "format/temp_folder.h"

#include <csignal>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <vector>

extern "C" {
#include "format/gguf_write.h"
}

namespace
{

struct Destroy {
    void operator()(tn_gguf_writer *w) const { tn_gguf_writer_destroy(w); }
    void operator()(tn_gguf *g) const { tn_gguf_destroy(g); }
};
using Writer = std::unique_ptr<tn_gguf_writer, Destroy>;
using Gguf = std::unique_ptr<tn_gguf, Destroy>;

Writer create(const std::string &path, bool overwrite = false)
{
    tn_gguf_writer *w = nullptr;
    EXPECT_EQ(TN_OK, tn_gguf_writer_create(path.c_str(), overwrite, &w)) << tn_error_last()->message;
    return Writer(w);
}

bool message_has(const char *text) { return std::strstr(tn_error_last()->message, text) != nullptr; }

std::string le(uint64_t v, int bytes)
{
    std::string s;
    for (int i = 0; i < bytes; i++) s += static_cast<char>(v >> (8 * i) & 255);
    return s;
}
std::string text(const std::string &s) { return le(s.size(), 8) + s; }
std::string padded(std::string s) { return s.append((32 - s.size() % 32) % 32, '\0'); }

// A file with every kind of metadata and two tensors, the second one not aligned by itself.
tn_status write_sample(tn_gguf_writer *w)
{
    const tn_str words[] = {tn_str_of("ab"), tn_str_of(""), tn_str_of("c")};
    const int32_t ints[] = {-1, 7};
    const float floats[] = {1.5f};
    const uint64_t two[] = {2, 3}, ten[] = {10};
    TN_TRY(tn_gguf_writer_u32(w, "u", 7));
    TN_TRY(tn_gguf_writer_f32(w, "f", -2.0f));
    TN_TRY(tn_gguf_writer_bool(w, "t", true));
    TN_TRY(tn_gguf_writer_bool(w, "n", false));
    TN_TRY(tn_gguf_writer_str(w, "s", "text"));
    TN_TRY(tn_gguf_writer_str_array(w, "sa", words, 3));
    TN_TRY(tn_gguf_writer_i32_array(w, "ia", ints, 2));
    TN_TRY(tn_gguf_writer_f32_array(w, "fa", floats, 1));
    TN_TRY(tn_gguf_writer_tensor(w, "x", TN_DTYPE_F32, 2, two));
    TN_TRY(tn_gguf_writer_tensor(w, "y.weight", TN_DTYPE_F16, 1, ten));
    return TN_OK;
}

const std::string DATA = "abcdefghijklmnopqrstuvwx0123456789ABCDEFGHIJ"; // 24 bytes of x, 20 of y

std::string sample_bytes()
{
    std::string b = "GGUF" + le(3, 4) + le(2, 8) + le(8, 8);
    b += text("u") + le(4, 4) + le(7, 4);
    b += text("f") + le(6, 4) + le(0xc0000000, 4);
    b += text("t") + le(7, 4) + le(1, 1);
    b += text("n") + le(7, 4) + le(0, 1);
    b += text("s") + le(8, 4) + text("text");
    b += text("sa") + le(9, 4) + le(8, 4) + le(3, 8) + text("ab") + text("") + text("c");
    b += text("ia") + le(9, 4) + le(5, 4) + le(2, 8) + le(0xffffffff, 4) + le(7, 4);
    b += text("fa") + le(9, 4) + le(6, 4) + le(1, 8) + le(0x3fc00000, 4);
    b += text("x") + le(2, 4) + le(2, 8) + le(3, 8) + le(0, 4) + le(0, 8);
    b += text("y.weight") + le(1, 4) + le(10, 8) + le(1, 4) + le(32, 8);
    b = padded(b) + DATA.substr(0, 24);
    return padded(padded(b) + DATA.substr(24));
}

TEST(GgufWriter, WritesTheContainersBytes)
{
    for (size_t piece : {1u, 7u, 24u, 44u}) { // data in pieces that end before, at and across the ends of tensors
        TempFolder folder;
        Writer w = create(folder.at("a.gguf"));
        ASSERT_EQ(TN_OK, write_sample(w.get())) << tn_error_last()->message;
        for (size_t at = 0; at < DATA.size(); at += piece) {
            ASSERT_EQ(TN_OK, tn_gguf_writer_data(w.get(), DATA.data() + at, std::min(piece, DATA.size() - at)));
        }
        EXPECT_EQ(1u, folder.names().size());
        EXPECT_NE("a.gguf", folder.names()[0]) << "not under its name before it is whole";
        ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get())) << tn_error_last()->message;
        w.reset();
        EXPECT_EQ(std::vector<std::string>{"a.gguf"}, folder.names());
        EXPECT_EQ(sample_bytes(), folder.read("a.gguf")) << piece;
    }
}

TEST(GgufWriter, WritesWhatTheReaderReads)
{
    TempFolder folder;
    Writer w = create(folder.at("a.gguf"));
    ASSERT_EQ(TN_OK, write_sample(w.get()));
    ASSERT_EQ(TN_OK, tn_gguf_writer_data(w.get(), DATA.data(), DATA.size()));
    ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get()));
    tn_gguf *raw = nullptr;
    ASSERT_EQ(TN_OK, tn_gguf_open(folder.at("a.gguf").c_str(), nullptr, &raw)) << tn_error_last()->message;
    const Gguf g(raw);
    EXPECT_EQ(8u, tn_gguf_n_kv(raw));
    uint32_t u = 0;
    bool t = false;
    tn_str s;
    EXPECT_EQ(TN_OK, tn_gguf_get_u32(raw, "u", &u));
    EXPECT_EQ(7u, u);
    EXPECT_EQ(TN_OK, tn_gguf_get_bool(raw, "t", &t));
    EXPECT_TRUE(t);
    EXPECT_EQ(TN_OK, tn_gguf_get_str(raw, "s", &s));
    EXPECT_EQ("text", std::string(s.data, s.len));
    ASSERT_EQ(2u, tn_gguf_n_tensors(raw));
    const tn_gguf_tensor *y = tn_gguf_find_tensor(raw, "y.weight");
    ASSERT_NE(nullptr, y);
    EXPECT_EQ(TN_DTYPE_F16, y->dtype);
    EXPECT_EQ(20u, y->size_bytes);
    EXPECT_EQ(0, std::memcmp(DATA.data() + 24, y->data, 20));
}

TEST(GgufWriter, WritesAFileWithoutTensors)
{
    TempFolder folder;
    Writer w = create(folder.at("a.gguf"));
    ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get())) << tn_error_last()->message;
    EXPECT_EQ(padded("GGUF" + le(3, 4) + le(0, 8) + le(0, 8)), folder.read("a.gguf"));
}

TEST(GgufWriter, GivesEveryTypeItsIdAndSize)
{
    const struct {
        tn_dtype dtype;
        unsigned id;
        size_t bytes; // of 2 x 256 values
    } types[] = {
        {TN_DTYPE_F32, 0, 2048},        {TN_DTYPE_F16, 1, 1024},        {TN_DTYPE_BF16, 30, 1024},        {TN_DTYPE_Q8_0, 8, 544},
        {TN_DTYPE_Q6_K, 14, 420},       {TN_DTYPE_I2_S, 36, 128 + 32},  {TN_DTYPE_TQ1_0, 34, 108},        {TN_DTYPE_TQ2_0, 35, 132},
        {TN_DTYPE_Q4_0, 2, 288},        {TN_DTYPE_Q4_1, 3, 320},        {TN_DTYPE_Q5_0, 6, 352},          {TN_DTYPE_Q5_1, 7, 384},
        {TN_DTYPE_Q4_K, 12, 288},       {TN_DTYPE_Q5_K, 13, 352},       {TN_DTYPE_TL1, 38, 128 + 32},     {TN_DTYPE_TL2, 39, 128 + 32},
        {TN_DTYPE_IQ1_BN, 134, 2 * 54}, {TN_DTYPE_IQ2_BN, 135, 2 * 68}, {TN_DTYPE_IQ2_BN_R4, 335, 2 * 68}};
    for (const auto &type : types) {
        TempFolder folder;
        Writer w = create(folder.at("a.gguf"));
        const uint64_t ne[] = {256, 2};
        ASSERT_EQ(TN_OK, tn_gguf_writer_tensor(w.get(), "w", type.dtype, 2, ne));
        const std::string data(type.bytes, 'w');
        ASSERT_EQ(TN_OK, tn_gguf_writer_data(w.get(), data.data(), data.size()));
        ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get())) << type.id << tn_error_last()->message;
        const std::string head =
            padded("GGUF" + le(3, 4) + le(1, 8) + le(0, 8) + text("w") + le(2, 4) + le(256, 8) + le(2, 8) + le(type.id, 4) + le(0, 8));
        EXPECT_EQ(padded(head + data), folder.read("a.gguf")) << type.id;
    }
}

// ---- what goes wrong ----

TEST(GgufWriter, LeavesNothingBehindWhenAbandoned)
{
    TempFolder folder;
    {
        Writer w = create(folder.at("a.gguf"));
        ASSERT_EQ(TN_OK, write_sample(w.get()));
        ASSERT_EQ(TN_OK, tn_gguf_writer_data(w.get(), DATA.data(), 10));
        EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_finish(w.get()));
        EXPECT_TRUE(message_has("'x' has 10 of its 24 bytes")) << tn_error_last()->message;
    }
    EXPECT_TRUE(folder.names().empty());
}

TEST(GgufWriter, KeepsAnExistingFileUnlessToldOtherwise)
{
    TempFolder folder;
    folder.write("a.gguf", "precious");
    tn_gguf_writer *none = nullptr;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_create(folder.at("a.gguf").c_str(), false, &none));
    EXPECT_TRUE(message_has("exists already")) << tn_error_last()->message;
    EXPECT_EQ(nullptr, none);
    Writer w = create(folder.at("a.gguf"), true);
    EXPECT_EQ("precious", folder.read("a.gguf"));
    ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get()));
    EXPECT_EQ(std::vector<std::string>{"a.gguf"}, folder.names());
    EXPECT_EQ("GGUF", folder.read("a.gguf").substr(0, 4));
}

TEST(GgufWriter, DoesNotReplaceAFileThatAppearedMeanwhile)
{
    TempFolder folder;
    {
        Writer w = create(folder.at("a.gguf"));
        folder.write("a.gguf", "precious");
        EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_finish(w.get()));
        EXPECT_TRUE(message_has("appeared")) << tn_error_last()->message;
    }
    EXPECT_EQ(std::vector<std::string>{"a.gguf"}, folder.names());
    EXPECT_EQ("precious", folder.read("a.gguf"));
}

TEST(GgufWriter, RefusesTargetsThatAreNoFiles)
{
    TempFolder folder;
    tn_gguf_writer *none = nullptr;
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_create(folder.path().c_str(), true, &none)) << "a folder";
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_create("/dev/null", true, &none)) << "a device must not be replaced";
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_create("", true, &none));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_create(folder.at("b/").c_str(), true, &none));
    EXPECT_EQ(TN_IO, tn_gguf_writer_create(folder.at("missing/a.gguf").c_str(), true, &none));
    EXPECT_TRUE(message_has("No such file or directory")) << tn_error_last()->message;
    EXPECT_TRUE(folder.names().empty());
}

TEST(GgufWriter, StepsOverTheLeftoversOfAKilledProcess)
{
    TempFolder folder;
    std::string temp;
    {
        Writer w = create(folder.at("a.gguf"));
        temp = folder.names().at(0);
    }
    folder.write(temp, "left over");
    Writer w = create(folder.at("a.gguf"));
    ASSERT_EQ(TN_OK, tn_gguf_writer_finish(w.get()));
    EXPECT_EQ("left over", folder.read(temp));
}

// A limit on the size of files stands in for a full disk: write fails in the same place, with EFBIG.
class FileSizeLimit
{
  public:
    explicit FileSizeLimit(rlim_t bytes)
    {
        getrlimit(RLIMIT_FSIZE, &old_);
        old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit = {bytes, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileSizeLimit()
    {
        setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, old_handler_);
    }

  private:
    rlimit old_;
    void (*old_handler_)(int);
};

TEST(GgufWriter, SaysWhyWritingFailedAndLeavesNothing)
{
    TempFolder folder;
    {
        Writer w = create(folder.at("a.gguf"));
        const uint64_t ne[] = {100000};
        const std::vector<float> data(100000, 1.0f);
        ASSERT_EQ(TN_OK, tn_gguf_writer_tensor(w.get(), "w", TN_DTYPE_F32, 1, ne));
        const FileSizeLimit limit(65536);
        EXPECT_EQ(TN_IO, tn_gguf_writer_data(w.get(), data.data(), 400000));
        EXPECT_TRUE(message_has("File too large")) << tn_error_last()->message;
        EXPECT_EQ(EFBIG, tn_error_last()->native_code);
        EXPECT_NE(TN_OK, tn_gguf_writer_data(w.get(), data.data(), 4)) << "a failed writer stays failed";
        EXPECT_NE(TN_OK, tn_gguf_writer_finish(w.get()));
    }
    EXPECT_TRUE(folder.names().empty());
}

TEST(GgufWriter, RefusesCallsThatWouldMakeABadFile)
{
    TempFolder folder;
    Writer w = create(folder.at("a.gguf"));
    const uint64_t ne[] = {32, 1}, none[] = {0}, huge[] = {UINT64_MAX / 2, 4}, odd[] = {33};
    EXPECT_EQ(TN_OK, tn_gguf_writer_u32(w.get(), "k", 1));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_u32(w.get(), "k", 2)) << "the same key twice";
    EXPECT_EQ(TN_OK, tn_gguf_writer_u32(w.get(), "kk", 2));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_u32(w.get(), "", 2));
    EXPECT_EQ(TN_OK, tn_gguf_writer_tensor(w.get(), "w", TN_DTYPE_Q8_0, 2, ne));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "w", TN_DTYPE_F32, 2, ne)) << "the same name twice";
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), std::string(64, 'n').c_str(), TN_DTYPE_F32, 2, ne));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "", TN_DTYPE_F32, 2, ne));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "a", TN_DTYPE_F32, 5, ne));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "a", TN_DTYPE_F32, 1, none));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "a", TN_DTYPE_F32, 2, huge));
    EXPECT_NE(TN_OK, tn_gguf_writer_tensor(w.get(), "a", TN_DTYPE_Q8_0, 1, odd)) << "not a multiple of the block";
    EXPECT_EQ(TN_UNSUPPORTED, tn_gguf_writer_tensor(w.get(), "a", TN_DTYPE_OTHER, 1, ne));
    EXPECT_EQ(TN_OK, tn_gguf_writer_tensor(w.get(), std::string(63, 'n').c_str(), TN_DTYPE_Q8_0, 1, ne));
    const std::string data(2 * 34, 'd');
    EXPECT_EQ(TN_OK, tn_gguf_writer_data(w.get(), data.data(), data.size()));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_u32(w.get(), "late", 1));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_tensor(w.get(), "late", TN_DTYPE_F32, 1, ne));
    EXPECT_EQ(TN_INVALID_ARGUMENT, tn_gguf_writer_data(w.get(), data.data(), 1)) << "more data than was announced";
}

} // namespace
