// Sorted ranges that grow together.
#include "batch_done.h"

#include <stdlib.h>
#include <string.h>

uint64_t tn_cli_batch_done_mix(uint64_t line, uint64_t hash)
{
    // The finaliser of SplitMix64 over both, so that sums do not cancel where lines change places.
    uint64_t x = hash ^ (line * 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// The first range that ends at `line` or behind it.
static size_t place_of(const tn_cli_batch_done *done, uint64_t line)
{
    size_t low = 0, high = done->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (done->ranges[middle].last < line)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool insert(tn_cli_batch_done *done, size_t at, tn_cli_batch_range range)
{
    if (!done->ranges || done->n == done->capacity) {
        const size_t capacity = done->capacity ? 2 * done->capacity : 64;
        tn_cli_batch_range *grown = realloc(done->ranges, capacity * sizeof *grown);
        if (!grown) return false;
        done->ranges = grown;
        done->capacity = capacity;
    }
    memmove(done->ranges + at + 1, done->ranges + at, (done->n - at) * sizeof *done->ranges);
    done->ranges[at] = range;
    done->n++;
    return true;
}

tn_cli_batch_added tn_cli_batch_done_add(tn_cli_batch_done *done, uint64_t line, uint64_t hash)
{
    const size_t at = place_of(done, line);
    const uint64_t mix = tn_cli_batch_done_mix(line, hash);
    tn_cli_batch_range *after = at < done->n ? &done->ranges[at] : NULL, *before = at > 0 ? &done->ranges[at - 1] : NULL;
    if (after && after->first <= line) return TN_CLI_BATCH_ADDED_BEFORE;
    const bool ends_before = before && before->last + 1 == line, begins_after = after && after->first - 1 == line;
    if (ends_before) {
        before->last = line;
        before->sum += mix;
    } else if (begins_after) {
        after->first = line;
        after->sum += mix;
    } else if (!insert(done, at, (tn_cli_batch_range){line, line, mix})) {
        return TN_CLI_BATCH_NO_MEMORY;
    }
    if (ends_before && begins_after) {
        before->last = after->last;
        before->sum += after->sum;
        memmove(after, after + 1, (size_t)(done->ranges + done->n - (after + 1)) * sizeof *after);
        done->n--;
    }
    done->n_lines++;
    return TN_CLI_BATCH_ADDED;
}

const tn_cli_batch_range *tn_cli_batch_done_find(const tn_cli_batch_done *done, uint64_t line)
{
    const size_t at = place_of(done, line);
    return at < done->n && done->ranges[at].first <= line ? &done->ranges[at] : NULL;
}

void tn_cli_batch_done_deinit(tn_cli_batch_done *done)
{
    free(done->ranges);
    memset(done, 0, sizeof *done);
}
