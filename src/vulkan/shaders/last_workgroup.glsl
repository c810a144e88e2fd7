// The workgroup that is the last to finish goes on with what all have stored. Nobody waits for anybody: no workgroup need run beside others.
//
// What is read then must be declared coherent. The barriers order the stores of all invocations of a workgroup before its count, and its
// count before their loads: barrier() alone orders shared memory, and memoryBarrierBuffer() one invocation.
#ifndef TN_LAST_WORKGROUP_GLSL
#define TN_LAST_WORKGROUP_GLSL
#extension GL_KHR_memory_scope_semantics : require

shared bool all_are_here;

// Called once by all invocations of each of `n` workgroups; true in all of the last one. state[counter] is 0 before and afterwards.
bool is_last_workgroup(uint counter, uint n)
{
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeDevice, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    if (gl_LocalInvocationIndex == 0u) {
        const uint before = atomicAdd(state[counter], 1u, gl_ScopeDevice, gl_StorageSemanticsBuffer, gl_SemanticsAcquireRelease);
        all_are_here = before + 1u == n;
        if (all_are_here) state[counter] = 0u;
    }
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeDevice, gl_StorageSemanticsBuffer | gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    return all_are_here;
}

#endif
