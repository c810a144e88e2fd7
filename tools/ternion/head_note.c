// Says what a quantised output head would save.
#include "head_note.h"

#include "report.h"
#include "units.h"

#include <string.h>

// Below that it is a small part of what a token reads.
static const uint64_t WORTH_BYTES = 64u << 20;

static bool is_float(const char *type) { return strcmp(type, "F32") == 0 || strcmp(type, "F16") == 0 || strcmp(type, "BF16") == 0; }

void tn_cli_head_note(const tn_model *model, const tn_model_info *info)
{
    const char *wanted = info->head_tied ? "token_embd.weight" : "output.weight";
    tn_tensor_info tensor;
    char now[24], then[24];
    for (size_t i = 0; i < tn_model_tensor_count(model); i++) {
        if (tn_model_tensor(model, i, &tensor) != TN_OK || strcmp(tensor.name, wanted) != 0) continue;
        const bool q6_k = tensor.dims[0] % 256 == 0; // else blocks of 32
        if (!is_float(tensor.type) || tensor.size_bytes < WORTH_BYTES || tensor.dims[0] % 32 != 0) return;
        const uint64_t n_blocks = tensor.dims[0] / (q6_k ? 256 : 32) * tensor.dims[1];
        tn_cli_format_bytes(tensor.size_bytes, now, sizeof now);
        tn_cli_format_bytes(n_blocks * (q6_k ? 210 : 34), then, sizeof then);
        tn_cli_note("head  %s, each token reads its %s; --head %s reads %s, with slightly other logits", tensor.type, now,
                    q6_k ? "q6_k" : "q8_0", then);
        return;
    }
}
