// A host's first device whose steps are computed by src/ref, op by op, with one bit flipped in what one op stores for one token: all that
// is computed behind it sees the flipped value.
#pragma once

#include "conformance/ref_net.h"
#include "support/swapped_devices.hpp"

#include <map>
#include <memory>

namespace tn_test
{

// Of what an op stores, the part that has the bit. Keys and values: in the KV cache, of its first head.
enum class StoredPart { VALUE, CODE, SCALE, KEY, KEY_SCALE, KV_VALUE, KV_VALUE_SCALE };

struct BentBit {
    uint32_t node = 0;     // of the graph
    uint32_t position = 0; // of the token, whatever its sequence
    StoredPart part = StoredPart::VALUE;
    uint32_t element = 0, bit = 0;
};

// One at a time. Of whole models on this device, whose sessions have one thread at a time.
class BentDevice : public SwappedDevices
{
  public:
    explicit BentDevice(tn_host *host) : SwappedDevices(host, 1)
    {
        current = this;
        table_.program_create = program_create;
        table_.program_destroy = program_destroy;
        table_.program_submit = program_submit;
        table_.fence_wait = fence_wait;
        swap();
    }
    ~BentDevice() { current = nullptr; }

    std::vector<BentBit> bent;                                                              // of the programs that are made from now on
    std::function<bool(const tn_program_desc &desc)> is_bent = [](auto &) { return true; }; // asked as a program is made

  private:
    struct Program {
        const tn_graph *graph = nullptr;
        tn_step_layout layout = {};
        std::vector<std::vector<uint8_t>> weights;
        std::vector<tn_tap> taps;
        uint32_t out_value = 0;
        std::unique_ptr<conformance::RefNet> net;
    };

    static std::vector<uint8_t> rows_of(const tn_weight_source &source)
    {
        const size_t row = source.kind == TN_WEIGHT_TERNARY ? source.n_cols : tn_dtype_row_bytes(source.dtype, source.n_cols);
        std::vector<uint8_t> rows(row * source.n_rows);
        EXPECT_EQ(source.read_rows(&source, 0, source.n_rows, rows.data()), TN_OK);
        return rows;
    }

    static void flip(void *bytes, uint32_t bit) { static_cast<uint8_t *>(bytes)[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8); }

    static void flip_part(const BentBit &b, const conformance::RefStored &what)
    {
        switch (b.part) {
        case StoredPart::VALUE: return flip(&what.row->at(b.element), b.bit);
        case StoredPart::CODE: return flip(&what.codes->q.at(b.element), b.bit);
        case StoredPart::SCALE: return flip(&what.codes->scale, b.bit);
        case StoredPart::KEY: return flip(what.k + b.element, b.bit);
        case StoredPart::KEY_SCALE: return flip(what.k_scale, b.bit);
        case StoredPart::KV_VALUE: return flip(what.v + b.element, b.bit);
        case StoredPart::KV_VALUE_SCALE: return flip(what.v_scale, b.bit);
        }
    }

    static tn_status program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
    {
        const tn_status status = current->real_->program_create(device, desc, out_program);
        if (status != TN_OK) return status;
        Program &program = current->programs_[*out_program];
        program.graph = desc->graph;
        program.taps.assign(desc->taps, desc->taps + desc->n_taps);
        program.out_value = desc->out_value;
        EXPECT_EQ(desc->n_nodes, desc->graph->n_nodes) << "of whole models only";
        EXPECT_EQ(tn_step_layout_of(&desc->limits, &program.layout), TN_OK);
        for (uint32_t i = 0; i < desc->graph->n_weights; i++) program.weights.push_back(rows_of(desc->graph->weights[i]));
        program.net = std::make_unique<conformance::RefNet>(desc->graph, [&program](uint32_t i) { return program.weights[i].data(); });
        if (!current->is_bent(*desc)) return TN_OK;
        program.net->stored = [bits = current->bent](uint32_t node, const conformance::Token &token, const conformance::RefStored &what) {
            for (const BentBit &b : bits)
                if (node == b.node && token.position == b.position) flip_part(b, what);
        };
        return TN_OK;
    }
    static void program_destroy(tn_program *program)
    {
        current->programs_.erase(program);
        current->real_->program_destroy(program);
    }

    static void write_row(tn_buffer *buffer, uint32_t row, const std::vector<float> &values)
    {
        const uint64_t n_bytes = values.size() * sizeof(float);
        EXPECT_EQ(current->real_->buffer_write(buffer, row * n_bytes, values.data(), n_bytes), TN_OK);
    }

    // Row `token` of the step, or the row of logits that it is; TN_NONE: it is none.
    static uint32_t row_of(const tn_graph *graph, const tn_step_view &step, uint32_t value, uint32_t token)
    {
        if (graph->values[value].rows == TN_ROWS_TOKENS) return token;
        const uint32_t *end = step.logit_rows + step.n_logits, *found = std::find(step.logit_rows, end, token);
        return found == end ? TN_NONE : static_cast<uint32_t>(found - step.logit_rows);
    }

    static tn_status program_submit(tn_program *handle, const tn_submit *submit, tn_fence *out_fence)
    {
        Program &program = current->programs_.at(handle);
        const tn_step_view step = tn_step_view_of(submit->step, &program.layout);
        for (uint32_t t = 0; t < step.n_tokens; t++) {
            const conformance::RefRow row = program.net->run({step.tokens[t], step.seqs[t], step.positions[t]});
            submit->poison[t] = row.poison;
            const auto put = [&](uint32_t value, tn_buffer *buffer) {
                const uint32_t index = row_of(program.graph, step, value, t);
                if (index != TN_NONE) write_row(buffer, index, row.f32.at(value));
            };
            for (const tn_tap &tap : program.taps) put(tap.value, tap.buffer);
            put(program.out_value, submit->out);
        }
        out_fence->value = 0;
        return TN_OK;
    }
    static tn_status fence_wait(tn_device *, tn_fence) { return TN_OK; }

    static inline BentDevice *current = nullptr;
    std::map<tn_program *, Program> programs_;
};

} // namespace tn_test
