// What tests of single kernels share: a launch that must leave no complaint, and memory with guards around it.
#ifndef TN_TESTS_CUDA_HOST_KERNEL_RIG_HPP
#define TN_TESTS_CUDA_HOST_KERNEL_RIG_HPP

#include "cuda_host/emulation.hpp"
#include "cuda_host/kernel_structs.hpp"

#include <cstdio>
#include <gtest/gtest.h>

namespace cuda_host
{

// Tells the emulation which test is under way, and says with a failed one in which order the blocks of its last launch ran, so that the
// order can be had again.
class TestTeller : public testing::EmptyTestEventListener
{
    void OnTestStart(const testing::TestInfo &test) override { begin_test(std::string(test.test_suite_name()) + "." + test.name()); }
    void OnTestEnd(const testing::TestInfo &test) override
    {
        if (test.result()->Failed()) std::printf("blocks of the last launch were in the order of TN_CUDA_HOST_SEED=%u\n", last_seed());
    }
};
inline const bool tells = (testing::UnitTest::GetInstance()->listeners().Append(new TestTeller), true);

// Launches of tests are for a device of this capability: with a copy engine, but for tests that say something else.
inline int device_capability = 90;
class OnDevice
{
  public:
    explicit OnDevice(int capability) : was_(device_capability) { device_capability = capability; }
    OnDevice(const OnDevice &) = delete;
    ~OnDevice() { device_capability = was_; }

  private:
    int was_;
};

// Runs a kernel; what it does wrong fails the test.
template <class Params>
void launch(const char *name, const Params &params, uint32_t x = 1, uint32_t y = 1, uint32_t z = 1, uint32_t shared = 0)
{
    const Kernel *kernel = find_kernel(name);
    ASSERT_NE(kernel, nullptr) << name;
    ASSERT_EQ(kernel->params_bytes, sizeof params) << name;
    Launch shape;
    shape.grid[0] = x, shape.grid[1] = y, shape.grid[2] = z;
    shape.shared_bytes = shared;
    shape.capability = device_capability;
    for (const std::string &complaint : run(*kernel, &params, shape)) ADD_FAILURE() << complaint;
}

// n elements at a multiple of 256 bytes, poisoned, between guards that must stay as they are.
template <class T> class Memory
{
  public:
    explicit Memory(size_t n, int fill = 0xcd) : n_(n), bytes_(n * sizeof(T) + 3 * kGuard, kGuardByte)
    {
        const uintptr_t begin = (uintptr_t)bytes_.data() + kGuard;
        at_ = bytes_.data() + kGuard + (kGuard - begin % kGuard) % kGuard;
        std::fill(at_, at_ + n * sizeof(T), (uint8_t)fill);
    }
    Memory(const Memory &) = delete;
    ~Memory()
    {
        const uint8_t *end = at_ + n_ * sizeof(T);
        EXPECT_TRUE(std::all_of(bytes_.data(), at_, is_guard)) << "written before the memory";
        EXPECT_TRUE(std::all_of(end, (const uint8_t *)bytes_.data() + bytes_.size(), is_guard)) << "written behind the memory";
    }
    T *data() { return reinterpret_cast<T *>(at_); }
    T &operator[](size_t i) { return data()[i]; }
    size_t size() const { return n_; }

  private:
    static constexpr size_t kGuard = 256;
    static constexpr uint8_t kGuardByte = 0x5e;
    static bool is_guard(uint8_t byte) { return byte == kGuardByte; }
    size_t n_;
    std::vector<uint8_t> bytes_;
    uint8_t *at_;
};

} // namespace cuda_host

#endif
