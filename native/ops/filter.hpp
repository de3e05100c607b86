// What dense-channel, grouped and depthwise convolution share: blocks of pixels, the finish of a pixel and the cutoff.
#pragma once

#include "op.hpp"

namespace reconv {

class Filter : public Op {
public:
    Filter(int x, int kernel_y, int kernel_x, const ConvParams& params);

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override;
    int spread_words(const std::vector<Map>& maps) const override { return window_words(window_, maps[x_], maps[out]); }
    Rows rows(int input, int y, const std::vector<Map>&) const override { return input == 0 ? window_rows(window_, y) : Rows{y, y + 1}; }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>&, bool dense_only) const override;
    void run(const Task&) const override;
    void put_away(const Task&) const override;
    int64_t pixel_cost(const std::vector<Map>&) const override { return macs_per_pixel / 8 + 1; }

    // Fills the out rows of the blocks, first activation included where `fused_` says so. `rows` is scratch.
    struct Block;
    virtual void compute(const Task&, Block* blocks, int count, float* rows) const = 0;
    std::string window_text() const;
    // false: its result needs more than its kernel and first activation (a residual)
    bool plain() const { return params_.residual < 0 && params_.after.kind == Activation::none; }
    void activate(const Kernels& kernels, float* values, int channels) const {
        if (!fused_) kernels.activate(values, channels, params_.activation);
    }

    struct Block {
        BlockArgs args;
        int pixels;                  // filled, in pairs or single
        bool single;
        uint32_t wanted;             // bit per pixel; a block of an odd number of single pixels repeats the last one
        float* stored[kMaxPixels];   // the pixel in the map
        int y[kMaxPixels], x[kMaxPixels];
        ptrdiff_t step;              // between the two pixels of a pair in the input map, floats
        int pairs() const { return pixels / 2; }
    };

protected:
    static constexpr int kMostBlocks = Order::most_blocks;  // that can be open together
    static constexpr int kRowBlocks = 8;                    // of them where their pixels wait in rows of scratch
    // floats of a scratch row: whole vectors, with one to spare for a group's last one
    static int64_t row_floats(const Kernels& kernels, int channels) {
        return (channels + 2 * kernels.width) / kernels.width * kernels.width;
    }
    // blocks that can be open at once: those of pairs, one more of pairs at the end, one of single pixels
    static constexpr int with_rest(int blocks) { return blocks + 2; }
    // floats of the rows in which the pixels of open blocks wait to be compared or put away
    int64_t waiting_floats(const Kernels& kernels, int channels, bool direct) const {
        return direct ? 0 : static_cast<int64_t>(with_rest(row_blocks())) * 2 * kernels.pairs * row_floats(kernels, channels);
    }
    int row_blocks() const { return blocks_ < kRowBlocks ? blocks_ : kRowBlocks; }

    void set_window(BlockArgs& args) const;
    // The filter whose window the block's addresses are for: this one's, or the depthwise one in front of it.
    virtual const Filter& head(const Task&) const { return *this; }
    // true: kernels may write whole vectors of a pixel without touching what follows it
    virtual bool whole_vectors() const = 0;
    // The output channels that a slice computes, first and last + 1.
    virtual std::pair<int, int> channels_of(const Task& task) const { return {0, task.memory.map(out).channels}; }

    int x_;
    Window window_;
    ConvParams params_;
    bool fused_;
    std::vector<ptrdiff_t> taps_;
    ptrdiff_t ahead_ = 0;   // offset of the window's last tap, the one least likely to be in the cache
    int run_ = 0;           // floats read at a tap
    int blocks_ = 1;        // blocks computed together, so that a tile of weights is read once for all

private:
    class Filling;
    void finish(const Task&, Block& block, bool direct) const;
    void set_moved(const Task&, const Block& block, uint32_t moved) const;
};

}  // namespace reconv
