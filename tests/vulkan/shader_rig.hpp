// Runs one shader of the build on the first Vulkan device, with its bindings as host vectors: how shaders are tested alone.
#ifndef TN_TESTS_VULKAN_SHADER_RIG_HPP
#define TN_TESTS_VULKAN_SHADER_RIG_HPP

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace vulkan_test
{

// The bindings of shaders/common.glsl. What the shader writes is there after a run. Empty ones are bound as 64 words of 0xffffffff.
struct Bindings {
    std::vector<uint32_t> step, arena, weights, kv, state, out;
};

inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// How a dispatch is run, other than plainly.
struct RunOptions {
    uint32_t repeats = 1;          // submits over the same buffers
    bool texels_of_kv = false;     // binding 6 shows binding 3 (kv), not 2 (weights)
    std::vector<uint32_t> x_order; // not empty: for each x of it a dispatch of that column of workgroups, one after the other
};

class ShaderRig
{
  public:
    RunOptions options;
    // Throws std::runtime_error where there is no Vulkan device.
    ShaderRig();
    ~ShaderRig();
    ShaderRig(const ShaderRig &) = delete;
    ShaderRig &operator=(const ShaderRig &) = delete;

    // Runs `shader` (a name of shaders.list, or the path of a module) over a grid of workgroups. constants: specialisation constants 0, 1,
    // .. (0: invocations of a workgroup).
    template <typename Params>
    void run(const std::string &shader, const std::vector<uint32_t> &constants, const Params &params, uint32_t x, uint32_t y, uint32_t z,
             Bindings *bindings)
    {
        static_assert(sizeof(Params) <= 128, "push constants have 128 bytes");
        run_bytes(shader, constants, &params, sizeof params, x, y, z, bindings);
    }
    // Whether the device has OpSDot: shaders of the form "dot" can run.
    bool has_dot() const;
    // Whether its subgroups have 8 lanes and can shuffle: shaders with "shuffle" in their name can run.
    bool has_shuffle() const;
    // Host time of the fastest of the last run's submits, seconds.
    double seconds() const;

  private:
    void run_bytes(const std::string &shader, const std::vector<uint32_t> &constants, const void *params, uint32_t n_params, uint32_t x,
                   uint32_t y, uint32_t z, Bindings *bindings);
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace vulkan_test

#endif
