// The driver's stand-in itself: that it does what a driver does, later than its callers might think, and knows what is no handle.
#include "cuda_host/driver.hpp"
#include "cuda_host/kernel_structs.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <memory>

namespace cuda_driver
{
namespace
{

template <class Function> Function look_up(const char *name, int version)
{
    void *function = nullptr;
    int status = -1;
    EXPECT_EQ(get_proc(name, &function, version, 0, &status), CUDA_SUCCESS) << name;
    return reinterpret_cast<Function>(function);
}

class StandIn : public testing::Test
{
  protected:
    void SetUp() override
    {
        reset(set_);
#define TN_CUDA_SYM(name, version, ...) cu.name = look_up<decltype(cu.name)>(#name, version);
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
        ASSERT_EQ(cu.cuInit(0), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuCtxPushCurrent(context), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuModuleLoadData(&module, TN_CUDA_STAND_IN_SYMBOL), CUDA_SUCCESS);
    }
    void TearDown() override { reset(); }
    CUdeviceptr device_memory(size_t n)
    {
        CUdeviceptr at = 0;
        EXPECT_EQ(cu.cuMemAlloc(&at, n), CUDA_SUCCESS);
        return at;
    }
    uint8_t *host_memory(size_t n)
    {
        void *at = nullptr;
        EXPECT_EQ(cu.cuMemHostAlloc(&at, n, 0), CUDA_SUCCESS);
        return static_cast<uint8_t *>(at);
    }
    // Gives the step's poison to `host`: the simplest kernel that there is.
    struct Poison {
        tn_cuda_end_params params = {};
        CUdeviceptr step = 0, poison = 0;
        uint32_t *host = nullptr;
        CUfunction end = nullptr;
    };
    Poison make_poison()
    {
        Poison p;
        const uint32_t words[4] = {3}, values[3] = {11, 12, 13};
        p.step = device_memory(sizeof words);
        p.poison = device_memory(sizeof values);
        p.host = reinterpret_cast<uint32_t *>(host_memory(12));
        EXPECT_EQ(cu.cuMemcpyHtoDAsync(p.step, words, sizeof words, stream), CUDA_SUCCESS);
        EXPECT_EQ(cu.cuMemcpyHtoDAsync(p.poison, values, sizeof values, stream), CUDA_SUCCESS);
        p.params.step.words = reinterpret_cast<const uint32_t *>(p.step);
        p.params.poison = reinterpret_cast<const uint32_t *>(p.poison);
        p.params.host = p.host;
        EXPECT_EQ(cu.cuModuleGetFunction(&p.end, module, "end"), CUDA_SUCCESS);
        return p;
    }
    CUresult launch(const Poison &p, unsigned threads = 256, unsigned grid_y = 1, unsigned shared = 0)
    {
        tn_cuda_end_params copied = p.params; // which is gone before the kernel runs
        void *params[] = {&copied};
        const CUresult result = cu.cuLaunchKernel(p.end, 1, grid_y, 1, threads, 1, 1, shared, stream, params, nullptr);
        memset(&copied, 0, sizeof copied);
        return result;
    }
    std::vector<std::string> said()
    {
        const std::vector<std::string> all = complaints();
        forget_complaints();
        return all;
    }
    DriverOptions set_;
    tn_cuda_api cu = {};
    CUcontext context = nullptr;
    CUstream stream = nullptr;
    CUmodule module = nullptr;
};

using Lines = std::vector<std::string>;

TEST_F(StandIn, KnowsTheFunctionsOfTheListInTheirVersionsAndNoOthers)
{
    void *function;
    int status;
    EXPECT_EQ(get_proc("cuMemAllocManaged", &function, 6000, 0, &status), CUDA_ERROR_NOT_FOUND);
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    EXPECT_EQ(function, nullptr);
    EXPECT_EQ(get_proc("cuMemAlloc", &function, 2000, 0, &status), CUDA_ERROR_NOT_FOUND); // with sizes of 32 bits
    EXPECT_EQ(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    options().version = 11080;
    EXPECT_EQ(get_proc("cuGraphAddKernelNode", &function, 12000, 0, &status), CUDA_ERROR_NOT_FOUND);
    EXPECT_EQ(get_proc("cuGraphLaunch", &function, 10000, 0, &status), CUDA_SUCCESS);
    options().missing = {"cuGraphLaunch"};
    EXPECT_EQ(get_proc("cuGraphLaunch", &function, 10000, 0, &status), CUDA_ERROR_NOT_FOUND);
}

TEST_F(StandIn, NothingIsDoneBeforeSomebodyWaits)
{
    uint8_t *host = host_memory(4);
    const CUdeviceptr at = device_memory(4);
    memcpy(host, "abc", 4);
    ASSERT_EQ(cu.cuMemcpyHtoDAsync(at, host, 4, stream), CUDA_SUCCESS);
    memcpy(host, "xyz", 4); // the copy's turn has not come
    ASSERT_EQ(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
    char out[4];
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(out, at, 4, stream), CUDA_SUCCESS); // to pageable memory: at once
    EXPECT_STREQ(out, "xyz");
    ASSERT_EQ(cu.cuMemcpyHtoDAsync(at, "def", 4, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host, at, 4, stream), CUDA_SUCCESS);
    EXPECT_STREQ((char *)host, "xyz");
    ASSERT_EQ(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
    EXPECT_STREQ((char *)host, "def");
    EXPECT_EQ(said(), Lines());
}

TEST_F(StandIn, OneThatDoesNotDeferDoesAllAtOnce)
{
    options().is_deferred = false;
    uint8_t *host = host_memory(4);
    const CUdeviceptr at = device_memory(4);
    ASSERT_EQ(cu.cuMemcpyHtoDAsync(at, "abc", 4, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host, at, 4, stream), CUDA_SUCCESS);
    EXPECT_STREQ((char *)host, "abc");
}

TEST_F(StandIn, EventsEndWhereTheyWereRecorded)
{
    CUevent early, late;
    uint8_t *host = host_memory(2);
    const CUdeviceptr at = device_memory(2);
    ASSERT_EQ(cu.cuEventCreate(&early, 0), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuEventCreate(&late, 0), CUDA_SUCCESS);
    EXPECT_EQ(cu.cuEventSynchronize(early), CUDA_SUCCESS); // never recorded
    ASSERT_EQ(cu.cuMemsetD8Async(at, 1, 2, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host, at, 1, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuEventRecord(early, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host + 1, at, 1, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuEventRecord(late, stream), CUDA_SUCCESS);
    float ms;
    EXPECT_EQ(host[0], 0xff); // memory begins as NaN
    EXPECT_EQ(cu.cuEventElapsedTime(&ms, early, late), CUDA_ERROR_NOT_READY);
    ASSERT_EQ(cu.cuEventSynchronize(early), CUDA_SUCCESS);
    EXPECT_EQ(host[0], 1);
    EXPECT_EQ(host[1], 0xff);
    EXPECT_EQ(cu.cuEventElapsedTime(&ms, early, late), CUDA_ERROR_NOT_READY);
    ASSERT_EQ(cu.cuEventSynchronize(late), CUDA_SUCCESS);
    EXPECT_EQ(host[1], 1);
    EXPECT_EQ(cu.cuEventElapsedTime(&ms, early, late), CUDA_SUCCESS);
    EXPECT_GE(ms, 0.0f);
}

TEST_F(StandIn, AnEventThatIsRecordedAgainIsWhereItIsNow)
{
    CUevent event;
    uint8_t *host = host_memory(2);
    const CUdeviceptr at = device_memory(2);
    ASSERT_EQ(cu.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuEventRecord(event, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemsetD8Async(at, 7, 2, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host, at, 1, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuEventRecord(event, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuMemcpyDtoHAsync(host + 1, at, 1, stream), CUDA_SUCCESS);
    EXPECT_EQ(host[0], 0xff);
    ASSERT_EQ(cu.cuEventSynchronize(event), CUDA_SUCCESS);
    EXPECT_EQ(host[0], 7);
    EXPECT_EQ(host[1], 0xff);
    float ms;
    EXPECT_EQ(cu.cuEventElapsedTime(&ms, event, event), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(said(), Lines({"cuEventElapsedTime: events without a time"}));
}

TEST_F(StandIn, KernelsRunWithWhatTheyWereGivenThen)
{
    const Poison p = make_poison();
    ASSERT_EQ(launch(p), CUDA_SUCCESS);
    EXPECT_EQ(p.host[0], 0xffffffffu);
    ASSERT_EQ(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
    EXPECT_EQ(p.host[0], 11u);
    EXPECT_EQ(p.host[2], 13u);
    EXPECT_EQ(said(), Lines());
}

TEST_F(StandIn, LaunchesThatNoGpuTakesAreRefused)
{
    const Poison p = make_poison();
    EXPECT_EQ(launch(p, 128), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(launch(p, 256, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(launch(p, 256, 65536), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(launch(p, 256, 1, (48 << 10) + 1), CUDA_ERROR_INVALID_VALUE);
    ASSERT_EQ(cu.cuFuncSetAttribute(p.end, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10), CUDA_SUCCESS);
    EXPECT_EQ(launch(p, 256, 1, 100 << 10), CUDA_SUCCESS);
    EXPECT_EQ(launch(p, 256, 1, (100 << 10) + 1), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuFuncSetAttribute(p.end, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 << 10), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuLaunchKernel(p.end, 1, 1, 1, 256, 1, 1, 0, stream, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(said().size(), 6u);
}

TEST_F(StandIn, GraphsKeepCopiesAndTheOrderOfTheirDependencies)
{
    Poison p = make_poison();
    CUgraph graph;
    CUgraphExec exec;
    std::vector<CUgraphNode> nodes;
    ASSERT_EQ(cu.cuGraphCreate(&graph, 0), CUDA_SUCCESS);
    const CUdeviceptr between = device_memory(12);
    for (int i = 0; i < 2; i++) { // poison to `between`, from there to the host
        tn_cuda_end_params step = p.params;
        (i == 0 ? step.host : const_cast<uint32_t *&>(step.poison)) = reinterpret_cast<uint32_t *>(between);
        void *params[] = {&step};
        CUDA_KERNEL_NODE_PARAMS node = {};
        node.func = p.end;
        node.gridDimX = node.gridDimY = node.gridDimZ = node.blockDimY = node.blockDimZ = 1;
        node.blockDimX = 256;
        node.kernelParams = params;
        CUgraphNode added;
        ASSERT_EQ(cu.cuGraphAddKernelNode(&added, graph, nodes.data(), nodes.size(), &node), CUDA_SUCCESS);
        nodes.push_back(added);
        memset(&step, 0, sizeof step);
    }
    ASSERT_EQ(cu.cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuGraphDestroy(graph), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuGraphLaunch(exec, stream), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuGraphExecDestroy(exec), CUDA_SUCCESS); // it ends all the same
    EXPECT_EQ(p.host[1], 0xffffffffu);
    ASSERT_EQ(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
    EXPECT_EQ(p.host[1], 12u);
    EXPECT_EQ(cu.cuGraphLaunch(exec, stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cu.cuGraphDestroy(graph), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(said().size(), 2u);
}

TEST_F(StandIn, NodesWithoutDependenciesRunInAnyOrder)
{
    Poison p = make_poison();
    std::set<std::vector<uint32_t>> seen;
    for (int round = 0; round < 40 && seen.size() < 2; round++) {
        CUgraph graph;
        CUgraphExec exec;
        const CUdeviceptr between = device_memory(12);
        ASSERT_EQ(cu.cuMemsetD8Async(between, 0, 12, stream), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuGraphCreate(&graph, 0), CUDA_SUCCESS);
        for (int i = 0; i < 2; i++) {
            tn_cuda_end_params step = p.params;
            (i == 0 ? step.host : const_cast<uint32_t *&>(step.poison)) = reinterpret_cast<uint32_t *>(between);
            void *params[] = {&step};
            CUDA_KERNEL_NODE_PARAMS node = {p.end, 1, 1, 1, 256, 1, 1, 0, params, nullptr, nullptr, nullptr};
            CUgraphNode added;
            ASSERT_EQ(cu.cuGraphAddKernelNode(&added, graph, nullptr, 0, &node), CUDA_SUCCESS);
        }
        ASSERT_EQ(cu.cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuGraphLaunch(exec, stream), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuStreamSynchronize(stream), CUDA_SUCCESS);
        seen.insert({p.host[0], p.host[1], p.host[2]});
        ASSERT_EQ(cu.cuGraphDestroy(graph), CUDA_SUCCESS);
        ASSERT_EQ(cu.cuGraphExecDestroy(exec), CUDA_SUCCESS);
    }
    EXPECT_EQ(seen, (std::set<std::vector<uint32_t>>{{0, 0, 0}, {11, 12, 13}}));
}

TEST_F(StandIn, MemoryIsCountedGuardedAndChecked)
{
    size_t free_before, free_now, total;
    ASSERT_EQ(cu.cuMemGetInfo(&free_before, &total), CUDA_SUCCESS);
    EXPECT_EQ(total, set_.memory_bytes);
    const CUdeviceptr at = device_memory(1000);
    EXPECT_EQ(at % 256, 0u);
    ASSERT_EQ(cu.cuMemGetInfo(&free_now, &total), CUDA_SUCCESS);
    EXPECT_EQ(free_before - free_now, 1024u);
    EXPECT_EQ(used_bytes(), 1024u);
    CUdeviceptr none = 5;
    EXPECT_EQ(cu.cuMemAlloc(&none, total), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(cu.cuMemAlloc(&none, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(none, 5u);
    uint8_t *host = host_memory(100);
    EXPECT_EQ(cu.cuMemcpyHtoDAsync(at + 999, "ab", 2, stream), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuMemcpyHtoDAsync(at, host + 90, 11, stream), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuMemcpyDtoHAsync(host, at - 1, 2, stream), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuMemsetD8Async(0, 0, 1, stream), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuMemFree(at + 16), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cu.cuMemFreeHost(reinterpret_cast<void *>(at)), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(said().size(), 7u);
#if !defined(__SANITIZE_ADDRESS__) // which sees it first
    reinterpret_cast<uint8_t *>(at)[1000] = 1;
    EXPECT_EQ(cu.cuMemFree(at), CUDA_SUCCESS);
    EXPECT_EQ(said(), Lines({"something was written behind memory of 1000 bytes"}));
    host[-1] = 1;
    EXPECT_EQ(cu.cuMemFreeHost(host), CUDA_SUCCESS);
    EXPECT_EQ(said(), Lines({"something was written before memory of 100 bytes"}));
    EXPECT_EQ(used_bytes(), 0u);
#endif
}

TEST_F(StandIn, HandlesThatAreNoneAreKnown)
{
    CUstream gone = stream;
    ASSERT_EQ(cu.cuStreamDestroy(stream), CUDA_SUCCESS);
    EXPECT_EQ(cu.cuStreamSynchronize(gone), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cu.cuStreamDestroy(gone), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cu.cuStreamSynchronize(nullptr), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cu.cuEventSynchronize((CUevent)gone), CUDA_ERROR_INVALID_HANDLE);
    CUfunction function;
    EXPECT_EQ(cu.cuModuleGetFunction(&function, module, "no_kernel"), CUDA_ERROR_NOT_FOUND);
    ASSERT_EQ(cu.cuModuleGetFunction(&function, module, "begin"), CUDA_SUCCESS);
    ASSERT_EQ(cu.cuModuleUnload(module), CUDA_SUCCESS);
    int blocks;
    EXPECT_EQ(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 256, 0), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cu.cuModuleLoadData(&module, "another driver's"), CUDA_ERROR_INVALID_IMAGE);
    EXPECT_EQ(said().size(), 6u);
    CUcontext popped;
    EXPECT_EQ(cu.cuCtxPopCurrent(&popped), CUDA_SUCCESS);
    EXPECT_EQ(popped, context);
    EXPECT_EQ(cu.cuCtxPopCurrent(&popped), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(cu.cuStreamSynchronize(stream), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(cu.cuDevicePrimaryCtxRelease(0), CUDA_SUCCESS);
    EXPECT_EQ(cu.cuCtxPushCurrent(context), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(cu.cuDevicePrimaryCtxRelease(0), CUDA_ERROR_INVALID_CONTEXT);
    CUdevice device;
    EXPECT_EQ(cu.cuDeviceGet(&device, 1), CUDA_ERROR_INVALID_DEVICE);
}

TEST_F(StandIn, WhatIsLeftInAContextIsTold)
{
    EXPECT_EQ(alive(), Lines({"cuDevicePrimaryCtxRetain 1", "cuModuleLoadData 1", "cuStreamCreate 1"}));
    device_memory(3);
    ASSERT_EQ(cu.cuDevicePrimaryCtxRelease(0), CUDA_SUCCESS);
    EXPECT_EQ(said(), Lines({"a context ended with 3 objects in it"}));
    EXPECT_EQ(alive(), Lines());
}

TEST_F(StandIn, WhatLeavesAContextUnusableStays)
{
    const Poison p = make_poison();
    fail("cuMemGetInfo", 2, CUDA_ERROR_ILLEGAL_ADDRESS);
    size_t n, total;
    EXPECT_EQ(cu.cuMemGetInfo(&n, &total), CUDA_SUCCESS);
    EXPECT_FALSE(has_failed());
    EXPECT_EQ(cu.cuMemGetInfo(&n, &total), CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_TRUE(has_failed());
    EXPECT_EQ(cu.cuMemGetInfo(&n, &total), CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_EQ(launch(p), CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_EQ(cu.cuMemFree(p.step), CUDA_ERROR_ILLEGAL_ADDRESS); // and it is free
    EXPECT_EQ(cu.cuMemFree(p.poison), CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_EQ(used_bytes(), 0u);
    int count;
    EXPECT_EQ(cu.cuDeviceGetCount(&count), CUDA_SUCCESS);
}

TEST_F(StandIn, AFailureIsOnceAndWhatEndsEndsAllTheSame)
{
    fail("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
    CUdeviceptr at;
    EXPECT_EQ(cu.cuMemAlloc(&at, 8), CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(cu.cuMemAlloc(&at, 8), CUDA_SUCCESS);
    EXPECT_EQ(calls()["cuMemAlloc"], 2u);
    fail("cuMemFree", 1, CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(cu.cuMemFree(at), CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(used_bytes(), 0u);
    fail("cuCtxPopCurrent", 1, CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(cu.cuCtxPopCurrent(nullptr), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(context_depth(), 0u);
}

TEST(StandInOptions, AreReadFromText)
{
    reset();
    EXPECT_TRUE(configure("devices=2,version=11040,capability=75,sms=8,memory_mib=64,deferred=0,fail=cuGraphLaunch:12:719"));
    EXPECT_EQ(options().n_devices, 2);
    EXPECT_EQ(options().version, 11040);
    EXPECT_EQ(options().memory_bytes, 64u << 20);
    EXPECT_FALSE(options().is_deferred);
    EXPECT_FALSE(configure("devices"));
    EXPECT_FALSE(configure("devices=x"));
    EXPECT_FALSE(configure("colour=1"));
    EXPECT_FALSE(configure("fail=cuInit:1"));
    reset();
}

} // namespace
} // namespace cuda_driver
