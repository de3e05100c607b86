// What dense-channel, grouped and depthwise convolution share: blocks of pixels, the finish of a pixel and the cutoff.
#pragma once

#include "op.hpp"

namespace reconv {

class Filter : public Op {
public:
    Filter(int x, int kernel_y, int kernel_x, const ConvParams& params);

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override;
    int spread_words(const std::vector<Map>& maps) const override { return window_words(window_, maps[x_], maps[out]); }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>&) const override;
    void run(const Task&) const override;
    int64_t pixel_cost(const std::vector<Map>&) const override { return macs_per_pixel / 8 + 1; }

protected:
    static constexpr int kMostBlocks = 8;

    struct Lane {
        int y, x;
        bool wanted;  // the second pixel of an odd pair is computed and dropped
    };
    struct Block {
        BlockArgs args;
        Lane lanes[kMaxPixels];
        int pairs;
    };

    // Fills the out rows of the blocks, first activation included where `fused_` says so.
    virtual void compute(const Kernels&, Block* blocks, int count) const = 0;
    void set_window_of(BlockArgs& args) const;
    // true: kernels may write whole vectors of a pixel without touching what follows it
    virtual bool whole_vectors(const Kernels&, int channels) const { return channels > 0; }

    int x_;
    Window window_;
    ConvParams params_;
    bool fused_;
    std::vector<ptrdiff_t> taps_;
    int run_ = 0;           // floats read at a tap
    int blocks_ = 1;        // blocks computed together, so that a tile of weights is read once for all
    float low_ = 0.f, high_ = 0.f;

private:
    void finish(const Task&, Block& block, bool direct) const;
};

}  // namespace reconv
