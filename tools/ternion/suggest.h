// "Did you mean": the flag or verb nearest to a mistyped one.
#ifndef TERNION_TOOL_SUGGEST_H
#define TERNION_TOOL_SUGGEST_H

#include "options.h"

// The flag of `verb` nearest to `name`, as a user types it. Returns false where none is near.
bool tn_cli_suggest_flag(const char *name, tn_cli_verb_id verb, char *flag, size_t capacity);
// The name of `verb` where it has exactly this flag, else of another verb that has it, else NULL.
const char *tn_cli_verb_of_flag(const char *name, tn_cli_verb_id verb);
// The verb nearest to `name`, or NULL where none is near.
const char *tn_cli_suggest_verb(const char *name);

#endif
