// Long copies (the end of src/cuda/kernels/gpu.cuh) on the host: by a copy engine where the launch's device has one, else by each thread.
#ifndef TN_TESTS_CUDA_HOST_BULK_HOST_HPP
#define TN_TESTS_CUDA_HOST_BULK_HOST_HPP

#include "cuda_host/emulation.hpp"

TN_FN void tn_bulk_copy_part(TN_SHARED_ARG(int8_t, to), uint32_t at, const uint8_t *from, uint32_t n_bytes); // gpu.cuh

TN_FN bool tn_has_copy_engine() { return cuda_host::block().has_copy_engine; }

TN_FN bool tn_bulk_is_mine(uint32_t thread = 0) { return !tn_has_copy_engine() || tn_thread() == thread; }
TN_FN void tn_bulk_init(TN_SHARED_ARG(uint64_t, arrival), uint32_t n, TN_CALLED_AT)
{
    for (uint32_t i = 0; i < n && tn_has_copy_engine(); i++) cuda_host::make_arrival(arrival.in_shared(i), place);
}
TN_FN void tn_bulk_expect(TN_SHARED_ARG(uint64_t, arrival), uint32_t i, uint32_t n_bytes, TN_CALLED_AT)
{
    if (tn_has_copy_engine()) cuda_host::expect_bytes(arrival.in_shared(i), n_bytes, place);
}
TN_FN void tn_bulk_copy(TN_SHARED_ARG(int8_t, to), uint32_t at, const uint8_t *from, uint32_t n_bytes, TN_SHARED_ARG(uint64_t, arrival),
                        uint32_t i, TN_CALLED_AT)
{
    if (tn_has_copy_engine())
        cuda_host::copy_long(to.in_shared(at), from, n_bytes, arrival.in_shared(i), place);
    else
        tn_bulk_copy_part(to, at, from, n_bytes);
}
TN_FN void tn_bulk_wait_mine(TN_SHARED_ARG(uint64_t, arrival), uint32_t i, uint32_t parity, TN_CALLED_AT)
{
    if (tn_has_copy_engine()) cuda_host::wait_arrival(arrival.in_shared(i), parity, place);
}
TN_FN void tn_bulk_wait(TN_SHARED_ARG(uint64_t, arrival), uint32_t i, uint32_t parity, TN_CALLED_AT)
{
    tn_bulk_wait_mine(arrival, i, parity, place);
    if (tn_has_copy_engine()) return;
    cuda_host::async_commit();
    cuda_host::async_wait(0, place);
}

#endif
