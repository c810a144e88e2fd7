// The best logits of rows, ranked, by two kernels: the first, many blocks a row, leaves the largest logit of each group of 128 or more side
// by side, of which a row has 1024 at most; the second, a block a row, reads little.
//
// Where k groups have a largest logit of t or more there are k logits of t or more, so that none of the k best is below the k-th largest of
// the groups' largest. Only groups that reach it, or a lower bound that few more reach, are read again, and what reaches it is few: it is
// ranked by counting who is before whom. Where too many reach it (equal logits, or the best in few groups) the bound is made exact, bit by
// bit, over the whole row.
#include "cuda/kernels/rows_io.cuh"
#include "cuda/kernels/warp.cuh"

enum {
    TN_RANK_THREADS = 256,
    TN_RANK_OF_THREAD = TN_CUDA_RANK_GROUPS / TN_RANK_THREADS, // groups
    TN_RANK_ROOM = 1024,                                       // of candidates
    TN_RANK_COUNTS = 64,                                       // rounds whose counts lie beside each other
    TN_RANK_MORE = 32,     // groups that reach the first bound, beside those that must, at most if it can be
    TN_RANK_AT_A_TIME = 4, // groups of a warp, whose units are asked for before any is looked at
};

// Whoever is larger is before: the logit, then the smaller id. No two logits of a row are equal as keys.
struct tn_rank_key {
    uint32_t logit, id;
};
// Floats in the order of integers; of NaN, which poisoned rows may have, some order.
TN_FN uint32_t tn_rank_order(uint32_t bits) { return bits & 0x80000000u ? ~bits : bits | 0x80000000u; }
TN_FN float tn_rank_logit(uint32_t order) { return tn_float(order & 0x80000000u ? order & 0x7fffffffu : ~order); }
TN_FN bool tn_rank_is_before(const tn_rank_key &a, const tn_rank_key &b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// The ids of a row that count, four to a unit, and 32 units or a multiple to a group.
struct tn_rank_row {
    const float *logits;
    uint32_t n, n_units, group_units, n_groups;
    bool is_aligned;
};
TN_FN tn_rank_row tn_rank_row_of(const tn_cuda_rank_params &p)
{
    const uint32_t n_ids = p.step.words[5], n = n_ids < p.n ? n_ids : p.n, n_units = (n + 3) / 4;
    const uint32_t group_units = (n_units + 32 * TN_CUDA_RANK_GROUPS - 1) / (32 * TN_CUDA_RANK_GROUPS) * 32;
    return {tn_y_row(p.step, p.x, tn_block_x()),
            n,
            n_units,
            group_units,
            group_units ? (n_units + group_units - 1) / group_units : 0,
            p.x.stride % 4 == 0};
}
// How many of this block's row are wanted; 0: it is not ranked.
TN_FN uint32_t tn_rank_wanted(const tn_cuda_rank_params &p)
{
    const uint32_t wanted = p.step.words[4] ? p.step.words[p.step.n_top + tn_block_x()] : 0, n_ids = p.step.words[5];
    return wanted > p.top_max || wanted > TN_CUDA_RANK_MAX || wanted > (n_ids < p.n ? n_ids : p.n) ? 0 : wanted;
}
// Unit u as it lies in memory; where there is none, what is before nothing.
TN_FN void tn_rank_load(const tn_rank_row &row, uint32_t u, uint32_t (&bits)[4])
{
    if (row.is_aligned && 4 * u + 4 <= row.n) {
        const tn_u4 v = tn_load16(row.logits + 4 * (size_t)u);
        bits[0] = v.x, bits[1] = v.y, bits[2] = v.z, bits[3] = v.w;
    } else {
        TN_UNROLL for (uint32_t i = 0; i < 4; i++) bits[i] = 4 * u + i < row.n ? tn_bits(row.logits[4 * (size_t)u + i]) : UINT32_MAX;
    }
}
// The largest key of each of some groups, of which the lane has unit `unit`; the same in all lanes.
TN_FN void tn_rank_largest(const tn_rank_row &row, const uint32_t (&groups)[TN_RANK_AT_A_TIME], uint32_t unit,
                           uint32_t (&largest)[TN_RANK_AT_A_TIME])
{
    uint32_t bits[TN_RANK_AT_A_TIME][4];
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++)
    {
        const uint32_t u = groups[i] * row.group_units + unit;
        tn_rank_load(row, groups[i] < row.n_groups ? u : row.n_units, bits[i]);
    }
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++)
    {
        uint32_t of_unit = 0;
        TN_UNROLL for (uint32_t e = 0; e < 4; e++)
        {
            const uint32_t key = tn_rank_order(bits[i][e]);
            of_unit = key > of_unit ? key : of_unit;
        }
        largest[i] = tn_lanes_max(of_unit);
    }
}

// What the block shares.
struct tn_rank_shared {
    TN_SHARED_ARG(uint32_t, counts);
    TN_SHARED_ARG(uint32_t, logits); // of candidates, as keys, and
    TN_SHARED_ARG(uint32_t, ids);
    TN_SHARED_ARG(uint32_t, listed); // groups
};
// The sum of n over the block. `round` below TN_RANK_COUNTS: a count of its own, which was 0.
TN_FN uint32_t tn_rank_count(const tn_rank_shared &shared, uint32_t round, uint32_t n)
{
    n = (uint32_t)tn_lanes_sum((int32_t)n);
    if (tn_lane() == 0) tn_shared_add(shared.counts, round, n);
    tn_sync();
    return shared.counts[round];
}
TN_FN void tn_rank_clear(const tn_rank_shared &shared)
{
    tn_sync(); // what was there has been read
    if (tn_thread() < TN_RANK_COUNTS) shared.counts[tn_thread()] = 0;
    tn_sync();
}

// The largest logits of this thread's groups: thread, thread + 256, ..
struct tn_rank_groups {
    uint32_t largest[TN_RANK_OF_THREAD];
};
// A bound that k groups reach, and few more: at least the k-th largest's upper bits.
TN_FN uint32_t tn_rank_bound(const tn_rank_shared &shared, uint32_t k, const tn_rank_groups &groups)
{
    uint32_t bound = 0;
    tn_rank_clear(shared);
    TN_ROLLED for (uint32_t bit = 0; bit < 32; bit++)
    {
        const uint32_t next = bound | 0x80000000u >> bit;
        uint32_t n = 0;
        TN_UNROLL for (uint32_t i = 0; i < TN_RANK_OF_THREAD; i++) n += groups.largest[i] >= next ? 1 : 0;
        n = tn_rank_count(shared, bit, n);
        if (n < k) continue;
        bound = next;
        if (n <= k + TN_RANK_MORE) break;
    }
    return bound;
}

// Whether a key with `logit` and `id` is the least's or before it.
TN_FN bool tn_rank_reaches(const tn_rank_key &least, uint32_t logit, uint32_t id)
{
    return logit > least.logit || (logit == least.logit && id <= least.id);
}
// Those of unit u's logits that reach `least` become candidates, as far as there is room.
TN_FN void tn_rank_take(const tn_rank_row &row, uint32_t u, const uint32_t (&bits)[4], const tn_rank_key &least,
                        const tn_rank_shared &shared)
{
    TN_UNROLL for (uint32_t e = 0; e < 4; e++)
    {
        const uint32_t id = 4 * u + e, key = tn_rank_order(bits[e]);
        if (id >= row.n || !tn_rank_reaches(least, key, id)) continue;
        const uint32_t at = tn_shared_add(shared.counts, 0, 1u);
        if (at >= TN_RANK_ROOM) continue;
        shared.logits[at] = key;
        shared.ids[at] = id;
    }
}
// A warp's part of some listed groups, of which the lane has unit `unit`.
TN_FN void tn_rank_take_listed(const tn_rank_row &row, uint32_t first, uint32_t n_listed, uint32_t unit, const tn_rank_key &least,
                               const tn_rank_shared &shared)
{
    uint32_t units[TN_RANK_AT_A_TIME], bits[TN_RANK_AT_A_TIME][4];
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++)
    {
        const uint32_t at = first + i * (TN_RANK_THREADS / 32);
        units[i] = at < n_listed ? shared.listed[at] * row.group_units + unit : row.n_units;
        tn_rank_load(row, units[i], bits[i]);
    }
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) tn_rank_take(row, units[i], bits[i], least, shared);
}
// Candidates: all logits that reach `least`. Their number, of which there may be more than there is room for. Groups that reach it are
// listed first, then read by warps.
TN_FN uint32_t tn_rank_gather(const tn_rank_row &row, const tn_rank_key &least, const tn_rank_groups &groups, const tn_rank_shared &shared)
{
    tn_rank_clear(shared);
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_OF_THREAD; i++)
    {
        if (groups.largest[i] >= least.logit) shared.listed[tn_shared_add(shared.counts, 1, 1u)] = i * TN_RANK_THREADS + tn_thread();
    }
    tn_sync();
    const uint32_t n_listed = shared.counts[1];
    TN_ROLLED for (uint32_t first = tn_warp(); first < n_listed; first += TN_RANK_AT_A_TIME * (TN_RANK_THREADS / 32))
    {
        TN_ROLLED for (uint32_t unit = tn_lane(); unit < row.group_units; unit += 32)
            tn_rank_take_listed(row, first, n_listed, unit, least, shared);
    }
    tn_sync();
    return shared.counts[0];
}

// How many of the row's logits reach `least`, as this thread sees them.
TN_FN uint32_t tn_rank_count_row(const tn_rank_row &row, const tn_rank_key &least)
{
    uint32_t n = 0;
    TN_ROLLED for (uint32_t u = tn_thread(); u < row.n_units; u += TN_RANK_THREADS)
    {
        uint32_t bits[4];
        tn_rank_load(row, u, bits);
        TN_UNROLL for (uint32_t e = 0; e < 4; e++) n +=
            4 * u + e < row.n && tn_rank_reaches(least, tn_rank_order(bits[e]), 4 * u + e) ? 1 : 0;
    }
    return n;
}
// The k-th key of the row, exactly: first its logit, then, of those equal to it, its id.
TN_FN tn_rank_key tn_rank_exact(const tn_rank_row &row, uint32_t k, const tn_rank_shared &shared)
{
    tn_rank_key key = {0, UINT32_MAX};
    tn_rank_clear(shared);
    TN_ROLLED for (uint32_t bit = 0; bit < 32; bit++)
    {
        const uint32_t next = key.logit | 0x80000000u >> bit;
        if (tn_rank_count(shared, bit, tn_rank_count_row(row, {next, UINT32_MAX})) >= k) key.logit = next;
    }
    // The least id with which k are reached: bits from the top that have to be set.
    uint32_t id = 0;
    TN_ROLLED for (uint32_t bit = 0; bit < 32; bit++)
    {
        const uint32_t below = id | (0x7fffffffu >> bit); // with this bit not set, and all behind it
        if (tn_rank_count(shared, 32 + bit, tn_rank_count_row(row, {key.logit, below})) < k) id |= 0x80000000u >> bit;
    }
    key.id = id;
    return key;
}

// Writes the k best of n candidates, each to its place.
TN_FN void tn_rank_store(const tn_cuda_rank_params &p, uint32_t k, uint32_t n, const tn_rank_shared &shared)
{
    TN_ROLLED for (uint32_t c = tn_thread(); c < n; c += TN_RANK_THREADS)
    {
        const tn_rank_key key = {shared.logits[c], shared.ids[c]};
        uint32_t place = 0;
        for (uint32_t i = 0; i < n; i++) place += tn_rank_is_before({shared.logits[i], shared.ids[i]}, key) ? 1 : 0;
        if (place >= k) continue;
        p.ids[(size_t)tn_block_x() * p.top_max + place] = key.id;
        p.logits[(size_t)tn_block_x() * p.top_max + place] = tn_rank_logit(key.logit);
    }
    if (tn_thread() == 0) p.counts[tn_block_x()] = k;
}

TN_KERNEL(rank_groups, tn_cuda_rank_params, 256)
{
    if (tn_block_x() >= p.step.words[1] || tn_rank_wanted(p) == 0) return;
    const tn_rank_row row = tn_rank_row_of(p);
    const uint32_t first = (tn_block_y() * (TN_RANK_THREADS / 32) + tn_warp()) * TN_RANK_AT_A_TIME;
    if (first >= row.n_groups) return;
    uint32_t groups[TN_RANK_AT_A_TIME], largest[TN_RANK_AT_A_TIME] = {};
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) groups[i] = first + i;
    TN_ROLLED for (uint32_t unit = tn_lane(); unit < row.group_units; unit += 32)
    {
        uint32_t next[TN_RANK_AT_A_TIME];
        tn_rank_largest(row, groups, unit, next);
        TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) largest[i] = next[i] > largest[i] ? next[i] : largest[i];
    }
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++)
    {
        if (tn_lane() == i && groups[i] < row.n_groups) p.groups[(size_t)tn_block_x() * TN_CUDA_RANK_GROUPS + groups[i]] = largest[i];
    }
}

TN_KERNEL(rank, tn_cuda_rank_params, 256)
{
    TN_SHARED(uint32_t, counts, TN_RANK_COUNTS);
    TN_SHARED(uint32_t, logits, TN_RANK_ROOM);
    TN_SHARED(uint32_t, ids, TN_RANK_ROOM);
    TN_SHARED(uint32_t, listed, TN_CUDA_RANK_GROUPS);
    const tn_rank_shared shared = {counts, logits, ids, listed};
    const uint32_t r = tn_block_x();
    if (r >= p.step.words[1]) return;
    const uint32_t wanted = tn_rank_wanted(p);
    if (wanted == 0) {
        if (tn_thread() == 0) p.counts[r] = 0;
        return;
    }
    const tn_rank_row row = tn_rank_row_of(p);
    tn_rank_groups groups;
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_OF_THREAD; i++)
    {
        const uint32_t group = i * TN_RANK_THREADS + tn_thread();
        groups.largest[i] = group < row.n_groups ? p.groups[(size_t)r * TN_CUDA_RANK_GROUPS + group] : 0;
    }
    tn_rank_key least = {tn_rank_bound(shared, wanted, groups), UINT32_MAX};
    uint32_t n;
    TN_ROLLED while ((n = tn_rank_gather(row, least, groups, shared)) > TN_RANK_ROOM) // the second time it is as many as are wanted
        least = tn_rank_exact(row, wanted, shared);
    tn_rank_store(p, wanted, n, shared);
}
