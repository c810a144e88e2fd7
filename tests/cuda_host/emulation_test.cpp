// The emulation itself: small kernels with one fault each and their twins without it, and collectives against plain loops.
#include "cuda/kernels/gpu.cuh"
#include "cuda_host/fault_rig.hpp"

#include <cstdlib>
#include <random>

using namespace cuda_host;

// ---- races ----

TN_KERNEL(race_block, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 64);
    const uint32_t t = tn_thread();
    s[p.fault == 1 ? t / 2 : t] = t;
    if (p.fault == 2) s[0] = 7; // the same value by all
    if (p.fault != 3) tn_sync();
    const uint32_t other = s[63 - t];
    if (p.fault != 4) tn_sync();
    if (t < 32) s[t] = other;
}

TEST(Emulation, RacesBetweenThreadsOfABlock)
{
    EXPECT_EQ(complaint("race_block", 0), "");
    expect_fault("race_block", 1, {"thread 1 writes s[0], which thread 0 wrote with no barrier between"});
    expect_fault("race_block", 2, {"writes s[0], which thread 0 wrote with no barrier between"});
    expect_fault("race_block", 3, {"thread 0 reads s[63], which nobody wrote"});
    expect_fault(
        "race_block", 4,
        {"thread 0 writes s[0], which thread 63 read with no barrier between, after the barrier at tests/cuda_host/emulation_test.cpp:"});
}

// Every thread reads what the one behind wrote before.
TN_KERNEL(race_warp, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 64);
    const uint32_t t = tn_thread();
    s[t] = 0;
    tn_sync();
    s[t] = t;
    if (p.fault != 1 && p.fault != 2) tn_sync_warp();
    if (p.fault == 2) tn_shfl_xor(t, 1);
    const uint32_t other = s[p.fault == 3 ? t ^ 32 : t ^ 1];
    if (p.fault != 4) tn_sync_warp();
    s[t] = other;
}

TEST(Emulation, BarriersOfAWarpOrderThatWarpAlone)
{
    EXPECT_EQ(complaint("race_warp", 0), "");
    expect_fault("race_warp", 1, {"thread 1 writes s[1], which thread 0 read with no barrier between"});
    expect_fault("race_warp", 2, {"reads s[", "wrote with no barrier between"}); // a shuffle orders no memory
    expect_fault("race_warp", 3, {"reads s[", "wrote with no barrier between"});
    expect_fault("race_warp", 4, {"thread 1 reads s[0], which thread 0 wrote with no barrier between"});
}

TN_KERNEL(race_atomics, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 2);
    const uint32_t t = tn_thread();
    if (p.fault != 3) {
        if (t == 0) s[0] = s[1] = 0u;
        if (p.fault != 1) tn_sync();
    }
    tn_shared_add(s, 0, t);
    tn_shared_max(s, 1, t);
    if (p.fault != 2) tn_sync();
    if (t < 2) p.out[t] = s[t];
}

TEST(Emulation, AtomicsOfSharedMemory)
{
    EXPECT_EQ(complaint("race_atomics", 0), "");
    expect_fault("race_atomics", 1, {"thread 1 changes s[0], which thread 0 wrote with no barrier between"});
    expect_fault("race_atomics", 2, {"reads s[", "changed with no barrier between"});
    expect_fault("race_atomics", 3, {"thread 0 changes s[0], which nobody wrote"});
    Memory<uint32_t> out(2);
    launch("race_atomics", FaultParams{0, out.data(), nullptr});
    EXPECT_EQ(out[0], 63u * 64u / 2);
    EXPECT_EQ(out[1], 63u);
}

// Bytes count each for itself, until words are made of them.
TN_KERNEL(race_bytes, FaultParams, 64)
{
    TN_SHARED(uint8_t, s, 64);
    const uint32_t t = tn_thread();
    s[t] = (uint8_t)t;
    if (p.fault == 1) s[t ^ 1] = 0;
    if (p.fault != 2) tn_sync();
    const tn_u4 v = tn_shared_load16(s, t / 16 * 16);
    p.out[t] = v.x;
}

TEST(Emulation, BytesOfAWordAreOfSeveralThreads)
{
    EXPECT_EQ(complaint("race_bytes", 0), "");
    expect_fault("race_bytes", 1, {"writes s[", "wrote with no barrier between"});
    expect_fault("race_bytes", 2, {"reads s[0], which nobody wrote"});
}

// What an earlier block left is nobody's value.
TN_KERNEL(stale_block, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 1);
    if (tn_thread() == 0 && (p.fault == 0 || p.out[0]++ == 0)) s[0] = 1;
    tn_sync();
    p.out[1] = s[0];
}

TEST(Emulation, BlocksBeginWithoutValues)
{
    Memory<uint32_t> out(2, 0);
    EXPECT_EQ(complaint("stale_block", 0, 3), "");
    FaultParams params = {1, out.data(), nullptr};
    Launch shape;
    shape.grid[0] = 2;
    const std::vector<std::string> complaints = run(*find_kernel("stale_block"), &params, shape);
    ASSERT_EQ(complaints.size(), 1u);
    EXPECT_TRUE(contains(complaints[0], "reads s[0], which nobody wrote")) << complaints[0];
    EXPECT_TRUE(contains(complaints[0], "; TN_CUDA_HOST_SEED=" + std::to_string(last_seed()) + ")")) << complaints[0];
}

// ---- copies ----

TN_KERNEL(copies, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 64 * 8);
    const uint32_t t = tn_thread();
    tn_async16(s, t * 8, p.in + 4 * t);
    if (p.fault != 1) tn_async_commit();
    tn_async16(s, t * 8 + 4, p.in + 4 * t + 256);
    tn_async_commit();
    if (p.fault == 2)
        tn_async_wait<2>();
    else if (p.fault != 3)
        tn_async_wait<1>();
    if (p.fault == 4) s[t * 8 + 4] = 0; // the second group is under way
    if (p.fault == 1) tn_async_wait<1>();
    p.out[4 * t] = s[t * 8];
    if (p.fault >= 5) tn_sync();
    if (p.fault != 5) tn_async_wait<0>();
    if (p.fault != 6) tn_sync();
    if (t < 32) p.out[4 * t + 1] = s[(63 - t) * 8 + 5];
}

TEST(Emulation, CopiesArriveWhereTheyAreWaitedFor)
{
    Memory<uint32_t> out(256), in(1024);
    std::iota(in.data(), in.data() + 1024, 0u);
    launch("copies", FaultParams{0, out.data(), in.data()});
    for (uint32_t t = 0; t < 64; t++) EXPECT_EQ(out[4 * t], 4 * t);
    for (uint32_t t = 0; t < 32; t++) EXPECT_EQ(out[4 * t + 1], 4 * (63 - t) + 256 + 1);
    const std::string under_way = ", to which a copy of thread 0 is under way (no tn_async_wait)";
    expect_fault("copies", 1, {"thread 0 reads s[0]" + under_way}); // both copies are of one group, which is left open
    expect_fault("copies", 2, {"thread 0 reads s[0]" + under_way});
    expect_fault("copies", 3, {"thread 0 reads s[0]" + under_way});
    expect_fault("copies", 4, {"thread 0 writes s[4]" + under_way});
    expect_fault("copies", 5, {"reads s[", "to which a copy of thread ", "is under way"}); // a barrier is no wait
    expect_fault("copies", 6, {"thread 0 reads s[509], which thread 63 wrote with no barrier between"});
}

// Copies to a place that others still read.
TN_KERNEL(copies_over, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 256);
    const uint32_t t = tn_thread();
    tn_shared_store16(s, 4 * t, tn_load16(p.in + 4 * t));
    tn_sync();
    if (t >= 32) p.out[t] = s[4 * (63 - t)];
    if (p.fault != 1) tn_sync();
    if (t < 32) tn_async16(s, 4 * t, p.in + 4 * t);
    tn_async_commit();
    tn_async_wait<0>();
    p.out[t] = p.out[t] + s[4 * t];
}

TEST(Emulation, CopiesAreWritesToo)
{
    EXPECT_EQ(complaint("copies_over", 0), "");
    expect_fault("copies_over", 1, {"thread 0 copies to s[0], which thread 63 read with no barrier between"});
}

// ---- bounds and alignment ----

TN_KERNEL(bounds, FaultParams, 64)
{
    TN_SHARED_DYNAMIC(uint32_t, d);
    TN_SHARED(uint32_t, s, 64);
    TN_SHARED(uint16_t, h, 8);
    const uint32_t t = tn_thread();
    s[p.fault == 1 ? t + 1 : t] = t;
    if (p.fault == 2) p.out[0] = (s + 60).as<uint32_t>()[4];
    if (p.fault == 3) tn_shared_store16(s, 61, (tn_u4{0, 0, 0, 0}));
    if (p.fault == 4) d[256] = 1;
    if (p.fault == 5) p.out[0] = s[(size_t)0 - 1];
    if (p.fault == 6) tn_async16(s, 64, p.in);
    if (p.fault == 7) tn_shared_store16(s, 1, (tn_u4{0, 0, 0, 0}));
    if (p.fault == 8) (h + 1).as<uint32_t>()[0] = 0;
    if (p.fault == 9) tn_load16(p.in + 1);
    if (p.fault == 10) tn_store16(p.out + 2, (tn_u4{0, 0, 0, 0}));
    if (p.fault == 11) tn_shared_add(s, 64, t);
    if (t < 4) d[252 + t] = t;
    if (t == 0) h[7] = 1;
}

TEST(Emulation, BoundsAndAlignment)
{
    EXPECT_EQ(complaint("bounds", 0, 1, 1024), "");
    expect_fault("bounds", 1, {"thread 63 writes 4 bytes outside its array, 256 bytes from the begin of s[0]"}, 1024);
    expect_fault("bounds", 2, {"thread 0 reads 4 bytes outside its array, 256 bytes from the begin of s[0]"}, 1024);
    expect_fault("bounds", 3, {"thread 0 writes 16 bytes outside its array, 244 bytes from the begin of s[0]"}, 1024);
    expect_fault("bounds", 4, {"thread 0 writes 4 bytes outside its array, 1024 bytes from the begin of d[0]"}, 1024);
    expect_fault("bounds", 5, {"thread 0 reads 4 bytes outside its array, -4 bytes from the begin of s[0]"}, 1024);
    expect_fault("bounds", 6, {"thread 0 copies to 16 bytes outside its array"}, 1024);
    expect_fault("bounds", 7, {"thread 0 writes s[1], 16 bytes that are not aligned"}, 1024);
    expect_fault("bounds", 8, {"thread 0 writes h[1], 4 bytes that are not aligned"}, 1024);
    expect_fault("bounds", 9, {"thread 0: an access of 16 bytes of global memory that is not aligned"}, 1024);
    expect_fault("bounds", 10, {"thread 0: an access of 16 bytes of global memory that is not aligned"}, 1024);
    expect_fault("bounds", 11, {"thread 0 changes 4 bytes outside its array"}, 1024);
}

TEST(Emulation, LaunchesThatNoDeviceTakes)
{
    expect_fault("bounds", 0, {"s does not fit in shared memory"}, 227 * 1024);
    expect_fault("bounds", 0, {"bytes of shared memory: no GPU has them"}, 227 * 1024 + 16);
    Kernel odd = *find_kernel("bounds");
    for (uint32_t threads : {0u, 33u, 1056u}) {
        odd.threads = threads;
        const FaultParams params = {};
        EXPECT_EQ(run(odd, &params, {}),
                  std::vector<std::string>{"bounds: " + std::to_string(threads) + " threads a block: not 1 to 32 whole warps"});
    }
}

// ---- threads that do not meet ----

TN_KERNEL(meetings, FaultParams, 64)
{
    const uint32_t t = tn_thread();
    if (p.fault == 1 && t == 40) return;
    if (p.fault == 2 && t >= 32)
        tn_sync();
    else
        tn_sync();
    if (p.fault == 3 && t == 63) return;
    if (p.fault == 4 && t % 2)
        tn_shfl_xor(t, 1);
    else
        tn_shfl_xor(t, 1);
    if (p.fault == 5 && t == 3) tn_sync();
    if (p.fault == 6 && t == 3) tn_ballot(true);
    if (p.fault == 7 && t < 32) return; // a whole warp, before a barrier of the block
    if (p.fault == 8 && t == 0) return; // the first, before the others come
    tn_sync_warp();
    if (p.fault == 7 || p.fault == 9) tn_sync();
    if (p.fault == 9 && t < 32) tn_sync();
    if (p.fault == 10 && t < 32) tn_ballot(true); // one warp alone may
    if (p.fault == 11 && tn_sync_or(t == 5)) tn_sync();
}

TEST(Emulation, ThreadsThatDoNotMeet)
{
    for (uint32_t fault : {0u, 10u, 11u}) EXPECT_EQ(complaint("meetings", fault), "") << fault;
    const std::string at = " at tests/cuda_host/emulation_test.cpp:";
    expect_fault("meetings", 1, {"thread 40 returned while thread 0 waits in tn_sync" + at});
    expect_fault("meetings", 2, {"thread 32 came to tn_sync" + at, " while thread 0 waits in tn_sync" + at});
    expect_fault("meetings", 3, {"came to tn_shfl" + at, ", where thread 63, which has returned, is waited for"});
    expect_fault("meetings", 4, {"came to tn_shfl" + at, " waits in tn_shfl" + at});
    expect_fault("meetings", 5, {"tn_sync" + at, "tn_sync_warp" + at});
    expect_fault("meetings", 6, {"tn_ballot" + at, "tn_sync_warp" + at});
    expect_fault("meetings", 7, {"tn_sync" + at, "returned"});
    expect_fault("meetings", 8, {"thread 0"});
    expect_fault("meetings", 9, {"tn_sync" + at, "returned"});
}

// ---- counting blocks ----

TN_KERNEL(counting, FaultParams, 64)
{
    if (p.fault != 3 && (p.fault != 4 || tn_thread() != 5)) tn_fence();
    if (p.fault != 1) tn_sync();
    if (tn_thread() == 0 || p.fault == 2) tn_atomic_add(p.out, 1);
    if (p.fault == 6 || p.fault == 7) tn_sync();
    if (p.fault != 5 && p.fault != 7) tn_fence();
    if (p.fault == 5) tn_sync();
}
// Every thread counts itself.
TN_KERNEL(counting_threads, FaultParams, 64)
{
    tn_fence();
    tn_atomic_add(p.out, 1);
}

TEST(Emulation, BlocksAreCountedBehindABarrier)
{
    EXPECT_EQ(complaint("counting", 0, 3), "");
    EXPECT_EQ(complaint("counting", 2), "");
    EXPECT_EQ(complaint("counting_threads", 0), "");
    expect_fault("counting", 1, {"thread 0 counts its block by tn_atomic_add, with no barrier behind the tn_fence of thread"});
    const std::string counts = "thread 0 counts its block by tn_atomic_add, and ";
    expect_fault("counting", 3, {counts + "64 of its 64 threads have no tn_fence in front of the barrier before"});
    expect_fault("counting", 4, {counts + "1 of its 64 threads have no tn_fence in front of the barrier before"});
    EXPECT_EQ(complaint("counting", 6, 3), "");
    for (uint32_t fault : {5u, 7u})
        expect_fault("counting", fault, {"thread 0 counted its block by tn_atomic_add, and has no tn_fence behind that"});
}

// ---- the kernel before ----

TN_KERNEL_EARLY(waiting, FaultParams, 64, 1)
{
    const uint32_t early = p.in[tn_thread()];
    if (p.fault == 1 && tn_thread() == 40) return;
    if (p.fault == 2) p.out[0] = tn_load_fresh(p.in);
    if (p.fault == 3) tn_fence();
    if (p.fault == 4) tn_atomic_add(p.out, 1);
    if (p.fault == 5) tn_atomic_min(p.out, 1);
    if (p.fault == 6) p.out[0] = tn_load16_fresh(p.in).x;
    tn_wait_previous();
    if (p.fault == 7 && tn_thread() == 40) tn_wait_previous();
    tn_atomic_add(p.out + 1 + tn_thread(), early);
}

TEST(Emulation, EarlyKernelsWaitForTheOneBefore)
{
    EXPECT_EQ(complaint("waiting", 0, 3), "");
    const std::string too_early = " and has not waited for the kernel before";
    expect_fault("waiting", 1, {"thread 40 returns" + too_early});
    expect_fault("waiting", 2, {"loads what kernels store" + too_early});
    expect_fault("waiting", 3, {"fences" + too_early});
    expect_fault("waiting", 4, {"adds to global memory" + too_early});
    expect_fault("waiting", 5, {"changes global memory" + too_early});
    expect_fault("waiting", 6, {"loads what kernels store" + too_early});
    expect_fault("waiting", 7, {"thread 40 waits for the kernel before a second time"});
}

// ---- barriers that are left out ----

// One of each kind, every one needed.
TN_KERNEL(barriers, FaultParams, 64)
{
    TN_SHARED(uint32_t, s, 512);
    const uint32_t t = tn_thread();
    tn_async16(s, 4 * t, p.in + 4 * t);
    tn_async_commit();
    s[256 + t] = t;
    tn_async_wait<0>();
    p.out[t] = s[4 * t];
    tn_sync_warp();
    s[320 + t] = s[256 + (t ^ 1)];
    tn_sync();
    s[384 + t] = s[320 + (63 - t)];
    if (tn_sync_or(t == 9)) p.out[t] = s[384 + (t ^ 32)];
}

TEST(Emulation, BarriersAreMetAndLeftOut)
{
    EXPECT_EQ(complaint("barriers", 0), "");
    EXPECT_EQ(complaint("barriers", 0), "");
    std::vector<std::string> kinds;
    for (const Barrier &barrier : barriers_met()) {
        if (barrier.kernel != "barriers") continue;
        kinds.push_back(barrier.what);
        EXPECT_EQ(barrier.file, "tests/cuda_host/emulation_test.cpp");
        leave_out(barrier);
        EXPECT_NE(complaint("barriers", 0), "") << barrier.what;
        EXPECT_EQ(complaint("race_block", 0), "") << "another kernel";
        leave_out_nothing();
        EXPECT_EQ(complaint("barriers", 0), "");
    }
    EXPECT_EQ(kinds, (std::vector<std::string>{"tn_async_wait", "tn_sync_warp", "tn_sync", "tn_sync_or"}));
}

// ---- the order of blocks ----

TN_KERNEL(order, FaultParams, 64)
{
    tn_fence();
    tn_sync();
    if (tn_thread() == 0) p.out[1 + tn_atomic_add(p.out, 1)] = tn_block_x();
}

TEST(Emulation, AnOrderOfBlocksCanBeHadAgain)
{
    const auto order_of = [] {
        Memory<uint32_t> out(41, 0);
        launch("order", FaultParams{0, out.data(), nullptr}, 40);
        EXPECT_EQ(out[0], 40u);
        return std::vector<uint32_t>(out.data() + 1, out.data() + 41);
    };
    const std::vector<uint32_t> first = order_of();
    const std::string seed = std::to_string(last_seed());
    EXPECT_NE(order_of(), first);
    setenv("TN_CUDA_HOST_SEED", seed.c_str(), 1);
    EXPECT_EQ(order_of(), first);
    EXPECT_EQ(order_of(), first);
    setenv("TN_CUDA_HOST_SEED", "many", 1);
    EXPECT_EQ(complaint("order", 0), "TN_CUDA_HOST_SEED is not a number");
    unsetenv("TN_CUDA_HOST_SEED");
    EXPECT_NE(order_of(), first);
    std::vector<uint32_t> sorted = first;
    std::sort(sorted.begin(), sorted.end());
    for (uint32_t i = 0; i < 40; i++) EXPECT_EQ(sorted[i], i);
}

// ---- collectives ----

TN_KERNEL(collectives, FaultParams, 64)
{
    const uint32_t t = tn_thread(), v = p.in[t], lane = p.in[64 + t];
    uint32_t *out = p.out + 8 * t;
    out[0] = tn_shfl(v, lane);
    out[1] = tn_shfl_xor(v, p.in[0]);
    out[2] = (uint32_t)tn_shfl((int32_t)v, lane);
    out[3] = tn_bits(tn_shfl_xor(tn_float(v), 5));
    out[4] = tn_ballot(v & 1);
    out[5] = tn_sync_or(v == p.in[128]);
    out[6] = tn_sync_or(t == p.in[129]);
    out[7] = tn_sync_or(false);
}

TEST(Emulation, ExchangesAndVotes)
{
    std::mt19937 random(3);
    Memory<uint32_t> in(130), out(512);
    for (size_t i = 0; i < 130; i++) in[i] = (uint32_t)random() & ~0x40000000u; // no NaN among the floats
    in[128] = in[77 % 64];
    in[129] = 64; // no thread
    launch("collectives", FaultParams{0, out.data(), in.data()});
    for (uint32_t t = 0; t < 64; t++) {
        const uint32_t first = t / 32 * 32, *got = &out[8 * t];
        uint32_t votes = 0;
        for (uint32_t i = 0; i < 32; i++) votes |= (in[first + i] & 1) << i;
        EXPECT_EQ(got[0], in[first + in[64 + t] % 32]);
        EXPECT_EQ(got[1], in[first + ((t ^ in[0]) % 32)]);
        EXPECT_EQ(got[2], got[0]);
        EXPECT_EQ(got[3], in[t ^ 5]);
        EXPECT_EQ(got[4], votes);
        EXPECT_EQ(got[5], 1u);
        EXPECT_EQ(got[6], 0u);
        EXPECT_EQ(got[7], 0u);
    }
}

// A of 16 x 32 bytes and B of 32 x 8 lie in memory by rows; D of 16 x 8 is added to.
TN_KERNEL(products, FaultParams, 64)
{
    const uint32_t lane = tn_lane(), g = lane / 4, t = lane % 4;
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(p.in) + tn_warp() * 768;
    uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t half = 0; half < 2; half++) {
            a[2 * half] |= (uint32_t)bytes[g * 32 + 16 * half + 4 * t + i] << (8 * i);
            a[2 * half + 1] |= (uint32_t)bytes[(g + 8) * 32 + 16 * half + 4 * t + i] << (8 * i);
            b[half] |= (uint32_t)bytes[512 + (16 * half + 4 * t + i) * 8 + g] << (8 * i);
        }
    }
    int32_t d[4];
    uint32_t *out = p.out + tn_warp() * 128;
    for (uint32_t i = 0; i < 4; i++) d[i] = (int32_t)out[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    if (p.fault == 0)
        tn_mma_us(d, a, b);
    else
        tn_mma_ss(d, a, b);
    for (uint32_t i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = (uint32_t)d[i];
}

TEST(Emulation, ProductsOfMatrices)
{
    std::mt19937 random(4);
    for (uint32_t is_signed = 0; is_signed < 2; is_signed++) {
        Memory<uint32_t> in(2 * 192), out(256);
        for (size_t i = 0; i < in.size(); i++) in[i] = (uint32_t)random();
        std::vector<uint32_t> want(256);
        for (size_t i = 0; i < 256; i++) out[i] = want[i] = (uint32_t)random();
        launch("products", FaultParams{is_signed, out.data(), in.data()});
        for (uint32_t at = 0; at < 256; at++) {
            const uint8_t *bytes = reinterpret_cast<const uint8_t *>(in.data()) + at / 128 * 768;
            const uint32_t row = at % 128 / 8, column = at % 8;
            for (uint32_t k = 0; k < 32; k++) {
                const uint8_t a = bytes[row * 32 + k];
                want[at] += (uint32_t)((is_signed ? (int8_t)a : (int)a) * (int8_t)bytes[512 + k * 8 + column]);
            }
            EXPECT_EQ(out[at], want[at]) << at;
        }
    }
}

// Kernels of one warp for the products of other shapes: A [16][K], B [K][8] of small numbers in `in`, a word each; D [16][8].
TN_KERNEL(products_from, FaultParams, 32)
{
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < 4; j++) a[j] |= (p.in[(g + j % 2 * 8) * 32 + j / 2 * 16 + 4 * t + i] & 0xffu) << (8 * i);
        for (uint32_t j = 0; j < 2; j++) b[j] |= (p.in[512 + (j * 16 + 4 * t + i) * 8 + g] & 0xffu) << (8 * i);
    }
    int32_t d[4] = {1, 2, 3, 4}; // for nothing
    tn_mma_ss_from(d, (int32_t)p.fault, a, b);
    for (uint32_t i = 0; i < 4; i++) p.out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = (uint32_t)d[i];
}
TN_KERNEL(products_k16, FaultParams, 32)
{
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    uint32_t a[2] = {0, 0}, b = 0;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < 2; j++) a[j] |= (p.in[(g + j * 8) * 16 + 4 * t + i] & 0xffu) << (8 * i);
        b |= (p.in[256 + (4 * t + i) * 8 + g] & 0xffu) << (8 * i);
    }
    int32_t d[4] = {1, 2, 3, 4};
    tn_mma_k16_ss(d, a, b);
    for (uint32_t i = 0; i < 4; i++) p.out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = (uint32_t)d[i];
}
TN_KERNEL(products_tf32, FaultParams, 32)
{
    const uint32_t g = tn_lane() / 4, t = tn_lane() % 4;
    uint32_t a[4], b[2];
    for (uint32_t j = 0; j < 4; j++) a[j] = tn_bits((float)(int32_t)p.in[(g + j % 2 * 8) * 8 + j / 2 * 4 + t]) | p.fault;
    for (uint32_t j = 0; j < 2; j++) b[j] = tn_bits((float)(int32_t)p.in[128 + (j * 4 + t) * 8 + g]) | p.fault;
    float d[4] = {100.0f, 100.0f, 100.0f, 100.0f};
    tn_mma_tf32(d, a, b);
    for (uint32_t i = 0; i < 4; i++) p.out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = (uint32_t)(int32_t)d[i];
}

TEST(Emulation, ProductsOfMatricesOfOtherShapes)
{
    // ignored: bits that TF32 does not have.
    static const struct {
        const char *name;
        uint32_t k, fault;
        int32_t from;
    } shapes[] = {
        {"products_from", 32, 77, 77}, {"products_k16", 16, 0, 0}, {"products_tf32", 8, 0, 100}, {"products_tf32", 8, 0x1fff, 100}};
    std::mt19937 random(4);
    for (const auto &shape : shapes) {
        Memory<uint32_t> in(24 * shape.k), out(128);
        for (size_t i = 0; i < in.size(); i++) in[i] = (uint32_t)(int32_t)(int8_t)random();
        launch(shape.name, FaultParams{shape.fault, out.data(), in.data()});
        for (uint32_t at = 0; at < 128; at++) {
            int32_t want = shape.from;
            for (uint32_t k = 0; k < shape.k; k++) want += (int32_t)in[at / 8 * shape.k + k] * (int32_t)in[16 * shape.k + k * 8 + at % 8];
            EXPECT_EQ((int32_t)out[at], want) << shape.name << ", " << at;
        }
    }
}

TN_KERNEL(global_atomics, FaultParams, 64)
{
    tn_atomic_add(p.out, tn_thread());
    tn_atomic_min(p.out + 1, p.in[tn_thread()]);
    p.out[2 + tn_block_x() * 64 + tn_atomic_add(p.out + 2 + 64 * tn_grid_x() + tn_block_x(), 1)] = 1;
}

TEST(Emulation, AtomicsOfGlobalMemory)
{
    Memory<uint32_t> out(2 + 3 * 65, 0), in(64);
    for (uint32_t i = 0; i < 64; i++) in[i] = 1000 - 7 * (i * 29 % 64);
    out[1] = UINT32_MAX;
    launch("global_atomics", FaultParams{0, out.data(), in.data()}, 3);
    EXPECT_EQ(out[0], 3u * 63u * 64u / 2);
    EXPECT_EQ(out[1], *std::min_element(in.data(), in.data() + 64));
    for (uint32_t i = 0; i < 3 * 64; i++) EXPECT_EQ(out[2 + i], 1u) << "every old value once";
}
