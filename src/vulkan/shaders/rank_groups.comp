#version 450
// The largest logit of each group of a row, as keys: what rank.comp begins with.   Grid: x groups, y rows.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/rank.glsl"

const uint AT_A_TIME = 16u; // units that are asked for before any is looked at

void main()
{
    const uint group = gl_GlobalInvocationID.x, row = gl_WorkGroupID.y;
    if (group >= RANK_GROUPS || wanted_of(row) == 0u) return;
    uint largest = 0u;
    for (uint first = group; first < n_units(); first += AT_A_TIME * RANK_GROUPS) {
        uvec4 keys[AT_A_TIME];
        [[unroll]] for (uint i = 0u; i < AT_A_TIME; i++) keys[i] = keys_of(row, first + i * RANK_GROUPS);
        [[unroll]] for (uint i = 0u; i < AT_A_TIME; i++) largest = max(largest, largest_of(keys[i]));
    }
    state[group_at(row, group)] = largest;
}
