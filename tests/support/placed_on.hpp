// Where a model is placed by what a user names.
#pragma once

#include "ternion/ternion.h"

#include <string>
#include <utility>

namespace tn_test
{

// The status, and the device of the embedding; "" where there is no placement.
inline std::pair<tn_status, std::string> placed_on(const tn_model *model, tn_host *host, const char *devices)
{
    tn_placement *placement = nullptr;
    tn_placement_params params = TN_PLACEMENT_PARAMS_INIT;
    params.devices = devices;
    const tn_status status = tn_placement_create(model, host, &params, &placement);
    if (!placement) return {status, ""};
    std::string text(tn_placement_print(placement, nullptr, 0) + 1, '\0');
    tn_placement_print(placement, text.data(), text.size());
    tn_placement_destroy(placement);
    return {status, text.substr(0, text.find(": "))};
}

} // namespace tn_test
