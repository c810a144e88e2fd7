// What tests of the emulation's complaints share: small kernels of 64 threads with one fault each, by number, and their twins without it.
#ifndef TN_TESTS_CUDA_HOST_FAULT_RIG_HPP
#define TN_TESTS_CUDA_HOST_FAULT_RIG_HPP

#include "cuda_host/kernel_rig.hpp"

#include <numeric>

struct FaultParams {
    uint32_t fault; // 0: none
    uint32_t *out;
    const uint32_t *in;
};

namespace cuda_host
{

// The complaint of a launch of 64 threads a block, or "".
inline std::string complaint(const char *name, uint32_t fault, uint32_t n_blocks = 1, uint32_t shared_bytes = 0)
{
    alignas(16) static uint32_t out[1024], in[1024];
    std::iota(in, in + 1024, 0u);
    const FaultParams params = {fault, out, in};
    Launch launch;
    launch.grid[0] = n_blocks;
    launch.shared_bytes = shared_bytes;
    launch.capability = device_capability;
    const std::vector<std::string> complaints = run(*find_kernel(name), &params, launch);
    EXPECT_LE(complaints.size(), 1u);
    return complaints.empty() ? "" : complaints[0];
}

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// The one complaint names the kernel and has every part of the text.
inline void expect_fault(const char *name, uint32_t fault, const std::vector<std::string> &parts, uint32_t shared_bytes = 0)
{
    const std::string text = complaint(name, fault, 1, shared_bytes);
    EXPECT_EQ(text.find(std::string(name) + ": "), 0u) << name << " " << fault << ": " << text;
    for (const std::string &part : parts) EXPECT_TRUE(contains(text, part)) << name << " " << fault << ": " << text;
}

} // namespace cuda_host

#endif
