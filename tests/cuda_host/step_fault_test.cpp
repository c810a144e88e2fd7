// Calls of the driver fail, one at a time, while weights are packed, programs are made and steps run: a status comes back, the poison of a
// step that failed is as it was, the same step has the reference's bits the second time, and nothing stays behind. TN_CUDA_FAULTS=all:
// every call of every function, with every result; else a sample of the calls, in which each function meets each result.
#include "conformance/cases.h"
#include "cuda_host/fault_walk.hpp"

extern "C" {
#include "backend/builtin.h"
}

namespace cuda_test
{
namespace
{

constexpr size_t kPrompt = 9, kFew = 3; // tokens: in one step, in the next; then one alone
constexpr uint32_t kUntouched = 0xdddddddd;
using Rows = std::vector<std::vector<float>>;

const tn_backend &cuda() { return tn_cuda_backend_table; }

conformance::Bounds bounds()
{
    conformance::Bounds b;
    b.n_tokens_max = b.n_logits_max = kPrompt;
    b.n_seqs_max = 2;
    b.n_seq_pages_max = 1;
    b.n_kv_pages = 6;
    return b;
}

// The model and what it comes to, by src/ref.
struct Lesson {
    Lesson() : model(11)
    {
        conformance::Random random(12);
        tokens = conformance::mixed_tokens(&random, 8, kPrompt + kFew + 1 - 8);
        conformance::RefNet reference(model.net);
        for (const conformance::Token &token : tokens) {
            const conformance::RefRow row = reference.run(token);
            logits.push_back(row.f32.at(model.logits));
            embedded.push_back(row.f32.at(model.cuts[0].value));
        }
    }
    conformance::Model model;
    std::vector<conformance::Token> tokens;
    Rows logits, embedded;
};

// How far a program goes.
enum class Part { embedding, whole };

class StepWalk
{
  public:
    StepWalk(const Lesson &lesson, Part part, const Fault *fault, bool silent = false)
        : lesson_(lesson), part_(part), want_(part == Part::whole ? lesson.logits : lesson.embedded), attempts_(fault)
    {
        host_.hooks.staging_bytes = 4096;
        attempts_.silent = silent;
        weights_.resize(lesson.model.net.graph->n_weights);
        if (cuda().device_open(&host_.host, 0, &device_) != TN_OK) throw std::runtime_error(last_error());
        attempts_.has_device = true;
    }
    ~StepWalk() { close(); }
    StepWalk(const StepWalk &) = delete;
    // On a device that is open: the calls that may fail begin here. It ends behind the first step after the failure.
    void run()
    {
        if (!pack() || !make_memory() || !make_program(&program_)) return;
        if (!step(0, kPrompt, {0, 1}, {}, outs_[0]) || failed()) return;
        if (!step(kPrompt, kPrompt + kFew, {4, 5}, {0, 4, 1, 5}, outs_[0]) || failed()) return;
        if (!step(kPrompt + kFew, kPrompt + kFew + 1, {4, 5}, {}, outs_[1]) || failed()) return;
        if (make_program(&twin_)) steps_in_flight();
    }
    void close()
    {
        cuda().program_destroy(program_);
        cuda().program_destroy(twin_);
        for (tn_buffer *buffer : {packed_, kv_, outs_[0], outs_[1]}) cuda().buffer_destroy(buffer);
        cuda().device_close(device_);
        program_ = twin_ = nullptr;
        packed_ = kv_ = outs_[0] = outs_[1] = nullptr;
        device_ = nullptr;
    }
    const std::optional<std::string> &failed() const { return attempts_.failed(); }
    bool may_be_given = false; // of a wait that fails when it leaves the context: what it waited for is there

    std::pair<std::string, uint32_t> fails_in_step; // a function, and which call of it in the step that copies pages; 0: none

  private:
    bool create(const char *what, uint64_t bytes, tn_buffer **out)
    {
        return attempts_.make(what, [&] {
            *out = reinterpret_cast<tn_buffer *>(this); // must not stay
            const tn_status status = cuda().buffer_create(device_, bytes, out);
            EXPECT_EQ(*out == nullptr, status != TN_OK) << what;
            return status;
        });
    }
    bool pack()
    {
        const tn_graph *graph = lesson_.model.net.graph;
        uint64_t n_bytes = 0;
        for (uint32_t i = 0; i < graph->n_weights; i++) {
            tn_weight_layout *layout = &weights_[i].layout;
            EXPECT_EQ(cuda().weight_layout(device_, &graph->weights[i], layout), TN_OK) << last_error();
            weights_[i].offset_bytes = (n_bytes + layout->alignment_bytes - 1) / layout->alignment_bytes * layout->alignment_bytes;
            n_bytes = weights_[i].offset_bytes + layout->size_bytes;
        }
        if (!create("the weights' buffer", n_bytes, &packed_)) return false;
        for (uint32_t i = 0; i < graph->n_weights; i++) {
            weights_[i].buffer = packed_;
            const auto one = [&] { return cuda().weight_pack(device_, &graph->weights[i], packed_, weights_[i].offset_bytes); };
            if (!attempts_.make("weight_pack", one)) return false;
        }
        return true;
    }
    bool make_memory()
    {
        const auto &net = lesson_.model.net;
        const uint64_t page = tn_kv_page_layer_bytes(net.graph->n_kv_heads, net.graph->head_dim);
        if (!create("the KV cache", page * bounds().n_kv_pages * conformance::kLayers, &kv_)) return false;
        for (tn_buffer *&out : outs_)
            if (!create("an output", kPrompt * want_[0].size() * sizeof(float), &out)) return false;
        return true;
    }
    bool make_program(tn_program **out)
    {
        const auto &cut = lesson_.model.cuts[0];
        tn_program_desc desc = {};
        desc.graph = lesson_.model.net.graph;
        desc.n_nodes = part_ == Part::whole ? desc.graph->n_nodes : cut.node;
        desc.in_value = TN_NONE;
        desc.out_value = part_ == Part::whole ? lesson_.model.logits : cut.value;
        desc.weights = weights_.data();
        desc.kv = kv_;
        desc.n_layers = conformance::kLayers;
        desc.limits = bounds().limits();
        node_ns_.assign(desc.graph->n_nodes, 0);
        stats_.node_ns = node_ns_.data();
        if (out == &twin_) desc.stats = &stats_; // which launches kernel by kernel
        return attempts_.make("program_create", [&] {
            *out = reinterpret_cast<tn_program *>(this);
            const tn_status status = cuda().program_create(device_, &desc, out);
            EXPECT_EQ(*out == nullptr, status != TN_OK);
            return status;
        });
    }
    bool step(size_t begin, size_t end, const std::vector<uint32_t> &pages, const std::vector<uint32_t> &copies, tn_buffer *out)
    {
        conformance::Step arrays = conformance::step_of(lesson_.tokens, begin, end, bounds(), pages);
        arrays.copies = copies;
        conformance::StepBlock block(arrays, bounds().limits());
        const std::vector<uint32_t> untouched(end - begin, kUntouched);
        std::vector<uint32_t> poison = untouched;
        const tn_submit submit = {block.get(), nullptr, out, poison.data(), nullptr};
        const std::string what = "a step of " + std::to_string(end - begin);
        if (!copies.empty() && fails_in_step.second > 0)
            cuda_driver::fail(fails_in_step.first, fails_in_step.second, CUDA_ERROR_OUT_OF_MEMORY);
        const bool done = attempts_.make(what, [&] {
            tn_fence fence = {77};
            tn_status status = cuda().program_submit(program_, &submit, &fence);
            EXPECT_EQ(fence.value != 0, status == TN_OK);
            if (status == TN_OK) status = cuda().fence_wait(device_, fence);
            const std::vector<uint32_t> given(end - begin, 0);
            EXPECT_TRUE(poison == (status == TN_OK ? given : untouched) || (may_be_given && poison == given)) << what;
            const bool can_wait = fails_in_step.second > 0 && fails_in_step.first.rfind("cuCtx", 0) != 0;
            EXPECT_TRUE(status == TN_OK || !can_wait || cuda_driver::n_pending() == 0) << fails_in_step.first;
            return status;
        });
        return done && read(begin, end, out);
    }
    // The last token once more, and at the same time the prompt on other pages by another program. The fence of the later comes first.
    void steps_in_flight()
    {
        const size_t last = lesson_.tokens.size() - 1;
        const conformance::Step arrays[2] = {conformance::step_of(lesson_.tokens, last, last + 1, bounds(), {4, 5}),
                                             conformance::step_of(lesson_.tokens, 0, kPrompt, bounds(), {2, 3})};
        conformance::StepBlock blocks[2] = {{arrays[0], bounds().limits()}, {arrays[1], bounds().limits()}};
        std::vector<uint32_t> poison[2] = {{kUntouched}, std::vector<uint32_t>(kPrompt, kUntouched)};
        tn_program *const programs[2] = {program_, twin_};
        const bool done = attempts_.make("steps in flight", [&] {
            tn_fence fences[2] = {};
            tn_status status[2];
            tn_error first = {};
            for (int i = 0; i < 2; i++) {
                const tn_submit submit = {blocks[i].get(), nullptr, outs_[i], poison[i].data(), nullptr};
                status[i] = cuda().program_submit(programs[i], &submit, &fences[i]);
                if (status[i] != TN_OK && first.status == TN_OK) first = *tn_error_last();
            }
            for (int i = 1; i >= 0; i--) {
                if (status[i] != TN_OK) continue;
                status[i] = cuda().fence_wait(device_, fences[i]);
                if (status[i] != TN_OK && first.status == TN_OK) first = *tn_error_last();
            }
            if (first.status != TN_OK) tn_error_set(&first);
            return first.status;
        });
        if (!done) return;
        for (const std::vector<uint32_t> &of : poison) EXPECT_EQ(of, std::vector<uint32_t>(of.size(), 0));
        if (read(last, last + 1, outs_[0])) read(0, kPrompt, outs_[1]);
    }
    bool read(size_t begin, size_t end, tn_buffer *out)
    {
        const Rows want(want_.begin() + long(begin), want_.begin() + long(end));
        std::vector<float> got(want.size() * want[0].size());
        const auto call = [&] { return cuda().buffer_read(out, 0, got.data(), got.size() * sizeof(float)); };
        if (!attempts_.make("buffer_read", call)) return false;
        EXPECT_EQ(conformance::same_rows("rows", got, want), "");
        return true;
    }

    const Lesson &lesson_;
    const Part part_;
    const Rows &want_;
    Attempts attempts_;
    Host host_;
    tn_device *device_ = nullptr;
    std::vector<tn_packed_weight> weights_;
    tn_buffer *packed_ = nullptr, *kv_ = nullptr, *outs_[2] = {};
    tn_program *program_ = nullptr, *twin_ = nullptr;
    tn_program_stats stats_ = {};
    std::vector<uint64_t> node_ns_;
};

class StepFaults : public DriverTest, public testing::WithParamInterface<Part>
{
};

void run_with_fault(const Lesson &lesson, Part part, const std::string &function, uint32_t nth, const Fault &fault, bool *out_heard)
{
    SCOPED_TRACE(function + ", call " + std::to_string(nth) + ", " + fault.name);
    const bool silent = kSilent.count(function) > 0;
    cuda_driver::reset();
    StepWalk walk(lesson, part, &fault, silent);
    walk.may_be_given = function == "cuCtxPopCurrent";
    cuda_driver::fail(function, nth, fault.result);
    walk.run();
    *out_heard = *out_heard || walk.failed();
    walk.close();
    check_traces(function);
}

TEST_P(StepFaults, AnyCallMayFailOnce)
{
    const Lesson lesson;
    std::map<std::string, uint32_t> calls;
    {
        StepWalk walk(lesson, GetParam(), nullptr);
        cuda_driver::forget_calls();
        walk.run();
        walk.close();
        ASSERT_FALSE(walk.failed()) << *walk.failed();
        calls = cuda_driver::calls();
    }
    EXPECT_GT(calls.size(), 15u);
    size_t first_fault = 0; // so that each call of the sample meets each result in some function
    for (const auto &[function, n] : calls) {
        bool heard = false;
        for (const auto &[nth, fault] : failures_of(n, first_fault++)) {
            run_with_fault(lesson, GetParam(), function, nth, fault, &heard);
            if (HasFailure()) return;
        }
        const bool ends_it = kSilent.count(function) > 0 || function == "cuDevicePrimaryCtxRelease";
        EXPECT_TRUE(heard || ends_it) << function;
    }
    cuda_driver::reset();
}

// What was given to the stream before the failure reads the step's memory, which the next submit writes: it is waited for at once, or,
// where there is no context to wait in, by the next submit.
TEST_P(StepFaults, AStepThatFailsLeavesNoWorkBehind)
{
    const Lesson lesson;
    const std::pair<std::string, uint32_t> failures[] = {{"cuLaunchKernel", 2},     {"cuGraphLaunch", 1},   {"cuEventRecord", 1},
                                                         {"cuEventSynchronize", 1}, {"cuCtxPopCurrent", 1}, {"cuCtxPushCurrent", 2},
                                                         {"cuCtxPopCurrent", 2}};
    for (const auto &failure : failures) {
        cuda_driver::reset();
        StepWalk walk(lesson, GetParam(), &kFaults[0]);
        walk.fails_in_step = failure;
        walk.may_be_given = failure.first == "cuCtxPopCurrent";
        walk.run();
        EXPECT_EQ(walk.failed(), "a step of 3") << failure.first;
        walk.close();
        check_traces(failure.first);
    }
}

INSTANTIATE_TEST_SUITE_P(Parts, StepFaults, testing::Values(Part::embedding, Part::whole),
                         [](const auto &part) { return part.param == Part::whole ? "Whole" : "Embedding"; });

} // namespace
} // namespace cuda_test
