// Reading memory as fast as a level's loads can, written once: four places of the bytes at a time, each of them read forwards, so that more
// lines are under way than one stream of the prefetcher asks for. The including file defines rs_vec, rs_zero, rs_load, rs_xor and
// rs_fold(vec): the exclusive or of a vector's 64-bit words.
// Measured on Zen 4, huge pages, best of 24 passes over 256 MiB, GB/s: 256-bit loads with 4 streams of 4 lines 34.4; 1, 2, 8, 16 streams of
// one line 33.8, 33.9, 32.6, 31.6; with software prefetches 26 to 32; 512-bit loads 28 to 32 whatever the streams, so AVX-512 has no row.
#ifndef TN_CPU_TMPL_READ_STREAM_H
#define TN_CPU_TMPL_READ_STREAM_H

#define RS_STREAMS   4u
#define RS_RUN_BYTES 256u // of one stream, before the next

TN_K_INLINE uint64_t rs_run(const uint8_t *data, size_t n_bytes)
{
    const size_t stream_bytes = n_bytes / RS_STREAMS / RS_RUN_BYTES * RS_RUN_BYTES;
    rs_vec acc[RS_STREAMS];
    TN_K_UNROLL
    for (unsigned s = 0; s < RS_STREAMS; s++) acc[s] = rs_zero();
    for (size_t at = 0; at < stream_bytes; at += RS_RUN_BYTES) {
        TN_K_UNROLL
        for (unsigned s = 0; s < RS_STREAMS; s++) {
            TN_K_UNROLL
            for (unsigned i = 0; i < RS_RUN_BYTES; i += sizeof(rs_vec)) acc[s] = rs_xor(acc[s], rs_load(data + s * stream_bytes + at + i));
        }
    }
    for (size_t at = RS_STREAMS * stream_bytes; at < n_bytes; at += sizeof(rs_vec)) acc[0] = rs_xor(acc[0], rs_load(data + at));
    for (unsigned s = 1; s < RS_STREAMS; s++) acc[0] = rs_xor(acc[0], acc[s]);
    return rs_fold(acc[0]);
}

#endif
