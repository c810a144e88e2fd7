// Where bits part is found in memory for hashes: a fraction of what ops store.
#include "cli/exact_rig.hpp"
#include "support/heap_account.hpp"

using namespace tn_test;

namespace
{

// Sessions as they are: nobody keeps rows for the test.
struct PlainSide {
    explicit PlainSide(const std::string &path)
    {
        tn_host_params params = TN_HOST_PARAMS_INIT;
        params.n_threads = 1;
        tn_model_params model_params = TN_MODEL_PARAMS_INIT;
        model_params.log.level_max = TN_LOG_ERROR;
        EXPECT_EQ(tn_host_open(&params, &host), TN_OK);
        EXPECT_EQ(tn_model_open(path.c_str(), &model_params, &model), TN_OK) << tn_error_last()->message;
        std::remove(path.c_str());
    }
    ~PlainSide()
    {
        tn_model_close(model);
        tn_host_close(host);
    }
    static tn_status open(void *user, tn_trace trace, tn_session **out_session)
    {
        const auto *self = static_cast<PlainSide *>(user);
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.n_ubatch = 16;
        params.n_logits_max = 16;
        params.no_recovery = true;
        params.trace = trace;
        return tn_session_create(self->model, self->host, &params, out_session);
    }
    tn_cli_exact_side side() { return {"cpu0", open, nullptr, this}; }
    tn_host *host = nullptr;
    tn_model *model = nullptr;
};

tiny_model wide_model()
{
    tiny_model m = exact_model();
    m.n_ctx = 512;
    return m;
}

// The most that is held on the heap while the chunk's last token is found to differ.
long peak_of(PlainSide &a, PlainSide &b, uint32_t n_tokens)
{
    std::vector<int32_t> tokens(n_tokens, 3);
    tokens.back() = 5;
    const tn_cli_exact_request request = {{a.side(), b.side()}, tokens.data(), n_tokens, 0, 0, {}};
    tn_cli_exact_result result;
    const HeapUse before = heap_use();
    heap_reset_peak();
    tn_cli_exact_find(&request, &result);
    EXPECT_EQ(result.kind, TN_CLI_EXACT_PARTED);
    EXPECT_EQ(result.position, n_tokens - 1);
    return heap_use().peak_bytes - before.bytes;
}

} // namespace

TEST(ExactMemory, IsNineBytesARowForThreeRunsAtATime)
{
    PlainSide a(exact_path("exact_memory_a", wide_model())), b(exact_path("exact_memory_b", wide_model(), [](auto &all) {
        for (model_tensor &t : all)
            if (t.name == "token_embd.weight") t.bytes[size_t{5} * wide_model().n_embd * 2] ^= 1;
    }));
    const tn_graph *graph = tn_model_graph(a.model);
    uint32_t n_ops = 0, n_stored = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (!graph->nodes[i].trace) continue;
        n_ops++;
        n_stored += graph->values[graph->nodes[i].out].width;
    }
    peak_of(a, b, 64); // devices are opened by it
    const HeapUse before = heap_use();
    const long growth = peak_of(a, b, 512) - peak_of(a, b, 256), n_tokens = 512 - 256;
    EXPECT_EQ(heap_use().blocks, before.blocks);
    EXPECT_NEAR(growth, 3 * 9 * n_tokens * n_ops, 4096);
    EXPECT_LT(growth, n_tokens * n_stored * 4 / 4) << "of all activations of one side";
}
