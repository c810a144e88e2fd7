// The best logits of a step's rows, ranked on the device: the host reads a few words of a row.
#ifndef TN_VULKAN_VK_RANK_H
#define TN_VULKAN_VK_RANK_H

#include "backend/borders.h"
#include "backend/step.h"
#include "vulkan/vk_list.h"

enum { TN_VK_RANKING_MAX = 128 }; // candidates of a row

// A program's rankings: words of its state, counts and ids and logits side by side for the host, then what the device keeps for itself.
typedef struct tn_vk_ranks {
    uint32_t n_rows; // 0: no row is ranked
    uint32_t width;  // of a row
    uint32_t at;     // word of the state
} tn_vk_ranks;

// At word `at` of the state, where the device ranks and the program gives out logits.
tn_vk_ranks tn_vk_ranks_of(const tn_vk_device *device, const tn_program_desc *desc, const tn_border *out, uint32_t at);
// Words for the host, and all.
uint64_t tn_vk_ranks_host_words(const tn_vk_ranks *ranks);
uint64_t tn_vk_ranks_words(const tn_vk_ranks *ranks);
// Appends the dispatches to a list that stores the rows in the submit's output.  Errors: OUT_OF_MEMORY.
tn_status tn_vk_ranks_emit(const tn_vk_ranks *ranks, const tn_vk_device *device, const tn_step_layout *layout, tn_vk_list *list);
// Whether nobody reads the rows of a step: all are wanted as rankings of up to `max`, which hardly ever fail.
bool tn_vk_ranks_all(const tn_vk_ranks *ranks, uint32_t max, const tn_step_view *step);
// Gives the caller what the device found, as the words for the host.
void tn_vk_ranks_give(const tn_vk_ranks *ranks, const uint32_t *words, uint32_t n_logits, const tn_ranking *ranking);

#endif
