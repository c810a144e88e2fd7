// What cuda_driver.h and cuda_syms.inc say, against the toolkit's headers: checked while this is compiled, where there is a toolkit.
#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <type_traits>

#ifdef TN_HAVE_CUDA_H

namespace ours
{
extern "C" {
#include "cuda/cuda_driver.h"
}
#define TN_CUDA_SYM(name, version, ...) using type_of_##name = CUresult (*)(__VA_ARGS__);
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
} // namespace ours
// Macros in cuda.h.
constexpr int kOurProgrammaticPort = ours::CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
constexpr int kOurPortable = ours::CU_MEMHOSTALLOC_PORTABLE, kOurDevicemap = ours::CU_MEMHOSTALLOC_DEVICEMAP;

#include <cuda.h>
#include <cudaTypedefs.h>

namespace
{

// Whether two types are the same but for their names: enums are ints here, handles point to structs of the same name.
template <class A, class B> struct Same : std::is_same<A, B> {
};
template <class A, class B>
struct SameNumber : std::bool_constant<sizeof(A) == sizeof(B) && std::is_integral_v<A> && (std::is_enum_v<B> || std::is_same_v<A, B>)> {
};
#define SAME_NUMBER(name)                                                                                                                  \
    template <> struct Same<int, name> : SameNumber<int, name> {                                                                           \
    };
SAME_NUMBER(CUresult)
SAME_NUMBER(CUdevice_attribute)
SAME_NUMBER(CUfunction_attribute)
SAME_NUMBER(CUdriverProcAddressQueryResult)
#define SAME_STRUCT(name)                                                                                                                  \
    template <> struct Same<ours::name, name> : std::true_type {                                                                           \
    };
SAME_STRUCT(CUctx_st)
SAME_STRUCT(CUmod_st)
SAME_STRUCT(CUfunc_st)
SAME_STRUCT(CUstream_st)
SAME_STRUCT(CUevent_st)
SAME_STRUCT(CUgraph_st)
SAME_STRUCT(CUgraphNode_st)
SAME_STRUCT(CUgraphExec_st)
template <> struct Same<ours::CUDA_KERNEL_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS> : std::true_type { // compared below
};
template <> struct Same<ours::CUgraphEdgeData, CUgraphEdgeData> : std::true_type { // the same
};
template <class A, class B> struct Same<A *, B *> : Same<A, B> {
};
template <class A, class B> struct Same<const A, const B> : Same<A, B> {
};
template <class A, class... As, class B, class... Bs>
struct Same<A(As...), B(Bs...)> : std::bool_constant<Same<A, B>::value && (... && Same<As, Bs>::value)> {
};

#define SAME_LAYOUT(member)                                                                                                                \
    static_assert(offsetof(ours::CUDA_KERNEL_NODE_PARAMS, member) == offsetof(CUDA_KERNEL_NODE_PARAMS, member), #member);                  \
    static_assert(sizeof(ours::CUDA_KERNEL_NODE_PARAMS::member) == sizeof(CUDA_KERNEL_NODE_PARAMS::member), #member)
SAME_LAYOUT(func);
SAME_LAYOUT(gridDimX);
SAME_LAYOUT(gridDimY);
SAME_LAYOUT(gridDimZ);
SAME_LAYOUT(blockDimX);
SAME_LAYOUT(blockDimY);
SAME_LAYOUT(blockDimZ);
SAME_LAYOUT(sharedMemBytes);
SAME_LAYOUT(kernelParams);
SAME_LAYOUT(extra);
SAME_LAYOUT(kern);
SAME_LAYOUT(ctx);
static_assert(sizeof(ours::CUDA_KERNEL_NODE_PARAMS) == sizeof(CUDA_KERNEL_NODE_PARAMS));
#define SAME_EDGE(member) static_assert(offsetof(ours::CUgraphEdgeData, member) == offsetof(CUgraphEdgeData, member), #member)
SAME_EDGE(from_port);
SAME_EDGE(to_port);
SAME_EDGE(type);
static_assert(sizeof(ours::CUgraphEdgeData) == sizeof(CUgraphEdgeData));
static_assert((int)ours::CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC == (int)CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);
static_assert(kOurProgrammaticPort == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC);
static_assert(sizeof(ours::CUdeviceptr) == sizeof(CUdeviceptr) && sizeof(ours::CUdevice) == sizeof(CUdevice));

// The function of that name takes these arguments in the version that is asked for.
#define TN_CUDA_SYM(name, version, ...) static_assert(Same<ours::type_of_##name, PFN_##name##_v##version>::value, "arguments of " #name);
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
static_assert(Same<ours::tn_cuda_get_proc *, PFN_cuGetProcAddress_v12000>::value, "cuGetProcAddress_v2");

#define SAME_VALUE(name) static_assert((int)ours::name == (int)(name), #name)
SAME_VALUE(CUDA_SUCCESS);
SAME_VALUE(CUDA_ERROR_INVALID_VALUE);
SAME_VALUE(CUDA_ERROR_OUT_OF_MEMORY);
SAME_VALUE(CUDA_ERROR_NOT_INITIALIZED);
SAME_VALUE(CUDA_ERROR_DEINITIALIZED);
SAME_VALUE(CUDA_ERROR_STUB_LIBRARY);
SAME_VALUE(CUDA_ERROR_DEVICE_UNAVAILABLE);
SAME_VALUE(CUDA_ERROR_NO_DEVICE);
SAME_VALUE(CUDA_ERROR_INVALID_DEVICE);
SAME_VALUE(CUDA_ERROR_DEVICE_NOT_LICENSED);
SAME_VALUE(CUDA_ERROR_INVALID_IMAGE);
SAME_VALUE(CUDA_ERROR_INVALID_CONTEXT);
SAME_VALUE(CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME_VALUE(CUDA_ERROR_ECC_UNCORRECTABLE);
SAME_VALUE(CUDA_ERROR_INVALID_PTX);
SAME_VALUE(CUDA_ERROR_NVLINK_UNCORRECTABLE);
SAME_VALUE(CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
SAME_VALUE(CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME_VALUE(CUDA_ERROR_INVALID_HANDLE);
SAME_VALUE(CUDA_ERROR_NOT_FOUND);
SAME_VALUE(CUDA_ERROR_NOT_READY);
SAME_VALUE(CUDA_ERROR_ILLEGAL_ADDRESS);
SAME_VALUE(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
SAME_VALUE(CUDA_ERROR_LAUNCH_TIMEOUT);
SAME_VALUE(CUDA_ERROR_CONTEXT_IS_DESTROYED);
SAME_VALUE(CUDA_ERROR_ASSERT);
SAME_VALUE(CUDA_ERROR_HARDWARE_STACK_ERROR);
SAME_VALUE(CUDA_ERROR_ILLEGAL_INSTRUCTION);
SAME_VALUE(CUDA_ERROR_MISALIGNED_ADDRESS);
SAME_VALUE(CUDA_ERROR_INVALID_ADDRESS_SPACE);
SAME_VALUE(CUDA_ERROR_INVALID_PC);
SAME_VALUE(CUDA_ERROR_LAUNCH_FAILED);
SAME_VALUE(CUDA_ERROR_NOT_PERMITTED);
SAME_VALUE(CUDA_ERROR_NOT_SUPPORTED);
SAME_VALUE(CUDA_ERROR_SYSTEM_NOT_READY);
SAME_VALUE(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
SAME_VALUE(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
SAME_VALUE(CUDA_ERROR_UNKNOWN);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_INTEGRATED);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME_VALUE(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME_VALUE(CU_FUNC_ATTRIBUTE_PTX_VERSION);
SAME_VALUE(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME_VALUE(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
SAME_VALUE(CU_STREAM_NON_BLOCKING);
SAME_VALUE(CU_EVENT_DEFAULT);
SAME_VALUE(CU_EVENT_DISABLE_TIMING);
static_assert(kOurPortable == CU_MEMHOSTALLOC_PORTABLE);
static_assert(kOurDevicemap == CU_MEMHOSTALLOC_DEVICEMAP);
SAME_VALUE(CU_COMPUTEMODE_PROHIBITED);
SAME_VALUE(CU_GET_PROC_ADDRESS_DEFAULT);
SAME_VALUE(CU_GET_PROC_ADDRESS_SUCCESS);
SAME_VALUE(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
SAME_VALUE(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);

} // namespace

// All else was compared while this was compiled.
TEST(CudaHeader, SaysWhatTheToolkitsSays) { EXPECT_GE(CUDA_VERSION, 12000); }

#else

TEST(CudaHeader, SaysWhatTheToolkitsSays) { GTEST_SKIP() << "no CUDA toolkit is installed"; }

#endif
