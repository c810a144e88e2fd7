// Heads that a session quantises while it packs them: the bits of a file that was converted so, and what is refused.
#include "convert/checkpoint.h"
#include "support/rewrite_model.hpp"
#include "support/run_model.hpp"
#include "support/tiny_model.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

using namespace tn_test;

namespace
{

struct Type {
    const char *name;
    tn_dtype dtype;
};
constexpr Type types[] = {{"q8_0", TN_DTYPE_Q8_0}, {"q6_k", TN_DTYPE_Q6_K}};

std::vector<float> logits(const std::string &path, const char *head, uint32_t threads = 0)
{
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 21; i++) ids.push_back(i * 7 % 40);
    run_options options;
    options.head = head;
    options.threads = threads;
    run_result result;
    run_model(path, ids, options, &result);
    return result.logits;
}

void convert(const std::string &folder, const std::string &out, const char *embd)
{
    tn_convert_params params = TN_CONVERT_PARAMS_INIT;
    params.input_dir = folder.c_str();
    params.output_path = out.c_str();
    params.embd = embd;
    params.overwrite = true;
    ASSERT_EQ(tn_convert(&params), TN_OK) << tn_error_last()->message;
}

void set_type(std::vector<model_tensor> &tensors, const std::string &name, tn_dtype dtype)
{
    model_tensor *t = find_tensor(tensors, name);
    ASSERT_NE(t, nullptr);
    *t = dense_tensor(*t, dtype);
}

// Creates a session and expects it to be refused, with these words.
void expect_refused(const std::string &path, const char *head, const std::vector<std::string> &words)
{
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_session *session = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.head = head;
    EXPECT_EQ(tn_session_create(model, host, &params, &session), TN_INVALID_ARGUMENT) << head;
    EXPECT_EQ(session, nullptr);
    for (const auto &word : words)
        EXPECT_NE(std::string(tn_error_last()->message).find(word), std::string::npos) << tn_error_last()->message;
    tn_session_destroy(session);
    tn_model_close(model);
    tn_host_close(host);
}

} // namespace

// A tied matrix is quantised once, for look-ups and logits, as convert does it.
TEST(HeadType, OfATiedModelIsThatOfAFileConvertedSo)
{
    TempFolder folder;
    Checkpoint(5).write(folder);
    const std::string as_q = folder.path() + "/q.gguf";
    for (const char *kept : {"f16", "bf16", "f32"}) {
        const std::string as_float = folder.path() + "/float.gguf";
        ASSERT_NO_FATAL_FAILURE(convert(folder.path(), as_float, kept));
        const std::vector<float> exact = logits(as_float, nullptr);
        EXPECT_EQ(logits(as_float, "keep"), exact);
        for (const Type &type : types) {
            ASSERT_NO_FATAL_FAILURE(convert(folder.path(), as_q, type.name));
            const std::vector<float> expected = logits(as_q, nullptr);
            ASSERT_EQ(expected.size(), exact.size());
            ASSERT_NE(expected, exact) << "a test that could not fail";
            for (uint32_t threads : {1u, 2u}) EXPECT_EQ(logits(as_float, type.name, threads), expected) << kept << " to " << type.name;
            EXPECT_EQ(logits(as_q, type.name), expected) << "a head that has the type already is left alone";
        }
    }
}

TEST(HeadType, OfAModelWithItsOwnHeadLeavesTheEmbeddingAsItIs)
{
    TempFolder folder;
    const std::string as_float = folder.path() + "/float.gguf", as_q = folder.path() + "/q.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model({}, as_float));
    for (const Type &type : types) {
        write_tiny_model({}, as_q, [&](auto &tensors) { set_type(tensors, "output.weight", type.dtype); });
        EXPECT_EQ(logits(as_float, type.name), logits(as_q, nullptr)) << type.name;
        write_tiny_model({}, as_q, [&](auto &tensors) { set_type(tensors, "token_embd.weight", type.dtype); });
        EXPECT_NE(logits(as_float, type.name), logits(as_q, nullptr)) << type.name;
    }
}

TEST(HeadType, TakesLessMemory)
{
    TempFolder folder;
    Checkpoint(5).write(folder);
    const std::string path = folder.path() + "/float.gguf";
    ASSERT_NO_FATAL_FAILURE(convert(folder.path(), path, "f32"));
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK);
    std::vector<uint64_t> bytes;
    for (const char *head : {"keep", "q8_0", "q6_k"}) {
        tn_session *session = nullptr;
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.head = head;
        ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
        tn_session_info info;
        tn_session_get_info(session, &info);
        bytes.push_back(info.weights_bytes);
        tn_session_destroy(session);
    }
    EXPECT_GT(bytes[0], bytes[1]);
    EXPECT_GT(bytes[1], bytes[2]);
    tn_model_close(model);
    tn_host_close(host);
}

TEST(HeadType, ThatCannotBeMadeIsRefusedWithTheReason)
{
    TempFolder folder;
    const std::string path = folder.path() + "/tiny.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model({}, path));
    expect_refused(path, "q4_0", {"'q4_0'", "keep, q8_0 or q6_k"});
    expect_refused(path, "", {"''"});
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_0, TN_DTYPE_Q5_K}) {
        write_tiny_model({}, path, [&](auto &tensors) { set_type(tensors, "output.weight", dtype); });
        for (const Type &type : types) {
            if (type.dtype != dtype) expect_refused(path, type.name, {"'output'", tn_dtype_get(dtype)->name, "keep"});
        }
    }
    tiny_model narrow;
    narrow.n_embd = 384;
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(narrow, path));
    expect_refused(path, "q6_k", {"384", "256", "q8_0"});
    EXPECT_FALSE(logits(path, "q8_0").empty());
}

TEST(HeadType, ValuesThatNoBlockCanHoldAreNamed)
{
    TempFolder folder;
    const std::string path = folder.path() + "/tiny.gguf";
    write_tiny_model({}, path, [](auto &tensors) {
        set_type(tensors, "output.weight", TN_DTYPE_F32);
        const float infinite = std::numeric_limits<float>::infinity();
        std::memcpy(find_tensor(tensors, "output.weight")->bytes.data() + 4 * (256 * 77 + 3), &infinite, sizeof infinite);
    });
    for (const Type &type : types) expect_refused(path, type.name, {"'output'", "row 77", "finite"});
}

// Callers built before the field existed hand over a shorter struct.
TEST(HeadType, OfOlderCallersIsTheFiles)
{
    TempFolder folder;
    const std::string path = folder.path() + "/tiny.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model({}, path));
    tn_host *host = nullptr;
    tn_model *model = nullptr;
    ASSERT_EQ(tn_host_open(nullptr, &host), TN_OK);
    ASSERT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK);
    std::vector<uint64_t> bytes;
    for (size_t size : {offsetof(tn_session_params, head), sizeof(tn_session_params)}) {
        tn_session *session = nullptr;
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.struct_size = static_cast<uint32_t>(size);
        params.head = "q6_k";
        ASSERT_EQ(tn_session_create(model, host, &params, &session), TN_OK) << tn_error_last()->message;
        tn_session_info info;
        tn_session_get_info(session, &info);
        bytes.push_back(info.weights_bytes);
        tn_session_destroy(session);
    }
    EXPECT_GT(bytes[0], bytes[1]);
    tn_model_close(model);
    tn_host_close(host);
}
