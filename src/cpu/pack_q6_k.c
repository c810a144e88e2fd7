// Rows of Q6_K blocks to panels, four codes at a time.
#include "cpu/pack_q6_k.h"

#include "base/exact_math.h"
#include "cpu/kernel.h"
#include "cpu/tmpl/matmul_half.h"

#include <string.h>

// A block in a file: low 4 bits of 256 codes, their high 2 bits, 16 factors, one f16 scale.
enum { BLOCK_BYTES = 210, QH = 128, SC = 192, D = 208, WORDS = 64, SUB_BLOCKS = 16, PANEL_ROWS = 16 };

// The codes 0..63 of a block, four in a word, in order of columns. In each half of 128 elements two quarters of 32 share bytes of low bits
// and all four share bytes of high ones.
static void unpack(const uint8_t *block, uint32_t words[WORDS])
{
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned quarter = 0; quarter < 4; quarter++) {
            uint32_t low[8], high[8], *out = words + 32 * half + 8 * quarter;
            memcpy(low, block + 64 * half + 32 * (quarter % 2), sizeof low);
            memcpy(high, block + QH + 32 * half, sizeof high);
            for (unsigned i = 0; i < 8; i++)
                out[i] = (low[i] >> (4 * (quarter / 2)) & 0x0f0f0f0fu) | (high[i] >> (2 * quarter) & 0x03030303u) << 4;
        }
    }
}

static void pack_row(const uint8_t *block, uint32_t r, uint8_t *panel)
{
    uint32_t words[WORDS];
    unpack(block, words);
    const float d = tn_fl(tn_widen_f16(tn_load_u16(block + D)));
    memcpy(panel + 4 * r, &d, sizeof d);
    for (unsigned s = 0; s < SUB_BLOCKS; s++) {
        const uint32_t *w = words + 4 * s, last = w[3];
        const uint32_t groups[3] = {w[0] | (last & 0x03030303u) << 6, w[1] | (last & 0x0c0c0c0cu) << 4, w[2] | (last & 0x30303030u) << 2};
        uint8_t *dst = panel + TN_Q6_CODES + s * TN_Q6_SUB_BYTES + 4 * r;
        for (unsigned g = 0; g < 3; g++) memcpy(dst + 64 * g, &groups[g], sizeof groups[g]);
        panel[TN_Q6_SC + 16 * s + r] = block[SC + s];
    }
}

void tn_cpu_pack_q6_k(const uint8_t *src, size_t row_bytes, uint32_t rows, uint32_t n_cols, uint8_t *panel)
{
    for (uint32_t b = 0; b < n_cols / TN_Q6_K_ELEMENTS; b++, panel += TN_Q6_BLOCK_BYTES) {
        if (rows < PANEL_ROWS) memset(panel, 0, TN_Q6_BLOCK_BYTES);
        for (uint32_t r = 0; r < rows; r++) pack_row(src + r * row_bytes + (size_t)b * BLOCK_BYTES, r, panel);
    }
}
