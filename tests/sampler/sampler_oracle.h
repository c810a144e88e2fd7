// The sampler as docs/design/0001-numerics.md defines it, said plainly: every token is a candidate, all are sorted, sums run over all in
// ranking order. Its arithmetic is the definition's, so tokens must be equal without exception.
#ifndef TN_TESTS_SAMPLER_ORACLE_H
#define TN_TESTS_SAMPLER_ORACLE_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

extern "C" {
#include "base/f64_math.h"
#include "runtime/philox.h"
#include "ternion/sampler.h"
}

namespace tn_test
{

struct SamplerOracle {
    tn_sampler_params p; // with its logit_bias
    std::vector<int32_t> history;

    static constexpr int32_t all_forbidden = -1;

    int32_t sample(const std::vector<float> &logits, uint32_t position) const
    {
        std::vector<double> z(logits.begin(), logits.end());
        for (size_t i = 0; i < p.n_logit_bias; i++)
            z[static_cast<size_t>(p.logit_bias[i].token)] += static_cast<double>(p.logit_bias[i].bias);
        std::map<int32_t, uint32_t> counts;
        const size_t n = history.size(), last = p.repeat_last_n < 0 ? n : std::min(n, static_cast<size_t>(p.repeat_last_n));
        for (size_t i = n - last; i < n; i++) counts[history[i]]++;
        for (const auto &[token, count] : counts) {
            double &x = z[static_cast<size_t>(token)];
            x = x > 0 ? x / static_cast<double>(p.repeat_penalty) : x * static_cast<double>(p.repeat_penalty);
            x -= (count * static_cast<double>(p.frequency_penalty)) + static_cast<double>(p.presence_penalty);
        }

        std::vector<size_t> ids;
        for (size_t id = 0; id < z.size(); id++)
            if (z[id] != -INFINITY) ids.push_back(id);
        if (ids.empty()) return all_forbidden;
        std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return z[a] > z[b]; });
        if (!(p.temperature > 0)) return static_cast<int32_t>(ids[0]);
        if (p.top_k > 0 && ids.size() > static_cast<size_t>(p.top_k)) ids.resize(static_cast<size_t>(p.top_k));

        const double best = z[ids[0]];
        if (p.top_p < 1) {
            double sum = 0, reached = 0;
            for (size_t id : ids) sum += tn_f64_exp(z[id] - best);
            size_t kept = 0;
            while (kept < ids.size() && (kept == 0 || reached < static_cast<double>(p.top_p) * sum))
                reached += tn_f64_exp(z[ids[kept++]] - best);
            ids.resize(kept);
        }
        if (p.min_p > 0) {
            const double least = best + tn_f64_log(static_cast<double>(p.min_p));
            size_t kept = 1;
            while (kept < ids.size() && z[ids[kept]] >= least) kept++;
            ids.resize(kept);
        }
        const auto weight = [&](size_t id) { return tn_f64_exp((z[id] - best) / static_cast<double>(p.temperature)); };
        double sum = 0, reached = 0;
        for (size_t id : ids) sum += weight(id);
        const double wanted = tn_philox_uniform(p.seed, p.sequence, position) * sum;
        for (size_t id : ids)
            if ((reached += weight(id)) > wanted) return static_cast<int32_t>(id);
        return static_cast<int32_t>(ids.back());
    }
};

} // namespace tn_test

#endif
