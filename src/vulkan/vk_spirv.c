// Float controls: capabilities and execution modes of a module. They are part of SPIR-V 1.4, so that no extension is named.
#include "vulkan/vk_spirv.h"

#include "base/alloc.h"

#include <string.h>

enum { SPIRV_MAGIC = 0x07230203, HEADER_WORDS = 5, ENTRY_POINTS_MAX = 4 };
enum { OP_ENTRY_POINT = 15, OP_EXECUTION_MODE = 16, OP_CAPABILITY = 17 };
enum { CAPABILITY_PRESERVE = 4466, CAPABILITY_RTE = 4467, MODE_PRESERVE = 4461, MODE_RTE = 4462 };
enum { CAPABILITY_WORDS = 2, MODE_WORDS = 4 };

// Where a module's entry points end, and their ids.
typedef struct entry_points {
    uint32_t n, ids[ENTRY_POINTS_MAX], end;
} entry_points;

static tn_status find_entry_points(const uint32_t *words, uint32_t n_words, entry_points *out)
{
    *out = (entry_points){0};
    if (n_words < HEADER_WORDS || words[0] != SPIRV_MAGIC) return tn_fail(TN_INTERNAL, "a shader is not SPIR-V");
    for (uint32_t at = HEADER_WORDS; at < n_words;) {
        const uint32_t length = words[at] >> 16, op = words[at] & 0xffff;
        if (length == 0 || length > n_words - at) return tn_fail(TN_INTERNAL, "a shader ends inside an instruction");
        if (op == OP_ENTRY_POINT) {
            if (length < 4 || out->n == ENTRY_POINTS_MAX) return tn_fail(TN_INTERNAL, "a shader has entry points that nobody wrote");
            out->ids[out->n++] = words[at + 2];
            out->end = at + length;
        }
        at += length;
    }
    return out->n ? TN_OK : tn_fail(TN_INTERNAL, "a shader has no entry point");
}

static uint32_t *put_capability(uint32_t *to, uint32_t capability)
{
    to[0] = CAPABILITY_WORDS << 16 | OP_CAPABILITY;
    to[1] = capability;
    return to + CAPABILITY_WORDS;
}

static uint32_t *put_mode(uint32_t *to, uint32_t entry_point, uint32_t mode)
{
    const uint32_t instruction[MODE_WORDS] = {MODE_WORDS << 16 | OP_EXECUTION_MODE, entry_point, mode, 32};
    memcpy(to, instruction, sizeof instruction);
    return to + MODE_WORDS;
}

static uint32_t *put_words(uint32_t *to, const uint32_t *words, uint32_t n)
{
    memcpy(to, words, n * sizeof *words);
    return to + n;
}

tn_status tn_vk_spirv_declare(const uint32_t *words, uint32_t n_words, bool rte, bool preserve, uint32_t **out_words, uint32_t *out_n_words)
{
    *out_words = NULL;
    *out_n_words = 0;
    entry_points entries;
    TN_TRY(find_entry_points(words, n_words, &entries));
    const uint32_t n_declared = (uint32_t)rte + preserve;
    const uint32_t n_all = n_words + n_declared * (CAPABILITY_WORDS + entries.n * MODE_WORDS);
    TN_TRY(tn_alloc(n_all, sizeof **out_words, out_words));
    uint32_t *to = put_words(*out_words, words, HEADER_WORDS); // capabilities come first in a module
    if (rte) to = put_capability(to, CAPABILITY_RTE);
    if (preserve) to = put_capability(to, CAPABILITY_PRESERVE);
    to = put_words(to, words + HEADER_WORDS, entries.end - HEADER_WORDS);
    for (uint32_t i = 0; i < entries.n; i++) { // execution modes behind all entry points
        if (rte) to = put_mode(to, entries.ids[i], MODE_RTE);
        if (preserve) to = put_mode(to, entries.ids[i], MODE_PRESERVE);
    }
    put_words(to, words + entries.end, n_words - entries.end);
    *out_n_words = n_all;
    return TN_OK;
}
