// The parts of a step: launches of one kernel, and launches at one position of every layer, each left out, alone, and up to there.
#pragma once

#include "bench_cuda_graphs.hpp"

#include <cstring>

extern "C" {
#include "cuda/kernels/kernel_params.h"
}

namespace bench_cuda
{

constexpr size_t kNoGraph = SIZE_MAX;

struct Part {
    std::string kernel, what;
    std::vector<uint32_t> at; // which of the list's launches
    size_t without = kNoGraph, alone = kNoGraph, up_to = kNoGraph;
    uint32_t n_alone = 0; // launches of the part in its graph `alone`
};

// "blk.3.ffn_up.weight" is "ffn_up".
inline std::string short_name(std::string name)
{
    if (name.rfind("blk.", 0) == 0 && name.find('.', 4) != std::string::npos) name.erase(0, name.find('.', 4) + 1);
    const std::string suffix = ".weight";
    if (name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0)
        name.resize(name.size() - suffix.size());
    return name;
}

// The nodes whose time a launch is, by their weights or ops; "" where it is nobody's.
inline std::string what_of(const tn_graph *graph, const tn_cuda_launch &launch)
{
    std::string what;
    for (uint32_t node : launch.nodes) {
        if (node == TN_NONE) continue;
        const uint32_t weight = graph->nodes[node].weight;
        if (!what.empty()) what += ",";
        what += weight == TN_NONE ? tn_op_name(graph->nodes[node].op) : short_name(graph->weights[weight].name);
    }
    return what;
}

// The layer that a launch is of; TN_NONE: of none.
inline uint32_t layer_of(const tn_graph *graph, const tn_cuda_launch &launch)
{
    if (launch.nodes[0] == TN_NONE) return TN_NONE;
    const int32_t layer = graph->nodes[launch.nodes[0]].layer;
    return layer == TN_LAYER_EMBED || layer == TN_LAYER_HEAD ? TN_NONE : static_cast<uint32_t>(layer);
}

// Memory of the device that is 0: a step without rows, for kernels that shall find nothing to do.
class Zeros
{
  public:
    explicit Zeros(tn_device *device) { check(device->backend->buffer_create(device, kBytes, &buffer_)); }
    ~Zeros() { buffer_->device->backend->buffer_destroy(buffer_); }
    Zeros(const Zeros &) = delete;
    Zeros &operator=(const Zeros &) = delete;
    CUdeviceptr at() const { return tn_cuda_buffer_of(buffer_)->at; }

  private:
    static constexpr uint64_t kBytes = 256; // of which such kernels read the first words
    tn_buffer *buffer_ = nullptr;
};

class Step
{
  public:
    Step(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_places *places, const tn_graph *graph)
        : graphs_(device, list, places), graph_(graph), zeros_(&device->base)
    {
        find_parts();
        all_ = graphs_.add("all launches", choose([](uint32_t) { return true; }));
        frame_ = graphs_.add("begin and end alone", {});
        empty_one_ = graphs_.add("empty kernels of one block", empty(1));
        empty_full_ = graphs_.add("empty kernels of a block a multiprocessor", empty(device->traits.n_sms));
        no_layers_ = graphs_.add("no layers", choose([&](uint32_t i) { return positions_of_[i] == TN_NONE; }));
        for (Part &part : kinds_) add_graphs(part);
        for (uint32_t p = 0; p < positions_.size(); p++) {
            add_graphs(positions_[p]);
            positions_[p].up_to = graphs_.add("up to " + std::to_string(p) + " " + positions_[p].kernel,
                                              choose([&](uint32_t i) { return positions_of_[i] == TN_NONE || positions_of_[i] <= p; }));
        }
    }

    void measure(uint32_t n_rounds)
    {
        graphs_.warm();
        for (uint32_t i = 0; i < n_rounds; i++) graphs_.round();
    }

    const std::vector<Part> &kinds() const { return kinds_; }
    const std::vector<Part> &positions() const { return positions_; }
    uint32_t n_launches() const { return graphs_.list().n_launches; }
    const Graph &all() const { return graphs_[all_]; }
    const Graph &frame() const { return graphs_[frame_]; }
    const Graph &empty_one() const { return graphs_[empty_one_]; }
    const Graph &empty_full() const { return graphs_[empty_full_]; }
    const Graph &no_layers() const { return graphs_[no_layers_]; }
    const Graph &up_to(const Part &part) const { return graphs_[part.up_to]; }
    bool has_graphs(const Part &part) const { return part.without != kNoGraph; }

    // What each launch takes by what it adds to a step, in us.
    double left_out_us(const Part &part) const { return difference(all(), graphs_[part.without]) / static_cast<double>(part.at.size()); }
    double alone_us(const Part &part) const { return difference(graphs_[part.alone], frame()) / part.n_alone; }
    double empty_us(const Graph &graph) const { return difference(graph, frame()) / graph.n_inner; }
    double added_us(size_t position) const
    {
        const Part &part = positions_[position];
        const Graph &before = position == 0 ? no_layers() : up_to(positions_[position - 1]);
        return difference(up_to(part), before) / static_cast<double>(part.at.size());
    }

  private:
    // Of graphs that took turns, round by round.
    static double difference(const Graph &more, const Graph &less)
    {
        std::vector<double> us(more.us.size());
        std::transform(more.us.begin(), more.us.end(), less.us.begin(), us.begin(), [](double a, double b) { return a - b; });
        return median(us);
    }

    template <class Wants> std::vector<tn_cuda_launch> choose(const Wants &wants) const
    {
        std::vector<tn_cuda_launch> chosen;
        for (uint32_t i = 1; i + 1 < n_launches(); i++)
            if (wants(i)) chosen.push_back(graphs_.list().launches[i]);
        return chosen;
    }

    // Kernels that find a step without rows, as many as the step has others.
    std::vector<tn_cuda_launch> empty(uint32_t n_blocks) const
    {
        tn_cuda_copy_params params = {};
        params.step.words = zeros_.at();
        tn_cuda_launch launch = {};
        launch.kernel = TN_CUDA_copy_rows;
        launch.grid[0] = n_blocks;
        launch.grid[1] = launch.grid[2] = 1;
        std::memcpy(launch.params, &params, sizeof params);
        return std::vector<tn_cuda_launch>(n_launches() - 2, launch);
    }

    void find_parts()
    {
        uint32_t layer = TN_NONE;
        size_t behind = 0; // of the layer's position before
        for (uint32_t i = 0; i < n_launches(); i++) {
            const tn_cuda_launch &launch = graphs_.list().launches[i];
            const std::string kernel = tn_cuda_kernels[launch.kernel].name;
            take(&kinds_, kinds_.size(), kernel, "", i);
            if (layer_of(graph_, launch) != layer) behind = 0;
            layer = layer_of(graph_, launch);
            if (layer != TN_NONE) behind = take(&positions_, behind, kernel, what_of(graph_, launch), i) + 1;
        }
        positions_of_.assign(n_launches(), TN_NONE);
        for (uint32_t p = 0; p < positions_.size(); p++)
            for (uint32_t i : positions_[p].at) positions_of_[i] = p;
    }
    // Adds launch i to the part that is as it is, or to a new one before `parts[before]`: layers may lack what others have, as the first
    // one lacks a kernel for its norm where the embedding makes the codes. Which part.
    static size_t take(std::vector<Part> *parts, size_t before, const std::string &kernel, const std::string &what, uint32_t i)
    {
        const auto same = [&](const Part &part) { return part.kernel == kernel && part.what == what; };
        auto part = std::find_if(parts->begin(), parts->end(), same);
        if (part == parts->end()) {
            part = parts->insert(parts->begin() + static_cast<std::ptrdiff_t>(before), Part());
            part->kernel = kernel;
            part->what = what;
        }
        part->at.push_back(i);
        return static_cast<size_t>(part - parts->begin());
    }

    // Alone, the part's launches are repeated in their order, so that the graph is about as long as the step's: the host's part of it is
    // then as little beside the device's.
    void add_graphs(Part &part)
    {
        const std::vector<uint32_t> &at = part.at;
        if (at[0] == 0 || at[0] + 1 == n_launches()) return; // of begin and end, which all graphs have
        const std::string name = part.kernel + (part.what.empty() ? "" : " (" + part.what + ")");
        const auto has = [&](uint32_t i) { return std::find(at.begin(), at.end(), i) != at.end(); };
        part.without = graphs_.add("without " + name, choose([&](uint32_t i) { return !has(i); }));
        const std::vector<tn_cuda_launch> once = choose(has);
        std::vector<tn_cuda_launch> repeated = once;
        while (repeated.size() + once.size() <= n_launches() - 2) repeated.insert(repeated.end(), once.begin(), once.end());
        part.alone = graphs_.add(name + " alone", repeated);
        part.n_alone = static_cast<uint32_t>(repeated.size());
    }

    Graphs graphs_;
    const tn_graph *graph_;
    Zeros zeros_;
    std::vector<Part> kinds_, positions_; // in the order of the list
    std::vector<uint32_t> positions_of_;  // of each launch in its layer; TN_NONE: it is of none
    size_t all_, frame_, empty_one_, empty_full_, no_layers_;
};

} // namespace bench_cuda
