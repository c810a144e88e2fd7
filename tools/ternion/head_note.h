// What another type of the output head would save.
#ifndef TERNION_TOOL_HEAD_NOTE_H
#define TERNION_TOOL_HEAD_NOTE_H

#include "ternion/model.h"

// Says once what --head would save, where that is worth a line: a head of F32, F16 or BF16 of at least 64 MiB.
void tn_cli_head_note(const tn_model *model, const tn_model_info *info);

#endif
