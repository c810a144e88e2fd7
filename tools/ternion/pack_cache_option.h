// Where packed weights are kept, as flags and environment say.
#ifndef TERNION_TOOL_PACK_CACHE_OPTION_H
#define TERNION_TOOL_PACK_CACHE_OPTION_H

#include "engine.h"

// Sets engine->pack_cache and its limit. Returns 0, or the exit status after a message.
int tn_cli_pack_cache(const tn_cli *cli, tn_cli_engine *engine);

#endif
