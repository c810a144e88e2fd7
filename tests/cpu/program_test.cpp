// What only the CPU backend promises: its self-test, packing on all workers, storage and meeting points of compiled programs.
#include "conformance/rig.h"

#include <array>
#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "backend/builtin.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_program.h"
#include "ref/ref.h"
}

namespace
{

using namespace conformance;

Target cpu_target(uint32_t n_threads) { return {"cpu0", &tn_cpu_backend_table, 0, n_threads, "", "", ""}; }

tn_cpu_kernels scalar_kernels()
{
    tn_cpu_kernels kernels;
    tn_cpu_dispatch(1u << TN_ISA_SCALAR, &kernels);
    return kernels;
}

// ---- self-test ----

TEST(CpuSelftest, PassesForEveryLevelOfThisMachine)
{
    for (int isa = TN_ISA_SCALAR; isa < TN_ISA_COUNT_; isa++) {
        if (!tn_isa_set_has(tn_isa_available(), static_cast<tn_isa>(isa))) continue;
        tn_cpu_kernels kernels;
        tn_cpu_dispatch(tn_isa_set_up_to(tn_isa_available(), static_cast<tn_isa>(isa)), &kernels);
        EXPECT_EQ(tn_cpu_selftest(&kernels), TN_OK) << tn_error_last()->message;
    }
}

// A kernel of each kind whose last result is off by one bit.
uint32_t wrong_add(const float *a, const float *b, uint32_t n, float *y)
{
    uint32_t absmax = tn_ref_add(a, b, n, y);
    y[n - 1] = tn_float(tn_bits(y[n - 1]) ^ 1u);
    return absmax;
}
uint32_t wrong_norm(const float *x, const float *gamma, uint32_t n, float eps, float *y)
{
    return tn_ref_norm(x, gamma, n, eps, y) + 1; // the bits are right, the maximum is not
}
void wrong_quant(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum)
{
    tn_ref_quant(x, n, q, scale, sum);
    (*sum)++;
}
tn_cpu_kernels g_right; // the kernels that the wrong ones call
void wrong_ternary(const tn_k_matmul_ternary_args *args)
{
    g_right.matmul_ternary(args);
    args->y[0] = -args->y[0];
}
void wrong_q6_k(const tn_k_matmul_dense_args *args)
{
    g_right.matmul_q6_k(args);
    args->y[args->N - 1] += 1.0f;
}
void wrong_attention(const tn_k_attention_args *args)
{
    std::vector<uint32_t> n_pos(args->n_pos, args->n_pos + args->n_tokens);
    n_pos.back()--;
    tn_k_attention_args fewer = *args;
    fewer.n_pos = n_pos.data();
    g_right.attention(&fewer);
}
void wrong_quant_head(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale) { tn_ref_quant_head(x, n, A - 1, codes, scale); }

uint64_t wrong_read_stream(const uint8_t *data, size_t n_bytes) { return g_right.read_stream(data, n_bytes - 64); }
uint64_t wrong_peak_dot(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    return g_right.peak_dot(code, q, n_groups, out_sum) + 1;
}

TEST(CpuSelftest, NamesAKernelThatGivesOtherBits)
{
    g_right = scalar_kernels();
    const struct {
        const char *slot;
        void (*spoil)(tn_cpu_kernels *);
    } cases[] = {
        {"for add ", [](tn_cpu_kernels *k) { k->add = wrong_add; }},
        {"for norm ", [](tn_cpu_kernels *k) { k->norm = wrong_norm; }},
        {"for quant ", [](tn_cpu_kernels *k) { k->quant = wrong_quant; }},
        {"for matmul_ternary ", [](tn_cpu_kernels *k) { k->matmul_ternary = wrong_ternary; }},
        {"for matmul_q6_k ", [](tn_cpu_kernels *k) { k->matmul_q6_k = wrong_q6_k; }},
        {"for attention ", [](tn_cpu_kernels *k) { k->attention = wrong_attention; }},
        {"for quant_head ", [](tn_cpu_kernels *k) { k->quant_head = wrong_quant_head; }},
        {"for glu_silu ", [](tn_cpu_kernels *k) { k->glu_silu = k->glu_relu2; }},
        {"for embed_f16 ", [](tn_cpu_kernels *k) { k->embed_f16 = k->embed_bf16; }},
        {"for read_stream ", [](tn_cpu_kernels *k) { k->read_stream = wrong_read_stream; }},
        {"for peak_dot ", [](tn_cpu_kernels *k) { k->peak_dot = wrong_peak_dot; }},
        {"for matmul_bf16 ", [](tn_cpu_kernels *k) { k->matmul_bf16 = k->matmul_f16; }},
    };
    for (const auto &c : cases) {
        tn_cpu_kernels kernels = g_right;
        c.spoil(&kernels);
        EXPECT_EQ(tn_cpu_selftest(&kernels), TN_INTERNAL) << c.slot;
        EXPECT_NE(std::string(tn_error_last()->message).find(c.slot), std::string::npos) << tn_error_last()->message;
    }
}

// ---- devices ----

TEST(CpuDevice, AnUnknownLevelIsRefusedAndAHigherOneThanTheMachinesIsNoLimit)
{
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cpu_isa_max = "sse9";
    tn_device *device = reinterpret_cast<tn_device *>(&host);
    EXPECT_EQ(tn_cpu_backend_table.device_open(&host, 0, &device), TN_INVALID_ARGUMENT);
    EXPECT_EQ(device, nullptr);
    host.cpu_isa_max = tn_isa_name(static_cast<tn_isa>(TN_ISA_COUNT_ - 1));
    tn_device_desc desc;
    ASSERT_EQ(tn_cpu_backend_table.device_describe(&host, 0, &desc), TN_OK);
    EXPECT_STREQ(desc.isa, tn_isa_name(tn_isa_set_highest(tn_isa_available())));
    EXPECT_EQ(tn_cpu_backend_table.device_open(&host, 1, &device), TN_INVALID_ARGUMENT);
    tn_cpu_backend_table.device_close(nullptr);
}

TEST(CpuDevice, APackingOfAnUnknownNameIsRefusedAndAKnownOneIsUsedForEveryModel)
{
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cpu_packing = "t3_16";
    tn_device *device = nullptr;
    EXPECT_EQ(tn_cpu_backend_table.device_open(&host, 0, &device), TN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(tn_error_last()->message).find("t3_16"), std::string::npos);
    const float scale = 1;
    tn_weight_source source = {};
    source.name = "w";
    source.kind = TN_WEIGHT_TERNARY;
    source.n_rows = 16;
    source.n_cols = 320;
    source.scales = &scale;
    for (const auto &[name, bytes] : {std::pair<const char *, uint64_t>{"t2_16", 20 * 64 + 64}, {"t5_16", 16 * 64 + 64}}) {
        host.cpu_packing = name;
        ASSERT_EQ(tn_cpu_backend_table.device_open(&host, 0, &device), TN_OK);
        tn_weight_layout layout;
        EXPECT_EQ(tn_cpu_backend_table.weight_layout(device, &source, &layout), TN_OK);
        EXPECT_EQ(layout.size_bytes, bytes) << name;
        tn_cpu_backend_table.device_close(device);
    }
}

// A form that is assumed is taken without measuring; past the last one the choice is open, and one that was measured or fixed stays.
TEST(CpuDevice, AnAssumedPackingIsTakenAndAChosenOneIsKept)
{
    const float scale = 1;
    tn_weight_source source = {};
    source.name = "w";
    source.kind = TN_WEIGHT_TERNARY;
    source.n_rows = 16;
    source.n_cols = 320;
    source.scales = &scale;
    source.n_model_ternary = uint64_t{1} << 34; // no cache holds it
    tn_weight_layout layout;
    const Device device(cpu_target(2));
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 2; i++) {
            ASSERT_TRUE(device.api().packing_assume(device.get(), i));
            ASSERT_EQ(device.api().weight_layout(device.get(), &source, &layout), TN_OK);
            EXPECT_EQ(layout.layout_id, static_cast<uint32_t>(i == 0 ? TN_CPU_LAYOUT_T2_16 : TN_CPU_LAYOUT_T5_16));
        }
        EXPECT_FALSE(device.api().packing_assume(device.get(), 2));
        EXPECT_EQ(reinterpret_cast<const tn_cpu_device *>(device.get())->ternary, 0);
    }
    tn_cpu_share share = {};
    share.n_threads = 1;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cpu_packing = "t5_16";
    tn_device *fixed = nullptr;
    ASSERT_EQ(tn_cpu_backend_table.device_open(&host, 0, &fixed), TN_OK);
    EXPECT_FALSE(tn_cpu_backend_table.packing_assume(fixed, 0));
    ASSERT_EQ(tn_cpu_backend_table.weight_layout(fixed, &source, &layout), TN_OK);
    EXPECT_EQ(layout.layout_id, static_cast<uint32_t>(TN_CPU_LAYOUT_T5_16));
    tn_cpu_backend_table.device_close(fixed);
}

// What a device asks of its host's NUMA nodes: ranges by worker.
struct Bindings {
    struct Range {
        uint32_t thread;
        const uint8_t *begin;
        size_t n;
    };
    std::vector<Range> ranges;
    tn_status status = TN_OK;
};

tn_status record_binding(void *ctx, uint32_t thread, void *bytes, size_t n)
{
    auto *bindings = static_cast<Bindings *>(ctx);
    bindings->ranges.push_back({thread, static_cast<const uint8_t *>(bytes), n});
    return bindings->status == TN_OK ? TN_OK : tn_fail(bindings->status, "no");
}

tn_status zero_rows(const tn_weight_source *source, uint32_t, uint32_t n_rows, void *out)
{
    memset(out, 0, static_cast<size_t>(n_rows) * source->n_cols);
    return TN_OK;
}

TEST(CpuDevice, SpreadsRowsOverTheNodesOfItsWorkersAndMapsNoFiles)
{
    Bindings bindings;
    tn_cpu_share share = {};
    share.n_threads = 3;
    share.bind_memory = record_binding;
    share.bind_ctx = &bindings;
    tn_backend_host host = {};
    host.n_cpu_shares = 1;
    host.cpu_shares = &share;
    host.cpu_packing = "t2_16";
    const tn_backend &api = tn_cpu_backend_table;
    tn_device *device = nullptr;
    ASSERT_EQ(api.device_open(&host, 0, &device), TN_OK);
    const float scale = 1;
    tn_weight_source source = {};
    source.name = "w";
    source.kind = TN_WEIGHT_TERNARY;
    source.n_rows = 480;
    source.n_cols = 320;
    source.scales = &scale;
    source.read_rows = zero_rows;
    tn_weight_layout layout;
    tn_buffer *buffer = nullptr;
    ASSERT_EQ(api.weight_layout(device, &source, &layout), TN_OK);
    ASSERT_EQ(api.buffer_create(device, layout.size_bytes, &buffer), TN_OK);
    for (const tn_status status : {TN_OK, TN_UNAVAILABLE}) {
        bindings.ranges.clear();
        bindings.status = status;
        ASSERT_EQ(api.weight_pack(device, &source, buffer, 0), TN_OK) << "a node that is full is no failure";
        ASSERT_EQ(bindings.ranges.size(), status == TN_OK ? 6u : 1u);
    }
    bindings.ranges.clear();
    bindings.status = TN_OK;
    ASSERT_EQ(api.weight_pack(device, &source, buffer, 0), TN_OK);
    // Seven eighths in order are the workers' own, the rest is shared out again; together they are all bytes, once.
    const uint8_t *at = bindings.ranges[0].begin;
    for (size_t i = 0; i < 6; i++) {
        EXPECT_EQ(bindings.ranges[i].thread, i % 3);
        EXPECT_EQ(bindings.ranges[i].begin, at);
        at += bindings.ranges[i].n;
        EXPECT_NEAR(static_cast<double>(bindings.ranges[i].n), static_cast<double>(layout.size_bytes) * (i < 3 ? 7.0 : 1.0) / 24, 2);
    }
    EXPECT_EQ(static_cast<uint64_t>(at - bindings.ranges[0].begin), layout.size_bytes);
    alignas(64) static const uint8_t file[128] = {};
    tn_buffer *mapped = nullptr;
    EXPECT_EQ(api.buffer_map(device, file, sizeof file, &mapped), TN_UNSUPPORTED);
    EXPECT_EQ(mapped, nullptr);
    api.buffer_destroy(buffer);
    api.device_close(device);
}

// A model beyond the last-level cache makes the device measure, once: the choice is one of the two, and the same for all its weights.
TEST(CpuDevice, ChoosesOnePackingForAllWeightsOfALargeModel)
{
    const Device device(cpu_target(2));
    const float scale = 1;
    tn_weight_source source = {};
    source.name = "w";
    source.kind = TN_WEIGHT_TERNARY;
    source.n_rows = 16;
    source.n_cols = 320;
    source.scales = &scale;
    tn_weight_layout small, first, second;
    ASSERT_EQ(device.api().weight_layout(device.get(), &source, &small), TN_OK);
    EXPECT_EQ(small.size_bytes, 20u * 64 + 64) << "two bits a code where the model's size is unknown";
    source.n_model_ternary = uint64_t{1} << 31;
    ASSERT_EQ(device.api().weight_layout(device.get(), &source, &first), TN_OK);
    ASSERT_EQ(device.api().weight_layout(device.get(), &source, &second), TN_OK);
    EXPECT_EQ(first.layout_id, second.layout_id);
    EXPECT_TRUE(first.size_bytes == 20 * 64 + 64 || first.size_bytes == 16 * 64 + 64) << first.size_bytes;
}

// ---- weights ----

struct HoleSource {
    std::atomic<uint32_t> n_reads{0};
};

tn_status read_with_a_hole(const tn_weight_source *self, uint32_t row, uint32_t n, void *dst)
{
    auto *source = static_cast<HoleSource *>(const_cast<void *>(self->ctx));
    source->n_reads++;
    if (row <= 500 && row + n > 500) return tn_fail(TN_BAD_FILE, "%s: row 500 is a hole", self->name);
    memset(dst, 0, size_t(n) * self->n_cols);
    return TN_OK;
}

TEST(CpuWeights, AFailingRowStopsThePackingWithItsOwnMessage)
{
    for (uint32_t n_threads : {1u, 3u}) {
        Device device(cpu_target(n_threads));
        HoleSource hole;
        const float scale = 1;
        tn_weight_source source = {};
        source.name = "blk.0.w";
        source.kind = TN_WEIGHT_TERNARY;
        source.n_rows = 20000;
        source.n_cols = 32;
        source.scales = &scale;
        source.read_rows = read_with_a_hole;
        source.ctx = &hole;
        tn_weight_layout layout;
        ASSERT_EQ(tn_cpu_backend_table.weight_layout(device.get(), &source, &layout), TN_OK);
        Buffer buffer(device, layout.size_bytes + 64);
        EXPECT_EQ(tn_cpu_backend_table.weight_pack(device.get(), &source, buffer.get(), 0), TN_BAD_FILE);
        EXPECT_NE(std::string(tn_error_last()->message).find("row 500 is a hole"), std::string::npos) << tn_error_last()->message;
        EXPECT_LT(hole.n_reads, 20000u / 16 / 2) << "the other workers stop too";
        EXPECT_EQ(tn_cpu_backend_table.weight_pack(device.get(), &source, buffer.get(), 8), TN_INVALID_ARGUMENT) << "not aligned";
        EXPECT_EQ(tn_cpu_backend_table.weight_pack(device.get(), &source, buffer.get(), 128), TN_INVALID_ARGUMENT) << "too small";
    }
}

// ---- programs ----

// A chain of layers like a transformer's, without attention.
struct Chain {
    explicit Chain(uint32_t n_layers) : net(n_layers)
    {
        x = net.embed(9, 64);
        net.graph->n_layers = n_layers;
        for (uint32_t i = 0; i < n_layers; i++) {
            net.layer = static_cast<int32_t>(i);
            const uint32_t a = net.norm_quant(x);
            x = net.sum(x, net.ternary(net.norm_quant(net.glu(net.ternary(a, 96), net.ternary(a, 96), TN_GLU_RELU2)), 64));
        }
    }
    Net net;
    uint32_t x;
};

TEST(CpuProgram, StorageOfDeadValuesIsUsedAgain)
{
    uint64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        Device device(cpu_target(1));
        Chain chain(i == 0 ? 3 : 30);
        Packed packed(device, chain.net);
        Bounds bounds;
        bounds.n_tokens_max = 64;
        Program program(device, chain.net, packed, bounds, 0, chain.net.graph->n_nodes, TN_NONE, chain.x);
        bytes[i] = device.api().program_scratch_bytes(program.get());
    }
    EXPECT_GT(bytes[0], 0u);
    EXPECT_EQ(bytes[0], bytes[1]) << "more layers need no more storage";
}

// The arena of a step of many tokens holds what a layer needs at once, and nothing else: where the feed-forward part is wide, gate and up
// beside the residual and the codes that they come from. The products of both pass through gate's place; the codes of the norm behind them
// lie in up's.
TEST(CpuProgram, ABatchNeedsTwoWideValuesAtOnceAndNoThird)
{
    const uint64_t n = 64, width = 64, wide = 640;
    for (uint32_t n_threads : {1u, 4u}) {
        Target target = cpu_target(n_threads);
        target.skip = "off"; // which needs lists
        Device device(target);
        Net net(5);
        uint32_t x = net.embed(9, width);
        net.graph->n_layers = 3;
        for (int32_t layer = 0; layer < 3; layer++) {
            net.layer = layer;
            const uint32_t a = net.norm_quant(x);
            x = net.sum(x, net.ternary(net.norm_quant(net.glu(net.ternary(a, wide), net.ternary(a, wide), TN_GLU_RELU2)), width));
        }
        Packed packed(device, net);
        Bounds bounds;
        bounds.n_tokens_max = n;
        Program program(device, net, packed, bounds, 0, net.graph->n_nodes, TN_NONE, x);
        const uint64_t codes = n * TN_Q8_STRIDE(width) + 2 * n * 4; // with scales and sums
        EXPECT_EQ(device.api().program_scratch_bytes(program.get()), n * width * 4 + codes + 2 * n * wide * 4);
    }
}

TEST(CpuProgram, WorkersMeetOnlyWhereRowsPassBetweenThem)
{
    Device device(cpu_target(2));
    Chain chain(4);
    Packed packed(device, chain.net);
    Bounds bounds;
    Program program(device, chain.net, packed, bounds, 0, chain.net.graph->n_nodes, TN_NONE, chain.x);
    const auto *compiled = reinterpret_cast<const tn_cpu_program *>(program.get());
    uint32_t n_barriers = 0;
    const tn_cpu_list &list = compiled->lists[TN_CPU_LIST_MANY];
    for (uint32_t i = 0; i < list.n_tasks; i++) n_barriers += list.tasks[i].barrier;
    // A layer: before gate and up (together), before glu, before down, before the sum.
    EXPECT_EQ(n_barriers, 4u * 4);
    // For few tokens each worker does the rows for itself: before glu and before the sum, where products are read.
    const tn_cpu_list &few = compiled->lists[TN_CPU_LIST_FEW];
    n_barriers = 0;
    for (uint32_t i = 0; i < few.n_tasks; i++) n_barriers += few.tasks[i].barrier;
    EXPECT_EQ(n_barriers, 4u * 2);
}

// One layer of attention behind products, of 2 KV heads.
struct Attending {
    Attending() : net(5)
    {
        net.graph->n_kv_heads = 2;
        net.graph->head_dim = 24;
        net.graph->n_layers = 1;
        const uint32_t x = net.embed(9, 32);
        net.layer = 0;
        const uint32_t q = net.dense(x, 6 * 24, TN_DTYPE_F32);
        net.kv_append(net.dense(x, 2 * 24, TN_DTYPE_F32), net.dense(x, 2 * 24, TN_DTYPE_F32), 6);
        out = net.attention(q, 6);
    }
    Net net;
    uint32_t out;
};

// Rows of two sequences that grow by a prompt of 1..64 tokens and then by steps of one or two, up to 9 pages.
std::vector<std::vector<float>> rows_of_growing_sequences(uint32_t n_threads)
{
    Device device(cpu_target(n_threads));
    Attending a;
    Packed packed(device, a.net);
    Bounds bounds;
    bounds.n_tokens_max = 64;
    bounds.n_seqs_max = 2;
    bounds.n_seq_pages_max = 9;
    Random random(3);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    Program program(device, a.net, packed, bounds, 0, a.net.graph->n_nodes, TN_NONE, a.out);
    std::vector<std::vector<float>> rows;
    uint32_t length[2] = {0, 0};
    const auto step = [&](std::vector<uint32_t> seqs) {
        std::vector<Token> tokens;
        for (uint32_t seq : seqs) {
            tokens.push_back({static_cast<int32_t>((length[seq] * 7 + seq) % 9), seq, length[seq]});
            length[seq]++;
        }
        rows.push_back(program.run(make_step(tokens, bounds, pages)));
    };
    // Around each border of pages: steps of one token, of two of one sequence, of one of each.
    for (uint32_t border : {128u, 256u, 384u, 640u, 1024u, 1152u}) {
        while (length[0] + 70 < border) step(std::vector<uint32_t>(64, 0));
        while (length[0] + 5 < border) step({0, 0});
        step({0});
        step({0, 0});
        step({0, 1});
        while (length[0] < border) step({0});
    }
    while (length[1] < 300) step({1, 1});
    return rows;
}

TEST(CpuProgram, WorkersThatShareAHeadsPagesGiveTheBitsOfOneThatHasThemAll)
{
    const auto want = rows_of_growing_sequences(1);
    for (uint32_t n_threads : {2u, 3u, 4u, 5u, 9u}) EXPECT_EQ(rows_of_growing_sequences(n_threads), want) << n_threads << " threads";
}

// Rows of three sequences whose tokens come in runs of 1 to 20, in steps of n_tokens: the same tokens whatever the steps.
std::vector<float> rows_of_mixed_runs(uint32_t n_threads, uint32_t n_tokens)
{
    Device device(cpu_target(n_threads));
    Attending a;
    Packed packed(device, a.net);
    Bounds bounds;
    bounds.n_tokens_max = 64;
    bounds.n_seqs_max = 3;
    bounds.n_seq_pages_max = 4;
    Random random(11);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    std::vector<Token> tokens;
    uint32_t length[3] = {0, 0, 0};
    while (tokens.size() < 700) {
        const uint32_t seq = random.below(3), run = 1 + random.below(20);
        for (uint32_t i = 0; i < run; i++, length[seq]++)
            tokens.push_back({static_cast<int32_t>((length[seq] * 7 + seq) % 9), seq, length[seq]});
    }
    Program program(device, a.net, packed, bounds, 0, a.net.graph->n_nodes, TN_NONE, a.out);
    std::vector<float> rows;
    for (size_t at = 0; at < tokens.size(); at += n_tokens) {
        const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(at);
        const auto count = static_cast<std::ptrdiff_t>(std::min<size_t>(n_tokens, tokens.size() - at));
        const std::vector<float> out = program.run(make_step({first, first + count}, bounds, pages));
        rows.insert(rows.end(), out.begin(), out.end());
    }
    return rows;
}

TEST(CpuProgram, BlocksOfTokensGiveTheBitsOfEachTokenAlone)
{
    const auto want = rows_of_mixed_runs(1, 1);
    for (uint32_t n_threads : {1u, 2u, 3u, 5u}) {
        for (uint32_t n_tokens : {2u, 3u, 37u, 64u})
            EXPECT_EQ(rows_of_mixed_runs(n_threads, n_tokens), want) << n_threads << " threads, " << n_tokens << " tokens a step";
    }
}

TEST(CpuProgram, TwoProgramsOfADeviceMayBeInFlightTogether)
{
    Device device(cpu_target(3));
    Chain chain(3);
    Packed packed(device, chain.net);
    Bounds bounds;
    const tn_backend &api = device.api();
    Program first(device, chain.net, packed, bounds, 0, chain.net.graph->n_nodes, TN_NONE, chain.x);
    Program second(device, chain.net, packed, bounds, 0, chain.net.graph->n_nodes, TN_NONE, chain.x);
    Step steps[2] = {make_step({{1, 0, 0}, {2, 0, 1}, {3, 0, 2}}, bounds, {0}), make_step({{4, 0, 0}, {5, 0, 1}}, bounds, {0})};
    const std::vector<float> want[2] = {first.run(steps[0]), first.run(steps[1])};
    EXPECT_NE(std::vector<float>(want[0].begin(), want[0].begin() + 64), std::vector<float>(want[1].begin(), want[1].begin() + 64));
    Buffer out0(device, 8 * 64 * 4), out1(device, 8 * 64 * 4);
    for (int i = 0; i < 50; i++) {
        StepBlock blocks[2] = {{steps[0], bounds.limits()}, {steps[1], bounds.limits()}};
        uint32_t poison[2][8];
        tn_submit submits[2] = {{blocks[0].get(), nullptr, out0.get(), poison[0], nullptr},
                                {blocks[1].get(), nullptr, out1.get(), poison[1], nullptr}};
        tn_fence fences[2];
        ASSERT_EQ(api.program_submit(first.get(), &submits[0], &fences[0]), TN_OK);
        ASSERT_EQ(api.program_submit(second.get(), &submits[1], &fences[1]), TN_OK);
        ASSERT_EQ(api.fence_wait(device.get(), fences[i % 2]), TN_OK);
        ASSERT_EQ(api.fence_wait(device.get(), fences[1 - i % 2]), TN_OK);
        ASSERT_EQ(out0.read(3 * 64), want[0]);
        ASSERT_EQ(out1.read(2 * 64), want[1]);
    }
}

TEST(CpuProgram, AProgramInFlightMayBeDestroyed)
{
    Device device(cpu_target(2));
    Chain chain(8);
    Packed packed(device, chain.net);
    Bounds bounds;
    Buffer out(device, 8 * 64 * 4);
    Step step = make_step({{1, 0, 0}, {2, 0, 1}}, bounds, {0});
    StepBlock block(step, bounds.limits());
    uint32_t poison[8];
    for (int i = 0; i < 20; i++) {
        Program program(device, chain.net, packed, bounds, 0, chain.net.graph->n_nodes, TN_NONE, chain.x);
        tn_submit submit = {block.get(), nullptr, out.get(), poison, nullptr};
        tn_fence fence;
        ASSERT_EQ(device.api().program_submit(program.get(), &submit, &fence), TN_OK);
    }
}

TEST(CpuKv, StoreFillsTheBlockAsKernelsReadIt)
{
    constexpr uint32_t kDim = 36; // a panel of dimensions that is full, and one of four
    std::vector<uint8_t> block(TN_KV_BLOCK_BYTES(kDim));
    std::array<int16_t, kDim> k{}, v{};
    for (uint32_t d = 0; d < kDim; d++) {
        k[d] = static_cast<int16_t>(d + 1);
        v[d] = static_cast<int16_t>(-1 - static_cast<int>(d));
    }
    tn_cpu_kv_store(block.data(), kDim, 77, k.data(), 0.5f, v.data(), 0.25f);
    const auto *codes = reinterpret_cast<const int16_t *>(block.data());
    // Position 77 is lane 13 of the third panel of keys, which has a row for each 2 of 36 dimensions, and the odd one of pair 38 of values.
    for (uint32_t d = 0; d < kDim; d++) EXPECT_EQ(codes[((2 * 18 + d / 2) * 32 + 13) * 2 + d % 2], k[d]) << d;
    const int16_t *vs = codes + 128 * kDim;
    for (uint32_t d = 0; d < 32; d++) EXPECT_EQ(vs[(38 * 32 + d) * 2 + 1], v[d]) << d;
    for (uint32_t d = 32; d < kDim; d++) EXPECT_EQ(vs[64 * 32 * 2 + (38 * 4 + d - 32) * 2 + 1], v[d]) << d;
    const auto *scales = reinterpret_cast<const float *>(vs + 128 * kDim);
    EXPECT_EQ(scales[77], 0.5f);
    EXPECT_EQ(scales[128 + 77], 0.25f);
    size_t n_set = 0;
    for (uint8_t byte : block) n_set += byte != 0;
    EXPECT_LE(n_set, 2 * (2 * kDim + 4)) << "nothing else is touched";
}

} // namespace
