// The best logits of a row, ranked: one block a row.
//
// A thread reads units of four logits, 256 units apart, in four stretches of the row, and keeps the largest of each stretch: 1024 groups.
// Where k groups have a largest logit of t or more there are k logits of t or more, so that none of the k best is below the k-th largest of
// the groups' largest. Only groups that reach it are read again, and what reaches it is few: it is ranked by counting who is before whom.
// Where too many reach it (equal logits, or the best in few groups) the bound is made exact, bit by bit, over the whole row.
#include "cuda/kernels/rows_io.cuh"

enum {
    TN_RANK_THREADS = 256,
    TN_RANK_STRETCHES = 4,
    TN_RANK_ROOM = 1024, // of candidates
    TN_RANK_COUNTS = 64, // rounds whose counts lie beside each other
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

// The ids of a row that count, four to a unit.
struct tn_rank_row {
    const float *logits;
    uint32_t n, n_units, n_stretch; // n_stretch: units of a thread in a stretch
    bool is_aligned;
};
TN_FN tn_rank_row tn_rank_row_of(const tn_cuda_rank_params &p)
{
    const uint32_t n_ids = p.step.words[5], n = n_ids < p.n ? n_ids : p.n, n_units = (n + 3) / 4;
    const uint32_t n_stretch = (n_units + TN_RANK_THREADS * TN_RANK_STRETCHES - 1) / (TN_RANK_THREADS * TN_RANK_STRETCHES);
    return {tn_y_row(p.step, p.x, tn_block_x()), n, n_units, n_stretch, p.x.stride % 4 == 0};
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
TN_FN uint32_t tn_rank_largest(uint32_t a, uint32_t b) { return a > b ? a : b; }
// The largest key of each of some units of this thread in a stretch, from its number `first` on: all are asked for before any is looked at.
enum { TN_RANK_AT_A_TIME = 8 };
TN_FN uint32_t tn_rank_unit(const tn_rank_row &row, uint32_t stretch, uint32_t i)
{
    return i < row.n_stretch ? (stretch * row.n_stretch + i) * TN_RANK_THREADS + tn_thread() : row.n_units;
}
TN_FN void tn_rank_units(const tn_rank_row &row, uint32_t stretch, uint32_t first, uint32_t (&largest)[TN_RANK_AT_A_TIME])
{
    uint32_t bits[TN_RANK_AT_A_TIME][4];
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) tn_rank_load(row, tn_rank_unit(row, stretch, first + i), bits[i]);
    TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++)
    {
        largest[i] = 0;
        TN_UNROLL for (uint32_t e = 0; e < 4; e++) largest[i] = tn_rank_largest(largest[i], tn_rank_order(bits[i][e]));
    }
}

// This thread's groups. One code for all stretches: a block that runs alone waits for its instructions too.
struct tn_rank_groups {
    uint32_t largest[TN_RANK_STRETCHES];
};
TN_FN tn_rank_groups tn_rank_groups_of(const tn_rank_row &row)
{
    tn_rank_groups groups = {};
    TN_ROLLED for (uint32_t stretch = 0; stretch < TN_RANK_STRETCHES; stretch++)
    {
        uint32_t largest = 0;
        TN_ROLLED for (uint32_t first = 0; first < row.n_stretch; first += TN_RANK_AT_A_TIME)
        {
            uint32_t of_units[TN_RANK_AT_A_TIME];
            tn_rank_units(row, stretch, first, of_units);
            TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) largest = tn_rank_largest(largest, of_units[i]);
        }
        TN_UNROLL for (uint32_t s = 0; s < TN_RANK_STRETCHES; s++) groups.largest[s] = s == stretch ? largest : groups.largest[s];
    }
    return groups;
}
TN_FN uint32_t tn_rank_group(const tn_rank_groups &groups, uint32_t stretch)
{
    uint32_t largest = 0;
    TN_UNROLL for (uint32_t s = 0; s < TN_RANK_STRETCHES; s++) largest = s == stretch ? groups.largest[s] : largest;
    return largest;
}

// What the block shares.
struct tn_rank_shared {
    TN_SHARED_ARG(uint32_t, counts);
    TN_SHARED_ARG(uint32_t, logits); // of candidates, as keys, and
    TN_SHARED_ARG(uint32_t, ids);
};
// The sum of n over the block. `round` below TN_RANK_COUNTS: a count of its own, which was 0.
TN_FN uint32_t tn_rank_count(const tn_rank_shared &shared, uint32_t round, uint32_t n)
{
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2) n += tn_shfl_xor(n, width);
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

// The k-th largest of all threads' groups.
TN_FN uint32_t tn_rank_bound(const tn_rank_shared &shared, uint32_t k, const tn_rank_groups &groups)
{
    uint32_t bound = 0;
    tn_rank_clear(shared);
    TN_ROLLED for (uint32_t bit = 0; bit < 32; bit++)
    {
        const uint32_t next = bound | 0x80000000u >> bit;
        uint32_t n = 0;
        TN_UNROLL for (uint32_t i = 0; i < TN_RANK_STRETCHES; i++) n += groups.largest[i] >= next ? 1 : 0;
        if (tn_rank_count(shared, bit, n) >= k) bound = next;
    }
    return bound;
}

// Whether a key with `logit` and `id` is the least's or before it.
TN_FN bool tn_rank_reaches(const tn_rank_key &least, uint32_t logit, uint32_t id)
{
    return logit > least.logit || (logit == least.logit && id <= least.id);
}
// A unit's logits that reach `least` become candidates, as far as there is room.
TN_FN void tn_rank_take(const tn_rank_row &row, uint32_t u, const tn_rank_key &least, const tn_rank_shared &shared)
{
    uint32_t bits[4];
    tn_rank_load(row, u, bits);
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
// Candidates: all logits that reach `least`. Their number, of which there may be more than there is room for.
TN_FN uint32_t tn_rank_gather(const tn_rank_row &row, const tn_rank_key &least, const tn_rank_groups &groups, const tn_rank_shared &shared)
{
    tn_rank_clear(shared);
    TN_ROLLED for (uint32_t stretch = 0; stretch < TN_RANK_STRETCHES; stretch++)
    {
        if (tn_rank_group(groups, stretch) < least.logit) continue;
        TN_ROLLED for (uint32_t first = 0; first < row.n_stretch; first += TN_RANK_AT_A_TIME)
        {
            uint32_t largest[TN_RANK_AT_A_TIME], reach = 0;
            tn_rank_units(row, stretch, first, largest);
            TN_UNROLL for (uint32_t i = 0; i < TN_RANK_AT_A_TIME; i++) reach |= largest[i] >= least.logit ? 1u << i : 0;
            // Few do: what is in them is read again.
            TN_ROLLED for (uint32_t i = 0; reach >> i != 0; i++)
            {
                if (reach >> i & 1u) tn_rank_take(row, tn_rank_unit(row, stretch, first + i), least, shared);
            }
        }
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

TN_KERNEL(rank, tn_cuda_rank_params, 256)
{
    TN_SHARED(uint32_t, counts, TN_RANK_COUNTS);
    TN_SHARED(uint32_t, logits, TN_RANK_ROOM);
    TN_SHARED(uint32_t, ids, TN_RANK_ROOM);
    const tn_rank_shared shared = {counts, logits, ids};
    const uint32_t r = tn_block_x();
    if (r >= p.step.words[1]) return;
    const uint32_t wanted = p.step.words[4] ? p.step.words[p.step.n_top + r] : 0;
    const tn_rank_row row = tn_rank_row_of(p);
    if (wanted == 0 || wanted > p.top_max || wanted > TN_CUDA_RANK_MAX || wanted > row.n) {
        if (tn_thread() == 0) p.counts[r] = 0;
        return;
    }
    const tn_rank_groups groups = tn_rank_groups_of(row);
    tn_rank_key least = {tn_rank_bound(shared, wanted, groups), UINT32_MAX};
    uint32_t n;
    TN_ROLLED while ((n = tn_rank_gather(row, least, groups, shared)) > TN_RANK_ROOM) // the second time it is as many as are wanted
        least = tn_rank_exact(row, wanted, shared);
    tn_rank_store(p, wanted, n, shared);
}
