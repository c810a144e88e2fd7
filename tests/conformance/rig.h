// A device of a registered backend under test, and programs on it with everything that they need.
#ifndef TN_TESTS_CONFORMANCE_RIG_H
#define TN_TESTS_CONFORMANCE_RIG_H

#include "conformance/cuda_hooks.h"
#include "conformance/ref_net.h"
#include "conformance/vulkan_hooks.h"
#include "support/step_block.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <stdexcept>

extern "C" {
#include "backend/backend.h"
}

namespace conformance
{

inline void must(tn_status status, const char *what)
{
    if (status != TN_OK) throw std::runtime_error(std::string(what) + ": " + tn_status_name(status) + ": " + tn_error_last()->message);
}
#define MUST(expr) ::conformance::must((expr), #expr)

class OpenDevice;

// What all tests of the program share: what backends that load a driver keep, and their devices.
struct Shared {
    std::map<const tn_backend *, tn_backend_keep> keeps;
    std::map<std::string, std::unique_ptr<OpenDevice>> devices;
    void close();
};

// Given back before main ends: a driver's own statics may be gone when those of this program are.
class SharedEnvironment : public testing::Environment
{
  public:
    void TearDown() override { shared.close(); }
    Shared shared;
};

inline Shared &shared()
{
    static auto *environment = static_cast<SharedEnvironment *>(testing::AddGlobalTestEnvironment(new SharedEnvironment));
    return environment->shared;
}

inline tn_backend_keep *shared_keep(const tn_backend *backend) { return &shared().keeps[backend]; }

// One device, as a host with this many threads and this ISA would have it.
struct Target {
    std::string name = {}; // "cpu0_avx2_3_threads"
    const tn_backend *backend = nullptr;
    uint32_t index = 0;
    uint32_t n_threads = 0;
    std::string isa = {};     // "": no limit
    std::string packing = {}; // of a CPU's ternary weights; "": as it chooses
    std::string skip = {};    // of a CPU, what squared ReLU makes 0: "on", "off"; "": as it chooses
    std::string kernels = {}; // form of a Vulkan device's kernels; "": as it chooses
    VulkanHooks vulkan = {};  // what is made of a Vulkan device
    CudaHooks cuda = {};      // and of a CUDA device
    bool is_thorough = true;  // runs every shape of every case; else some of each kind
};

// A device that is open, and all that was said of its host.
class OpenDevice
{
  public:
    explicit OpenDevice(Target target) : target_(std::move(target))
    {
        share_.n_threads = target_.n_threads;
        host_.n_cpu_shares = 1;
        host_.cpu_shares = &share_;
        host_.cpu_isa_max = or_null(target_.isa);
        host_.cpu_packing = or_null(target_.packing);
        host_.cpu_skip = or_null(target_.skip);
        host_.vulkan_kernels = or_null(target_.kernels);
        host_.vulkan_hooks = vulkan_hooks_of(target_.vulkan);
        host_.cuda_hooks = cuda_hooks_of(target_.cuda);
        host_.cuda_library = std::getenv("TN_CUDA_LIBRARY");
        host_.cache_folder = or_null(cache_folder_);
        host_.keep = shared_keep(target_.backend);
        MUST(target_.backend->device_open(&host_, target_.index, &device_));
    }
    ~OpenDevice() { target_.backend->device_close(device_); }
    OpenDevice(const OpenDevice &) = delete;
    OpenDevice &operator=(const OpenDevice &) = delete;
    tn_device *get() const { return device_; }

  private:
    static const char *or_null(const std::string &text) { return text.empty() ? nullptr : text.c_str(); }
    // Compiled shaders are kept from program to program where the tests have a folder for such things.
    static std::string cache_folder()
    {
        const char *folder = std::getenv("XDG_CACHE_HOME");
        return folder && *folder ? std::string(folder) + "/conformance" : "";
    }
    const Target target_;
    const std::string cache_folder_ = cache_folder();
    tn_cpu_share share_ = {};
    tn_backend_host host_ = {};
    tn_device *device_ = nullptr;
};

inline void Shared::close()
{
    devices.clear();
    for (auto &entry : keeps) {
        if (entry.second.release) entry.second.release(entry.second.state);
    }
    keeps.clear();
}

// The device of a case. Those with a driver stay open until the program ends, so that each shader is compiled once for all cases.
class Device
{
  public:
    explicit Device(const Target &target)
    {
        if (!target.backend->loads_driver) {
            own_ = std::make_unique<OpenDevice>(target);
            device_ = own_->get();
            return;
        }
        std::unique_ptr<OpenDevice> &device = shared().devices[target.name];
        if (!device) device = std::make_unique<OpenDevice>(target);
        device_ = device->get();
    }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;
    tn_device *get() const { return device_; }
    const tn_backend &api() const { return *device_->backend; }

  private:
    std::unique_ptr<OpenDevice> own_;
    tn_device *device_ = nullptr;
};

class Buffer
{
  public:
    Buffer(const Device &device, uint64_t bytes) : api_(device.api()) { MUST(api_.buffer_create(device.get(), bytes, &buffer_)); }
    ~Buffer() { api_.buffer_destroy(buffer_); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    tn_buffer *get() const { return buffer_; }
    std::vector<float> read(size_t n) const
    {
        std::vector<float> x(n);
        MUST(api_.buffer_read(buffer_, 0, x.data(), n * sizeof(float)));
        return x;
    }
    void write(const std::vector<float> &x) { MUST(api_.buffer_write(buffer_, 0, x.data(), x.size() * sizeof(float))); }

  private:
    const tn_backend &api_;
    tn_buffer *buffer_ = nullptr;
};

struct Bounds {
    uint32_t n_tokens_max = 8, n_logits_max = 8, n_seqs_max = 1, n_seq_pages_max = 1, n_kv_pages = 0; // n_kv_pages 0: as many as the table
    tn_step_limits limits() const
    {
        return {n_tokens_max, n_logits_max, n_seqs_max, n_seq_pages_max, n_kv_pages ? n_kv_pages : n_seqs_max * n_seq_pages_max};
    }
};

// Weights packed for one device, shared by its programs.
class Packed
{
  public:
    Packed(const Device &device, const Net &net)
    {
        for (uint32_t i = 0; i < net.graph->n_weights; i++) {
            const tn_weight_source *source = &net.graph->weights[i];
            tn_packed_weight packed = {};
            MUST(device.api().weight_layout(device.get(), source, &packed.layout));
            packed.offset_bytes = packed.layout.alignment_bytes; // not at the start of its buffer
            buffers_.push_back(std::make_unique<Buffer>(device, packed.offset_bytes + packed.layout.size_bytes));
            packed.buffer = buffers_.back()->get();
            MUST(device.api().weight_pack(device.get(), source, packed.buffer, packed.offset_bytes));
            weights.push_back(packed);
        }
    }
    std::vector<tn_packed_weight> weights;

  private:
    std::vector<std::unique_ptr<Buffer>> buffers_;
};

using tn_test::StepBlock;
using Step = tn_test::StepArrays;

// Pages of sequences in a shuffled order, so that no two neighbours lie side by side.
inline std::vector<uint32_t> shuffled_pages(const Bounds &bounds, Random *random)
{
    std::vector<uint32_t> table(size_t(bounds.n_seqs_max) * bounds.n_seq_pages_max);
    for (uint32_t i = 0; i < table.size(); i++) table[i] = i;
    for (uint32_t i = static_cast<uint32_t>(table.size()); i > 1; i--) std::swap(table[i - 1], table[random->below(i)]);
    return table;
}

inline Step make_step(const std::vector<Token> &tokens, const Bounds &bounds, const std::vector<uint32_t> &pages)
{
    Step step;
    step.n_seqs = bounds.n_seqs_max;
    step.page_table = pages;
    for (uint32_t i = 0; i < tokens.size(); i++) {
        step.tokens.push_back(tokens[i].id);
        step.positions.push_back(tokens[i].position);
        step.seqs.push_back(tokens[i].seq);
    }
    return step;
}

// A program over nodes [first, first + n) with its KV cache, output and taps.
class Program
{
  public:
    Program(const Device &device, const Net &net, const Packed &packed, const Bounds &bounds, uint32_t first_node, uint32_t n_nodes,
            uint32_t in_value, uint32_t out_value, const std::vector<uint32_t> &taps = {})
        : device_(device), net_(net), bounds_(bounds), out_value_(out_value)
    {
        tn_program_desc desc = {};
        desc.graph = net.graph;
        desc.first_node = first_node;
        desc.n_nodes = n_nodes;
        desc.in_value = in_value;
        desc.out_value = out_value;
        desc.weights = packed.weights.data();
        fill_layers(&desc);
        desc.limits = bounds.limits();
        std::vector<tn_tap> tap_descs;
        for (uint32_t value : taps) {
            tap_buffers_[value] = std::make_unique<Buffer>(device, value_bytes(value));
            tap_descs.push_back(tn_tap{value, tap_buffers_[value]->get()});
        }
        desc.screen_stats = &screen_stats;
        desc.taps = tap_descs.data();
        desc.n_taps = static_cast<uint32_t>(tap_descs.size());
        if (in_value != TN_NONE) in_ = std::make_unique<Buffer>(device, value_bytes(in_value));
        out_ = std::make_unique<Buffer>(device, value_bytes(out_value));
        const tn_program_needs needs = check(desc);
        if (desc.n_layers) {
            kv_ = std::make_unique<Buffer>(device, tn_kv_page_layer_bytes(net.graph->n_kv_heads, net.graph->head_dim) *
                                                       desc.limits.n_kv_pages * desc.n_layers);
            desc.kv = kv_->get();
        }
        MUST(device.api().program_create(device.get(), &desc, &program_));
        const uint64_t taken = device.api().program_scratch_bytes(program_);
        EXPECT_LE(taken, needs.scratch_bytes);
        // Only a CPU may give copies up that it would have made.
        if (std::string(device.api().name) != "cpu") {
            EXPECT_EQ(taken, needs.scratch_bytes);
        }
    }
    // What is created passes the check that comes first, before there is a cache or a place for taps.
    tn_program_needs check(tn_program_desc desc) const
    {
        std::vector<tn_tap> taps(desc.taps, desc.taps + desc.n_taps);
        for (tn_tap &tap : taps) tap.buffer = nullptr;
        desc.taps = taps.data();
        desc.kv = nullptr;
        tn_program_needs needs = {99, 99};
        MUST(device_.api().program_check(device_.get(), &desc, &needs));
        return needs;
    }
    ~Program() { device_.api().program_destroy(program_); }
    Program(const Program &) = delete;
    Program &operator=(const Program &) = delete;

    tn_status try_run(const Step &step)
    {
        StepBlock block(step, bounds_.limits());
        poison.assign(step.tokens.size(), 0xdddddddd);
        tn_submit submit = {block.get(), in_ ? in_->get() : nullptr, out_->get(), poison.data(), nullptr};
        tn_fence fence;
        tn_status status = device_.api().program_submit(program_, &submit, &fence);
        return status == TN_OK ? device_.api().fence_wait(device_.get(), fence) : status;
    }
    // The output's rows, [rows][width].
    std::vector<float> run(const Step &step, const std::vector<float> &in = {})
    {
        if (in_) in_->write(in);
        MUST(try_run(step));
        return out_->read(rows(out_value_, step) * net_.width(out_value_));
    }
    std::vector<float> tapped(uint32_t value, const Step &step) const
    {
        return tap_buffers_.at(value)->read(rows(value, step) * net_.width(value));
    }
    tn_program *get() const { return program_; }
    std::vector<uint32_t> poison; // of the last run
    tn_screen_stats screen_stats = {};

  private:
    size_t rows(uint32_t value, const Step &step) const
    {
        return net_.graph->values[value].rows == TN_ROWS_LOGITS ? step.logit_rows.size() : step.tokens.size();
    }
    uint64_t value_bytes(uint32_t value) const
    {
        uint32_t n = net_.graph->values[value].rows == TN_ROWS_LOGITS ? bounds_.n_logits_max : bounds_.n_tokens_max;
        return uint64_t(n) * net_.width(value) * sizeof(float);
    }
    void fill_layers(tn_program_desc *desc) const
    {
        int32_t first = -1, last = -1;
        for (uint32_t i = desc->first_node; i < desc->first_node + desc->n_nodes; i++) {
            const tn_node &n = net_.graph->nodes[i];
            if (n.op != TN_OP_KV_APPEND && n.op != TN_OP_ATTENTION) continue;
            if (first < 0) first = n.layer;
            last = n.layer;
        }
        if (first < 0) return;
        desc->first_layer = first;
        desc->n_layers = static_cast<uint32_t>(last - first + 1);
    }

    const Device &device_;
    const Net &net_;
    const Bounds bounds_;
    const uint32_t out_value_;
    std::map<uint32_t, std::unique_ptr<Buffer>> tap_buffers_;
    std::unique_ptr<Buffer> in_, out_, kv_;
    tn_program *program_ = nullptr;
};

} // namespace conformance

#endif
