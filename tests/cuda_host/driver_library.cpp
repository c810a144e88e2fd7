// The stand-in as a library for the program itself: TN_CUDA_LIBRARY=libtn_cuda_host.so. TN_CUDA_HOST in the environment sets its options;
// what was done wrong is printed at the end and makes the program fail.
#include "cuda_host/driver.hpp"

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

namespace
{

// "cuGraphLaunch 23", a function a line.
void write_calls(const std::string &path)
{
    FILE *file = path.empty() ? nullptr : fopen(path.c_str(), "w");
    if (!file) return;
    for (const auto &entry : cuda_driver::calls()) fprintf(file, "%s %u\n", entry.first.c_str(), (unsigned)entry.second);
    fclose(file);
}

// Two lines at the most: what is alive at the end of the process, and complaints.
struct AtEnd {
    AtEnd()
    {
        (void)cuda_driver::options(); // made before this, the driver ends after it
        const char *text = getenv("TN_CUDA_HOST");
        if (!text || cuda_driver::configure(text)) return;
        fprintf(stderr, "TN_CUDA_HOST: \"%s\" are no options\n", text);
        _exit(99);
    }
    ~AtEnd()
    {
        write_calls(cuda_driver::options().calls_path);
        const std::vector<std::string> complaints = cuda_driver::complaints(), alive = cuda_driver::alive();
        for (const std::string &complaint : complaints) fprintf(stderr, "cuda:host: %s\n", complaint.c_str());
        for (const std::string &left : alive) fprintf(stderr, "cuda:host: left alive: %s\n", left.c_str());
        if (complaints.empty() && alive.empty()) return;
        fflush(stdout);
        _exit(99);
    }
} at_end;

} // namespace

extern "C" {

EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **out_function, int cuda_version, uint64_t flags, int *out_status);
CUresult cuGetProcAddress_v2(const char *symbol, void **out_function, int cuda_version, uint64_t flags, int *out_status)
{
    return cuda_driver::get_proc(symbol, out_function, cuda_version, flags, out_status);
}

// Whether it brings kernels of its own (TN_CUDA_STAND_IN_SYMBOL).
EXPORT int tn_cuda_stand_in(void);
int tn_cuda_stand_in(void) { return cuda_driver::options().brings_kernels; }

} // extern "C"
