// cuGetProcAddress: the functions of the list, and no others.
#include "cuda_host/driver_state.hpp"

#include <cstring>

extern "C" {
#define TN_CUDA_SYM(name, version, ...) CUresult name(__VA_ARGS__);
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
}

namespace cuda_driver
{

namespace
{

struct Symbol {
    const char *name;
    int version;
    void *function;
};
const Symbol kSymbols[] = {
#define TN_CUDA_SYM(name, version, ...) {#name, version, reinterpret_cast<void *>(&name)},
#include "cuda/cuda_syms.inc"
#undef TN_CUDA_SYM
};

} // namespace

CUresult get_proc(const char *symbol, void **out_function, int cuda_version, uint64_t flags, int *out_status)
{
    const DriverOptions &set = options();
    *out_function = nullptr;
    *out_status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    if (flags != CU_GET_PROC_ADDRESS_DEFAULT) return CUDA_ERROR_INVALID_VALUE;
    for (const Symbol &known : kSymbols) {
        if (strcmp(known.name, symbol) != 0 || set.missing.count(symbol)) continue;
        // An older form than the list's would have other arguments.
        const bool is_new_enough = cuda_version == known.version && set.version >= known.version;
        *out_status = is_new_enough ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
        if (is_new_enough) *out_function = known.function;
        return is_new_enough ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
    }
    return CUDA_ERROR_NOT_FOUND;
}

} // namespace cuda_driver
