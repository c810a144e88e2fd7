// A fused multiply-add on purpose: shows that the check for them can fail.
float tn_fma_probe(float a, float b, float c);
float tn_fma_probe(float a, float b, float c) { return a * b + c; }
