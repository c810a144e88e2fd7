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
    want = conformance::reference_logits(model, tokens);
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

void Walk::run()
{
    if (open()) use();
    close();
    EXPECT_EQ(layer_->alive(), std::vector<std::string>());
}

void Walk::use()
{
    weights_.assign(lesson_.model.net.graph->n_weights, {});
    (void)(pack_weights() && use_buffers() && create_program() && decode());
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

bool Walk::pack_weights()
{
    const tn_graph *graph = lesson_.model.net.graph;
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        const tn_weight_source *source = &graph->weights[i];
        tn_packed_weight *packed = &weights_[i];
        EXPECT_EQ(vulkan().weight_layout(device_, source, &packed->layout), TN_OK);
        if (!create_buffer("a weight's buffer", packed->layout.size_bytes, &packed->buffer)) return false;
        if (!packed->buffer) continue; // of a lost device
        if (!attempt("weight_pack", [&] { return vulkan().weight_pack(device_, source, packed->buffer, 0); })) return false;
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
    const uint64_t out_bytes = uint64_t(kPrompt) * net.width(lesson_.model.logits) * sizeof(float);
    if (!create_buffer("the KV cache", kv_bytes, &kv_)) return false;
    for (tn_buffer *&out : outs_) {
        if (!create_buffer("an output", out_bytes, &out)) return false;
    }
    const uint32_t mark = kUntouched;
    return !outs_[1] || attempt("buffer_write", [&] { return vulkan().buffer_write(outs_[1], 4, &mark, sizeof mark); });
}

bool Walk::create_program()
{
    const tn_graph *graph = lesson_.model.net.graph;
    tn_program_desc desc = {};
    desc.graph = graph;
    desc.n_nodes = graph->n_nodes;
    desc.in_value = TN_NONE;
    desc.out_value = lesson_.model.logits;
    desc.weights = weights_.data();
    desc.kv = kv_;
    desc.n_layers = conformance::kLayers;
    desc.limits = bounds().limits();
    return attempt("program_create", [&] {
        program_ = reinterpret_cast<tn_program *>(this);
        const tn_status status = vulkan().program_create(device_, &desc, &program_);
        EXPECT_EQ(program_ == nullptr, status != TN_OK);
        return status;
    });
}

// A prompt of two sequences; a few tokens behind copies of their pages; single tokens, to one buffer and to another.
bool Walk::decode()
{
    if (!program_) return true; // of a lost device
    if (!step(0, kPrompt, {0, 1}, {}, outs_[0])) return false;
    if (!step(kPrompt, kPrompt + kFew, {4, 5}, {0, 4, 1, 5}, outs_[0])) return false;
    for (size_t i = 0; i < kAlone; i++) {
        const size_t at = kPrompt + kFew + i;
        if (!step(at, at + 1, {4, 5}, {}, outs_[i == 1])) return false;
    }
    return true;
}

bool Walk::step(size_t begin, size_t end, std::vector<uint32_t> pages, std::vector<uint32_t> copies, tn_buffer *out)
{
    conformance::Step arrays = conformance::step_of(lesson_.tokens, begin, end, bounds(), pages);
    arrays.copies = std::move(copies);
    conformance::StepBlock block(arrays, bounds().limits());
    const std::vector<uint32_t> untouched(end - begin, kUntouched);
    std::vector<uint32_t> poison = untouched;
    const tn_submit submit = {block.get(), nullptr, out, poison.data()};
    const std::string what = "step of " + std::to_string(end - begin);
    const bool done = attempt(what, [&] {
        tn_fence fence = {77};
        tn_status status = vulkan().program_submit(program_, &submit, &fence);
        EXPECT_EQ(fence.value != 0, status == TN_OK);
        if (status == TN_OK) status = vulkan().fence_wait(device_, fence);
        EXPECT_EQ(poison, status == TN_OK ? std::vector<uint32_t>(end - begin, 0) : untouched) << what;
        return status;
    });
    return done && read_rows(begin, end, out);
}

bool Walk::read_rows(size_t begin, size_t end, tn_buffer *out)
{
    const size_t width = lesson_.model.net.width(lesson_.model.logits);
    std::vector<float> got((end - begin) * width);
    if (!attempt("buffer_read of rows", [&] { return vulkan().buffer_read(out, 0, got.data(), got.size() * sizeof(float)); })) return false;
    if (lost_) return true;
    const auto at = [&](size_t i) { return lesson_.want.begin() + static_cast<long>(i); };
    EXPECT_EQ(conformance::same_rows("tokens from " + std::to_string(begin), got, {at(begin), at(end)}), "");
    return true;
}

void Walk::destroy_all()
{
    vulkan().program_destroy(program_);
    for (tn_packed_weight &weight : weights_) vulkan().buffer_destroy(weight.buffer);
    for (tn_buffer *buffer : {kv_, mapped_, outs_[0], outs_[1]}) vulkan().buffer_destroy(buffer);
    program_ = nullptr;
    weights_.clear();
    kv_ = mapped_ = outs_[0] = outs_[1] = nullptr;
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
