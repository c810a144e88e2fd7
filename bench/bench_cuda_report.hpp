// What bench_cuda found out of a step: tables in Markdown, and JSON.
#pragma once

#include "bench_cuda_parts.hpp"

#include <cstdio>

namespace bench_cuda
{

struct Setup {
    std::string device, model;
    uint32_t n_seqs, n_each, depth, n_rounds; // tokens of each sequence in the step, positions before them
};

inline double us_of(const Graph &graph) { return median(graph.us); }

inline void print_tables(FILE *out, const Setup &setup, const Step &step)
{
    std::fprintf(out, "\n%s, %s: steps of %u token(s) of %u sequence(s) behind %u positions; us, medians of %u rounds\n\n",
                 setup.device.c_str(), setup.model.c_str(), setup.n_seqs * setup.n_each, setup.n_seqs, setup.depth, setup.n_rounds);
    std::fprintf(out, "| graph | launches | a step | a launch |\n|---|---|---|---|\n");
    for (const Graph *graph : {&step.all(), &step.frame(), &step.no_layers()})
        std::fprintf(out, "| %s | %u | %.2f | |\n", graph->name.c_str(), graph->n_inner + 2, us_of(*graph));
    for (const Graph *graph : {&step.empty_one(), &step.empty_full()})
        std::fprintf(out, "| %s | %u | %.2f | %.3f |\n", graph->name.c_str(), graph->n_inner + 2, us_of(*graph), step.empty_us(*graph));
    std::fprintf(out, "\n| kernel | launches | all of them, left out | one, left out | one, alone |\n|---|---|---|---|---|\n");
    for (const Part &kind : step.kinds()) {
        const double n = static_cast<double>(kind.at.size());
        if (!step.has_graphs(kind))
            std::fprintf(out, "| %s | %.0f | | | |\n", kind.kernel.c_str(), n);
        else
            std::fprintf(out, "| %s | %.0f | %.2f | %.3f | %.3f |\n", kind.kernel.c_str(), n, n * step.left_out_us(kind),
                         step.left_out_us(kind), step.alone_us(kind));
    }
    std::fprintf(out, "\n| position | kernel | of | launches | a step up to here | one, added | one, left out | one, alone |\n"
                      "|---|---|---|---|---|---|---|---|\n");
    for (size_t p = 0; p < step.positions().size(); p++) {
        const Part &part = step.positions()[p];
        std::fprintf(out, "| %zu | %s | %s | %zu | %.2f | %.3f | %.3f | %.3f |\n", p, part.kernel.c_str(), part.what.c_str(),
                     part.at.size(), us_of(step.up_to(part)), step.added_us(p), step.left_out_us(part), step.alone_us(part));
    }
    std::fflush(out);
}

inline std::string quoted(const std::string &text)
{
    std::string json = "\"";
    for (const char c : text) {
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
        if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20)
            json += escaped;
        else
            json += c;
    }
    return json + "\"";
}

inline void write_kinds(FILE *out, const Step &step)
{
    const char *between = "";
    for (const Part &kind : step.kinds()) {
        std::fprintf(out, "%s\n   {\"kernel\": \"%s\", \"n_launches\": %zu, ", between, kind.kernel.c_str(), kind.at.size());
        if (step.has_graphs(kind))
            std::fprintf(out, "\"left_out_us\": %.4f, \"alone_us\": %.4f}", step.left_out_us(kind), step.alone_us(kind));
        else
            std::fprintf(out, "\"left_out_us\": null, \"alone_us\": null}");
        between = ",";
    }
}

inline void write_positions(FILE *out, const Step &step)
{
    for (size_t p = 0; p < step.positions().size(); p++) {
        const Part &part = step.positions()[p];
        std::fprintf(out, "%s\n   {\"kernel\": \"%s\", \"of\": %s, \"n_launches\": %zu, \"step_us\": %.4f, \"added_us\": %.4f, ",
                     p ? "," : "", part.kernel.c_str(), quoted(part.what).c_str(), part.at.size(), us_of(step.up_to(part)),
                     step.added_us(p));
        std::fprintf(out, "\"left_out_us\": %.4f, \"alone_us\": %.4f}", step.left_out_us(part), step.alone_us(part));
    }
}

// One object of the array that the file is.
inline void write_json(FILE *out, const Setup &setup, const Step &step)
{
    std::fprintf(out, " {\"device\": %s, \"model\": %s, \"n_seqs\": %u, \"n_tokens\": %u, \"depth\": %u, \"n_rounds\": %u,\n",
                 quoted(setup.device).c_str(), quoted(setup.model).c_str(), setup.n_seqs, setup.n_seqs * setup.n_each, setup.depth,
                 setup.n_rounds);
    std::fprintf(out, "  \"n_launches\": %u, \"n_launches_outside\": %u, \"step_us\": %.4f, \"frame_us\": %.4f, \"no_layers_us\": %.4f,\n",
                 step.n_launches(), step.no_layers().n_inner + 2, us_of(step.all()), us_of(step.frame()), us_of(step.no_layers()));
    std::fprintf(out, "  \"empty_us\": %.4f, \"empty_wide_us\": %.4f,\n  \"kernels\": [", step.empty_us(step.empty_one()),
                 step.empty_us(step.empty_full()));
    write_kinds(out, step);
    std::fprintf(out, "],\n  \"positions\": [");
    write_positions(out, step);
    std::fprintf(out, "]}");
}

} // namespace bench_cuda
