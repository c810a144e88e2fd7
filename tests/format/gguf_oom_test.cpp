// Tests that each allocation of the GGUF reader may fail: a status and a message, no crash, and under AddressSanitizer no leak.
#include "gguf_support.hpp"
#include "support/fail_alloc.hpp"

#include <filesystem>
#include <functional>
#include <unistd.h>

namespace
{

using namespace tn_test;

Bytes sample()
{
    GgufBuilder b;
    b.kv("general.architecture", "bitnet").kv_array<std::string>("tokens", {"a", "b"});
    b.tensor("w", {128, 2}, 36, 96).tensor<float>("v", {1}, 0, {1});
    return b.build();
}

// Runs `open` with the 1st, 2nd, ... allocation failing until none is left to fail.
void fail_each(FailMode mode, const std::function<tn_status(tn_gguf **)> &open, long n_at_least)
{
    for (long nth = 1;; ++nth) {
        ASSERT_LT(nth, 1000) << "no end";
        tn_gguf *gguf = nullptr;
        tn_status status;
        long failed;
        {
            const FailAlloc fail(nth, mode);
            status = open(&gguf);
            failed = fail.failed();
        }
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << last_error();
            EXPECT_GT(nth, n_at_least);
            tn_gguf_destroy(gguf);
            return;
        }
        EXPECT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth;
        EXPECT_EQ(gguf, nullptr) << "allocation " << nth;
        EXPECT_EQ(tn_error_last()->status, TN_OUT_OF_MEMORY);
        EXPECT_NE(last_error().find("could not allocate"), std::string::npos) << last_error();
    }
}

TEST(GgufOutOfMemory, TheWrappedAllocatorSeesTheLibrarysAllocations)
{
    const Bytes bytes = sample();
    tn_gguf *gguf = nullptr;
    const FailAlloc count(0);
    ASSERT_EQ(tn_gguf_parse(bytes.data(), bytes.size(), "m.gguf", nullptr, &gguf), TN_OK);
    EXPECT_GE(count.seen(), 7); // object, parts, path, keys, tensors, two indexes, the order of the data
    EXPECT_EQ(count.failed(), 0);
    tn_gguf_destroy(gguf);
}

TEST(GgufOutOfMemory, ParsingSurvivesAnyFailingAllocation)
{
    const Bytes bytes = sample();
    const auto parse_it = [&](tn_gguf **out) { return tn_gguf_parse(bytes.data(), bytes.size(), "m.gguf", nullptr, out); };
    fail_each(FailMode::once, parse_it, 7);
    fail_each(FailMode::forever, parse_it, 7);
}

TEST(GgufOutOfMemory, OpeningASplitModelSurvivesAnyFailingAllocation)
{
    const std::string prefix = testing::TempDir() + "tn_oom_" + std::to_string(getpid());
    const std::string first = prefix + "-00001-of-00002.gguf", second = prefix + "-00002-of-00002.gguf";
    for (uint16_t no : {0, 1}) {
        GgufBuilder b;
        b.kv<uint16_t>("split.no", no).kv<uint16_t>("split.count", 2).kv<int32_t>("split.tensors.count", 2);
        b.tensor<float>(no == 0 ? "a" : "b", {1}, 0, {1});
        write_file(no == 0 ? first : second, b.build());
    }
    const auto open_it = [&](tn_gguf **out) { return tn_gguf_open(first.c_str(), nullptr, out); };
    fail_each(FailMode::once, open_it, 20);
    fail_each(FailMode::forever, open_it, 20);
    std::filesystem::remove(first);
    std::filesystem::remove(second);
}

} // namespace
