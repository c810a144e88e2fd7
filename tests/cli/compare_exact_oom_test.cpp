// Running out of memory at any allocation while bits are compared: a result that says so, and nothing left behind.
#include "cli/exact_rig.hpp"
#include "support/fail_alloc.hpp"

using namespace tn_test;

TEST(ExactOutOfMemory, IsTheReasonOrChangesNothing)
{
    const std::string paths[] = {exact_path("exact_oom_a", exact_model()), exact_path("exact_oom_b", exact_model(), [](auto &all) {
                                     for (model_tensor &t : all)
                                         if (t.name == "output_norm.weight") t.bytes[0] ^= 1;
                                 })};
    ExactSide a(paths[0]), b(paths[1]);
    for (const std::string &path : paths) std::remove(path.c_str());
    const std::vector<int32_t> tokens = exact_tokens(4, exact_model().n_vocab);
    const tn_cli_exact_request request = {{a.side("a"), b.side("b")}, tokens.data(), 4, 0, 0, {}};
    const Found whole = find_exact(request); // opens the devices
    ASSERT_EQ(whole.result.kind, TN_CLI_EXACT_PARTED);
    const long stride = std::getenv("TN_OOM_ALL") ? 1 : 5;
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long n_failures = 0;
        for (long nth = 1;; nth += stride) {
            tn_cli_exact_result result;
            long failed;
            {
                FailAlloc fail(nth, mode);
                tn_cli_exact_find(&request, &result);
                failed = fail.failed();
            }
            if (failed == 0) break;
            if (result.kind == TN_CLI_EXACT_FAILED) {
                n_failures++;
                ASSERT_EQ(result.status, TN_OUT_OF_MEMORY) << nth << ": " << result.reason;
                ASSERT_NE(std::string(result.reason).find("memory"), std::string::npos) << nth << ": " << result.reason;
            } else {
                ASSERT_EQ(result.kind, TN_CLI_EXACT_PARTED) << nth;
                ASSERT_STREQ(result.op, whole.result.op) << nth;
            }
            ASSERT_EQ(a.n_open + b.n_open, 0) << nth;
        }
        EXPECT_GT(n_failures, 100);
    }
}
