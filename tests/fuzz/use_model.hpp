// Everything that a program does with a model file, from opening to the first token's text, with every answer checked.
#ifndef TN_TESTS_USE_MODEL_HPP
#define TN_TESTS_USE_MODEL_HPP

#include "ternion/ternion.h"

#include <string>

namespace tn_test
{

enum Stage { stage_metadata, stage_tokenizer, stage_load, stage_encode, stage_session, stage_decode, stage_sample, stage_text, n_stages };
extern const char *const stage_names[n_stages];

// What became of a file. A stage that was not reached has status -1.
struct Outcome {
    int status[n_stages];
    std::string wrong; // what broke a promise of the API, "" where nothing did
};

// `*out_stage` is set as the work goes on, so that a watcher knows where a crash was; NULL: nobody watches.
Outcome use_model(const std::string &path, tn_host *host, volatile int *out_stage);

} // namespace tn_test

#endif
