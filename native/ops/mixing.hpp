// Convolution with channels mixed, in one or more groups, of floats or of codes: tiles of output channels, parts of windows,
// loop orders, slices for threads, and a depthwise convolution in front that is done on the way.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "../weights.hpp"
#include "filter.hpp"

namespace reconv {

// Base: FloatFilter or CodesFilter. Self, the op itself, has
//   call(kernels, block, tile, last_part): sets what a tile brings but for its weights, and runs the kernel;
//   front_of(op): the op as one that may be absorbed, or null.
template <class Base, class Self>
class Mixing : public Base {
public:
    using Element = typename Base::Element;
    using Block = typename Base::Block;
    using Weight = typename Lanes<decltype(Block::args)>::Weight;

    template <class... Rest>
    Mixing(int x, int out_channels, int kernel_y, int kernel_x, const Rest&... rest)
        : Base(x, kernel_y, kernel_x, rest...), out_channels_(out_channels) {}

    void prepare(const Kernels& kernels, const std::vector<Map>& maps) override {
        const Map& in = maps[this->x_];
        const Window& window = this->window_;
        const int groups = this->params_.groups, pixel = static_cast<int>(in.channels) * Base::per_word;
        // Neighbouring taps of a row are contiguous where the map's pixels are: one long run instead of several.
        const bool merge = groups == 1 && window.dilation_x == 1 && in.pixel_stride == in.channels;
        this->find_taps(in, merge);
        this->run_ = groups > 1 ? self().padded_inputs(in.depth() / groups) : merge ? window.kernel_x * pixel : pixel;
        const bool channels = weights_prevail(maps);
        set_order({channels, channels ? Base::kMostBlocks : kBlocks, kPartFloats}, kernels);
        if (tiles_.size() == 1 && parts_.size() == 1) set_order({false, kBlocks / 2, kPartFloats}, kernels);
    }

    std::shared_ptr<Op> twin(const Kernels& kernels, const std::vector<Map>& maps) const override {
        auto op = std::make_shared<Self>(self());
        op->prepare(kernels, maps);
        op->set_order(order_, kernels);
        return op;
    }

    const Packed* shared_weights() const override { return packed_.get(); }

    int64_t grain(const Kernels& kernels) const override { return streams_ ? kBlocks * Base::full(kernels) : 1; }

    const Order* order() const override { return &order_; }

    void set_order(const Order& order, const Kernels& kernels) override {
        order_ = order;
        this->blocks_ = order.blocks;
        const int columns = 2 * Lanes<decltype(Block::args)>::width(kernels);
        const int64_t most = std::numeric_limits<int>::max();
        divide(columns, static_cast<int>(order.part ? std::min(order.part * int64_t{Base::per_word}, most) : most));
    }

    std::string layer(const std::vector<Map>& maps) const override {
        const auto size = [](const Map& m) {
            return std::to_string(m.height).append("x").append(std::to_string(m.width)).append("x").append(std::to_string(m.depth()))
                .append(m.codes ? " codes" : "");
        };
        std::string text = size(maps[this->x_]).append(" to ").append(size(maps[this->out])).append(", ").append(this->window_text());
        if (this->params_.residual >= 0) text.append(", residual");
        if (front_) text.append(", after depthwise ").append(front_->window_text());
        return text;
    }

    int slices(const Task& task, int64_t pixels, int threads) const override {
        const int tiles = static_cast<int>(tiles_.size());
        if (threads == 1 || task.fused || tiles < threads || !self().apart()) return 1;
        const int64_t block = Base::full(*task.kernels);
        const bool fits = !task.cutoff.compare || pixels <= this->row_blocks() * block;
        // One block of pixels cannot be shared by pixels. Two slices for each thread: one that comes late does less.
        return fits && (order_.channels || (pixels <= block && streams_)) ? std::min(tiles, 2 * threads) : 1;
    }

    bool absorb(const Op& before, bool in_streams, const std::vector<Map>& maps) override {
        const Window& w = this->window_;
        const bool pointwise = w.kernel_y == 1 && w.kernel_x == 1 && w.stride_y == 1 && w.stride_x == 1 && w.pad_y == 0 && w.pad_x == 0 &&
                               this->params_.groups == 1;
        const Base* front = self().front_of(before);
        if (!pointwise || !front || !maps[this->x_].same_pixels(maps[this->out]) || weights_prevail(maps) || !front->absorbable()) return false;
        front_ = front;
        front_in_streams_ = in_streams;
        return true;
    }

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        if (!front_in_streams_) return Base::spread(stale, todo, row);
        front_->spread(stale.first(1), todo, row);
        if (stale.size() > 1) todo.unite(stale[1]);
    }
    int spread_words(const std::vector<Map>& maps) const override {
        return front_ ? std::max(front_->spread_words(maps), Base::spread_words(maps)) : Base::spread_words(maps);
    }
    int64_t scratch_floats(const Kernels& kernels, const std::vector<Map>& maps, bool dense_only) const override {
        const int64_t sums = static_cast<int64_t>(Base::with_rest(this->blocks_)) * sums_of_block(kernels);
        return Base::scratch_floats(kernels, maps, dense_only) + (front_ ? front_floats(kernels, maps[this->x_].depth()) : 0) + sums;
    }
    int64_t pixel_cost(const std::vector<Map>& maps) const override {
        return Base::pixel_cost(maps) + (front_ ? front_->pixel_cost(maps) : 0);
    }

    void compute(const Task& task, Block* blocks, int count, float* rows) const override {
        const Kernels& kernels = *task.kernels;
        const bool fused = front_ && task.fused;
        if (fused) {
            compute_front(task, blocks, count, rows);
            rows += front_floats(kernels, task.memory.map(this->x_).depth());
        }
        typename Base::Around around(*kernels.codes);
        for (int b = 0; b < count; b++) {
            this->set_window(blocks[b].args);
            if (!fused) blocks[b].args.pair_stride = blocks[b].step;
            self().open(task, blocks[b], &around);
        }
        const int64_t sums = sums_of_block(kernels);
        const int width = Lanes<decltype(Block::args)>::width(kernels);
        const auto* const packed = reinterpret_cast<const Weight*>(packed_->values.data());
        const auto* const end = reinterpret_cast<const Weight*>(packed_->values.data() + packed_->values.size());
        constexpr int line = 64 / sizeof(Weight);
        int at = 0;  // the input channel that the blocks' addresses are of
        for (const Tile& tile : tiles_of(task.slice)) {
            const Weight* weights = packed + tile.weights;
            const int step = tile.input - at;
            at = tile.input;
            for (size_t part = 0; part < parts_.size(); part++) {
                const Part& p = parts_[part];
                const int64_t taken = static_cast<int64_t>(p.taps) * p.run * tile.vectors * width;
                const Weight* next = weights + taken;  // the next part's, fetched while this one is in use
                const int64_t share = streams_ ? (taken / count + line - 1) / line * line : 0;
                for (int b = 0; b < count; b++) {
                    auto& args = blocks[b].args;
                    if (part == 0 && step)
                        for (int i = 0; i < blocks[b].addresses(); i++) args.in[i] += step;
                    args.taps = part_taps_.data() + p.tap;
                    args.tap_count = p.taps;
                    args.run = p.run;
                    args.weights = weights;
                    args.first_channel = tile.first_channel;
                    args.partial = reinterpret_cast<decltype(args.partial)>(rows + b * sums);
                    args.resume = part > 0;
                    args.keep = part + 1 < parts_.size();
                    for (const Weight *fetched = next, *last = std::min(next + share, end); fetched < last; fetched += line)
                        __builtin_prefetch(fetched, 0, 2);
                    next += share;
                    self().call(kernels, blocks[b], tile, part + 1 == parts_.size());
                }
                weights += taken;
            }
        }
    }

protected:
    static constexpr int kPartFloats = 6144;       // of weights in a part of a window: half of a first cache of 48 KiB
    static constexpr int kBlocks = 8;              // that pass over a tile of weights
    static constexpr int kStreamedFloats = 32768;  // weights that other layers push out of the nearer caches between two runs

    struct Tile {  // one or two vectors of output channels of one group
        int64_t weights, bias;  // bias: place of the first lane
        int first_channel, last_channel, vectors;
        int input;  // first input channel of the group
    };

    const Base& head(const Task& task) const override { return front_ && task.fused ? *front_ : static_cast<const Base&>(*this); }
    std::pair<int, int> channels_of(const Task& task) const override {
        const auto tiles = tiles_of(task.slice);
        return {tiles.front().first_channel, tiles.back().last_channel};
    }

    // The tiles of all groups; `pack(tile, used, columns)` appends the weights of one and tells where they begin.
    template <class Pack>
    void make_tiles(int width, int in_group, Pack&& pack) {
        const int groups = this->params_.groups, out_group = out_channels_ / groups;
        int64_t lanes = 0;
        for (int g = 0; g < groups; g++)
            for (int first = 0; first < out_group;) {
                const int left = out_group - first, vectors = left > width ? 2 : 1, columns = vectors * width;
                const int used = std::min(columns, left), channel = g * out_group + first;
                tiles_.push_back({0, lanes, channel, channel + used, vectors, g * in_group});
                tiles_.back().weights = pack(tiles_.back(), used, columns);
                lanes += columns;
                first += columns;
            }
    }

    void keep(std::shared_ptr<const Packed> packed) {
        packed_ = std::move(packed);
        streams_ = packed_->values.size() > kStreamedFloats;
    }

    std::vector<Tile> tiles_;
    int out_channels_;

private:
    const Self& self() const { return static_cast<const Self&>(*this); }

    // Sharing the pixels, every thread reads all weights; sharing the channels, all of the input, and what one thread has
    // written the other reads next. By default threads share the channels where there are more weights than values of maps.
    bool weights_prevail(const std::vector<Map>& maps) const {
        const auto values = [](const Map& m) { return static_cast<int64_t>(m.height) * m.width * m.channels; };
        const int64_t moved = values(maps[this->x_]) + values(maps[this->out]) * (this->params_.residual >= 0 ? 2 : 1);
        return streams_ && static_cast<int64_t>(packed_->values.size()) >= moved;
    }

    // floats of a block's sums for two vectors
    static int64_t sums_of_block(const Kernels& kernels) {
        return static_cast<int64_t>(Base::full(kernels)) * 2 * Lanes<decltype(Block::args)>::width(kernels);
    }

    int64_t front_floats(const Kernels& kernels, int depth) const {
        return static_cast<int64_t>(Base::with_rest(this->row_blocks())) * Base::full(kernels) * this->row_floats(kernels, depth);
    }

    // The depthwise filter's pixels go into rows of scratch, which then are this convolution's input.
    void compute_front(const Task& task, Block* blocks, int count, float* rows) const {
        const int depth = task.memory.map(this->x_).depth(), full = Base::full(*task.kernels);
        const int64_t floats = this->row_floats(*task.kernels, depth);
        for (int b = 0; b < count; b++, rows += full * floats) {
            Block& block = blocks[b];
            std::remove_reference_t<decltype(block.args.out[0])> out[Block::most];
            std::copy_n(block.args.out, full, out);
            for (int m = 0; m < full; m++) block.args.out[m] = rows + m * floats;
            front_->compute(task, &block, 1, nullptr);
            for (int m = 0; m < block.pixels; m++) front_->complete(*task.kernels, rows + m * floats, depth);
            std::copy_n(out, full, block.args.out);
            const int step = block.single ? 1 : 2;
            for (int m = 0; m < block.pixels; m += step) block.args.in[m / step] = reinterpret_cast<const Element*>(rows + m * floats);
            block.args.pair_stride = floats * Base::per_word;
        }
    }

    std::span<const Tile> tiles_of(const Slice& slice) const {
        const size_t first = tiles_.size() * slice.index / slice.count, last = tiles_.size() * (slice.index + 1) / slice.count;
        return std::span(tiles_).subspan(first, last - first);
    }

    // A window is done in parts so small that a part's weights stay in the first cache for all blocks computed together;
    // the sums wait in scratch, so the order of accumulation is the same.
    struct Part {
        int tap, taps, run;  // into part_taps_
    };

    void divide(int columns, int part) {
        parts_.clear();
        part_taps_.clear();
        const int most = std::max(part / columns / Base::per_word * Base::per_word, Base::per_word);  // elements of the window in a part
        const int taps = static_cast<int>(this->taps_.size()), run = this->run_;
        const bool whole = static_cast<int64_t>(run) * taps * columns <= int64_t{2} * part;
        if (whole || run <= most) {
            const int together = whole ? taps : most / run;
            part_taps_ = this->taps_;
            for (int t = 0; t < taps; t += together) parts_.push_back({t, std::min(together, taps - t), run});
            return;
        }
        const int words = run / Base::per_word, most_words = most / Base::per_word;
        const int pieces = (words + most_words - 1) / most_words, length = (words + pieces - 1) / pieces * Base::per_word;
        for (ptrdiff_t tap : this->taps_)
            for (int c = 0; c < run; c += length) {
                parts_.push_back({static_cast<int>(part_taps_.size()), 1, std::min(length, run - c)});
                part_taps_.push_back(tap + c);
            }
    }

    std::shared_ptr<const Packed> packed_;
    Order order_;
    std::vector<ptrdiff_t> part_taps_;
    std::vector<Part> parts_;
    const Base* front_ = nullptr;  // a depthwise convolution done here, pixel by pixel, and not kept as a map
    bool front_in_streams_ = false;
    bool streams_ = false;
};

}  // namespace reconv
