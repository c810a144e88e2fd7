#version 450
// The best logits of rows, ranked: logit descending, id ascending.   Grid: x rows.
//
// Where k sets of logits have a largest logit of t or more there are k logits of t or more, so that none of the k best is below the k-th
// largest of the sets' largest. Only groups that reach it are read again, and what reaches it is few: it is ranked by counting who is before
// whom. A row of which too many reach it (equal logits) is not ranked.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/rank.glsl"

const uint SETS = 256u; // of 4 groups each: as many as are ranked at most, or more
const uint ROOM = 1024u; // of candidates

shared uint set_keys[SETS];
shared uint listed[RANK_GROUPS]; // groups that reach the bound
shared uint keys[ROOM], ids[ROOM];
shared uint bound, n_listed, n_found;

void find_bound(uint row, uint k)
{
    for (uint s = gl_LocalInvocationIndex; s < SETS; s += gl_WorkGroupSize.x) {
        uint largest = 0u;
        [[unroll]] for (uint i = 0u; i < RANK_GROUPS / SETS; i++) largest = max(largest, state[group_at(row, s + i * SETS)]);
        set_keys[s] = largest;
    }
    barrier();
    for (uint s = gl_LocalInvocationIndex; s < SETS; s += gl_WorkGroupSize.x) {
        const uint own = set_keys[s];
        uint place = 0u;
        for (uint i = 0u; i < SETS; i++) place += set_keys[i] > own || (set_keys[i] == own && i < s) ? 1u : 0u;
        if (place == k - 1u) bound = own;
    }
    barrier();
}

void list_groups(uint row)
{
    for (uint g = gl_LocalInvocationIndex; g < RANK_GROUPS; g += gl_WorkGroupSize.x) {
        const uint largest = state[group_at(row, g)];
        if (largest != 0u && largest >= bound) listed[atomicAdd(n_listed, 1u)] = g;
    }
    barrier();
}

void take_candidates(uint row)
{
    const uint of_group = (n_units() + RANK_GROUPS - 1u) / RANK_GROUPS;
    for (uint i = gl_LocalInvocationIndex; i < n_listed * of_group; i += gl_WorkGroupSize.x) {
        const uint unit = listed[i / of_group] + i % of_group * RANK_GROUPS;
        const uvec4 of_unit = keys_of(row, unit);
        if (largest_of(of_unit) < bound) continue;
        [[unroll]] for (uint e = 0u; e < 4u; e++) {
            if (4u * unit + e >= n_ids() || of_unit[e] < bound) continue;
            const uint at = atomicAdd(n_found, 1u);
            if (at >= ROOM) continue;
            keys[at] = of_unit[e];
            ids[at] = 4u * unit + e;
        }
    }
    barrier();
}

void main()
{
    const uint row = gl_WorkGroupID.x, id = gl_LocalInvocationIndex, k = wanted_of(row);
    if (row >= step_words[1]) return;
    if (k == 0u) {
        if (id == 0u) state[p.counts + row] = 0u;
        return;
    }
    if (id == 0u) n_listed = n_found = 0u;
    find_bound(row, k);
    list_groups(row);
    take_candidates(row);
    const uint n = n_found;
    const bool is_ranked = n >= k && n <= ROOM;
    if (id == 0u) state[p.counts + row] = is_ranked ? k : 0u;
    if (!is_ranked) return;
    for (uint c = id; c < n; c += gl_WorkGroupSize.x) {
        uint place = 0u;
        for (uint i = 0u; i < n; i++) place += keys[i] > keys[c] || (keys[i] == keys[c] && ids[i] < ids[c]) ? 1u : 0u;
        if (place >= k) continue;
        state[p.ids + row * p.top_max + place] = ids[c];
        state[p.logits + row * p.top_max + place] = bits_of(keys[c]);
    }
}
