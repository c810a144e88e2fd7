// The frame of a step: taking it from the host, and giving its poison back.
#include "cuda/kernels/gpu.cuh"

TN_KERNEL_FIRST(begin, tn_cuda_begin_params, 256)
{
    // The host's memory is across a bus: each word is read once, as many at a time as there are threads. The words in front say how much
    // of the page table, which lies last, the step uses; the addresses lie behind all of it.
    const uint32_t n_seqs = p.host[2];
    const uint32_t n_words = p.step.page_table + n_seqs * p.step.n_seq_pages;
    uint32_t *step = const_cast<uint32_t *>(p.step.words);
    for (uint32_t i = tn_thread(); i < n_words; i += tn_n_threads()) step[i] = p.host[i];
    if (tn_thread() < 4) step[p.step.addresses + tn_thread()] = p.host[p.step.addresses + tn_thread()];
    for (uint32_t i = tn_thread(); i < p.n_poison; i += tn_n_threads()) p.poison[i] = UINT32_MAX;
    for (uint32_t i = tn_thread(); i < p.n_largest; i += tn_n_threads()) p.largest[i] = 0;
}

TN_KERNEL(end, tn_cuda_end_params, 256)
{
    const uint32_t n_tokens = p.step.words[0];
    for (uint32_t i = tn_thread(); i < n_tokens; i += tn_n_threads()) p.host[i] = p.poison[i];
}
