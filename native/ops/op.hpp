// What every op is: something that makes pixels of one map from pixels of others, a list of pixels at a time.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../kernels/kernels.hpp"
#include "../map.hpp"
#include "../stale.hpp"

namespace reconv {

struct Packed;
class WeightStore;

// Memory of a state as the ops see it during a step.
struct Memory {
    const std::vector<Map>* maps;
    const std::vector<float*>* roots;

    float* pixel(int map, int y, int x) const {
        const Map& m = (*maps)[map];
        return (*roots)[m.root] + m.at(y, x);
    }
    const Map& map(int id) const { return (*maps)[id]; }
};

// How the pixels that an op recomputed are put away.
struct Cutoff {
    bool compare = false;            // false: first or dense-only run, everything is stored
    const float* weights = nullptr;  // per channel, padded with zeros to whole vectors; null: bit for bit
    float limit = 0.f;               // tolerance squared
    Bits moved;                      // receives the pixels that moved (compare only); shared by the threads
};

// How a convolution goes through its pixels and channels. Every order adds the terms of a value in the same sequence, so
// all give the same bits.
struct Order {
    static constexpr int most_blocks = 64;

    bool channels = false;  // threads share the output channels and not the pixels
    int blocks = 1;         // of pixels that pass over a tile of weights before the next tile is taken
    int part = 0;           // floats of a tile's weights that they pass over before the next part; 0: the whole window

    bool operator==(const Order&) const = default;
};

// A thread's share of an op whose output channels are split. Of a stream's pixels all channels have to be there before the
// cutoff can compare them: they wait in `rows`, one after another, for `Op::put_away`.
struct Slice {
    int index = 0, count = 1;
    float* rows = nullptr;
};

struct Task {
    Memory memory;
    const Kernels* kernels;
    std::span<const Run> runs;  // this thread's share
    Cutoff cutoff;
    float* scratch;             // scratch_floats() of this thread, 64-byte aligned
    bool alone;                 // no other thread works on this op now
    bool fused;                 // the op does an absorbed one as well
    Slice slice = {};

    // Sets bits of a word of cutoff.moved; rows are split among threads, so a word may be shared.
    void set(uint64_t* word, uint64_t mask) const {
        if (alone) *word |= mask;
        else std::atomic_ref<uint64_t>(*word).fetch_or(mask, std::memory_order_relaxed);
    }
};

// Rows [first, last) of a map; a window's may lie beyond the map's border.
struct Rows {
    int first, last;
};

class Op {
public:
    virtual ~Op() = default;

    int out = -1;
    std::vector<int> inputs;
    bool cut = false;
    int64_t macs_per_pixel = 0;

    // Adds to `todo` the output pixels that depend on stale pixels. stale[i] belongs to inputs[i].
    virtual void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const = 0;
    // The rows of inputs[input] that row y of the output is made of; default: the same row, or the only one there is.
    virtual Rows rows(int input, int y, const std::vector<Map>& maps) const;
    // true: a pixel reads of inputs[input] only itself, and before it is written, so both may lie in the same place
    virtual bool may_overwrite(int input, const std::vector<Map>& maps) const {
        (void)input, (void)maps;
        return false;
    }
    // true: prepare() keeps strides of this input (or of the output, -1), which therefore has one layout for all states
    virtual bool keeps_strides(int input) const { return input == 0; }
    // The same op for other strides, for as long as this one lives; it keeps no weights of its own. Asked only where
    // keeps_strides() says so of an input or the output.
    virtual std::shared_ptr<Op> twin(const Kernels&, const std::vector<Map>&) const { return nullptr; }
    // words of scratch that spread() needs beyond one row of its input
    virtual int spread_words(const std::vector<Map>& maps) const;
    // Takes over `before`, the only producer of the op's first input and read by nobody else: in dense-only states always,
    // in streams where `in_streams` says so (its result is then no map, and not under cutoff). False: it cannot.
    virtual bool absorb(const Op& before, bool in_streams, const std::vector<Map>& maps) {
        (void)before, (void)in_streams, (void)maps;
        return false;
    }
    // Called once when strides are fixed.
    virtual void prepare(const Kernels&, const std::vector<Map>&) {}
    // of a thread; dense_only: in steps that compare nothing
    virtual int64_t scratch_floats(const Kernels&, const std::vector<Map>&, bool dense_only) const {
        (void)dense_only;
        return 0;
    }
    virtual void run(const Task&) const = 0;
    // false: the op is run once over all its runs (a global pool)
    virtual bool splits() const { return true; }
    // true: in streams, although not under cutoff, a pixel that comes out with the same codes has not moved
    virtual bool compares() const { return false; }
    // pixels that the op does at a time
    virtual int block_pixels(const Kernels& kernels) const { return 2 * kernels.pairs; }
    // pixels that should be done together, at the least, when the op is shared among threads
    virtual int64_t grain(const Kernels&) const { return 1; }
    // bytes that the op keeps (packed weights, tables), but for shared_weights()
    virtual int64_t bytes() const { return 0; }
    // the weights that other ops may keep as well, or null
    virtual const Packed* shared_weights() const { return nullptr; }

    // Into how many slices of output channels these pixels should be split; 1: threads share the pixels.
    virtual int slices(const Task&, int64_t pixels, int threads) const {
        (void)pixels, (void)threads;
        return 1;
    }
    // Finishes and stores the pixels whose slices are all in `task.slice.rows`.
    virtual void put_away(const Task&) const {}
    // null: there is nothing to choose
    virtual const Order* order() const { return nullptr; }
    virtual void set_order(const Order&, const Kernels&) {}
    // the sizes that decide which order is the quickest, in words
    virtual std::string layer(const std::vector<Map>&) const { return {}; }
    // multiply-adds of one pixel below which a share is not worth another thread's wake-up
    virtual int64_t pixel_cost(const std::vector<Map>& maps) const { return maps[out].channels; }
};

// Rows of a window's input that output row y is made of.
Rows window_rows(const Window& window, int y);
int window_words(const Window& window, const Map& in, const Map& out);

// Pixel by pixel, same size in and out: the stale sets of the inputs are united.
void spread_same(std::span<const Bits> stale, const Bits& todo, std::span<const int> inputs);

using OpPtr = std::unique_ptr<Op>;

struct ConvParams {
    int stride_y = 1, stride_x = 1, pad_y = 0, pad_x = 0, dilation_y = 1, dilation_x = 1, groups = 1;
    ActivationSpec activation, after;
    std::vector<float> slopes, after_slopes;
    int residual = -1;
};

// weight: (out channels, in channels / groups, kernel height, kernel width); bias may be empty
OpPtr make_conv(int x, int out, std::span<const float> weight, int kernel_y, int kernel_x, std::span<const float> bias,
                const ConvParams& params, const std::vector<Map>& maps, const Kernels& kernels, WeightStore& store);

struct PoolParams {
    Window window;
    int end_y = 0, end_x = 0;  // padding after the last pixel, counts with count_include_pad
    bool count_include_pad = false;
};
OpPtr make_max_pool(int x, int out, const PoolParams& params);
OpPtr make_average_pool(int x, int out, const PoolParams& params);
enum class Global { average, maximum, sum };
OpPtr make_global_pool(int x, int out, Global kind);

OpPtr make_unary(int x, int out, const ActivationSpec& spec, std::vector<float> slopes);
OpPtr make_affine(int x, int out, std::vector<float> scale, std::vector<float> shift, const ActivationSpec& spec,
                  std::vector<float> slopes);
OpPtr make_binary(int a, int b, int out, Binary kind, const ActivationSpec& spec, std::vector<float> slopes,
                  const std::vector<Map>& maps);
struct Constant {
    std::vector<float> values;
    int height, width, channels;
};
OpPtr make_binary_constant(int x, int out, Binary kind, Constant constant, bool constant_first,
                           const ActivationSpec& spec, std::vector<float> slopes);
OpPtr make_softmax(int x, int out);

struct ResizeTable {
    Taps taps;
    std::vector<float> wy, wx;

    bool nearest() const;  // every pixel is one of the input's
};
OpPtr make_resize(int x, int out, ResizeTable table);
OpPtr make_copy(int x, int out);
// index: per output element (H, W, C) the input's logical element, or -1 for `fill`
OpPtr make_gather(int x, int out, std::vector<int32_t> index, float fill, const std::vector<Map>& maps);
OpPtr make_join(int parent, std::vector<int> parts, const std::vector<Map>& maps);

}  // namespace reconv
