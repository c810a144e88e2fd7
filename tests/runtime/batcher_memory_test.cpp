// A batcher that has answered ten thousand requests holds what it held after the first few hundred.
#include "runtime/stress_oracle.hpp"
#include "support/heap_account.hpp"

using namespace tn_test;

namespace
{

// The same requests in the same order, as many at a time as the queue takes; each result is looked at and given back.
void answer_all(tn_batcher *batcher, const std::vector<Spec> &specs)
{
    size_t n_submitted = 0, n_ended = 0;
    for (uint32_t left = 0; n_submitted < specs.size() || left;) {
        for (; n_submitted < specs.size(); n_submitted++) {
            std::vector<const char *> stops;
            tn_sampler_params sampler;
            tn_request_params p = request_of(specs[n_submitted], &stops, &sampler);
            p.flow = n_submitted % 7; // flows come and go
            const tn_status status = tn_batcher_submit(batcher, &p, nullptr);
            if (status == TN_LIMIT && tn_error_last()->native_code == TN_BATCHER_FULL) break;
            ASSERT_EQ(status, TN_OK) << tn_error_last()->message;
        }
        ASSERT_EQ(tn_batcher_step(batcher, &left), TN_OK) << tn_error_last()->message;
        while (tn_result *result = tn_batcher_poll(batcher)) {
            n_ended++;
            tn_result_destroy(result);
        }
    }
    ASSERT_EQ(n_ended, specs.size());
}

} // namespace

TEST(BatcherMemory, DoesNotGrowWithTheRequestsThatWereAnswered)
{
    const size_t n_round = 500, n_rounds = std::max<size_t>(number_of("TN_STRESS_REQUESTS", 10500) / n_round, 4);
    const BatchModel model(false);
    std::vector<Spec> specs;
    for (const Spec &spec : Specs(stress_seed() + 7, n_round * 2, Kind::mixed).all) {
        if (specs.size() < n_round && spec.n_tokens_max && spec.n_tokens_max <= 12) specs.push_back(spec);
    }
    ASSERT_EQ(specs.size(), n_round);
    tn_session_params session_params = TN_SESSION_PARAMS_INIT;
    session_params.n_ctx = kBatchContext;
    session_params.n_seqs_max = 6;
    tn_session_destroy(model.session(session_params)); // its device stays with the host
    const HeapUse at_first = heap_use();
    tn_session *session = model.session(session_params);
    tn_batcher *batcher = nullptr;
    ASSERT_EQ(tn_batcher_create(session, nullptr, &batcher), TN_OK) << tn_error_last()->message;
    ASSERT_NO_FATAL_FAILURE(answer_all(batcher, specs)); // the index of prefixes is full from here on
    heap_reset_peak();
    ASSERT_NO_FATAL_FAILURE(answer_all(batcher, specs));
    const HeapUse before = heap_use();
    heap_reset_peak();
    for (size_t round = 2; round < n_rounds; round++) {
        ASSERT_NO_FATAL_FAILURE(answer_all(batcher, specs));
        const HeapUse now = heap_use();
        ASSERT_EQ(now.blocks, before.blocks) << "round " << round;
        ASSERT_EQ(now.bytes, before.bytes) << "round " << round;
    }
    // What runs together differs a little from round to round.
    EXPECT_LT(heap_use().peak_bytes - before.bytes, (before.peak_bytes - before.bytes) * 3 / 2);
    tn_batcher_destroy(batcher);
    tn_session_destroy(session);
    EXPECT_EQ(heap_use().blocks, at_first.blocks);
}
