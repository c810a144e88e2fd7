// Sessions whose head is computed in two stages: the tokens of the whole head, what is refused, memory that is known, packed weights in
// files.
#include "format/temp_folder.h"
#include "support/run_model.hpp"
#include "support/tiny_model.hpp"

#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

extern "C" {
#include "runtime/two_stage.h"
}

using namespace tn_test;

namespace
{

constexpr tn_dtype float_types[] = {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16};

tiny_model wide_vocabulary()
{
    tiny_model m;
    m.n_vocab = 3000;
    m.n_layers = 2;
    return m;
}

void set_head(std::vector<model_tensor> &tensors, tn_dtype dtype)
{
    model_tensor *head = find_tensor(tensors, "output.weight");
    if (!head) head = find_tensor(tensors, "token_embd.weight");
    ASSERT_NE(head, nullptr);
    *head = dense_tensor(*head, dtype);
}

// A model with all that a session of it needs.
class Running
{
  public:
    struct Options {
        const char *two_stage = nullptr;
        uint32_t n_threads = 0, n_cpu_devices = 0, n_seqs = 1;
        std::string devices, pack_cache;
    };
    Running(const std::string &path, const Options &options)
    {
        tn_host_params host_params = TN_HOST_PARAMS_INIT;
        host_params.n_threads = options.n_threads;
        host_params.n_cpu_devices = options.n_cpu_devices;
        EXPECT_EQ(tn_host_open(&host_params, &host), TN_OK) << tn_error_last()->message;
        EXPECT_EQ(tn_model_open(path.c_str(), nullptr, &model), TN_OK) << tn_error_last()->message;
        tn_placement_params placement_params = TN_PLACEMENT_PARAMS_INIT;
        placement_params.devices = options.devices.empty() ? nullptr : options.devices.c_str();
        EXPECT_EQ(tn_placement_create(model, host, &placement_params, &placement), TN_OK) << tn_error_last()->message;
        tn_session_params params = TN_SESSION_PARAMS_INIT;
        params.placement = placement;
        params.n_seqs_max = options.n_seqs;
        params.two_stage = options.two_stage;
        params.pack_cache = options.pack_cache.empty() ? nullptr : options.pack_cache.c_str();
        params.pack_cache_bytes_min = 1;
        status = tn_session_create(model, host, &params, &session);
    }
    Running(const std::string &path, const char *two_stage) : Running(path, with(two_stage)) {}
    ~Running()
    {
        tn_session_destroy(session);
        tn_placement_destroy(placement);
        tn_model_close(model);
        tn_host_close(host);
    }
    Running(const Running &) = delete;
    Running &operator=(const Running &) = delete;

    tn_session_info info() const
    {
        tn_session_info info;
        tn_session_get_info(session, &info);
        return info;
    }
    tn_two_stage_info two_stage() const
    {
        tn_two_stage_info info = TN_TWO_STAGE_INFO_INIT;
        EXPECT_EQ(tn_session_get_two_stage(session, &info), TN_OK);
        return info;
    }
    uint32_t n_segments() const { return tn_placement_segment_count(placement); }

    static Options with(const char *two_stage)
    {
        Options options;
        options.two_stage = two_stage;
        return options;
    }

    tn_host *host = nullptr;
    tn_model *model = nullptr;
    tn_placement *placement = nullptr;
    tn_session *session = nullptr;
    tn_status status = TN_INTERNAL;
};

// Tokens that a sampler with these settings writes after a prompt, of each sequence.
std::vector<int32_t> reply(Running &r, const std::vector<tn_sampler_params> &settings, uint32_t n_ids = 0, uint32_t n_steps = 40)
{
    const uint32_t n = static_cast<uint32_t>(settings.size()), n_vocab = n_ids ? n_ids : r.info().n_vocab;
    std::vector<tn_sampler *> samplers(n);
    std::vector<int32_t> tokens, written;
    std::vector<uint32_t> seqs, n_top;
    for (uint32_t s = 0; s < n; s++) {
        EXPECT_EQ(tn_sampler_create(&settings[s], n_vocab, &samplers[s]), TN_OK) << tn_error_last()->message;
        for (int32_t i = 0; i < 5; i++) {
            tokens.push_back(i * 7 + static_cast<int32_t>(s));
            seqs.push_back(s);
            EXPECT_EQ(tn_sampler_accept(samplers[s], tokens.back()), TN_OK);
            n_top.push_back(tn_sampler_n_top(samplers[s]));
        }
    }
    for (uint32_t step = 0; step < n_steps; step++) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = static_cast<uint32_t>(tokens.size());
        batch.tokens = tokens.data();
        batch.seqs = seqs.data();
        batch.n_top = n_top.data();
        batch.n_top_ids = n_ids;
        EXPECT_EQ(tn_session_decode(r.session, &batch), TN_OK) << tn_error_last()->message;
        tokens.assign(n, 0);
        seqs.assign(n, 0);
        n_top.assign(n, 0);
        for (uint32_t s = 0; s < n; s++) {
            seqs[s] = s;
            EXPECT_EQ(tn_sampler_sample(samplers[s], tn_session_logits(r.session, s), tn_session_seq_length(r.session, s) - 1, &tokens[s]),
                      TN_OK);
            EXPECT_EQ(tn_sampler_accept(samplers[s], tokens[s]), TN_OK);
            n_top[s] = tn_sampler_n_top(samplers[s]);
            written.push_back(tokens[s]);
        }
    }
    for (tn_sampler *s : samplers) tn_sampler_destroy(s);
    return written;
}

tn_sampler_params greedy()
{
    tn_sampler_params p = tn_sampler_params_default();
    p.temperature = 0;
    return p;
}
tn_sampler_params sampled(uint64_t seed)
{
    tn_sampler_params p = tn_sampler_params_default();
    p.seed = seed;
    p.temperature = 1.5f;
    return p;
}

void expect_refused(const std::string &path, const char *two_stage, const std::vector<std::string> &words)
{
    Running r(path, two_stage);
    EXPECT_EQ(r.status, TN_INVALID_ARGUMENT);
    EXPECT_EQ(r.session, nullptr);
    for (const auto &word : words)
        EXPECT_NE(std::string(tn_error_last()->message).find(word), std::string::npos) << tn_error_last()->message;
}

} // namespace

TEST(TwoStage, WritesTheTokensOfTheWholeHead)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    tn_sampler_params forbidding = greedy(), penalising = sampled(3);
    const tn_logit_bias bias[] = {{5, -std::numeric_limits<float>::infinity()}, {6, -2.0f}};
    forbidding.logit_bias = bias;
    forbidding.n_logit_bias = 2;
    penalising.repeat_penalty = 1.3f;
    penalising.frequency_penalty = 0.5f;
    const std::vector<std::vector<tn_sampler_params>> settings = {
        {greedy()}, {sampled(1)}, {forbidding}, {penalising}, {greedy(), sampled(2), penalising}};
    for (tn_dtype dtype : float_types) {
        for (bool untied : {true, false}) {
            tiny_model m = wide_vocabulary();
            m.untied = untied;
            ASSERT_NO_FATAL_FAILURE(write_tiny_model(m, path, [&](auto &tensors) { set_head(tensors, dtype); }));
            for (const auto &s : settings) {
                Running::Options options;
                options.n_seqs = static_cast<uint32_t>(s.size());
                Running whole(path, options);
                const std::vector<int32_t> expected = reply(whole, s);
                EXPECT_EQ(whole.two_stage().n_rows, 0u);
                options.two_stage = "on";
                for (uint32_t n_threads : {1u, 2u, 3u}) {
                    options.n_threads = n_threads;
                    Running r(path, options);
                    ASSERT_EQ(r.status, TN_OK) << tn_error_last()->message;
                    EXPECT_EQ(reply(r, s), expected) << tn_dtype_get(dtype)->name << " " << n_threads;
                    const tn_two_stage_info info = r.two_stage();
                    EXPECT_EQ(info.n_rows, 40 * s.size());
                    EXPECT_EQ(info.n_whole, 0u);
                    EXPECT_LT(info.n_kept, info.n_rows * r.info().n_vocab / 2) << "a test that could not fail";
                }
            }
        }
    }
}

// The head lies on the second of two devices.
TEST(TwoStage, OfASplitModelIsThatOfTheDeviceWithTheHead)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path));
    Running whole(path, nullptr);
    const std::vector<int32_t> expected = reply(whole, {sampled(9)});
    Running::Options options;
    options.n_cpu_devices = 2;
    options.devices = "cpu0,cpu1";
    options.two_stage = "on";
    Running r(path, options);
    ASSERT_EQ(r.status, TN_OK) << tn_error_last()->message;
    EXPECT_GT(r.n_segments(), 1u);
    EXPECT_EQ(reply(r, {sampled(9)}), expected);
    EXPECT_EQ(r.two_stage().n_rows, 40u);
}

// Rows of the head that stand for no token take part in nothing.
TEST(TwoStage, RanksOnlyTheIdsThatTheSamplerKnows)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path, [](auto &tensors) { // the last rows give the best logits
        model_tensor *head = find_tensor(tensors, "output.weight");
        auto *values = reinterpret_cast<uint16_t *>(head->bytes.data());
        for (size_t i = size_t{2900} * 256; i < size_t{3000} * 256; i++) values[i] = tn_f32_to_f16(16 * tn_f16_to_f32(values[i]));
    }));
    Running whole(path, nullptr), r(path, "on");
    for (const tn_sampler_params &p : {greedy(), sampled(4)}) {
        ASSERT_EQ(tn_session_seq_truncate(whole.session, 0, 0), TN_OK);
        ASSERT_EQ(tn_session_seq_truncate(r.session, 0, 0), TN_OK);
        EXPECT_EQ(reply(r, {p}, 2900), reply(whole, {p}, 2900));
    }
    EXPECT_EQ(r.two_stage().n_rows, 80u);
    EXPECT_GT(r.two_stage().n_kept, 80u);
}

TEST(TwoStage, WithoutNTopHasAllLogits)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path));
    Running whole(path, nullptr), r(path, "on");
    const int32_t tokens[] = {1, 2, 3};
    for (const Running *one : {&whole, &r}) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = 3;
        batch.tokens = tokens;
        ASSERT_EQ(tn_session_decode(one->session, &batch), TN_OK);
    }
    EXPECT_EQ(std::memcmp(tn_session_logits(whole.session, 0), tn_session_logits(r.session, 0), 3000 * sizeof(float)), 0);
    EXPECT_EQ(r.two_stage().n_rows, 0u);

    tn_batch batch = TN_BATCH_INIT;
    const uint32_t n_top = 1;
    batch.n_tokens = 1;
    batch.tokens = tokens;
    batch.n_top = &n_top;
    batch.n_top_ids = 3001;
    EXPECT_EQ(tn_session_decode(r.session, &batch), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("3001"), std::string::npos);
    // Callers built before the field existed hand over a shorter struct.
    batch.struct_size = offsetof(tn_batch, n_top);
    EXPECT_EQ(tn_session_decode(r.session, &batch), TN_OK);
    EXPECT_EQ(r.two_stage().n_rows, 0u);
}

TEST(TwoStage, ReportsAPoisonedHeadAsTheWholeHeadDoes)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path, [](auto &tensors) {
        set_head(tensors, TN_DTYPE_F32);
        const float large = 0x1p60f;
        std::memcpy(find_tensor(tensors, "output.weight")->bytes.data() + 4 * (256 * 1234 + 17), &large, 4);
    }));
    std::vector<std::string> messages;
    for (const char *two_stage : {"off", "on"}) {
        Running r(path, two_stage);
        tn_batch batch = TN_BATCH_INIT;
        const int32_t token = 7;
        const uint32_t n_top = 1;
        batch.n_tokens = 1;
        batch.tokens = &token;
        batch.n_top = &n_top;
        EXPECT_EQ(tn_session_decode(r.session, &batch), TN_POISON);
        messages.push_back(tn_error_last()->message);
        EXPECT_EQ(tn_session_logits(r.session, 0), nullptr);
        EXPECT_EQ(tn_session_seq_status(r.session, 0), TN_POISON);
    }
    EXPECT_EQ(messages[0], messages[1]);
}

TEST(TwoStage, SaysWhatItTakes)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path));
    Running off(path, nullptr), automatic(path, "auto"), on(path, "on");
    const uint64_t panels = (3000 + 15) / 16, bytes = panels * (256 / 32 * 576 + 128);
    EXPECT_EQ(off.two_stage().bytes, 0u);
    EXPECT_EQ(automatic.two_stage().bytes, bytes);
    EXPECT_EQ(on.two_stage().bytes, bytes);
    EXPECT_GE(on.info().weights_bytes, off.info().weights_bytes + bytes);
    tn_session_costs costs[2] = {TN_SESSION_COSTS_INIT, TN_SESSION_COSTS_INIT};
    ASSERT_EQ(tn_session_get_costs(off.session, &costs[0]), TN_OK);
    ASSERT_EQ(tn_session_get_costs(on.session, &costs[1]), TN_OK);
    EXPECT_EQ(costs[0].head_bytes, costs[1].head_bytes) << "counted dense";
    EXPECT_STREQ(costs[1].head_layout, "rows+q8_16");
}

TEST(TwoStage, OfAHeadThatIsNoFloatIsRefusedOrLeftOut)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    for (tn_dtype dtype : {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_K}) {
        ASSERT_NO_FATAL_FAILURE(write_tiny_model({}, path, [&](auto &tensors) { set_head(tensors, dtype); }));
        expect_refused(path, "on", {"'output'", tn_dtype_get(dtype)->name, "auto or off"});
        Running r(path, "auto");
        EXPECT_EQ(r.status, TN_OK);
        EXPECT_EQ(r.two_stage().bytes, 0u);
    }
    expect_refused(path, "yes", {"'yes'", "auto, on or off"});
    expect_refused(path, "", {"''"});
}

// Shapes that no file of ternary weights has today, and sizes that no test wants to write.
TEST(TwoStage, DependsOnTheHeadsShape)
{
    tn_node node = {};
    node.op = TN_OP_MATMUL_DENSE;
    tn_weight_source head = {};
    head.name = "output";
    head.kind = TN_WEIGHT_DENSE;
    head.dtype = TN_DTYPE_F16;
    head.n_rows = 1024;
    tn_graph graph = {};
    graph.n_nodes = 1;
    graph.nodes = &node;
    graph.weights = &head;
    const struct {
        uint32_t n_cols;
        const char *name;
        tn_status status;
        tn_screening screening;
    } cases[] = {{2560, "auto", TN_OK, TN_SCREENING_AUTO},
                 {2560, "ON", TN_OK, TN_SCREENING_ALWAYS},
                 {2560, nullptr, TN_OK, TN_SCREENING_NONE},
                 {2570, "auto", TN_OK, TN_SCREENING_NONE},
                 {2570, "on", TN_INVALID_ARGUMENT, TN_SCREENING_NONE},
                 {512, "auto", TN_OK, TN_SCREENING_AUTO},
                 {480, "auto", TN_OK, TN_SCREENING_NONE},
                 {480, "on", TN_OK, TN_SCREENING_ALWAYS}}; // 1 MiB, and less
    for (const auto &c : cases) {
        head.n_cols = c.n_cols;
        head.screening = TN_SCREENING_NONE;
        EXPECT_EQ(tn_two_stage_set(&graph, c.name), c.status) << c.n_cols;
        EXPECT_EQ(head.screening, c.screening) << c.n_cols;
        if (c.status != TN_OK) {
            EXPECT_NE(std::string(tn_error_last()->message).find("2570"), std::string::npos) << tn_error_last()->message;
        }
    }
    graph.n_nodes = 0;
    EXPECT_EQ(tn_two_stage_set(&graph, "auto"), TN_OK);
    EXPECT_EQ(tn_two_stage_set(&graph, "on"), TN_INVALID_ARGUMENT);
}

TEST(TwoStage, PackedWeightsInFilesAreMappedWithTheCopy)
{
    TempFolder folder;
    const std::string path = folder.path() + "/m.gguf", kept = folder.path() + "/kept";
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(wide_vocabulary(), path));
    std::this_thread::sleep_for(std::chrono::milliseconds(2100)); // a file that has just been written is not trusted
    Running plain(path, nullptr);
    const std::vector<int32_t> expected = reply(plain, {sampled(6)});
    Running::Options options;
    options.pack_cache = kept;
    const struct {
        const char *two_stage;
        tn_pack_cache_use use;
    } starts[] = {
        {"off", TN_PACK_CACHE_WRITTEN}, {"on", TN_PACK_CACHE_WRITTEN}, {"on", TN_PACK_CACHE_MAPPED}, {"off", TN_PACK_CACHE_MAPPED}};
    for (const auto &start : starts) {
        options.two_stage = start.two_stage;
        Running r(path, options);
        ASSERT_EQ(r.status, TN_OK) << tn_error_last()->message;
        EXPECT_EQ(tn_session_pack_cache(r.session), start.use) << start.two_stage;
        EXPECT_EQ(reply(r, {sampled(6)}), expected);
        EXPECT_EQ(r.two_stage().n_rows, std::string(start.two_stage) == "on" ? 40u : 0u);
    }
}
