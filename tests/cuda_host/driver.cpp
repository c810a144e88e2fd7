// The driver's start, its devices, contexts and modules; what tests ask of it.
#include "cuda_host/driver_state.hpp"
#include "cuda_host/kernel_structs.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cuda_driver
{

Driver &driver()
{
    static Driver one;
    return one;
}

void complain(const std::string &what)
{
    std::vector<std::string> &all = driver().complaints;
    if (all.size() < 1000) all.push_back(what);
}

void *new_handle()
{
    static uint64_t serial = 0;
    return reinterpret_cast<void *>((uintptr_t)0x5a5a000000000000u + 16 * ++serial); // no address of a program
}

ContextStack &context_stack()
{
    static thread_local ContextStack stack;
    static thread_local uint64_t of_reset = 0;
    if (of_reset != driver().n_resets) stack.clear();
    of_reset = driver().n_resets;
    return stack;
}

bool is_fatal(CUresult result)
{
    return result == CUDA_ERROR_ECC_UNCORRECTABLE || result == CUDA_ERROR_ILLEGAL_ADDRESS || result == CUDA_ERROR_LAUNCH_TIMEOUT ||
           (result >= CUDA_ERROR_HARDWARE_STACK_ERROR && result <= CUDA_ERROR_LAUNCH_FAILED);
}

void spoil(CUcontext context, CUresult result)
{
    ContextState *state = driver().contexts.find(context);
    if (state && state->error == CUDA_SUCCESS) state->error = result;
}

// ---- calls ----

Entered::Entered(const char *name) : name_(name), lock_(driver().mutex)
{
    Driver &d = driver();
    d.calls[name]++;
    if (d.fail_nth == 0 || d.fail_function != name || --d.fail_nth > 0) return;
    d.has_failed = true;
    injected_ = d.fail_result;
    const ContextStack &stack = context_stack();
    if (is_fatal(injected_) && !stack.empty()) spoil(stack.back(), injected_);
}

CUresult Entered::outside() const
{
    if (injected_ != CUDA_SUCCESS) return injected_;
    return driver().is_initialised ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult Entered::inside()
{
    const ContextStack &stack = context_stack();
    context_ = stack.empty() ? nullptr : stack.back();
    const ContextState *state = driver().contexts.find(context_);
    const CUresult result = outside();
    if (result != CUDA_SUCCESS) return result;
    if (!state) return wrong(CUDA_ERROR_INVALID_CONTEXT, "there is no context");
    return state->error;
}

CUresult Entered::wrong(CUresult result, const std::string &why) const
{
    complain(std::string(name_) + ": " + why);
    return result;
}

CUresult Entered::stray(CUresult result) const { return wrong(result, "there is no such object"); }

// ---- tests ----

void reset(const DriverOptions &wanted)
{
    Driver &d = driver();
    const std::lock_guard<std::mutex> lock(d.mutex);
    while (!d.blocks.empty()) free_block(d.blocks.begin()->first);
    d.options = wanted;
    d.is_initialised = d.has_failed = false;
    d.n_resets++;
    d.calls.clear();
    d.launched.clear();
    d.complaints.clear();
    d.fail_nth = 0;
    d.primary.clear();
    d.contexts = {}, d.modules = {}, d.functions = {}, d.streams = {}, d.events = {}, d.graphs = {}, d.nodes = {}, d.execs = {};
}

DriverOptions &options() { return driver().options; }

void fail(const std::string &function, uint32_t nth, CUresult result)
{
    Driver &d = driver();
    const std::lock_guard<std::mutex> lock(d.mutex);
    d.fail_function = function;
    d.fail_nth = nth;
    d.fail_result = result;
    d.has_failed = false;
}

bool has_failed() { return driver().has_failed; }

std::map<std::string, uint32_t> calls()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    return driver().calls;
}

void forget_calls()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    driver().calls.clear();
}

std::set<std::string> launched()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    return driver().launched;
}

std::vector<std::string> complaints()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    return driver().complaints;
}

void forget_complaints()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    driver().complaints.clear();
}

size_t context_depth() { return context_stack().size(); }

std::vector<std::string> alive()
{
    Driver &d = driver();
    const std::lock_guard<std::mutex> lock(d.mutex);
    size_t n_device = 0, n_host = 0;
    for (const auto &block : d.blocks) (block.second.is_host ? n_host : n_device)++;
    const std::pair<const char *, size_t> counts[] = {{"cuDevicePrimaryCtxRetain", d.contexts.size()},
                                                      {"cuModuleLoadData", d.modules.size()},
                                                      {"cuStreamCreate", d.streams.size()},
                                                      {"cuEventCreate", d.events.size()},
                                                      {"cuMemAlloc", n_device},
                                                      {"cuMemHostAlloc", n_host},
                                                      {"cuGraphCreate", d.graphs.size()},
                                                      {"cuGraphInstantiateWithFlags", d.execs.size()}};
    std::vector<std::string> list;
    for (const auto &count : counts) {
        if (count.second) list.push_back(std::string(count.first) + " " + std::to_string(count.second));
    }
    return list;
}

size_t n_pending()
{
    Driver &d = driver();
    const std::lock_guard<std::mutex> lock(d.mutex);
    size_t n = 0;
    for (const auto &stream : d.streams.all()) n += stream.second->tasks.size();
    return n;
}

std::set<int> carveouts()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    std::set<int> all;
    for (const auto &function : driver().functions.all()) all.insert(function.second->carveout);
    return all;
}

static bool configure_one(const std::string &key, const char *value)
{
    DriverOptions &set = options();
    char function[64], rest;
    unsigned nth;
    int result;
    if (key == "fail") {
        if (sscanf(value, "%63[A-Za-z0-9_]:%u:%d%c", function, &nth, &result, &rest) != 3) return false;
        fail(function, nth, result);
        return true;
    }
    if (key == "bent") return set.bent = value, true;
    if (key == "calls") return set.calls_path = value, true;
    char *end;
    const long number = strtol(value, &end, 10);
    if (*end || end == value || number < 0) return false;
    if (key == "devices") return set.n_devices = (int)number, true;
    if (key == "version") return set.version = (int)number, true;
    if (key == "capability") return set.capability = (int)number, true;
    if (key == "sms") return set.n_sms = (int)number, true;
    if (key == "memory_mib") return set.memory_bytes = (size_t)number << 20, true;
    if (key == "deferred") return set.is_deferred = number != 0, true;
    if (key == "kernels") return set.brings_kernels = number != 0, true;
    if (key == "init") return set.init_result = (int)number, true;
    return false;
}

bool configure(const char *text)
{
    std::string rest = text;
    while (!rest.empty()) {
        const std::string one = rest.substr(0, rest.find(','));
        rest = one.size() < rest.size() ? rest.substr(one.size() + 1) : "";
        const size_t equals = one.find('=');
        if (equals == std::string::npos || !configure_one(one.substr(0, equals), one.c_str() + equals + 1)) return false;
    }
    return true;
}

int compiled_for() { return options().compiled_for ? options().compiled_for : options().capability; }

// ---- contexts ----

namespace
{

template <class T> void forget_those_of(T *table, CUcontext context)
{
    table->remove_if([context](const auto &object) { return object.context == context; });
}

} // namespace

void destroy_context(CUcontext context)
{
    Driver &d = driver();
    drain_context(context);
    const auto is_here = [context](const auto &entry) { return entry.second->context == context; };
    size_t n = 0;
    for (const auto &entry : d.modules.all()) n += is_here(entry);
    for (const auto &entry : d.streams.all()) n += is_here(entry);
    for (const auto &entry : d.events.all()) n += is_here(entry);
    for (const auto &entry : d.execs.all()) n += is_here(entry);
    for (auto at = d.blocks.begin(); at != d.blocks.end();) {
        const auto block = at++;
        if (block->second.context != context) continue;
        n++;
        free_block(block->first);
    }
    if (n > 0) complain("a context ended with " + std::to_string(n) + " objects in it");
    forget_those_of(&d.modules, context);
    forget_those_of(&d.functions, context);
    forget_those_of(&d.streams, context);
    forget_those_of(&d.events, context);
    forget_those_of(&d.execs, context);
    d.primary.erase(d.contexts.find(context)->device);
    d.contexts.remove(context);
}

} // namespace cuda_driver

using namespace cuda_driver;

namespace
{

struct Listed {
    const char *name;
    size_t params_bytes;
    uint32_t threads;
};
const Listed kListed[] = {
#define TN_CUDA_KERNEL(name, params, threads, form) {#name, sizeof(params), threads},
#include "cuda/kernels/cuda_kernels.inc"
#undef TN_CUDA_KERNEL
};

constexpr char kImage[] = TN_CUDA_STAND_IN_SYMBOL;
constexpr uint32_t kSharedUsual = 48 << 10;

// Of a block at most, where more than usual is asked for: CUDA C++ Programming Guide, technical specifications by compute capability.
uint32_t shared_most()
{
    switch (driver().options.capability) {
    case 75: return 64 << 10;
    case 80:
    case 87: return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121: return 99 << 10;
    default: return 227 << 10;
    }
}

bool is_device(CUdevice device) { return device >= 0 && device < driver().options.n_devices; }

CUresult attribute_of(int attribute, int *value)
{
    const DriverOptions &set = driver().options;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1000000; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = set.n_sms; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED: *value = 0; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE: *value = set.compute_mode; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 500000; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 64; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = set.capability / 10; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = set.capability % 10; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = (int)shared_most(); return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
}

const char *name_of(CUresult error)
{
#define NAMED(name)                                                                                                                        \
    case name: return #name;
    switch (error) {
        NAMED(CUDA_SUCCESS)
        NAMED(CUDA_ERROR_INVALID_VALUE)
        NAMED(CUDA_ERROR_OUT_OF_MEMORY)
        NAMED(CUDA_ERROR_NOT_INITIALIZED)
        NAMED(CUDA_ERROR_DEVICE_UNAVAILABLE)
        NAMED(CUDA_ERROR_NO_DEVICE)
        NAMED(CUDA_ERROR_INVALID_DEVICE)
        NAMED(CUDA_ERROR_INVALID_IMAGE)
        NAMED(CUDA_ERROR_INVALID_CONTEXT)
        NAMED(CUDA_ERROR_NO_BINARY_FOR_GPU)
        NAMED(CUDA_ERROR_ECC_UNCORRECTABLE)
        NAMED(CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
        NAMED(CUDA_ERROR_INVALID_HANDLE)
        NAMED(CUDA_ERROR_NOT_FOUND)
        NAMED(CUDA_ERROR_NOT_READY)
        NAMED(CUDA_ERROR_ILLEGAL_ADDRESS)
        NAMED(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
        NAMED(CUDA_ERROR_LAUNCH_TIMEOUT)
        NAMED(CUDA_ERROR_LAUNCH_FAILED)
        NAMED(CUDA_ERROR_SYSTEM_NOT_READY)
        NAMED(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)
        NAMED(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE)
        NAMED(CUDA_ERROR_UNKNOWN)
    default: return nullptr;
    }
#undef NAMED
}

} // namespace

extern "C" {

CUresult cuInit(unsigned int flags)
{
    Entered call("cuInit");
    driver().is_initialised = true;
    CUresult result = call.outside();
    if (result == CUDA_SUCCESS && flags != 0) result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) result = driver().options.init_result;
    if (result == CUDA_SUCCESS && driver().options.n_devices == 0) result = CUDA_ERROR_NO_DEVICE;
    driver().is_initialised = result == CUDA_SUCCESS;
    return result;
}

CUresult cuDriverGetVersion(int *version)
{
    Entered call("cuDriverGetVersion");
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    const CUresult result = call.outside(); // before cuInit too
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_INITIALIZED) return result;
    *version = driver().options.version;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **text)
{
    Entered call("cuGetErrorName");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_INITIALIZED) return result;
    *text = name_of(error);
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGetCount(int *count)
{
    Entered call("cuDeviceGetCount");
    const CUresult result = call.outside();
    if (result == CUDA_SUCCESS) *count = driver().options.n_devices;
    return result;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    Entered call("cuDeviceGet");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!is_device(ordinal)) return call.stray(CUDA_ERROR_INVALID_DEVICE);
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    Entered call("cuDeviceGetName");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!is_device(device)) return call.stray(CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)length, "Emulated GPU");
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    Entered call("cuDeviceGetAttribute");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    return is_device(device) ? attribute_of(attribute, value) : call.stray(CUDA_ERROR_INVALID_DEVICE);
}

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device)
{
    Entered call("cuDeviceGetPCIBusId");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!is_device(device)) return call.stray(CUDA_ERROR_INVALID_DEVICE);
    snprintf(text, (size_t)length, "0000:%02X:00.0", 0xA0 + device);
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
    Entered call("cuDeviceTotalMem");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!is_device(device)) return call.stray(CUDA_ERROR_INVALID_DEVICE);
    *bytes = driver().options.memory_bytes;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    Entered call("cuDevicePrimaryCtxRetain");
    Driver &d = driver();
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!is_device(device)) return call.stray(CUDA_ERROR_INVALID_DEVICE);
    CUcontext &primary = d.primary[device];
    if (!primary) {
        auto state = std::make_shared<ContextState>();
        state->device = device;
        primary = d.contexts.add(state);
    }
    d.contexts.find(primary)->n_retained++;
    *context = primary;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    Entered call("cuDevicePrimaryCtxRelease");
    const auto found = driver().primary.find(device);
    if (found == driver().primary.end()) return call.stray(CUDA_ERROR_INVALID_CONTEXT);
    if (--driver().contexts.find(found->second)->n_retained == 0) destroy_context(found->second);
    return call.outside();
}

CUresult cuCtxPushCurrent(CUcontext context)
{
    Entered call("cuCtxPushCurrent");
    const CUresult result = call.outside();
    if (result != CUDA_SUCCESS) return result;
    if (!driver().contexts.find(context)) return call.stray(CUDA_ERROR_INVALID_CONTEXT);
    if (!context_stack().push_back(context)) return call.stray(CUDA_ERROR_INVALID_CONTEXT); // pushed and never popped
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *context)
{
    Entered call("cuCtxPopCurrent");
    if (context_stack().empty()) return call.stray(CUDA_ERROR_INVALID_CONTEXT);
    if (context) *context = context_stack().back();
    context_stack().pop_back();
    return call.outside();
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    Entered call("cuModuleLoadData");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (!image || memcmp(image, kImage, sizeof kImage) != 0)
        return call.wrong(CUDA_ERROR_INVALID_IMAGE, "the image is none of this driver");
    *module = driver().modules.add(std::make_shared<ModuleState>(ModuleState{call.context()}));
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module)
{
    Entered call("cuModuleUnload");
    const CUresult result = call.inside();
    if (!driver().modules.remove(module)) return call.stray();
    drain_context(call.context());
    driver().functions.remove_if([module](const FunctionState &f) { return f.module == module; });
    return result;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    Entered call("cuModuleGetFunction");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (!driver().modules.find(module)) return call.stray();
    const cuda_host::Kernel *kernel = cuda_host::find_kernel(name);
    for (const Listed &listed : kListed) {
        if (strcmp(listed.name, name) != 0) continue;
        if (kernel && (kernel->params_bytes != listed.params_bytes || kernel->threads != listed.threads))
            return call.wrong(CUDA_ERROR_INVALID_IMAGE, std::string(name) + " is another kernel than the list has");
        *function = driver().functions.add(std::make_shared<FunctionState>(
            FunctionState{call.context(), module, name, kernel, listed.params_bytes, listed.threads, kSharedUsual, kSharedUsual, -1}));
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function)
{
    Entered call("cuFuncGetAttribute");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (!driver().functions.find(function)) return call.stray();
    if (attribute != CU_FUNC_ATTRIBUTE_PTX_VERSION) return CUDA_ERROR_INVALID_VALUE;
    *value = compiled_for();
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value)
{
    Entered call("cuFuncSetAttribute");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    FunctionState *state = driver().functions.find(function);
    if (!state) return call.stray();
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
        state->carveout = value;
        return CUDA_SUCCESS;
    }
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > (int)shared_most())
        return CUDA_ERROR_INVALID_VALUE;
    state->shared_max = (uint32_t)value;
    state->shared_most = shared_most();
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared_bytes)
{
    Entered call("cuOccupancyMaxActiveBlocksPerMultiprocessor");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const FunctionState *state = driver().functions.find(function);
    if (!state) return call.stray();
    if (threads <= 0 || threads > (int)state->threads) return CUDA_ERROR_INVALID_VALUE;
    const size_t by_shared = (shared_most() + 1024) / (shared_bytes + 1024);
    *blocks = (int)std::min<size_t>(2048 / (size_t)threads, by_shared);
    return CUDA_SUCCESS;
}

} // extern "C"
