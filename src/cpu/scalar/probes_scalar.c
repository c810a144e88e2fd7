// Probes of the machine's limits in plain C: what the compiler makes of a reader and of a dot product without intrinsics.
#include "cpu/tmpl/matmul_common.h"

// The vectors that every processor of this kind has: memory's limit is no lower for kernels that use less of the processor (words of 8
// bytes read 24 GB/s where these read 31).
typedef uint64_t rs_vec __attribute__((vector_size(16)));
TN_K_INLINE rs_vec rs_zero(void) { return (rs_vec){0, 0}; }
TN_K_INLINE rs_vec rs_load(const uint8_t *p)
{
    rs_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
TN_K_INLINE rs_vec rs_xor(rs_vec a, rs_vec b) { return a ^ b; }
TN_K_INLINE uint64_t rs_fold(rs_vec v) { return v[0] ^ v[1]; }
#include "cpu/tmpl/read_stream.h"

uint64_t tn_k_read_stream__scalar(const uint8_t *data, size_t n_bytes) { return rs_run(data, n_bytes); }

// A row of codes and one of activations in the first-level cache; the compiler must take both as new in each round.
uint64_t tn_k_peak_dot_u8_i8_1x1__scalar(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    enum { N = 1024, ROUNDS = 4 };
    uint8_t codes[N];
    int8_t x[N];
    uint32_t total = 0;
    memset(codes, code, sizeof codes);
    memset(x, q, sizeof x);
    for (uint64_t r = 0; r < (uint64_t)n_groups * ROUNDS; r++) {
        int32_t sum = 0;
        __asm__ volatile("" : : "r"(codes), "r"(x) : "memory");
        for (uint32_t i = 0; i < N; i++) sum += codes[i] * x[i];
        total += (uint32_t)sum;
    }
    *out_sum = total;
    return (uint64_t)n_groups * ROUNDS * N;
}
