// What convolutions of codes share: how their sums become codes, or floats.
#pragma once

#include "../weights.hpp"
#include "filter.hpp"
#include "op8.hpp"

namespace reconv {

class CodesFilter : public Filter<BlockArgs8> {
public:
    CodesFilter(int x, int kernel_y, int kernel_x, const Conv8Params& params, bool makes_codes);

    bool absorbable() const override { return Filter::absorbable() && whole_ && makes_codes_; }
    void complete(const Kernels& kernels, float* row, int channels) const override { look_up(kernels, reinterpret_cast<uint8_t*>(row), channels); }

    int64_t bytes() const override { return static_cast<int64_t>(coded_.table.size() + coded_.factor.size() * 4); }

protected:
    // kernels write no more than they are asked for, but they read a little more
    int64_t row_floats(const Kernels&, int depth) const override {
        const int words = whole_ && makes_codes_ ? words_of(depth) : depth;
        return (words + kSlack8 / 4 + 15) / 16 * 16;
    }
    bool writes_maps() const override { return whole_; }
    void finish(const Task&, Block& block, bool direct) const override;
    using Around = Tiles8;  // what a thread's kernels share
    // What the kernels need to know of a block besides its addresses.
    void open(const Task& task, Block& block, Tiles8* tiles) const;

    static const int8_t* of(const Packed& packed) { return reinterpret_cast<const int8_t*>(packed.values.data()); }
    // Room for so many bytes of weights, and for what is read behind them.
    static Lines room(int64_t bytes) { return Lines(static_cast<size_t>(bytes + kSlack8 + 3) / 4, 0.f); }
    // What a sum starts from: the bias, less the zero point of the input times the sum of the weights.
    int32_t start_of(const Weights8& weights, int channel) const;
    float scale_of(const Weights8& weights, int channel) const { return coded_.x.scale * weights.scale[channel]; }
    static float shift_of(const Weights8& weights, int channel) { return weights.shift.empty() ? 0.f : weights.shift[channel]; }

    // Whether the kernels are to multiply by it: where they leave reals, it is done later.
    bool kernels_factor() const { return whole_ && !coded_.factor.empty(); }
    float factor_of(int channel) const { return coded_.factor[static_cast<size_t>(channel)]; }

private:
    void look_up(const Kernels& kernels, uint8_t* codes, int64_t count) const {
        if (!coded_.table.empty()) kernels.codes->table_row(codes, codes, count, coded_.table.data());
    }
    void complete_row(const Task&, float* values, const uint8_t* residual, int first, int count) const;

    Conv8Params coded_;
    Finish8 finish_;
    bool makes_codes_, whole_;  // whole_: the kernels do all there is to do
};

}  // namespace reconv
