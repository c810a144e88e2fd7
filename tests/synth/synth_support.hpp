// Small synthetic models for tests.
#pragma once

#include "format/temp_folder.h"
#include "support/run_model.hpp"

namespace tn_test
{

inline tn_synth_params small_shape(const std::string &path)
{
    tn_synth_params p = TN_SYNTH_PARAMS_INIT;
    p.shape = "custom";
    p.output_path = path.c_str();
    p.embd = "q8_0";
    p.seed = 7;
    p.n_layers = 2;
    p.n_embd = 256;
    p.n_ff = 512;
    p.n_heads = 4;
    p.n_kv_heads = 2;
    p.n_vocab = 600;
    return p;
}

inline std::string last_message() { return tn_error_last()->message; }

// The bytes of a file that was just made.
inline std::string made(const tn_synth_params &p)
{
    EXPECT_EQ(tn_synth(&p), TN_OK) << last_message();
    std::ifstream file(p.output_path, std::ios::binary);
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
}

} // namespace tn_test
