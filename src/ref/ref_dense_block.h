// Blocks of the quantised dense types as integers and scales, for the ops of src/ref that read them.
#ifndef TN_REF_DENSE_BLOCK_H
#define TN_REF_DENSE_BLOCK_H

#include <stdint.h>

#define TN_REF_Q8_0_ELEMENTS 32u
#define TN_REF_Q8_0_BYTES    34u
#define TN_REF_Q4_0_BYTES    18u
#define TN_REF_Q6_K_ELEMENTS 256u
#define TN_REF_Q6_K_BYTES    210u

// Unpacks one Q8_0 block: codes, and the scale with FL applied.
float tn_ref_q8_0_unpack(const uint8_t *block, int8_t codes[32]);
// The same of Q4_0: codes -8..7.
float tn_ref_q4_0_unpack(const uint8_t *block, int8_t codes[32]);
// Unpacks one Q6_K block: codes -32..31, the factor of each 16 codes, and the scale with FL applied.
float tn_ref_q6_k_unpack(const uint8_t *block, int8_t codes[256], int8_t factors[16]);

#endif
