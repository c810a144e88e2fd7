// The most byte products that a level can make, written once: twelve independent accumulators, operands in registers, no loads. The
// including file defines before it
//   pd_codes, pd_x, pd_acc      vectors of unsigned codes, of activations, of sums; pd_wide: sums that hold a whole call
//   pd_codes_set, pd_x_set, pd_acc_zero, pd_wide_zero
//   pd_dot(acc, codes, x)       the level's dot product, as its matmul kernels make it
//   pd_widen(wide, acc)         adds the sums of a group; pd_total(wide): all lanes, modulo 2^32
//   PD_PRODUCTS                 of one pd_dot; PD_ROUNDS: pd_dots into one accumulator before it is widened
//   PD_REG                      constraint of a vector register: "+x", "+v", "+w"
// The empty asm statements hide values from the compiler: it can neither see that products repeat nor that accumulators are equal.
#ifndef TN_CPU_TMPL_PEAK_DOT_H
#define TN_CPU_TMPL_PEAK_DOT_H

#define PD_ACCS 12u

TN_K_INLINE void pd_hide_codes(pd_codes *codes) { __asm__ volatile("" : PD_REG(*codes)); }

TN_K_INLINE void pd_hide_accs(pd_acc a[PD_ACCS])
{
    __asm__ volatile(""
                     : PD_REG(a[0]), PD_REG(a[1]), PD_REG(a[2]), PD_REG(a[3]), PD_REG(a[4]), PD_REG(a[5]), PD_REG(a[6]), PD_REG(a[7]),
                       PD_REG(a[8]), PD_REG(a[9]), PD_REG(a[10]), PD_REG(a[11]));
}

TN_K_INLINE uint64_t pd_run(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    pd_codes codes = pd_codes_set(code);
    const pd_x x = pd_x_set(q);
    pd_wide wide = pd_wide_zero();
    for (uint32_t g = 0; g < n_groups; g++) {
        pd_acc acc[PD_ACCS];
        TN_K_UNROLL
        for (unsigned i = 0; i < PD_ACCS; i++) acc[i] = pd_acc_zero();
        pd_hide_accs(acc);
        for (uint32_t r = 0; r < PD_ROUNDS; r++) {
            TN_K_UNROLL
            for (unsigned i = 0; i < PD_ACCS; i++) {
                pd_hide_codes(&codes);
                acc[i] = pd_dot(acc[i], codes, x);
            }
            pd_hide_accs(acc);
        }
        TN_K_UNROLL
        for (unsigned i = 0; i < PD_ACCS; i++) wide = pd_widen(wide, acc[i]);
    }
    *out_sum = pd_total(wide);
    return (uint64_t)n_groups * PD_ROUNDS * PD_ACCS * PD_PRODUCTS;
}

#endif
