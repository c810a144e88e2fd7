// Limits that control groups put on this process: memory and processor time, versions 1 and 2.
#ifndef TN_SCHEDULER_CGROUP_H
#define TN_SCHEDULER_CGROUP_H

#include <stdint.h>

typedef struct tn_cgroup_limits {
    uint64_t memory_bytes; // 0: no limit
    uint32_t n_cpus;       // processors' worth of time, rounded up; 0: no limit
} tn_cgroup_limits;

// Reads <root>/proc/self/cgroup and the files below <root>/sys/fs/cgroup; the tightest limit of the group and its ancestors counts.
// `root` is "" except in tests. What cannot be read limits nothing.
tn_cgroup_limits tn_cgroup_read(const char *root);

#endif
