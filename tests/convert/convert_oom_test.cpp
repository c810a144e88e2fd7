// Each allocation of a conversion may fail: a status, no file or half of one, under AddressSanitizer no leak, and an old file untouched.
#include "convert/checkpoint.h"
#include "support/fail_alloc.hpp"
#include "ternion/convert.h"

#include <gtest/gtest.h>

using namespace tn_test;

namespace
{

tn_status convert(const std::string &in, const std::string &out, const char *type, const char *embd)
{
    tn_convert_params params = TN_CONVERT_PARAMS_INIT;
    params.input_dir = in.c_str();
    params.output_path = out.c_str();
    params.type = type;
    params.embd = embd;
    params.overwrite = true;
    params.log.write = [](void *, tn_log_level, const char *) {};
    return tn_convert(&params);
}

void fail_each(FailMode mode, const char *type, const char *embd, size_t shards)
{
    const TempFolder in, out;
    Checkpoint().write(in, "BF16", shards);
    const std::string path = out.at("m.gguf"), old = "what was here before";
    for (long nth = 1;; nth++) {
        ASSERT_LT(nth, 100000);
        out.write("m.gguf", old);
        tn_status status;
        long failed;
        {
            const FailAlloc fail(nth, mode);
            status = convert(in.path(), path, type, embd);
            failed = fail.failed();
        }
        ASSERT_EQ(out.names(), std::vector<std::string>{"m.gguf"}) << "allocation " << nth;
        if (failed == 0) {
            EXPECT_EQ(status, TN_OK) << tn_error_last()->message;
            EXPECT_GT(nth, 50);
            EXPECT_EQ(out.read("m.gguf").substr(0, 4), "GGUF");
            return;
        }
        ASSERT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth << ": " << tn_error_last()->message;
        ASSERT_EQ(out.read("m.gguf"), old) << "allocation " << nth;
    }
}

} // namespace

TEST(ConvertOutOfMemory, AnyAllocationMayFailOnce) { fail_each(FailMode::once, "i2_s", "f16", 1); }
TEST(ConvertOutOfMemory, AnyAllocationAndAllAfterItMayFail) { fail_each(FailMode::forever, "i2_s", "f16", 1); }
TEST(ConvertOutOfMemory, OtherTypesAndShards) { fail_each(FailMode::once, "tq1_0", "q6_k", 3); }
