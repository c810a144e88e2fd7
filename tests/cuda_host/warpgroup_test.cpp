// Products of warpgroups in the emulation: against plain loops, and with one fault each.
#include "cuda/kernels/wgmma.cuh"
#include "cuda_host/kernel_rig.hpp"

#include <random>

using namespace cuda_host;

struct WgmmaParams {
    uint32_t fault; // 0: none
    const uint32_t *a;
    const int8_t *b; // [64 columns][128]
    int32_t *d;      // [thread][32]
};

// d of columns of 128 bytes, of which the product takes the third quarter, twice.
TN_KERNEL(wgmma_once, WgmmaParams, 128)
{
    TN_SHARED_DYNAMIC_AT(int8_t, s, 1024);
    const uint32_t t = tn_thread(), first = p.fault == 1 ? 16 : 0;
    for (uint32_t i = t; i < 64 * 8; i += 128) tn_async16(s, first + i / 8 * 128 + tn_wgmma_unit(i / 8, i % 8) * 16, p.b + i * 16);
    tn_async_commit();
    tn_async_wait<0>();
    if (t != 77 || (p.fault != 2 && p.fault != 8)) tn_async_fence();
    tn_sync();
    if (t == 77 && p.fault == 8) tn_async_fence();
    uint32_t a[4];
    for (uint32_t i = 0; i < 4; i++) a[i] = p.a[t * 4 + i];
    int32_t d[32] = {};
    const uint64_t b = tn_wgmma_b(s, first);
    if (p.fault != 3) tn_wgmma_fence();
    tn_wgmma_us(d, a, b + 4);
    tn_wgmma_us(d, a, b + (p.fault == 4 && t >= 64 ? 2 : 4));
    tn_wgmma_commit();
    if (p.fault == 5 && t >= 96) return;
    if (p.fault == 6 && t >= 32) tn_sync();
    if (p.fault == 7) a[1] ^= 1;
    tn_wgmma_wait<0>();
    tn_wgmma_settle(d);
    for (uint32_t i = 0; i < 32; i++) p.d[t * 32 + i] = d[i];
}

namespace
{

class Warpgroup : public testing::Test
{
  protected:
    Warpgroup() : a(128 * 4), b(64 * 128), d(128 * 32)
    {
        std::mt19937 random(1);
        for (size_t i = 0; i < a.size(); i++) a[i] = (uint32_t)random();
        for (size_t i = 0; i < b.size(); i++) b[i] = (int8_t)random();
    }
    std::string complaint(uint32_t fault)
    {
        const WgmmaParams params = {fault, a.data(), b.data(), d.data()};
        Launch launch;
        launch.shared_bytes = 64 * 128 + 1024;
        const std::vector<std::string> complaints = run(*find_kernel("wgmma_once"), &params, launch);
        return complaints.empty() ? "" : complaints[0];
    }
    // Element (row, k) of A, as the threads have it.
    uint32_t a_of(uint32_t row, uint32_t k)
    {
        const uint32_t thread = row / 16 * 32 + row % 8 * 4 + k / 4 % 4, word = row / 8 % 2 + k / 16 * 2;
        return (a[thread * 4 + word] >> (8 * (k % 4))) & 0xffu;
    }
    bool is_right()
    {
        for (uint32_t row = 0; row < 64; row++) {
            for (uint32_t column = 0; column < 64; column++) {
                int32_t want = 0;
                for (uint32_t k = 0; k < 32; k++) want += 2 * (int32_t)a_of(row, k) * b[column * 128 + 64 + k];
                const uint32_t thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2, i = column / 8 * 4 + row / 8 % 2 * 2 + column % 2;
                if (d[thread * 32 + i] != want) return false;
            }
        }
        return true;
    }
    Memory<uint32_t> a;
    Memory<int8_t> b;
    Memory<int32_t> d;
};

TEST_F(Warpgroup, ProductsAreThoseOfPlainLoops)
{
    EXPECT_EQ(complaint(0), "");
    EXPECT_TRUE(is_right());
}

// A product is made behind its threads' backs: of registers as they are when it is waited for.
TEST_F(Warpgroup, RegistersThatChangeBeforeTheWaitChangeTheProduct)
{
    EXPECT_EQ(complaint(7), "");
    EXPECT_FALSE(is_right());
}

TEST_F(Warpgroup, FaultsAreTold)
{
    const std::pair<uint32_t, const char *> faults[] = {{1, "does not begin at a multiple of 1024"},
                                                        {2, "thread 77 has no tn_async_fence between its tn_async_wait and the barrier"},
                                                        {3, "with no tn_wgmma_fence for this group"},
                                                        {4, "did not ask for the same products"},
                                                        {5, "has returned"},
                                                        {6, "waits in"},
                                                        {8, "thread 77 has no tn_async_fence between its tn_async_wait and the barrier"}};
    for (const auto &[fault, part] : faults) EXPECT_NE(complaint(fault).find(part), std::string::npos) << fault << ": " << complaint(fault);
}

} // namespace
