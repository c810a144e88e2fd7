// Running out of memory at any allocation of a whole load, a step, a sample and its text: a status, no crash, no leak, and the next try
// works. For each architecture and tokenizer, and for a model in parts.
#include "support/fail_alloc.hpp"
#include "support/quick.hpp"
#include "support/seed_models.hpp"
#include "ternion/ternion.h"

#include <chrono>
#include <filesystem>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <unistd.h>

using namespace tn_test;

namespace
{

void discard(void *, tn_log_level, const char *) {}

// Everything a program does with a model. Stops at the first failure and frees what was made.
tn_status use_model(tn_host *host, const std::string &path, const char *head, const char *cache)
{
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.log.write = discard;
    tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    session_params.log.write = discard;
    session_params.head = head;
    session_params.pack_cache = cache;
    session_params.pack_cache_bytes_min = 1;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
    tn_session *session = nullptr;
    tn_sampler *sampler = nullptr;
    tn_text_stream *stream = nullptr;
    const int32_t token = 3;
    int32_t next = -1, ids[32];
    size_t n_ids = 0, len = 0;
    const char *text = nullptr;
    bool stopped = false;
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = 1;
    batch.tokens = &token;
    const tn_sampler_params sampling = tn_sampler_params_default();
    tn_session_info info = {};
    tn_status status = tn_model_open(path.c_str(), &params, &model);
    if (status == TN_OK) status = tn_tokenizer_encode(tn_model_tokenizer(model), "on a", 4, TN_ENCODE_ADD_SPECIAL, ids, 32, &n_ids);
    if (status == TN_OK) status = tn_placement_create(model, host, nullptr, &placement);
    session_params.placement = placement;
    if (status == TN_OK) status = tn_session_create(model, host, &session_params, &session);
    if (status == TN_OK) status = tn_session_decode(session, &batch);
    if (status == TN_OK) tn_session_get_info(session, &info);
    if (status == TN_OK) status = tn_sampler_create(&sampling, info.n_vocab, &sampler);
    if (status == TN_OK) status = tn_sampler_accept(sampler, token);
    if (status == TN_OK) status = tn_sampler_sample(sampler, tn_session_logits(session, 0), 0, &next);
    if (status == TN_OK) status = tn_text_stream_create(tn_model_tokenizer(model), nullptr, &stream);
    if (status == TN_OK) status = tn_text_stream_push(stream, next, &text, &len, &stopped);
    tn_text_stream_destroy(stream);
    tn_sampler_destroy(sampler);
    tn_session_destroy(session);
    tn_placement_destroy(placement);
    tn_model_close(model);
    return status;
}

tn_status open_host(tn_host **out_host)
{
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.n_threads = 2;
    params.log.write = discard;
    return tn_host_open(&params, out_host);
}

// A host of its own, so that opening devices is among what fails.
tn_status use_everything(const std::string &path, const char *head = nullptr, const char *cache = nullptr)
{
    tn_host *host = nullptr;
    tn_status status = open_host(&host);
    if (status == TN_OK) status = use_model(host, path, head, cache);
    tn_host_close(host);
    return status;
}

class Folder
{
  public:
    Folder() : path(testing::TempDir() + "tn_runtime_oom_" + std::to_string(getpid())) { std::filesystem::create_directories(path); }
    ~Folder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    const std::string path;
};

std::string write(const SeedModel &seed, const Folder &folder)
{
    std::vector<Bytes> parts;
    for (const auto &part : seed.parts) parts.push_back(part.build());
    return write_seed_model(folder.path, parts);
}

// One seed that works for each architecture, each tokenizer, each ternary type, and one in parts.
std::vector<SeedModel> choose(const Folder &folder)
{
    std::vector<SeedModel> chosen;
    std::set<std::string> seen;
    for (auto &seed : make_seed_models()) {
        const std::string tokenizer = seed.name.find("/gpt2") != std::string::npos ? "byte-level" : "pieces";
        const std::set<std::string> has = {seed.architecture, tokenizer, seed.ternary, seed.parts.size() > 1 ? "parts" : "whole"};
        if (std::includes(seen.begin(), seen.end(), has.begin(), has.end()) || use_everything(write(seed, folder)) != TN_OK) continue;
        seen.insert(has.begin(), has.end());
        chosen.push_back(std::move(seed));
    }
    EXPECT_EQ(seen.count("parts"), 1u);
    for (const auto &name : known_architectures()) EXPECT_EQ(seen.count(name), 1u) << name;
    return chosen;
}

// After 1: the next allocation to try. Each of the first, then ever fewer; all of them with TN_OOM_ALL, as under AddressSanitizer, which
// sees what a failure leaves behind, too.
long after(long nth)
{
    static const bool all = std::getenv("TN_OOM_ALL") != nullptr;
    return all ? nth + 1 : nth + 1 + nth / (tn_test::is_quick() ? 12 : 32);
}

void fail_each(const std::string &path, FailMode mode, const char *head)
{
    for (long nth = 1;; nth = after(nth)) {
        ASSERT_LT(nth, 100000);
        tn_status status;
        long failed;
        {
            const FailAlloc fail(nth, mode);
            status = use_everything(path, head);
            failed = fail.failed();
        }
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << tn_error_last()->message; // no allocation was left to fail
            EXPECT_GT(nth, 50);
            return;
        }
        ASSERT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth << ": " << tn_error_last()->message;
    }
}

} // namespace

TEST(OutOfMemory, EveryAllocationOfALoadAndAStepMayFail)
{
    const Folder folder;
    bool head_quantised = false;
    for (const auto &seed : choose(folder)) {
        const std::string path = write(seed, folder);
        // The first head that can be quantised is.
        const bool floats = seed.dense == "F32" || seed.dense == "F16" || seed.dense == "BF16";
        const char *head = floats && !head_quantised && use_everything(path, "q8_0") == TN_OK ? "q8_0" : nullptr;
        head_quantised = head_quantised || head;
        for (const FailMode mode : {FailMode::once, FailMode::forever}) {
            SCOPED_TRACE(seed.name + (mode == FailMode::once ? ", once" : ", for ever"));
            ASSERT_NO_FATAL_FAILURE(fail_each(path, mode, head));
            ASSERT_EQ(use_everything(path, head), TN_OK) << tn_error_last()->message;
        }
    }
    EXPECT_TRUE(head_quantised);
}

// Packed weights that are kept in a file, written and mapped: a session that cannot have the memory for that does without, so that the
// answer is OK or OUT_OF_MEMORY; what it leaves behind can be used or is not looked at.
TEST(OutOfMemory, EveryAllocationOfThePackCacheMayFail)
{
    const Folder folder;
    const std::string cache = folder.path + "/cache";
    std::string path;
    for (const auto &seed : make_seed_models()) {
        path = write(seed, folder);
        if (use_everything(path) == TN_OK) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2100)); // younger models are not kept
    for (const bool mapped : {false, true}) {
        for (const FailMode mode : {FailMode::once, FailMode::forever}) {
            for (long nth = 1, failed = 1; failed != 0; nth = after(nth)) {
                ASSERT_LT(nth, 100000);
                if (!mapped) std::filesystem::remove_all(cache);
                tn_status status;
                {
                    const FailAlloc fail(nth, mode);
                    status = use_everything(path, nullptr, cache.c_str());
                    failed = fail.failed();
                }
                ASSERT_TRUE(status == TN_OK || (failed && status == TN_OUT_OF_MEMORY)) << nth << ": " << tn_error_last()->message;
            }
            ASSERT_EQ(use_everything(path, nullptr, cache.c_str()), TN_OK) << tn_error_last()->message;
            size_t n_files = 0;
            for (const auto &entry : std::filesystem::directory_iterator(cache)) n_files += entry.is_regular_file();
            EXPECT_EQ(n_files, 1u);
        }
    }
}
