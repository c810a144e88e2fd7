// What the driver's stand-in knows, for its own files.
#ifndef TN_TESTS_CUDA_HOST_DRIVER_STATE_HPP
#define TN_TESTS_CUDA_HOST_DRIVER_STATE_HPP

#include "cuda_host/driver.hpp"
#include "cuda_host/emulation.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

namespace cuda_driver
{

// Objects by handle. A handle is never given twice, and no address.
template <class Handle, class T> class Table
{
  public:
    Handle add(std::shared_ptr<T> object);
    T *find(Handle handle) const
    {
        const auto found = objects_.find(handle);
        return found == objects_.end() ? nullptr : found->second.get();
    }
    bool remove(Handle handle) { return objects_.erase(handle) > 0; }
    template <class Test> void remove_if(Test test)
    {
        for (auto at = objects_.begin(); at != objects_.end();) at = test(*at->second) ? objects_.erase(at) : std::next(at);
    }
    size_t size() const { return objects_.size(); }
    const std::map<Handle, std::shared_ptr<T>> &all() const { return objects_; }

  private:
    std::map<Handle, std::shared_ptr<T>> objects_;
};

struct ContextState {
    CUdevice device = 0;
    uint32_t n_retained = 0;
    CUresult error = CUDA_SUCCESS; // what left it unusable
};
struct ModuleState {
    CUcontext context;
};
struct FunctionState {
    CUcontext context;
    CUmodule module;
    std::string name;
    const cuda_host::Kernel *kernel; // nullptr: the list has it, but nobody wrote it yet
    size_t params_bytes;
    uint32_t threads, shared_max; // dynamic, as asked for
    uint32_t shared_most;         // with the kernel's own arrays
    int carveout;                 // of fast memory that shared memory is to have, percent; -1: as the driver likes
};
using Task = std::function<CUresult()>;
struct StreamState {
    CUcontext context;
    std::deque<Task> tasks;
    uint64_t n_given = 0, n_done = 0;
};
struct EventState {
    CUcontext context;
    unsigned flags;
    CUstream stream = nullptr; // where it was recorded last, as which of the stream's tasks
    uint64_t ticket = 0;
    uint64_t time_ns = 0; // 0: not reached
};
// A kernel with what it is given, as it was when it was given.
struct Call {
    std::string name;
    const cuda_host::Kernel *kernel;
    cuda_host::Launch launch;
    std::vector<uint8_t> params;
};
struct NodeState {
    CUgraph graph;
    size_t index;
};
struct GraphEdge {
    size_t before;
    bool is_programmatic;
};
struct GraphNode {
    Call call;
    std::vector<GraphEdge> after;
};
struct GraphState {
    std::vector<GraphNode> nodes;
};
struct ExecState {
    CUcontext context;
    std::shared_ptr<const GraphState> graph;
};
// Memory between guards.
struct Block {
    CUcontext context;
    size_t n_bytes;
    bool is_host;
    void *base; // what was allocated
    size_t base_bytes;
};

struct Driver {
    std::mutex mutex;
    DriverOptions options;
    bool is_initialised = false;
    uint64_t n_resets = 0;
    std::map<std::string, uint32_t> calls;
    std::set<std::string> launched;
    std::vector<std::string> complaints;
    std::string fail_function;
    uint32_t fail_nth = 0;
    CUresult fail_result = CUDA_SUCCESS;
    bool has_failed = false;
    std::map<CUdevice, CUcontext> primary;
    Table<CUcontext, ContextState> contexts;
    Table<CUmodule, ModuleState> modules;
    Table<CUfunction, FunctionState> functions;
    Table<CUstream, StreamState> streams;
    Table<CUevent, EventState> events;
    Table<CUgraph, GraphState> graphs;
    Table<CUgraphNode, NodeState> nodes;
    Table<CUgraphExec, ExecState> execs;
    std::map<uintptr_t, Block> blocks;
    std::mt19937 random{7};
};
Driver &driver();
void complain(const std::string &what);
void *new_handle();

template <class Handle, class T> Handle Table<Handle, T>::add(std::shared_ptr<T> object)
{
    const Handle handle = static_cast<Handle>(new_handle());
    objects_[handle] = std::move(object);
    return handle;
}

// A call of a function of the driver from its begin to its end: counts it, and knows whether it is to fail.
class Entered
{
  public:
    explicit Entered(const char *name);
    // SUCCESS, or what the function answers at once: it is to fail, the driver is not initialised, there is no context, or it is unusable.
    CUresult outside() const; // of functions that need no context
    CUresult inside();        // of those that do
    CUcontext context() const { return context_; }
    const char *name() const { return name_; }
    // A handle that is none.
    CUresult stray(CUresult result = CUDA_ERROR_INVALID_HANDLE) const;
    CUresult wrong(CUresult result, const std::string &why) const;

  private:
    const char *name_;
    std::lock_guard<std::mutex> lock_;
    CUresult injected_ = CUDA_SUCCESS;
    CUcontext context_ = nullptr;
};

// Without a destructor: devices are closed by what lives as long as the program, after a thread's own objects are gone.
struct ContextStack {
    CUcontext contexts[64];
    size_t n;
    bool empty() const { return n == 0; }
    size_t size() const { return n; }
    CUcontext back() const { return contexts[n - 1]; }
    void clear() { n = 0; }
    void pop_back() { n--; }
    bool push_back(CUcontext context)
    {
        if (n == sizeof contexts / sizeof *contexts) return false;
        contexts[n++] = context;
        return true;
    }
};
ContextStack &context_stack();  // of the calling thread
int compiled_for();             // compute capability, of all kernels
bool is_fatal(CUresult result); // whether it leaves a context unusable
void spoil(CUcontext context, CUresult result);
void destroy_context(CUcontext context);

// driver_stream.cpp
void give(CUstream stream, Task task);
// Does what was given to a stream, as far as task number `ticket`.
constexpr uint64_t kAll = UINT64_MAX;
void drain(StreamState *stream, uint64_t ticket);
void drain_context(CUcontext context);
// Runs a kernel.
CUresult run_call(const Call &call);
// Takes a launch apart; `params` has one pointer to the kernel's struct.
CUresult make_call(const Entered &entered, CUfunction function, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
                   void **params, void **extra, Call *out_call);

// driver_bend.cpp
// Runs a kernel, and bends what it leaves in memory.
std::vector<std::string> run_bent(const Call &call);

// driver_memory.cpp
void free_block(uintptr_t at);
// The block that holds [at, at + n_bytes); nullptr: none does wholly.
const Block *find_block(uintptr_t at, size_t n_bytes);
// Whether some byte of it lies in a block.
const Block *touches_block(uintptr_t at, size_t n_bytes);

} // namespace cuda_driver

#endif
