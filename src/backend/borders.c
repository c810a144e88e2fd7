// What a submit of GPU backends must bring, from the description of its program.
#include "backend/borders.h"

#include "backend/desc_check.h"

static tn_border border_of(const tn_program_desc *desc, uint32_t value)
{
    if (value == TN_NONE) return (tn_border){.value = TN_NONE};
    const tn_value *v = &desc->graph->values[value];
    return (tn_border){.value = value, .rows = v->rows, .row_bytes = (uint64_t)v->width * sizeof(float)};
}

tn_borders tn_borders_of(const tn_program_desc *desc)
{
    return (tn_borders){.in = border_of(desc, desc->in_value), .out = border_of(desc, desc->out_value)};
}

uint64_t tn_border_bytes(const tn_border *border, const tn_step *step)
{
    return (border->rows == TN_ROWS_LOGITS ? step->n_logits : step->n_tokens) * border->row_bytes;
}

tn_status tn_borders_check(const tn_borders *borders, const tn_device *device, const tn_submit *submit)
{
    if (!submit->poison) return tn_fail(TN_INVALID_ARGUMENT, "submit: there is no place for the poison of its tokens");
    if (borders->in.value != TN_NONE) {
        if (submit->in == submit->out) return tn_fail(TN_INVALID_ARGUMENT, "submit: input and output are the same buffer");
        TN_TRY(tn_buffer_check(device, submit->in, 0, tn_border_bytes(&borders->in, submit->step), "the program's input"));
    }
    return tn_buffer_check(device, submit->out, 0, tn_border_bytes(&borders->out, submit->step), "the program's output");
}
