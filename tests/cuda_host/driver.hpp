// NVIDIA's driver on the host: every function of src/cuda/cuda_syms.inc over host memory and the emulation, for tests. Tests in one program
// give get_proc to ternion (tn_cuda_hooks.get_proc); the program itself gets it as a library (TN_CUDA_LIBRARY, driver_library.cpp).
//
// It is stricter than a GPU where that shows mistakes: work is not done before somebody waits for it, memory begins as NaN, handles of what
// is gone are known to be, the nodes of a graph run in any order that their dependencies allow.
#ifndef TN_TESTS_CUDA_HOST_DRIVER_HPP
#define TN_TESTS_CUDA_HOST_DRIVER_HPP

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "cuda/cuda_loader.h"
}

namespace cuda_driver
{

struct DriverOptions {
    int version = 13000;
    int n_devices = 1;
    int capability = 90;
    int compiled_for = 0; // the capability that its kernels were compiled for; 0: the device's
    int n_sms = 4;
    int compute_mode = 0;
    size_t memory_bytes = (size_t)4 << 30; // of each device
    bool is_deferred = true;               // work waits for who waits for it; false: it is done when it is given
    CUresult init_result = CUDA_SUCCESS;
    bool brings_kernels = true;    // false: of the library, which is taken for a real driver
    std::string bent;              // a kernel: in each word that a launch of it changes a bit is another one than it should be
    std::string calls_path;        // where the program's end writes how often each function was called
    std::set<std::string> missing; // functions that this driver lacks
};

// A driver as after the machine's start. Whatever lived in the one before is forgotten; nothing may be using it.
void reset(const DriverOptions &options = {});
DriverOptions &options(); // of the driver that runs, to be changed
// cuGetProcAddress_v2.
CUresult get_proc(const char *symbol, void **out_function, int cuda_version, uint64_t flags, int *out_status);

// The nth call from now on of a function (1: the next) answers with this result, once. Functions that destroy or let go of something do so
// all the same; a result that leaves a context unusable stays with it as it would.
void fail(const std::string &function, uint32_t nth, CUresult result);
bool has_failed(); // since fail
// Calls of each function since the last reset or forget_calls.
std::map<std::string, uint32_t> calls();
void forget_calls();
std::set<std::string> launched(); // kernels that ran since the last reset

// Which shares of fast memory functions want for shared memory, percent; -1: as the driver likes.
std::set<int> carveouts();
// Edges of the graphs that are ready: "begin -> row", and programmatic ones "row ~> end".
std::vector<std::string> edges();

// What is alive, by the function that made it: "cuMemAlloc 2".
std::vector<std::string> alive();
size_t n_pending(); // what streams were given and nobody waited for
// Bytes that the caller has of device memory.
size_t used_bytes();
// What was done wrong, one line each: kernels' complaints, handles that are no handles, writes behind memory, what was left in a context.
std::vector<std::string> complaints();
void forget_complaints();
// Contexts that are current on this thread, one above the other.
size_t context_depth();

// Options and a failure from text: "devices=2,version=11040,capability=75,memory_mib=64,sms=8,deferred=0,kernels=0,bent=row,
// calls=PATH,fail=cuGraphLaunch:12:719"; false: it is no such text.
bool configure(const char *text);

} // namespace cuda_driver

#endif
