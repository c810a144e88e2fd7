// What steps take in and give out, on devices whose memory the host does not see or reads slowly: one submit a step, and never a byte that
// is not the newest, whatever else writes to the same buffers.
#include "conformance/cases.h"
#include "vulkan/device_rig.hpp"
#include "vulkan/generation.hpp"

#include <gtest/gtest.h>

namespace vulkan_test
{
namespace
{

using conformance::Bounds;
using conformance::Model;
using conformance::Random;

// How the host gets at the device's memory.
struct Access {
    const char *name;
    bool staged, coherent, cached;
    uint64_t mirror_bytes_max; // 0: as usual
};
void PrintTo(const Access &access, std::ostream *os) { *os << access.name; }

void apply(const Access &access, FaultLayer *layer)
{
    layer->hooks.force_staging = access.staged;
    layer->hooks.mirror_bytes_max = access.mirror_bytes_max;
    layer->change_memory = [access](VkPhysicalDeviceMemoryProperties *memory) {
        VkMemoryPropertyFlags lacks = 0;
        if (!access.coherent) lacks |= VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
        if (!access.cached) lacks |= VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
        for (VkMemoryType &type : memory->memoryTypes) type.propertyFlags &= ~lacks;
    };
}

const Access kAccesses[] = {{"Mapped", false, true, true, 0},
                            {"Uncached", false, true, false, 0},
                            {"Staged", true, true, true, 0},
                            {"StagedIncoherent", true, false, true, 0}};

std::string name_of(const testing::TestParamInfo<Access> &info) { return info.param.name; }

// ---- whole sessions ----

class Sessions : public testing::TestWithParam<Access>
{
};

TEST_P(Sessions, ATokenIsOneSubmitWhereverItsLayersAre)
{
    const std::vector<std::vector<float>> want = expected();
    for (const char *devices : {"vulkan0", "cpu0,vulkan0", "vulkan0,cpu0"}) {
        SCOPED_TRACE(devices);
        FaultLayer layer;
        apply(GetParam(), &layer);
        {
            Generation generation(&layer);
            ASSERT_EQ(generation.start(devices), TN_OK) << last_error();
            for (size_t i = 0; i < want.size(); i++) {
                const size_t begin = i == 0 ? 0 : kPrompt + i - 1, end = kPrompt + i;
                layer.forget_calls();
                ASSERT_EQ(generation.decode(begin, end), TN_OK) << last_error();
                EXPECT_EQ(memcmp(generation.logits.data(), want[i].data(), want[i].size() * sizeof(float)), 0) << i;
                // What is written before a buffer is known to be a step's input goes by itself.
                EXPECT_LE(layer.calls().at("vkQueueSubmit"), i == 0 ? 2u : 1u) << i;
                if (i < 2) continue; // recorded
                for (const char *function : {"vkAllocateMemory", "vkCreateBuffer", "vkBeginCommandBuffer", "vkAllocateDescriptorSets"})
                    EXPECT_EQ(layer.calls().count(function), 0u) << function;
                EXPECT_EQ(layer.calls().at("vkWaitSemaphores"), 1u);
            }
        }
        EXPECT_EQ(layer.alive(), std::vector<std::string>());
    }
}

INSTANTIATE_TEST_SUITE_P(Memory, Sessions, testing::Values(kAccesses[0], kAccesses[1], kAccesses[2]), name_of);

// ---- buffers that several programs use ----

constexpr uint32_t kTokens = 4, kVocab = 1100; // a row of logits is more than what is read uncached
enum { kTapped = 4, kPages, kBuffers };        // of the buffers: of a tap, and the KV cache of one program

struct Part {
    uint32_t first_node, end_node, in_value, out_value;
    uint32_t tap; // TN_NONE: none
    bool shares_kv;
};

Bounds bounds()
{
    Bounds b;
    b.n_tokens_max = b.n_logits_max = kTokens;
    return b;
}

const Model &model()
{
    static const Model made(21, -1, kVocab);
    return made;
}

// A value that is computed in the middle of the nodes.
uint32_t value_between(uint32_t first, uint32_t end)
{
    const tn_graph *graph = model().net.graph;
    for (uint32_t i = (first + end) / 2; i < end; i++) {
        const uint32_t value = graph->nodes[i].out;
        if (value != TN_NONE && graph->values[value].type == TN_VALUE_F32 && graph->values[value].rows == TN_ROWS_TOKENS) return value;
    }
    return TN_NONE;
}

std::vector<Part> parts()
{
    const auto &cuts = model().cuts;
    const uint32_t end = model().net.graph->n_nodes;
    return {{0, cuts[0].node, TN_NONE, cuts[0].value, TN_NONE, false},
            {cuts[0].node, cuts[1].node, cuts[0].value, cuts[1].value, TN_NONE, false},
            {cuts[0].node, cuts[1].node, cuts[0].value, cuts[1].value, value_between(cuts[0].node, cuts[1].node), false},
            {cuts[0].node, cuts[1].node, cuts[0].value, cuts[1].value, TN_NONE, true},
            {cuts[1].node, end, cuts[1].value, model().logits, TN_NONE, false},
            {cuts[2].node, end, cuts[2].value, model().logits, TN_NONE, false}};
}

// A device with programs over parts of the model, and buffers that any of them may be given.
class Side
{
  public:
    explicit Side(FaultLayer *layer) : host_(layer ? &layer->hooks : nullptr), device_(host_)
    {
        const tn_graph *graph = model().net.graph;
        for (uint32_t i = 0; i < graph->n_weights; i++) {
            tn_packed_weight packed = {};
            must(vulkan().weight_layout(device_.get(), &graph->weights[i], &packed.layout));
            packed.buffer = create(packed.layout.size_bytes);
            must(vulkan().weight_pack(device_.get(), &graph->weights[i], packed.buffer, 0));
            weights_.push_back(packed);
        }
        const uint64_t kv_bytes = tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim);
        size_bytes = std::max<uint64_t>(kv_bytes, uint64_t(kTokens) * kVocab * sizeof(float));
        for (uint32_t i = 0; i < kBuffers; i++) buffers.push_back(create(size_bytes));
        for (const Part &part : parts()) programs_.push_back(compile(part, part.shares_kv ? buffers[kPages] : create(kv_bytes)));
    }
    ~Side()
    {
        for (tn_program *program : programs_) vulkan().program_destroy(program);
        for (tn_buffer *buffer : all_) vulkan().buffer_destroy(buffer);
    }
    Side(const Side &) = delete;
    Side &operator=(const Side &) = delete;

    void write(uint32_t buffer, uint64_t offset, const std::vector<float> &values)
    {
        must(vulkan().buffer_write(buffers[buffer], offset, values.data(), values.size() * sizeof(float)));
    }
    std::vector<uint8_t> read(uint32_t buffer, uint64_t offset, uint64_t n)
    {
        std::vector<uint8_t> bytes(n, 0xdd);
        must(vulkan().buffer_read(buffers[buffer], offset, bytes.data(), n));
        return bytes;
    }
    tn_fence submit(uint32_t program, const conformance::Step &step, uint32_t in, uint32_t out, std::vector<uint32_t> *poison)
    {
        tn_test::StepBlock block(step, bounds().limits());
        poison->assign(step.tokens.size(), 0xdddddddd);
        const tn_submit submit = {block.get(), buffers[in], buffers[out], poison->data(), nullptr};
        tn_fence fence;
        must(vulkan().program_submit(programs_[program], &submit, &fence));
        return fence;
    }
    void wait(tn_fence fence) { must(vulkan().fence_wait(device_.get(), fence)); }
    std::vector<uint32_t> run(uint32_t program, const conformance::Step &step, uint32_t in, uint32_t out)
    {
        std::vector<uint32_t> poison;
        wait(submit(program, step, in, out, &poison));
        return poison;
    }
    std::vector<tn_buffer *> buffers;
    uint64_t size_bytes = 0;

  private:
    static void must(tn_status status)
    {
        if (status != TN_OK) throw std::runtime_error(last_error());
    }
    tn_buffer *create(uint64_t bytes)
    {
        tn_buffer *buffer;
        must(vulkan().buffer_create(device_.get(), bytes, &buffer));
        all_.push_back(buffer);
        return buffer;
    }
    tn_program *compile(const Part &part, tn_buffer *kv)
    {
        const tn_tap tap = {part.tap, buffers[kTapped]};
        tn_program_desc desc = {};
        desc.graph = model().net.graph;
        desc.first_node = part.first_node;
        desc.n_nodes = part.end_node - part.first_node;
        desc.in_value = part.in_value;
        desc.out_value = part.out_value;
        desc.weights = weights_.data();
        desc.kv = kv;
        desc.first_layer = part.first_node == model().cuts[1].node ? 1 : 0;
        desc.n_layers = 1;
        desc.limits = bounds().limits();
        desc.taps = &tap;
        desc.n_taps = part.tap != TN_NONE;
        tn_program *program;
        must(vulkan().program_create(device_.get(), &desc, &program));
        return program;
    }
    Host host_;
    OpenDevice device_;
    std::vector<tn_packed_weight> weights_;
    std::vector<tn_buffer *> all_;
    std::vector<tn_program *> programs_;
};

conformance::Step random_step(Random *random, uint32_t n_tokens)
{
    std::vector<conformance::Token> tokens;
    for (uint32_t i = 0; i < n_tokens; i++) tokens.push_back({static_cast<int32_t>(random->below(kVocab)), 0, i});
    conformance::Step step = conformance::make_step(tokens, bounds(), {0});
    for (uint32_t i = 0; i < n_tokens; i++) {
        if (random->below(3)) step.logit_rows.push_back(i);
    }
    return step;
}

std::vector<float> random_floats(Random *random, size_t n)
{
    std::vector<float> values(n);
    for (float &value : values) value = random->value(1.0f);
    return values;
}

// The same calls on a device whose memory the host simply reads and writes.
class Buffers : public testing::TestWithParam<Access>
{
  protected:
    Buffers() : made_(&layer, GetParam()), truth(nullptr), side(&layer) {}

    void write(Random *random)
    {
        const uint32_t buffer = random->below(kBuffers);
        const uint64_t n_floats = truth.size_bytes / sizeof(float);
        const uint64_t n = 1 + random->below(random->below(4) ? 300 : static_cast<uint32_t>(n_floats)),
                       at = random->below(uint32_t(n_floats - n + 1));
        const std::vector<float> values = random_floats(random, n);
        truth.write(buffer, at * 4, values);
        side.write(buffer, at * 4, values);
    }
    void read(Random *random)
    {
        const uint32_t buffer = random->below(kBuffers);
        const uint64_t n = 1 + random->below(random->below(4) ? 2000 : uint32_t(truth.size_bytes)),
                       at = random->below(3) ? 0 : random->below(uint32_t(truth.size_bytes - n + 1));
        ASSERT_EQ(side.read(buffer, at, n), truth.read(buffer, at, n)) << "bytes " << at << " + " << n << " of buffer " << buffer;
    }
    void run(Random *random)
    {
        const uint32_t program = random->below(uint32_t(parts().size()));
        const uint32_t own = parts()[program].tap != TN_NONE ? kTapped : parts()[program].shares_kv ? kPages : kBuffers; // not for others
        uint32_t in, out;
        do in = random->below(kBuffers), out = random->below(kBuffers);
        while (in == out || in == own || out == own);
        const conformance::Step step = random_step(random, 1 + random->below(kTokens));
        ASSERT_EQ(side.run(program, step, in, out), truth.run(program, step, in, out));
    }
    // Two programs at once, which may give out to the same buffer; the later one is waited for first.
    void run_two(Random *random)
    {
        const uint32_t n = uint32_t(parts().size()), first = random->below(n), second = (first + 1 + random->below(n - 1)) % n;
        const conformance::Step steps[2] = {random_step(random, 1 + random->below(kTokens)), random_step(random, 1)};
        const uint32_t outs[2] = {random->below(2), random->below(2)};
        std::vector<uint32_t> poison[2][2];
        int which = 0;
        for (Side *s : {&truth, &side}) {
            const tn_fence a = s->submit(first, steps[0], 2, outs[0], &poison[which][0]);
            const tn_fence b = s->submit(second, steps[1], 3, outs[1], &poison[which][1]);
            s->wait(b);
            s->wait(a);
            which++;
        }
        ASSERT_EQ(poison[1][0], poison[0][0]);
        ASSERT_EQ(poison[1][1], poison[0][1]);
    }
    void all_equal()
    {
        for (uint32_t i = 0; i < kBuffers; i++) ASSERT_EQ(side.read(i, 0, side.size_bytes), truth.read(i, 0, truth.size_bytes)) << i;
    }
    uint32_t submits() { return layer.calls().count("vkQueueSubmit") ? layer.calls().at("vkQueueSubmit") : 0; }

    FaultLayer layer;

  private:
    struct Made {
        Made(FaultLayer *layer, const Access &access) { apply(access, layer); }
    } made_;

  protected:
    Side truth, side;
};

TEST_P(Buffers, AreNeverReadStale)
{
    Random random(31);
    for (int i = 0; i < 300 && !HasFatalFailure(); i++) {
        SCOPED_TRACE(i);
        const uint32_t what = random.below(10);
        what < 3 ? write(&random) : what < 6 ? read(&random) : what < 9 ? run(&random) : run_two(&random);
        if (i % 50 == 49) all_equal();
    }
}

// What a step gave out, then each of those that may write over it.
TEST_P(Buffers, AreReadAsWhoeverWroteThemLastLeftThem)
{
    Random random(32);
    const uint64_t width = model().net.width(model().cuts[0].value) * sizeof(float);
    const conformance::Step many = random_step(&random, kTokens), one = random_step(&random, 1);
    for (Side *s : {&truth, &side}) {
        s->write(0, 0, std::vector<float>(s->size_bytes / 4, 0.25f));
        s->run(0, many, 1, kTapped); // to where another program has its tap
        s->run(0, many, 1, kPages);
        s->run(0, many, 1, 2);
    }
    EXPECT_EQ(side.read(2, 0, kTokens * width), truth.read(2, 0, kTokens * width));
    EXPECT_EQ(side.read(2, width + 3, 5), truth.read(2, width + 3, 5));
    EXPECT_EQ(side.read(2, kTokens * width - 1, 2), truth.read(2, kTokens * width - 1, 2)) << "a byte that the program did not make";
    for (Side *s : {&truth, &side}) s->write(2, width, {1.5f});
    EXPECT_EQ(side.read(2, 0, kTokens * width), truth.read(2, 0, kTokens * width)) << "the host";
    for (Side *s : {&truth, &side}) s->run(0, one, 1, 2);
    EXPECT_EQ(side.read(2, 0, kTokens * width), truth.read(2, 0, kTokens * width)) << "fewer rows";
    for (Side *s : {&truth, &side}) s->run(2, many, 0, 3);
    EXPECT_EQ(side.read(kTapped, 0, width), truth.read(kTapped, 0, width)) << "a tap";
    for (Side *s : {&truth, &side}) s->run(3, many, 0, 3);
    EXPECT_EQ(side.read(kPages, 0, width), truth.read(kPages, 0, width)) << "the KV cache";
    for (Side *s : {&truth, &side}) s->write(0, 4, {7.0f}), s->run(0, one, 1, 0);
    EXPECT_EQ(side.read(0, 0, side.size_bytes), truth.read(0, 0, side.size_bytes)) << "an input that became an output";
}

INSTANTIATE_TEST_SUITE_P(Memory, Buffers,
                         testing::Values(kAccesses[1], kAccesses[2], kAccesses[3], Access{"StagedInPart", true, true, true, 500}), name_of);

// That the mirrors are what serves, and when they are not.
class Staged : public Buffers
{
};

TEST_P(Staged, AStepThatTakesInAndGivesOutIsOneSubmit)
{
    Random random(33);
    const size_t width = model().net.width(model().cuts[0].value);
    for (int i = 0; i < 3; i++) {
        const conformance::Step step = random_step(&random, 1 + random.below(kTokens));
        const std::vector<float> rows = random_floats(&random, step.tokens.size() * width);
        layer.forget_calls();
        side.write(0, 0, rows);
        EXPECT_EQ(submits(), i == 0 ? 1u : 0u); // the first time it is not known what it is for
        side.run(1, step, 0, 1);
        EXPECT_EQ(submits(), i == 0 ? 2u : 1u);
        const std::vector<uint8_t> got = side.read(1, 0, rows.size() * 4);
        EXPECT_EQ(submits(), i == 0 ? 2u : 1u);
        truth.write(0, 0, rows);
        truth.run(1, step, 0, 1);
        EXPECT_EQ(got, truth.read(1, 0, rows.size() * 4));
        side.read(1, rows.size() * 4, 1); // of no row of the step
        EXPECT_EQ(submits(), i == 0 ? 3u : 2u);
    }
}

TEST_P(Staged, BytesThatNoStepTookInAreSentWhenSomethingElseWantsThem)
{
    Random random(34);
    const conformance::Step one = random_step(&random, 1);
    side.run(1, one, 0, 1);
    layer.forget_calls();
    side.write(0, 8, {1, 2, 3});
    side.write(0, 4, {0, 0, 0, 0, 0, 0}); // instead of all of them
    EXPECT_EQ(submits(), 0u);
    side.write(0, 400, {9}); // beside them
    EXPECT_EQ(submits(), 1u);
    side.run(1, one, 2, 1); // does not look at it
    EXPECT_EQ(submits(), 2u);
    side.run(5, one, 1, 0); // writes to it, behind what the host wrote
    EXPECT_EQ(submits(), 4u);
    for (const auto &[at, values] :
         std::vector<std::pair<uint64_t, std::vector<float>>>{{8, {1, 2, 3}}, {4, {0, 0, 0, 0, 0, 0}}, {400, {9}}})
        truth.write(0, at, values);
    truth.run(1, one, 0, 1);
    truth.run(1, one, 2, 1);
    truth.run(5, one, 1, 0);
    all_equal();
}

// Mirrors are a matter of speed: a step does not fail for want of them, and does not ask for them again.
TEST_P(Staged, WithoutMemoryForMirrorsBytesGoThroughStaging)
{
    Random random(35);
    const size_t width = model().net.width(model().cuts[0].value);
    const auto run = [&](uint32_t in, uint32_t out) {
        const conformance::Step step = random_step(&random, kTokens);
        const std::vector<float> rows = random_floats(&random, step.tokens.size() * width);
        layer.forget_calls();
        for (Side *s : {&side, &truth}) s->write(in, 0, rows);
        EXPECT_EQ(side.run(1, step, in, out), truth.run(1, step, in, out));
        EXPECT_EQ(side.read(out, 0, rows.size() * 4), truth.read(out, 0, rows.size() * 4));
        return submits();
    };
    uint32_t n_refused = 0;
    layer.is_full = [&](uint32_t) { return ++n_refused > 0; };
    EXPECT_EQ(run(0, 1), 3u) << "in, the step, out";
    EXPECT_GE(n_refused, 2u) << "both were asked for";
    n_refused = 0;
    EXPECT_EQ(run(0, 1), 3u);
    EXPECT_EQ(n_refused, 0u);
    layer.is_full = nullptr;
    EXPECT_EQ(run(0, 1), 3u);
    EXPECT_EQ(layer.calls().count("vkAllocateMemory"), 0u);
    run(2, 3); // others have theirs
    EXPECT_EQ(run(2, 3), 1u);
    all_equal();
}

// Nothing but a lack of memory is passed over.
TEST_P(Staged, AMirrorThatFailsOtherwiseFailsTheStep)
{
    Random random(36);
    layer.fail("vkAllocateMemory", 1, VK_ERROR_UNKNOWN);
    std::vector<uint32_t> poison;
    EXPECT_THROW(side.submit(1, random_step(&random, 1), 0, 1, &poison), std::runtime_error);
    EXPECT_TRUE(layer.has_failed());
    EXPECT_EQ(side.run(1, random_step(&random, 1), 0, 1), std::vector<uint32_t>(1, 0)) << "the step after it";
}

INSTANTIATE_TEST_SUITE_P(Memory, Staged, testing::Values(kAccesses[2], kAccesses[3]), name_of);

} // namespace
} // namespace vulkan_test
