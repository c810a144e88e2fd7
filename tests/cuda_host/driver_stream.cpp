// Streams, events, launches and graphs of the driver's stand-in. What a stream is given waits there until somebody waits for the stream,
// for an event in it or for its context, and is then done in the stream's order by the thread that waits.
#include "cuda_host/driver_state.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace cuda_driver
{

namespace
{

uint64_t now_ns()
{
    return (uint64_t)std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void do_one(StreamState *stream)
{
    const Task task = std::move(stream->tasks.front());
    stream->tasks.pop_front();
    const ContextState *context = driver().contexts.find(stream->context);
    const CUresult result = context->error == CUDA_SUCCESS ? task() : CUDA_SUCCESS; // of a context that is lost nothing is done
    stream->n_done++;
    if (result != CUDA_SUCCESS) spoil(stream->context, result);
}

void reach(const EventState &event)
{
    StreamState *stream = driver().streams.find(event.stream);
    if (stream && event.ticket) drain(stream, event.ticket);
}

} // namespace

void drain(StreamState *stream, uint64_t ticket)
{
    while (!stream->tasks.empty() && stream->n_done < ticket) do_one(stream);
}

void drain_context(CUcontext context)
{
    for (const auto &entry : driver().streams.all()) {
        if (entry.second->context == context) drain(entry.second.get(), kAll);
    }
}

void give(CUstream handle, Task task)
{
    StreamState *stream = driver().streams.find(handle);
    stream->tasks.push_back(std::move(task));
    stream->n_given++;
    if (!driver().options.is_deferred) drain(stream, kAll);
}

CUresult run_call(const Call &call)
{
    if (!call.kernel) {
        complain(call.name + ": nobody wrote this kernel");
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    driver().launched.insert(call.name);
    const bool is_bent = call.name == driver().options.bent;
    const std::vector<std::string> complaints = is_bent ? run_bent(call) : cuda_host::run(*call.kernel, call.params.data(), call.launch);
    for (const std::string &complaint : complaints) complain(complaint);
    return complaints.empty() ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

CUresult make_call(const Entered &entered, CUfunction function, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
                   void **params, void **extra, Call *out_call)
{
    const FunctionState *state = driver().functions.find(function);
    if (!state) return entered.stray();
    if (state->context != entered.context()) return entered.wrong(CUDA_ERROR_INVALID_CONTEXT, "a function of another context");
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7fffffffu || grid[1] > 0xffffu || grid[2] > 0xffffu)
        return entered.wrong(CUDA_ERROR_INVALID_VALUE, state->name + ": a grid that no GPU has");
    if (block[0] != state->threads || block[1] != 1 || block[2] != 1)
        return entered.wrong(CUDA_ERROR_INVALID_VALUE, state->name + ": blocks of another size than the kernel's");
    if (shared_bytes > state->shared_max) return entered.wrong(CUDA_ERROR_INVALID_VALUE, state->name + ": more shared memory than allowed");
    if (!params || !params[0] || extra) return entered.wrong(CUDA_ERROR_INVALID_VALUE, state->name + ": its parameters are missing");
    const uint8_t *begin = static_cast<const uint8_t *>(params[0]);
    *out_call = Call{state->name,
                     state->kernel,
                     cuda_host::Launch{{grid[0], grid[1], grid[2]}, shared_bytes, state->shared_most, driver().options.capability},
                     {begin, begin + state->params_bytes}};
    return CUDA_SUCCESS;
}

namespace
{

// Runs a graph's kernels in some order that their dependencies allow.
CUresult run_graph(const GraphState &graph)
{
    const size_t n = graph.nodes.size();
    std::vector<size_t> n_before(n), ready;
    std::vector<std::vector<size_t>> behind(n);
    for (size_t i = 0; i < n; i++) {
        n_before[i] = graph.nodes[i].after.size();
        for (const GraphEdge &edge : graph.nodes[i].after) behind[edge.before].push_back(i);
        if (n_before[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
        std::swap(ready[driver().random() % ready.size()], ready.back());
        const size_t i = ready.back();
        ready.pop_back();
        const CUresult result = run_call(graph.nodes[i].call);
        if (result != CUDA_SUCCESS) return result;
        for (size_t next : behind[i]) {
            if (--n_before[next] == 0) ready.push_back(next);
        }
    }
    return CUDA_SUCCESS;
}

} // namespace

std::vector<std::string> edges()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    std::vector<std::string> all;
    for (const auto &exec : driver().execs.all()) {
        const std::vector<GraphNode> &nodes = exec.second->graph->nodes;
        for (const GraphNode &node : nodes) {
            for (const GraphEdge &edge : node.after)
                all.push_back(nodes[edge.before].call.name + (edge.is_programmatic ? " ~> " : " -> ") + node.call.name);
        }
    }
    return all;
}

} // namespace cuda_driver

using namespace cuda_driver;

namespace
{

constexpr char kLetsNobodyBegin[] = "begin"; // TN_KERNEL_FIRST

CUresult error_of(const Entered &call) { return driver().contexts.find(call.context())->error; }

} // namespace

extern "C" {

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
    Entered call("cuStreamCreate");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    auto state = std::make_shared<StreamState>();
    state->context = call.context();
    *stream = driver().streams.add(state);
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream)
{
    Entered call("cuStreamDestroy");
    const CUresult result = call.inside();
    StreamState *state = driver().streams.find(stream);
    if (!state) return call.stray();
    drain(state, kAll);
    driver().streams.remove(stream);
    return result;
}

CUresult cuStreamSynchronize(CUstream stream)
{
    Entered call("cuStreamSynchronize");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    StreamState *state = driver().streams.find(stream);
    if (!state) return call.stray();
    drain(state, kAll);
    return error_of(call);
}

CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
    Entered call("cuEventCreate");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (flags != CU_EVENT_DEFAULT && flags != CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_VALUE;
    *event = driver().events.add(std::make_shared<EventState>(EventState{call.context(), flags}));
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event)
{
    Entered call("cuEventDestroy");
    const CUresult result = call.inside();
    return driver().events.remove(event) ? result : call.stray();
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
    Entered call("cuEventRecord");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    EventState *state = driver().events.find(event);
    const StreamState *to = driver().streams.find(stream);
    if (!state || !to) return call.stray();
    const uint64_t ticket = to->n_given + 1;
    state->stream = stream;
    state->ticket = ticket;
    state->time_ns = 0;
    give(stream, [event, stream, ticket] {
        EventState *reached = driver().events.find(event); // unless it is gone, or was recorded again
        if (reached && reached->stream == stream && reached->ticket == ticket) reached->time_ns = now_ns();
        return CUDA_SUCCESS;
    });
    return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event)
{
    Entered call("cuEventSynchronize");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const EventState *state = driver().events.find(event);
    if (!state) return call.stray();
    reach(*state);
    return error_of(call);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    Entered call("cuEventElapsedTime");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const EventState *a = driver().events.find(start), *b = driver().events.find(end);
    if (!a || !b) return call.stray();
    if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING || a->ticket == 0 || b->ticket == 0)
        return call.wrong(CUDA_ERROR_INVALID_HANDLE, "events without a time");
    if (a->time_ns == 0 || b->time_ns == 0) return CUDA_ERROR_NOT_READY;
    *milliseconds = (float)((double)b->time_ns - (double)a->time_ns) / 1e6f;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                        unsigned int block_y, unsigned int block_z, unsigned int shared_bytes, CUstream stream, void **params, void **extra)
{
    Entered call("cuLaunchKernel");
    CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (!driver().streams.find(stream)) return call.stray();
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    auto launch = std::make_shared<Call>();
    result = make_call(call, function, grid, block, shared_bytes, params, extra, launch.get());
    if (result == CUDA_SUCCESS) give(stream, [launch] { return run_call(*launch); });
    return result;
}

CUresult cuGraphCreate(CUgraph *graph, unsigned int flags)
{
    Entered call("cuGraphCreate");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    *graph = driver().graphs.add(std::make_shared<GraphState>());
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph)
{
    Entered call("cuGraphDestroy");
    if (!driver().graphs.remove(graph)) return call.stray();
    driver().nodes.remove_if([graph](const NodeState &node) { return node.graph == graph; });
    return call.outside();
}

CUresult cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t n_dependencies,
                              const CUDA_KERNEL_NODE_PARAMS *params)
{
    Entered call("cuGraphAddKernelNode");
    CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    GraphState *state = driver().graphs.find(graph);
    if (!state) return call.stray();
    if (params->kern || params->ctx) return call.wrong(CUDA_ERROR_INVALID_VALUE, "fields that nobody sets");
    GraphNode added;
    for (size_t i = 0; i < n_dependencies; i++) {
        const NodeState *before = driver().nodes.find(dependencies[i]);
        if (!before || before->graph != graph) return call.stray(CUDA_ERROR_INVALID_VALUE);
        added.after.push_back({before->index, false});
    }
    const unsigned grid[3] = {params->gridDimX, params->gridDimY, params->gridDimZ},
                   block[3] = {params->blockDimX, params->blockDimY, params->blockDimZ};
    result = make_call(call, params->func, grid, block, params->sharedMemBytes, params->kernelParams, params->extra, &added.call);
    if (result != CUDA_SUCCESS) return result;
    *node = driver().nodes.add(std::make_shared<NodeState>(NodeState{graph, state->nodes.size()}));
    state->nodes.push_back(std::move(added));
    return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *edges, size_t n_edges)
{
    Entered call("cuGraphAddDependencies");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    GraphState *state = driver().graphs.find(graph);
    if (!state) return call.stray();
    for (size_t i = 0; i < n_edges; i++) {
        const NodeState *before = driver().nodes.find(from[i]), *after = driver().nodes.find(to[i]);
        if (!before || !after || before->graph != graph || after->graph != graph) return call.stray(CUDA_ERROR_INVALID_VALUE);
        const CUgraphEdgeData edge = edges ? edges[i] : CUgraphEdgeData{};
        const bool is_programmatic = edge.type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
        if (edge.from_port != (is_programmatic ? CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC : 0) || edge.to_port != 0)
            return call.wrong(CUDA_ERROR_INVALID_VALUE, "an edge that no graph has");
        if (is_programmatic && driver().options.capability < 90) return call.wrong(CUDA_ERROR_NOT_SUPPORTED, "a programmatic edge");
        if (is_programmatic && compiled_for() < 90)
            return call.wrong(CUDA_ERROR_INVALID_VALUE, "a programmatic edge between kernels that do not wait");
        if (is_programmatic && state->nodes[before->index].call.name == kLetsNobodyBegin)
            return call.wrong(CUDA_ERROR_INVALID_VALUE, "a programmatic edge from a kernel that lets nobody begin");
        state->nodes[after->index].after.push_back({before->index, is_programmatic});
    }
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    Entered call("cuGraphInstantiateWithFlags");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const GraphState *state = driver().graphs.find(graph);
    if (!state) return call.stray();
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    *exec = driver().execs.add(std::make_shared<ExecState>(ExecState{call.context(), std::make_shared<const GraphState>(*state)}));
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    Entered call("cuGraphExecDestroy");
    const CUresult result = call.outside();
    return driver().execs.remove(exec) ? result : call.stray();
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
    Entered call("cuGraphLaunch");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const ExecState *state = driver().execs.find(exec);
    if (!state || !driver().streams.find(stream)) return call.stray();
    const std::shared_ptr<const GraphState> graph = state->graph;
    give(stream, [graph] { return run_graph(*graph); });
    return CUDA_SUCCESS;
}

} // extern "C"
