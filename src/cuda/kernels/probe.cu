// What a device can do at best: reading memory, and products of bytes, with nothing else to do.
#include "cuda/kernels/gpu.cuh"

// Sums that no thread comes to leave a trace: else nothing would have to be computed.
#define TN_PROBE_TRACE 0x9e3779b9u

TN_FN uint32_t tn_fold(tn_u4 v) { return v.x ^ v.y ^ v.z ^ v.w; }

// Grid x: as many blocks as fill the device. All of it is read once, several units of each thread at a time.
TN_KERNEL(probe_read, tn_cuda_probe_params, 256)
{
    enum { IN_FLIGHT = 8 };
    const uint64_t n_threads = (uint64_t)tn_grid_x() * tn_n_threads();
    uint64_t i = (uint64_t)tn_block_x() * tn_n_threads() + tn_thread();
    uint32_t sum = 0;
    for (; i + (IN_FLIGHT - 1) * n_threads < p.n_units; i += IN_FLIGHT * n_threads) {
        tn_u4 v[IN_FLIGHT];
        TN_UNROLL
        for (int k = 0; k < IN_FLIGHT; k++) v[k] = tn_load16_once(p.at + 16 * (i + (uint64_t)k * n_threads));
        TN_UNROLL
        for (int k = 0; k < IN_FLIGHT; k++) sum ^= tn_fold(v[k]);
    }
    for (; i < p.n_units; i += n_threads) sum ^= tn_fold(tn_load16_once(p.at + 16 * i));
    if (sum == TN_PROBE_TRACE) *p.sink = sum;
}

// A round is 64 products of four bytes a thread, in chains that do not wait for each other.
TN_KERNEL(probe_dot_dp4a, tn_cuda_probe_params, 256)
{
    enum { CHAINS = 8, REPEATS = 8 };
    const uint32_t a = 0x01010101u * (tn_thread() & 3u), b = (uint32_t)p.n_units + tn_thread();
    int32_t sums[CHAINS];
    TN_UNROLL
    for (int k = 0; k < CHAINS; k++) sums[k] = (int32_t)tn_thread() + k;
    for (uint32_t round = 0; round < p.n_rounds; round++) {
        TN_UNROLL
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            TN_UNROLL
            for (int k = 0; k < CHAINS; k++) sums[k] = tn_dp4a_us(a, b ^ (uint32_t)k, sums[k]);
        }
    }
    uint32_t sum = 0;
    TN_UNROLL
    for (int k = 0; k < CHAINS; k++) sum ^= (uint32_t)sums[k];
    if (sum == TN_PROBE_TRACE) *p.sink = sum;
}

// A round is 16 products of matrices (16 x 32 by 32 x 8) a warp.
TN_KERNEL(probe_dot_mma, tn_cuda_probe_params, 256)
{
    enum { CHAINS = 8, REPEATS = 2 };
    const uint32_t code = 0x01010101u * (tn_thread() & 3u), value = (uint32_t)p.n_units + tn_thread();
    const uint32_t a[4] = {code, code ^ 0x02020202u, code ^ 0x01010101u, code};
    int32_t sums[CHAINS][4];
    TN_UNROLL
    for (int k = 0; k < CHAINS; k++) {
        TN_UNROLL
        for (int i = 0; i < 4; i++) sums[k][i] = k + i;
    }
    for (uint32_t round = 0; round < p.n_rounds; round++) {
        TN_UNROLL
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            TN_UNROLL
            for (int k = 0; k < CHAINS; k++) {
                const uint32_t b[2] = {value ^ (uint32_t)k, value};
                tn_mma_us(sums[k], a, b);
            }
        }
    }
    uint32_t sum = 0;
    TN_UNROLL
    for (int k = 0; k < CHAINS; k++) sum ^= (uint32_t)(sums[k][0] ^ sums[k][1] ^ sums[k][2] ^ sums[k][3]);
    if (sum == TN_PROBE_TRACE) *p.sink = sum;
}
