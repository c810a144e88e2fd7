// Running out of memory at any allocation of a synthetic model: a status, nothing left behind, and the next try works.
#include "support/fail_alloc.hpp"
#include "synth/synth_support.hpp"

using namespace tn_test;

TEST(SynthOutOfMemory, EveryAllocationMayFail)
{
    TempFolder folder;
    const std::string path = folder.at("a.gguf");
    tn_synth_params p = small_shape(path);
    p.n_layers = 1;
    p.n_vocab = 300;
    p.overwrite = true;
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long nth = 1;
        for (;; nth++) {
            ASSERT_LT(nth, 10000);
            tn_status status;
            long failed;
            {
                FailAlloc fail(nth, mode);
                status = tn_synth(&p);
                failed = fail.failed();
            }
            if (failed == 0) {
                EXPECT_EQ(status, TN_OK); // no allocation was left to fail
                break;
            }
            ASSERT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth << ": " << last_message();
            ASSERT_TRUE(folder.names().empty());
        }
        EXPECT_GT(nth, 20);
        std::filesystem::remove(path);
    }
    p.shape = "nowhere"; // the list of shapes in the message is allocated too
    for (long nth = 1; nth <= 3; nth++) {
        FailAlloc fail(nth, FailMode::forever);
        EXPECT_NE(tn_synth(&p), TN_OK);
    }
}
