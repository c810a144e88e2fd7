// Strips of 32 elements in eight vectors of four, a to h, for levels with vectors of 128 bits: an operation of a vector made one of a
// strip.
#ifndef TN_CPU_TMPL_STRIP8_H
#define TN_CPU_TMPL_STRIP8_H

#define TN_MAP1(type, op, x) ((type){op((x).a), op((x).b), op((x).c), op((x).d), op((x).e), op((x).f), op((x).g), op((x).h)})
#define TN_MAP2(type, op, x, y)                                                                                                            \
    ((type){op((x).a, (y).a), op((x).b, (y).b), op((x).c, (y).c), op((x).d, (y).d), op((x).e, (y).e), op((x).f, (y).f), op((x).g, (y).g),  \
            op((x).h, (y).h)})
// The last operand is the same for all vectors.
#define TN_MAP1V(type, op, x, v)                                                                                                           \
    ((type){op((x).a, v), op((x).b, v), op((x).c, v), op((x).d, v), op((x).e, v), op((x).f, v), op((x).g, v), op((x).h, v)})
#define TN_MAP2V(type, op, x, y, v)                                                                                                        \
    ((type){op((x).a, (y).a, v), op((x).b, (y).b, v), op((x).c, (y).c, v), op((x).d, (y).d, v), op((x).e, (y).e, v), op((x).f, (y).f, v),  \
            op((x).g, (y).g, v), op((x).h, (y).h, v)})
// From every fourth element of p.
#define TN_MAP_LOAD(type, op, p)                                                                                                           \
    ((type){op(p), op((p) + 4), op((p) + 8), op((p) + 12), op((p) + 16), op((p) + 20), op((p) + 24), op((p) + 28)})
#define TN_MAP_STORE(op, p, x)                                                                                                             \
    (op(p, (x).a), op((p) + 4, (x).b), op((p) + 8, (x).c), op((p) + 12, (x).d), op((p) + 16, (x).e), op((p) + 20, (x).f),                  \
     op((p) + 24, (x).g), op((p) + 28, (x).h))
// All eight into one.
#define TN_REDUCE(op, x) op(op(op((x).a, (x).b), op((x).c, (x).d)), op(op((x).e, (x).f), op((x).g, (x).h)))

#endif
