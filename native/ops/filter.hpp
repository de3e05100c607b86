// What all convolutions share, of floats and of codes: blocks of pixels, and what is done when their sums are there.
#pragma once

#include "../kernels/kernels8.hpp"
#include "op.hpp"

namespace reconv {

// An activation for channels from `first` on.
inline ActivationSpec from_channel(ActivationSpec spec, int first) {
    if (spec.slopes) spec.slopes += first;
    return spec;
}

// What a filter's kernels work on, by their arguments.
template <class Args>
struct Lanes;

template <>
struct Lanes<BlockArgs> {
    using Element = float;
    using Weight = float;
    static constexpr int most_pixels = kMaxPixels;
    static int pairs(const Kernels& kernels) { return kernels.pairs; }
    static int width(const Kernels& kernels) { return kernels.width; }
};

template <>
struct Lanes<BlockArgs8> {
    using Element = uint8_t;
    using Weight = int8_t;
    static constexpr int most_pixels = kMaxPixels8;
    static int pairs(const Kernels& kernels) { return kernels.codes->pairs; }
    static int width(const Kernels& kernels) { return kernels.codes->width; }
};

template <class Args>
class Filter : public Op {
public:
    using Element = typename Lanes<Args>::Element;
    static constexpr int per_word = sizeof(float) / sizeof(Element);  // elements in the place of a float

    Filter(int x, int kernel_y, int kernel_x, const ConvParams& params);

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override;
    int spread_words(const std::vector<Map>& maps) const override { return window_words(window_, maps[x_], maps[out]); }
    Rows rows(int input, int y, const std::vector<Map>&) const override { return input == 0 ? window_rows(window_, y) : Rows{y, y + 1}; }
    int64_t scratch_floats(const Kernels&, const std::vector<Map>&, bool dense_only) const override;
    void run(const Task&) const override;
    void put_away(const Task&) const override;
    int64_t pixel_cost(const std::vector<Map>&) const override { return macs_per_pixel / (8 * per_word) + 1; }
    int block_pixels(const Kernels& kernels) const override { return full(kernels); }

    struct Block;
    // Fills the out rows of the blocks with what the kernels make of them. `rows` is scratch.
    virtual void compute(const Task&, Block* blocks, int count, float* rows) const = 0;
    // What the kernels leave to be done with a row of scratch, for a filter that another one has absorbed.
    virtual void complete(const Kernels&, float* row, int channels) const { (void)row, (void)channels; }
    // false: its result needs more than its kernel and complete() (a residual)
    virtual bool absorbable() const { return params_.residual < 0 && params_.after.kind == Activation::none; }
    std::string window_text() const;

    struct Block {
        static constexpr int most = Lanes<Args>::most_pixels;
        Args args;
        int pixels;            // filled, in pairs or single
        bool single;
        uint32_t wanted;       // bit per pixel; a block of an odd number of single pixels repeats the last one
        float* stored[most];   // the pixel in the map
        int y[most], x[most];
        ptrdiff_t step;        // between the two pixels of a pair in the input map, elements
        int pairs() const { return pixels / 2; }
        int addresses() const { return single ? pixels : pairs(); }
    };

protected:
    static constexpr int kMostBlocks = Order::most_blocks;  // that can be open together
    static constexpr int kRowBlocks = 8;                    // of them where their pixels wait in rows of scratch
    static int full(const Kernels& kernels) { return 2 * Lanes<Args>::pairs(kernels); }  // pixels of a block
    // blocks that can be open at once: those of pairs, one more of pairs at the end, one of single pixels
    static constexpr int with_rest(int blocks) { return blocks + 2; }
    // floats of a scratch row that takes a pixel of so many values
    virtual int64_t row_floats(const Kernels& kernels, int depth) const = 0;
    // floats of the rows in which the pixels of open blocks wait to be compared or put away
    int64_t waiting_floats(const Kernels& kernels, int depth, bool direct) const {
        return direct ? 0 : static_cast<int64_t>(with_rest(row_blocks())) * full(kernels) * row_floats(kernels, depth);
    }
    int row_blocks() const { return blocks_ < kRowBlocks ? blocks_ : kRowBlocks; }

    void find_taps(const Map& in, bool merged);
    void set_window(Args& args) const;
    // The filter whose window the block's addresses are for: this one's, or the depthwise one in front of it.
    virtual const Filter& head(const Task&) const { return *this; }
    // true: kernels may write into the map, nothing of it is left to be done and nothing that follows a pixel is touched
    virtual bool writes_maps() const = 0;
    // The output channels that a slice computes, first and last + 1.
    virtual std::pair<int, int> channels_of(const Task& task) const { return {0, task.memory.map(out).depth()}; }
    // Finishes the pixels of a block and puts them away; `direct`: they are in the map.
    virtual void finish(const Task&, Block& block, bool direct) const = 0;
    void set_moved(const Task&, const Block& block, uint32_t moved) const;

    int x_;
    Window window_;
    ConvParams params_;
    std::vector<ptrdiff_t> taps_;  // elements
    ptrdiff_t ahead_ = 0;   // offset of the window's last tap, the one least likely to be in the cache
    int run_ = 0;           // elements read at a tap
    int blocks_ = 1;        // blocks computed together, so that a tile of weights is read once for all

private:
    class Filling;
};

extern template class Filter<BlockArgs>;
extern template class Filter<BlockArgs8>;

// Filters of floats.
class FloatFilter : public Filter<BlockArgs> {
public:
    FloatFilter(int x, int kernel_y, int kernel_x, const ConvParams& params);

    void complete(const Kernels& kernels, float* row, int channels) const override {
        if (!fused_) kernels.activate(row, channels, params_.activation);
    }

protected:
    // whole vectors, with one to spare for a group's last one
    int64_t row_floats(const Kernels& kernels, int depth) const override {
        return (depth + 2 * kernels.width) / kernels.width * kernels.width;
    }
    void finish(const Task&, Block& block, bool direct) const override;
    struct Around {  // what a thread's kernels share: nothing
        explicit Around(const Kernels8&) {}
    };
    void set_window(BlockArgs& args) const {
        Filter::set_window(args);
        args.low = params_.activation.a, args.high = params_.activation.b;
    }
    int kernel_kind() const { return fused_ ? static_cast<int>(params_.activation.kind) : 0; }

    bool fused_;  // the kernels do the activation
};

}  // namespace reconv
