// Running out of memory at any allocation of a whole load, a step and a sample: a status, no crash, no leak, and the next try works.
#include "support/fail_alloc.hpp"
#include "ternion/ternion.h"

#include <gtest/gtest.h>
#include <string>

using namespace tn_test;

namespace
{

const std::string seed_model = std::string(TN_SOURCE_DIR) + "/tests/fuzz/corpus/model/silu_q8_0";

// Everything a program does with a model. Stops at the first failure and frees what was made.
tn_status use_model(tn_host *host)
{
    tn_log quiet = {};
    quiet.write = [](void *, tn_log_level, const char *) {};
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    params.log = quiet;
    tn_model *model = nullptr;
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
    tn_status status = tn_model_open(seed_model.c_str(), &params, &model);
    if (status == TN_OK) status = tn_tokenizer_encode(tn_model_tokenizer(model), "on a", 4, TN_ENCODE_ADD_SPECIAL, ids, 32, &n_ids);
    if (status == TN_OK) status = tn_session_create(model, host, nullptr, &session);
    if (status == TN_OK) status = tn_session_decode(session, &batch);
    if (status == TN_OK) status = tn_sampler_create(&sampling, 32, &sampler);
    if (status == TN_OK) status = tn_sampler_accept(sampler, token);
    if (status == TN_OK) status = tn_sampler_sample(sampler, tn_session_logits(session, 0), 0, &next);
    if (status == TN_OK) status = tn_text_stream_create(tn_model_tokenizer(model), nullptr, &stream);
    if (status == TN_OK) status = tn_text_stream_push(stream, next, &text, &len, &stopped);
    tn_text_stream_destroy(stream);
    tn_sampler_destroy(sampler);
    tn_session_destroy(session);
    tn_model_close(model);
    return status;
}

} // namespace

TEST(OutOfMemory, EveryAllocationOfALoadAndAStepMayFail)
{
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.n_threads = 1;
    tn_host *host = nullptr;
    ASSERT_EQ(tn_host_open(&params, &host), TN_OK);
    ASSERT_EQ(use_model(host), TN_OK) << tn_error_last()->message;
    for (const FailMode mode : {FailMode::once, FailMode::forever}) {
        long nth = 1;
        for (;; nth++) {
            ASSERT_LT(nth, 100000);
            tn_status status;
            long failed;
            {
                FailAlloc fail(nth, mode);
                status = use_model(host);
                failed = fail.failed();
            }
            if (failed == 0) {
                EXPECT_EQ(status, TN_OK); // no allocation was left to fail
                break;
            }
            ASSERT_EQ(status, TN_OUT_OF_MEMORY) << "allocation " << nth << ": " << tn_error_last()->message;
        }
        EXPECT_GT(nth, 50);
        ASSERT_EQ(use_model(host), TN_OK);
    }
    tn_host_close(host);
}
