#version 450
// attention: the query heads of a KV head over all keys up to the row's own position, which is in the cache already.
// Rows: from p.first_row on. TN_SPLIT undefined: grid (1, KV heads, rows), a workgroup goes through the chunks of its row.
// TN_SPLIT: grid (chunks of the longest row, KV heads, rows), a workgroup a chunk; the last one of a row and KV head to finish combines.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/attention.glsl"

#ifdef TN_SPLIT
#include "vulkan/shaders/last_workgroup.glsl"
// A chunk's share of a head: o [head_dim], m, l, and two words that are not used.
const uint PARTIAL_WORDS = HEAD_DIM + 4;

uint partial_at(uint row, uint part, uint i, uint c)
{
    const uint head = gl_WorkGroupID.y * GROUP + part * HEADS + own_head(i);
    return p.partials + ((row * p.n_heads + head) * p.n_chunks_max + c) * PARTIAL_WORDS;
}

void store_partials(uint row, uint part, uint c)
{
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const uint at = partial_at(row, part, i, c);
        [[unroll]] for (uint r = 0; r < ROUNDS; r++) {
            if (!has_head(part, own_head(i)) || !has_unit(r)) continue;
            uint o[8];
            [[unroll]] for (uint j = 0; j < UNIT_DIMS; j++) o[j] = floatBitsToUint(own_o[i * HEAD_VALUES + r * UNIT_DIMS + j]);
            const uint o_at = at + lane_unit(r) * UNIT_DIMS;
            if (UNIT4 != 0u) {
                partials4[o_at / 4u] = uvec4(o[0], o[1], o[2], o[3]);
                partials4[o_at / 4u + 1u] = uvec4(o[4], o[5], o[6], o[7]);
            } else {
                partials[o_at] = o[0];
                partials[o_at + 1u] = o[1];
            }
            if (lane_unit(r) == 0u) {
                partials[at + HEAD_DIM] = uint(own_m[i]);
                partials[at + HEAD_DIM + 1u] = floatBitsToUint(own_l[i]);
            }
        }
    }
}

void load_partials(uint row, uint part, uint c)
{
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        if (!has_head(part, own_head(i))) continue;
        const uint at = partial_at(row, part, i, c);
        own_m[i] = int(partials[at + HEAD_DIM]);
        own_l[i] = uintBitsToFloat(partials[at + HEAD_DIM + 1u]);
        [[unroll]] for (uint r = 0; r < ROUNDS; r++) {
            const uint o_at = at + lane_unit(r) * UNIT_DIMS, to = i * HEAD_VALUES + r * UNIT_DIMS;
            if (UNIT4 != 0u) {
                const uvec4 a = partials4[o_at / 4u], b = partials4[o_at / 4u + 1u];
                [[unroll]] for (uint j = 0; j < UNIT_WORDS; j++) {
                    own_o[to + j] = uintBitsToFloat(a[j]);
                    own_o[to + UNIT_WORDS + j] = uintBitsToFloat(b[j]);
                }
            } else {
                own_o[to] = uintBitsToFloat(partials[o_at]);
                own_o[to + 1u] = uintBitsToFloat(partials[o_at + 1u]);
            }
        }
    }
}

// Whether all chunks of the row and KV head are there.
bool arrives_last(uint row, uint n_chunks) { return is_last_workgroup(p.counters + row * p.n_kv_heads + gl_WorkGroupID.y, n_chunks); }
#endif

void main()
{
    const uint row = p.first_row + gl_WorkGroupID.z;
    const uint n_visible = step_words[p.step.positions + row] + 1u, seq = step_words[p.step.seqs + row];
    const uint n_chunks = (n_visible + CHUNK - 1u) / CHUNK;
#ifdef TN_SPLIT
    const uint c = gl_WorkGroupID.x;
    if (c >= n_chunks) return;
    for (uint part = 0; part < PARTS; part++) {
        quantise_queries(row, part, 0u);
        attend_chunk(seq, c, n_visible, 0u);
        if (n_chunks == 1u) {
            absorb_chunk(true);
            store_heads(row, part);
        } else {
            store_partials(row, part, c);
        }
    }
    if (n_chunks == 1u || !arrives_last(row, n_chunks)) return;
    for (uint part = 0; part < PARTS; part++) {
        for (uint i = 0; i < n_chunks; i++) {
            load_partials(row, part, i);
            absorb_chunk(i == 0u);
        }
        store_heads(row, part);
    }
#else
    for (uint part = 0; part < PARTS; part++) {
        quantise_queries(row, part, 0u);
        for (uint c = 0; c < n_chunks; c++) {
            attend_chunk(seq, c, n_visible, c & 1u);
            absorb_chunk(c == 0u);
        }
        store_heads(row, part);
    }
#endif
}
