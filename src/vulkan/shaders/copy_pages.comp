#version 450
// The copies of pages that a step begins with, in every layer.   Grid: x parts of 1024 words of a page, y copies, z layers. The KV binding
// holds the pages of all these layers, one after another. A grid of more copies than the step has does nothing for the others.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(push_constant) uniform Push { tn_vk_pages_params p; };

const uint STEP_N_COPIES = 3u; // word of tn_step
const uint PART_WORDS = 1024u;

void main()
{
    const uint copy = gl_WorkGroupID.y;
    if (copy >= step_words[STEP_N_COPIES]) return;
    const uint from = step_words[p.copies + 2u * copy], to = step_words[p.copies + 2u * copy + 1u];
    if (from >= p.n_pages || to >= p.n_pages) return;
    const uint layer = gl_WorkGroupID.z * p.n_pages, start = gl_WorkGroupID.x * PART_WORDS, end = min(start + PART_WORDS, p.page_words);
    for (uint i = start + gl_LocalInvocationID.x; i < end; i += gl_WorkGroupSize.x)
        kv[(layer + to) * p.page_words + i] = kv[(layer + from) * p.page_words + i];
}
