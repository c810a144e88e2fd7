// What both kernels of the best logits of rows have in common. The rows, side by side, are where the arena is bound.
#ifndef TN_RANK_GLSL
#define TN_RANK_GLSL

layout(push_constant) uniform Push { tn_vk_rank_params p; };

const uint RANK_GROUPS = 1024u; // group g of a row: units of 4 logits g, g + 1024, ..

uint n_ids() { return min(step_words[5], p.n); } // that count
uint n_units() { return (n_ids() + 3u) / 4u; }
uint group_at(uint row, uint group) { return p.groups + row * RANK_GROUPS + group; }
// How many of a row are wanted; 0: it is not ranked.
uint wanted_of(uint row)
{
    const uint n = row < step_words[1] && step_words[4] != 0u ? step_words[p.n_top + row] : 0u;
    return n > p.top_max || n > n_ids() ? 0u : n;
}

// Floats in the order of integers; of NaN, which poisoned rows may have, some order.
uint key_of(uint bits) { return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u; }
uint bits_of(uint key) { return (key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key; }

// Of a unit of the row; 0, which no logit is, where there is none.
uvec4 keys_of(uint row, uint unit)
{
    const uint first = 4u * unit, n = n_ids();
    uvec4 keys = uvec4(0u);
    if (p.n % 4u == 0u && first + 4u <= n) {
        const uvec4 bits = arena4[row * (p.n / 4u) + unit];
        return uvec4(key_of(bits.x), key_of(bits.y), key_of(bits.z), key_of(bits.w));
    }
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        if (first + i < n) keys[i] = key_of(arena[row * p.n + first + i]);
    }
    return keys;
}
uint largest_of(uvec4 keys) { return max(max(keys.x, keys.y), max(keys.z, keys.w)); }

#endif
