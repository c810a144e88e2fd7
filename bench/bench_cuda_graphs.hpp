// The launches of a CUDA program's step in graphs of other choices than all, and what the steps of such graphs take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
#include "cuda/cuda_memory.h"
#include "cuda/cuda_program.h"
}

namespace bench_cuda
{

inline void check(tn_status status)
{
    if (status != TN_OK) throw std::runtime_error(tn_error_last()->message);
}

inline double median(std::vector<double> of)
{
    std::sort(of.begin(), of.end());
    const size_t half = of.size() / 2;
    return of.size() % 2 ? of[half] : (of[half - 1] + of[half]) / 2;
}

struct Graph {
    std::string name;
    uint32_t n_inner = 0;   // launches between `begin` and `end`
    uint32_t n_samples = 1; // that are launched one behind another between two events
    CUgraphExec exec = nullptr;
    std::vector<double> us; // a step, one figure a round
};

// Graphs over the launches of one list. Each has the list's first kernel and its last, `begin` and `end`, around those that are chosen:
// `begin` brings the step, of which all others have their rows, positions and pages, so that whatever lies in memory they read and write
// only where they do in whole steps. Values are what the kernels in front happened to leave; no kernel's way depends on them but that of
// `rank`, which reads more where many logits are large, and what is stored as poison. A row's largest value, which `begin` sets to 0 and
// the kernel that stores the row leaves, decides whether its codes are made twice: where that kernel is not in the graph, the one that
// takes it takes another in its place. Counters of blocks are given back as 0 by the kernel that counts, which is looked at. A program's
// submit must not be in flight.
class Graphs
{
  public:
    Graphs(tn_cuda_device *device, const tn_cuda_list *list, const tn_cuda_places *places)
        : device_(device), list_(list), counters_(places->counters), n_counters_(list->n_counters)
    {
        if (list->n_launches < 3 || list->launches[0].kernel != TN_CUDA_begin || last().kernel != TN_CUDA_end)
            throw std::runtime_error("the program's list does not lie between begin and end");
        inside([&] { return create_events(); });
        inside([&] { return create_largest(); });
    }
    ~Graphs()
    {
        if (tn_cuda_enter(device_) != TN_OK) return; // it is lost, and all of it with it
        for (Graph &graph : graphs_) device_->cu->cuGraphExecDestroy(graph.exec);
        if (begun_) device_->cu->cuEventDestroy(begun_);
        if (ended_) device_->cu->cuEventDestroy(ended_);
        if (largest_) device_->cu->cuMemFree(largest_);
        (void)tn_cuda_leave(device_, TN_OK);
    }
    Graphs(const Graphs &) = delete;
    Graphs &operator=(const Graphs &) = delete;

    const tn_cuda_list &list() const { return *list_; }
    const Graph &operator[](size_t i) const { return graphs_[i]; }

    // The first one that is added is the whole step, which is done in front of each sample.
    size_t add(const std::string &name, const std::vector<tn_cuda_launch> &inner)
    {
        std::vector<tn_cuda_launch> launches = {list_->launches[0]};
        launches.insert(launches.end(), inner.begin(), inner.end());
        launches.push_back(last());
        replace_missing_largest(&launches);
        tn_cuda_list list = {};
        list.launches = launches.data();
        list.n_launches = static_cast<uint32_t>(launches.size());
        inside([&] { return tn_cuda_graph_create(device_, &list); });
        Graph graph;
        graph.name = name;
        graph.n_inner = static_cast<uint32_t>(inner.size());
        graph.exec = list.exec;
        graphs_.push_back(graph);
        return graphs_.size() - 1;
    }

    // Does each once, looks at the counters, and finds out how often it fits into a sample.
    void warm()
    {
        for (Graph &graph : graphs_) {
            const double us = sample(graph);
            look_at_counters(graph);
            graph.n_samples = static_cast<uint32_t>(std::clamp(std::ceil(kSampleUs / us), 1.0, kSamplesMax));
            if (&graph == graphs_.data()) n_before_ = static_cast<uint32_t>(std::clamp(std::ceil(kBeforeUs / us), 1.0, kSamplesMax));
        }
    }
    // All graphs take turns, so that clocks that change meet all of them.
    void round()
    {
        for (Graph &graph : graphs_) graph.us.push_back(sample(graph));
    }

  private:
    static constexpr double kSampleUs = 4000, kBeforeUs = 1000, kSamplesMax = 64;

    const tn_cuda_launch &last() const { return list_->launches[list_->n_launches - 1]; }

    template <class Body> void inside(const Body &body)
    {
        check(tn_cuda_enter(device_));
        check(tn_cuda_leave(device_, body()));
    }
    tn_status create_events()
    {
        TN_TRY(TN_CUDA_CHECK(device_->cu, device_->cu->cuEventCreate(&begun_, CU_EVENT_DEFAULT), "making an event"));
        return TN_CUDA_CHECK(device_->cu, device_->cu->cuEventCreate(&ended_, CU_EVENT_DEFAULT), "making an event");
    }
    // Largest values of a row as usual ones are: floats of 0.75 or so in all words.
    tn_status create_largest()
    {
        const size_t n_bytes = TN_CUDA_LARGEST_WORDS * sizeof(uint32_t);
        TN_TRY(tn_cuda_alloc(device_, n_bytes, "a row's largest value", &largest_));
        return TN_CUDA_CHECK(device_->cu, device_->cu->cuMemsetD8Async(largest_, 0x3f, n_bytes, device_->stream), "cuMemsetD8Async");
    }
    void replace_missing_largest(std::vector<tn_cuda_launch> *launches) const
    {
        std::set<uint64_t> left;
        for (tn_cuda_launch &l : *launches) {
            const std::string kernel = tn_cuda_kernels[l.kernel].name;
            if (kernel == "attention_one_mma") {
                tn_cuda_attention_params p;
                std::memcpy(&p, l.params, sizeof p);
                left.insert(p.next.words);
            }
            if (kernel.rfind("ternary_one", 0) != 0) continue;
            tn_cuda_ternary_params p;
            std::memcpy(&p, l.params, sizeof p);
            if (p.x_largest != 0 && left.count(p.x_largest) == 0) p.x_largest = largest_;
            std::memcpy(l.params, &p, sizeof p);
            left.insert(p.next.words);
        }
    }
    tn_status launch(const Graph &graph, uint32_t n)
    {
        for (uint32_t i = 0; i < n; i++)
            TN_TRY(TN_CUDA_CHECK(device_->cu, device_->cu->cuGraphLaunch(graph.exec, device_->stream), graph.name.c_str()));
        return TN_OK;
    }
    tn_status record(CUevent event)
    {
        return TN_CUDA_CHECK(device_->cu, device_->cu->cuEventRecord(event, device_->stream), "recording an event");
    }
    // Whole steps in front keep the device busy while the others are given to it, and leave values as they are in whole steps.
    tn_status time(const Graph &graph, float *out_ms)
    {
        TN_TRY(launch(graphs_[0], n_before_));
        TN_TRY(record(begun_));
        TN_TRY(launch(graph, graph.n_samples));
        TN_TRY(record(ended_));
        TN_TRY(TN_CUDA_CHECK(device_->cu, device_->cu->cuEventSynchronize(ended_), graph.name.c_str()));
        return TN_CUDA_CHECK(device_->cu, device_->cu->cuEventElapsedTime(out_ms, begun_, ended_), "reading an event");
    }
    double sample(const Graph &graph)
    {
        float ms = 0;
        inside([&] { return time(graph, &ms); });
        return static_cast<double>(ms) * 1e3 / graph.n_samples;
    }
    void look_at_counters(const Graph &graph)
    {
        std::vector<uint32_t> counters(n_counters_);
        if (counters.empty()) return;
        inside([&] { return tn_cuda_download(device_, counters.data(), counters_, counters.size() * sizeof counters[0]); });
        if (std::any_of(counters.begin(), counters.end(), [](uint32_t n) { return n != 0; }))
            throw std::runtime_error(graph.name + ": leaves counters that are not 0, with which later steps would go wrong");
    }

    tn_cuda_device *device_;
    const tn_cuda_list *list_;
    CUdeviceptr counters_;
    uint64_t n_counters_;
    CUevent begun_ = nullptr, ended_ = nullptr;
    CUdeviceptr largest_ = 0;
    std::vector<Graph> graphs_;
    uint32_t n_before_ = 1;
};

} // namespace bench_cuda
