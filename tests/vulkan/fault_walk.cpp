// The walk's calls, each with what must hold where it fails.
#include "vulkan/fault_walk.hpp"

#include <chrono>
#include <gtest/gtest.h>

namespace vulkan_test
{
namespace
{

constexpr size_t kPrompt = 12, kFew = 5, kAlone = 3; // tokens: in one step, in the next, one by one
constexpr uint32_t kUntouched = 0xdddddddd;
constexpr auto kSoon = std::chrono::seconds(5); // far more than any refusal takes on a busy machine, far less than a wait that hangs

conformance::Bounds bounds()
{
    conformance::Bounds b;
    b.n_tokens_max = b.n_logits_max = kPrompt;
    b.n_seqs_max = 2;
    b.n_seq_pages_max = 1;
    b.n_kv_pages = 6;
    return b;
}

} // namespace

Lesson::Lesson() : model(11)
{
    conformance::Random random(12);
    tokens = conformance::mixed_tokens(&random, 11, kPrompt + kFew + kAlone - 11);
    conformance::RefNet reference(model.net);
    for (const conformance::Token &token : tokens) {
        auto row = reference.run(token);
        want.push_back(row.f32.at(model.logits));
        before_head = row.f32.at(model.cuts[2].value);
    }
    embedding = conformance::RefNet(model.net).run(tokens[0]).f32.at(model.cuts[0].value);
}

Walk::Walk(const Lesson &lesson, const Form &form, FaultLayer *layer, std::string cache_folder, AfterFailure after)
    : lesson_(lesson), layer_(layer), cache_folder_(std::move(cache_folder)), after_(after)
{
    layer->hooks.force_staging = form.staged;
    if (!form.coherent)
        layer->change_memory = [](VkPhysicalDeviceMemoryProperties *memory) {
            for (VkMemoryType &type : memory->memoryTypes)
                type.propertyFlags &= ~VkMemoryPropertyFlags(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
        };
    host_.keep = &keep_;
    host_.vulkan_hooks = &layer->hooks;
    host_.vulkan_kernels = form.kernels;
    host_.cache_folder = cache_folder_.c_str();
}

Walk::~Walk() { close(); }

void Walk::run(Part part)
{
    if (open()) use(part);
    close();
    EXPECT_EQ(layer_->alive(), std::vector<std::string>());
}

void Walk::use(Part part)
{
    weights_.assign(lesson_.model.net.graph->n_weights, {});
    (void)(use_buffers() && part != Part::bytes && pack_weights() && (part == Part::embedding ? embed() : decode()));
    destroy_all();
}

// Whether the walk goes on. Calls that a lost device refused count as made.
bool Walk::attempt(const std::string &what, const std::function<tn_status()> &call)
{
    const auto start = std::chrono::steady_clock::now();
    tn_status status = call();
    if (lost_) {
        check_refusal(what, status);
        EXPECT_LT(std::chrono::steady_clock::now() - start, kSoon) << what;
        return true;
    }
    if (status == TN_OK) return true;
    EXPECT_FALSE(failure_) << what << " fails too: " << last_error();
    if (failure_) return false;
    failure_ = {what, status, tn_error_last()->message, tn_error_last()->device};
    lost_ = status == TN_DEVICE_LOST && device_;
    if (lost_) return true;
    if (after_ == AfterFailure::stop) return false;
    EXPECT_EQ(status = call(), TN_OK) << what << " again: " << last_error();
    return status == TN_OK;
}

bool Walk::attempt_step(const std::string &what, const std::function<tn_status()> &call)
{
    const auto failed = [&] { return has_failed ? has_failed() : layer_->has_failed(); };
    const bool before = failed(), goes_on = attempt(what, call);
    step_bore_it_ = step_bore_it_ || (!before && failed() && !failure_);
    return goes_on;
}

void Walk::check_refusal(const std::string &what, tn_status status)
{
    EXPECT_EQ(status, TN_DEVICE_LOST) << what;
    EXPECT_EQ(std::string(tn_error_last()->message).find("vulkan0 was lost before (VK_"), 0u) << what << ": " << last_error();
    EXPECT_STREQ(tn_error_last()->device, "vulkan0");
}

bool Walk::open()
{
    return attempt("open", [&] {
        uint32_t count = 0;
        tn_device_desc desc;
        device_ = reinterpret_cast<tn_device *>(this); // must not stay
        tn_status status = vulkan().device_count(&host_, &count);
        if (status == TN_OK) status = vulkan().device_describe(&host_, 0, &desc);
        if (status == TN_OK)
            status = vulkan().device_open(&host_, 0, &device_);
        else
            device_ = nullptr;
        if (status == TN_OK) return status;
        EXPECT_EQ(device_, nullptr);
        const tn_error error = *tn_error_last();
        if (keep_.release) keep_.release(keep_.state); // a host keeps to what it found; the next one looks again
        keep_ = {};
        EXPECT_EQ(layer_->alive(), std::vector<std::string>());
        tn_error_set(&error);
        return status;
    });
}

bool Walk::create_buffer(const char *what, uint64_t bytes, tn_buffer **out)
{
    return attempt(what, [&] {
        *out = reinterpret_cast<tn_buffer *>(this);
        const tn_status status = vulkan().buffer_create(device_, bytes, out);
        EXPECT_EQ(*out == nullptr, status != TN_OK) << what;
        return status;
    });
}

// All in one buffer.
bool Walk::pack_weights()
{
    const tn_graph *graph = lesson_.model.net.graph;
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        tn_weight_layout *layout = &weights_[i].layout;
        EXPECT_EQ(vulkan().weight_layout(device_, &graph->weights[i], layout), TN_OK);
        weights_[i].offset_bytes = (n_bytes + layout->alignment_bytes - 1) / layout->alignment_bytes * layout->alignment_bytes;
        n_bytes = weights_[i].offset_bytes + layout->size_bytes;
    }
    if (!create_buffer("the weights' buffer", n_bytes, &packed_)) return false;
    for (uint32_t i = 0; packed_ && i < graph->n_weights; i++) { // a lost device has none
        weights_[i].buffer = packed_;
        const auto pack = [&] { return vulkan().weight_pack(device_, &graph->weights[i], packed_, weights_[i].offset_bytes); };
        if (!attempt("weight_pack", pack)) return false;
    }
    return true;
}

// Bytes in, bytes out, and memory that others own.
bool Walk::use_buffers()
{
    alignas(64) static const uint8_t foreign[256] = {1, 2, 3, 4, 5};
    uint8_t got[256];
    const bool made = attempt("buffer_map", [&] {
        mapped_ = reinterpret_cast<tn_buffer *>(this);
        const tn_status status = vulkan().buffer_map(device_, foreign, sizeof foreign, &mapped_);
        EXPECT_EQ(mapped_ == nullptr, status != TN_OK);
        return status;
    });
    if (!made) return false;
    if (mapped_) {
        memset(got, 0, sizeof got);
        if (!attempt("buffer_read", [&] { return vulkan().buffer_read(mapped_, 0, got, sizeof got); })) return false;
        EXPECT_TRUE(lost_ || memcmp(got, foreign, sizeof got) == 0);
    }
    const auto &net = lesson_.model.net;
    const uint64_t kv_bytes =
        tn_kv_page_layer_bytes(net.graph->n_kv_heads, net.graph->head_dim) * bounds().n_kv_pages * conformance::kLayers;
    const uint64_t width = std::max(net.width(lesson_.model.logits), net.width(lesson_.model.cuts[0].value));
    const uint64_t out_bytes = kPrompt * width * sizeof(float);
    if (!create_buffer("the KV cache", kv_bytes, &kv_)) return false;
    for (tn_buffer *&out : outs_) {
        if (!create_buffer("an output", out_bytes, &out)) return false;
    }
    const uint32_t mark = kUntouched;
    return !outs_[1] || attempt("buffer_write", [&] { return vulkan().buffer_write(outs_[1], 4, &mark, sizeof mark); });
}

bool Walk::create_program(uint32_t first_node, uint32_t end_node, uint32_t in_value, uint32_t out_value, tn_program **out)
{
    const tn_graph *graph = lesson_.model.net.graph;
    tn_program_desc desc = {};
    desc.graph = graph;
    desc.first_node = first_node;
    desc.n_nodes = end_node - first_node;
    desc.in_value = in_value;
    desc.out_value = out_value;
    desc.weights = weights_.data();
    desc.kv = kv_;
    desc.n_layers = conformance::kLayers;
    desc.limits = bounds().limits();
    node_ns_.assign(graph->n_nodes, 0);
    stats_ = {};
    stats_.node_ns = node_ns_.data();
    desc.stats = &stats_; // timestamps too
    return attempt("program_create", [&] {
        *out = reinterpret_cast<tn_program *>(this);
        const tn_status status = vulkan().program_create(device_, &desc, out);
        EXPECT_EQ(*out == nullptr, status != TN_OK);
        return status;
    });
}

bool Walk::embed()
{
    const auto &cut = lesson_.model.cuts[0];
    if (!create_program(0, cut.node, TN_NONE, cut.value, &program_) || !program_) return false; // a lost device has none
    const conformance::Step step = conformance::make_step({lesson_.tokens[0]}, bounds(), {0, 1});
    return submit("embedding", program_, step, nullptr, outs_[0]) && read_rows({lesson_.embedding}, outs_[0]);
}

// A prompt of two sequences; a few tokens behind copies of their pages; single tokens, to one buffer and to another.
bool Walk::decode()
{
    const uint32_t n_nodes = lesson_.model.net.graph->n_nodes, logits = lesson_.model.logits;
    if (!create_program(0, n_nodes, TN_NONE, logits, &program_) || !program_) return false; // a lost device has none
    if (!step(0, kPrompt, {0, 1}, {}, outs_[0])) return false;
    if (!step(kPrompt, kPrompt + kFew, {4, 5}, {0, 4, 1, 5}, outs_[0])) return false;
    for (size_t i = 0; i < kAlone; i++) {
        const size_t at = kPrompt + kFew + i;
        if (!step(at, at + 1, {4, 5}, {}, outs_[i == 1])) return false;
    }
    return create_program(0, n_nodes, TN_NONE, logits, &twin_) && twin_ && steps_in_flight() && hops();
}

bool Walk::step(size_t begin, size_t end, std::vector<uint32_t> pages, std::vector<uint32_t> copies, tn_buffer *out)
{
    conformance::Step arrays = conformance::step_of(lesson_.tokens, begin, end, bounds(), pages);
    arrays.copies = std::move(copies);
    return submit("step of " + std::to_string(end - begin), program_, arrays, nullptr, out) && read_rows(logits(begin, end), out);
}

bool Walk::submit(const std::string &what, tn_program *program, const conformance::Step &arrays, tn_buffer *in, tn_buffer *out)
{
    const size_t n = arrays.tokens.size();
    conformance::StepBlock block(arrays, bounds().limits());
    const std::vector<uint32_t> untouched(n, kUntouched);
    std::vector<uint32_t> poison = untouched;
    const tn_submit submit = {block.get(), in, out, poison.data(), nullptr};
    return attempt_step(what, [&] {
        tn_fence fence = {77};
        tn_status status = vulkan().program_submit(program, &submit, &fence);
        EXPECT_EQ(fence.value != 0, status == TN_OK);
        if (status == TN_OK) status = vulkan().fence_wait(device_, fence);
        EXPECT_EQ(poison, status == TN_OK ? std::vector<uint32_t>(n, 0) : untouched) << what;
        return status;
    });
}

// The last token once more, and at the same time the prompt on other pages by another program. The fence of the later submit comes first.
bool Walk::steps_in_flight()
{
    const size_t last = lesson_.tokens.size() - 1;
    const conformance::Step arrays[2] = {conformance::step_of(lesson_.tokens, last, last + 1, bounds(), {4, 5}),
                                         conformance::step_of(lesson_.tokens, 0, kPrompt, bounds(), {2, 3})};
    conformance::StepBlock blocks[2] = {{arrays[0], bounds().limits()}, {arrays[1], bounds().limits()}};
    const std::vector<uint32_t> untouched[2] = {{kUntouched}, std::vector<uint32_t>(kPrompt, kUntouched)};
    std::vector<uint32_t> poison[2] = {untouched[0], untouched[1]};
    tn_program *const programs[2] = {program_, twin_};
    const bool done = attempt_step("steps in flight", [&] {
        tn_fence fences[2] = {};
        tn_status submitted[2], waited[2];
        tn_error first = {};
        const auto keep = [&](tn_status status) {
            if (status != TN_OK && first.status == TN_OK) first = *tn_error_last();
            return status;
        };
        for (int i = 0; i < 2; i++) {
            const tn_submit submit = {blocks[i].get(), nullptr, outs_[i], poison[i].data(), nullptr};
            submitted[i] = keep(vulkan().program_submit(programs[i], &submit, &fences[i]));
        }
        for (int i = 1; i >= 0; i--) {
            waited[i] = submitted[i] == TN_OK ? keep(vulkan().fence_wait(device_, fences[i])) : submitted[i];
            EXPECT_EQ(poison[i], waited[i] == TN_OK ? std::vector<uint32_t>(poison[i].size(), 0) : untouched[i]) << i;
            poison[i] = untouched[i];
        }
        if (first.status != TN_OK) tn_error_set(&first);
        return first.status;
    });
    return done && read_rows(logits(last, last + 1), outs_[0]) && read_rows(logits(0, kPrompt), outs_[1]);
}

// The head alone, as behind another device: a row that is written for it, and one that is read back before a step takes it in.
bool Walk::hops()
{
    const auto &model = lesson_.model;
    const auto &row = lesson_.before_head;
    const size_t last = lesson_.tokens.size() - 1;
    const auto write = [&] { return vulkan().buffer_write(outs_[0], 0, row.data(), row.size() * sizeof(float)); };
    const conformance::Step arrays = conformance::step_of(lesson_.tokens, last, last + 1, bounds(), {4, 5});
    if (!create_program(model.cuts[2].node, model.net.graph->n_nodes, model.cuts[2].value, model.logits, &head_) || !head_) return false;
    for (int i = 0; i < 3; i++) {
        if (!attempt("buffer_write of a row", write)) return false;
        if (i == 1 && !read_rows({row}, outs_[0])) return false;
        if (!submit("head", head_, arrays, outs_[0], outs_[1]) || !read_rows(logits(last, last + 1), outs_[1])) return false;
    }
    return true;
}

std::vector<std::vector<float>> Walk::logits(size_t begin, size_t end) const
{
    return {lesson_.want.begin() + static_cast<long>(begin), lesson_.want.begin() + static_cast<long>(end)};
}

bool Walk::read_rows(const std::vector<std::vector<float>> &want, tn_buffer *out)
{
    std::vector<float> got(want.size() * want[0].size());
    if (!attempt("buffer_read of rows", [&] { return vulkan().buffer_read(out, 0, got.data(), got.size() * sizeof(float)); })) return false;
    EXPECT_EQ(lost_ ? "" : conformance::same_rows("rows", got, want), "");
    return true;
}

void Walk::destroy_all()
{
    vulkan().program_destroy(program_);
    vulkan().program_destroy(twin_);
    vulkan().program_destroy(head_);
    for (tn_buffer *buffer : {packed_, kv_, mapped_, outs_[0], outs_[1]}) vulkan().buffer_destroy(buffer);
    program_ = twin_ = head_ = nullptr;
    weights_.clear();
    packed_ = kv_ = mapped_ = outs_[0] = outs_[1] = nullptr;
}

void Walk::close()
{
    destroy_all();
    vulkan().device_close(device_);
    device_ = nullptr;
    lost_ = false;
    if (keep_.release) keep_.release(keep_.state);
    keep_ = {};
}

} // namespace vulkan_test
