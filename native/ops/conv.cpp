// Convolution with channels mixed, in one or more groups (ONNX Conv, and Gemm and MatMul with a constant as 1x1).
#include <algorithm>
#include <limits>

#include "../weights.hpp"
#include "filter.hpp"

namespace reconv {

bool is_depthwise(const Op& op);  // depthwise.cpp

namespace {

constexpr int kPartFloats = 6144;       // of weights in a part of a window: half of a first cache of 48 KiB
constexpr int kBlocks = 8;              // that pass over a tile of weights
constexpr int kStreamedFloats = 32768;  // weights that other layers push out of the nearer caches between two runs

class Conv final : public Filter {
public:
    Conv(int x, std::span<const float> weight, int out_channels, int kernel_y, int kernel_x, std::span<const float> bias,
         const ConvParams& p, int in_group, int width, WeightStore& store)
        : Filter(x, kernel_y, kernel_x, p), out_channels_(out_channels) {
        whole_ = out_channels / p.groups % width == 0;
        packed_ = store.keep(pack(weight, bias, width, in_group));
        streams_ = packed_->values.size() > kStreamedFloats;
    }

    void prepare(const Kernels& kernels, const std::vector<Map>& maps) override {
        const Map& in = maps[x_];
        const int groups = params_.groups, in_group = in.channels / groups;
        // Neighbouring taps of a row are contiguous where the map's pixels are: one long run instead of several.
        const bool merge = groups == 1 && window_.dilation_x == 1 && in.pixel_stride == in.channels;
        run_ = merge ? window_.kernel_x * in.channels : in_group;
        for (int ky = 0; ky < window_.kernel_y; ky++)
            for (int kx = 0; kx < (merge ? 1 : window_.kernel_x); kx++)
                taps_.push_back(ky * window_.dilation_y * in.row_stride + kx * window_.dilation_x * in.pixel_stride);
        ahead_ = (window_.kernel_y - 1) * window_.dilation_y * in.row_stride + (window_.kernel_x - 1) * window_.dilation_x * in.pixel_stride;
        const bool channels = weights_prevail(maps);
        set_order({channels, channels ? kMostBlocks : kBlocks, kPartFloats}, kernels);
        if (tiles_.size() == 1 && parts_.size() == 1) set_order({false, kBlocks / 2, kPartFloats}, kernels);
    }

    std::shared_ptr<Op> twin(const Kernels& kernels, const std::vector<Map>& maps) const override {
        auto op = std::make_shared<Conv>(*this);
        op->taps_.clear();
        op->prepare(kernels, maps);
        op->set_order(order_, kernels);
        return op;
    }

    int64_t bytes() const override { return static_cast<int64_t>(packed_bias_.size() * sizeof(float)); }
    const Packed* shared_weights() const override { return packed_.get(); }

    int64_t grain(const Kernels& kernels) const override { return streams_ ? kBlocks * 2 * kernels.pairs : 1; }

    const Order* order() const override { return &order_; }

    void set_order(const Order& order, const Kernels& kernels) override {
        order_ = order;
        blocks_ = order.blocks;
        divide(2 * kernels.width, order.part ? order.part : std::numeric_limits<int>::max());
    }

    std::string layer(const std::vector<Map>& maps) const override {
        const auto size = [](const Map& m) {
            return std::to_string(m.height).append("x").append(std::to_string(m.width)).append("x").append(std::to_string(m.channels));
        };
        std::string text = size(maps[x_]).append(" to ").append(size(maps[out])).append(", ").append(window_text());
        if (params_.residual >= 0) text.append(", residual");
        if (front_) text.append(", after depthwise ").append(front_->window_text());
        return text;
    }

    int slices(const Task& task, int64_t pixels, int threads) const override {
        const int tiles = static_cast<int>(tiles_.size());
        // A slice writes whole vectors: where a group's last one reaches into the next group, slices would race.
        if (threads == 1 || task.fused || tiles < threads || (params_.groups > 1 && !whole_)) return 1;
        const int64_t block = 2 * task.kernels->pairs;
        const bool fits = !task.cutoff.compare || pixels <= row_blocks() * block;
        // One block of pixels cannot be shared by pixels. Two slices for each thread: one that comes late does less.
        return fits && (order_.channels || (pixels <= block && streams_)) ? std::min(tiles, 2 * threads) : 1;
    }

    bool absorb(const Op& before, bool in_streams, const std::vector<Map>& maps) override {
        const bool pointwise = window_.kernel_y == 1 && window_.kernel_x == 1 && window_.stride_y == 1 && window_.stride_x == 1 &&
                               window_.pad_y == 0 && window_.pad_x == 0 && params_.groups == 1;
        if (!pointwise || !is_depthwise(before) || !maps[x_].same_pixels(maps[out]) || weights_prevail(maps)) return false;
        const auto& front = static_cast<const Filter&>(before);
        if (!front.plain()) return false;
        front_ = &front;
        front_in_streams_ = in_streams;
        return true;
    }

    void spread(std::span<const Bits> stale, const Bits& todo, std::span<uint64_t> row) const override {
        if (!front_in_streams_) return Filter::spread(stale, todo, row);
        front_->spread(stale.first(1), todo, row);
        if (stale.size() > 1) todo.unite(stale[1]);
    }
    int spread_words(const std::vector<Map>& maps) const override {
        return front_ ? std::max(front_->spread_words(maps), Filter::spread_words(maps)) : Filter::spread_words(maps);
    }
    int64_t scratch_floats(const Kernels& kernels, const std::vector<Map>& maps, bool dense_only) const override {
        const int64_t sums = static_cast<int64_t>(with_rest(blocks_)) * 2 * kernels.pairs * 2 * kernels.width;
        return Filter::scratch_floats(kernels, maps, dense_only) + (front_ ? front_floats(kernels, maps[x_].channels) : 0) + sums;
    }
    int64_t pixel_cost(const std::vector<Map>& maps) const override {
        return Filter::pixel_cost(maps) + (front_ ? front_->pixel_cost(maps) : 0);
    }

    void compute(const Task& task, Block* blocks, int count, float* rows) const override {
        const Kernels& kernels = *task.kernels;
        const int activation = fused_ ? static_cast<int>(params_.activation.kind) : 0;
        if (front_ && task.fused) {
            compute_front(task, blocks, count, rows);
            rows += front_floats(kernels, task.memory.map(x_).channels);
        }
        for (int b = 0; b < count; b++) {
            set_window(blocks[b].args);
            if (!(front_ && task.fused)) blocks[b].args.pair_stride = blocks[b].step;
        }
        const int64_t sums = 2 * kernels.pairs * 2 * kernels.width;  // floats of a block's sums for two vectors
        const float* const end = packed_->values.data() + packed_->values.size();
        int at = 0;  // the input channel that the blocks' addresses are of
        for (const Tile& tile : tiles_of(task.slice)) {
            const float* weights = packed_->values.data() + tile.weights;
            const int step = tile.input - at;
            at = tile.input;
            for (size_t part = 0; part < parts_.size(); part++) {
                const Part& p = parts_[part];
                const int kind = part + 1 == parts_.size() ? activation : 0;
                const int64_t floats = static_cast<int64_t>(p.taps) * p.run * tile.vectors * kernels.width;
                const float* next = weights + floats;  // the next part's, fetched while this one is in use
                const int64_t share = streams_ ? (floats / count + 15) / 16 * 16 : 0;
                for (int b = 0; b < count; b++) {
                    BlockArgs& args = blocks[b].args;
                    if (part == 0 && step)
                        for (int i = 0; i < (blocks[b].single ? blocks[b].pixels : blocks[b].pairs()); i++) args.in[i] += step;
                    args.taps = part_taps_.data() + p.tap;
                    args.tap_count = p.taps;
                    args.run = p.run;
                    args.weights = weights;
                    args.bias = packed_bias_.data() + tile.bias;
                    args.first_channel = tile.first_channel;
                    args.partial = rows + b * sums;
                    args.resume = part > 0;
                    args.keep = part + 1 < parts_.size();
                    for (const float *line = next, *last = std::min(next + share, end); line < last; line += 16)
                        __builtin_prefetch(line, 0, 2);
                    next += share;
                    kernels.conv[blocks[b].single][blocks[b].pairs()][tile.vectors - 1][kind](args);
                }
                weights += floats;
            }
        }
    }

protected:
    bool whole_vectors() const override { return whole_; }
    const Filter& head(const Task& task) const override { return front_ && task.fused ? *front_ : static_cast<const Filter&>(*this); }
    std::pair<int, int> channels_of(const Task& task) const override {
        const auto tiles = tiles_of(task.slice);
        return {tiles.front().first_channel, tiles.back().last_channel};
    }

private:
    // Sharing the pixels, every thread reads all weights; sharing the channels, all of the input, and what one thread has
    // written the other reads next. By default threads share the channels where there are more weights than values of maps.
    bool weights_prevail(const std::vector<Map>& maps) const {
        const auto values = [](const Map& m) { return static_cast<int64_t>(m.height) * m.width * m.channels; };
        const int64_t moved = values(maps[x_]) + values(maps[out]) * (params_.residual >= 0 ? 2 : 1);
        return streams_ && static_cast<int64_t>(packed_->values.size()) >= moved;
    }

    int64_t front_floats(const Kernels& kernels, int channels) const {
        return static_cast<int64_t>(with_rest(row_blocks())) * 2 * kernels.pairs * row_floats(kernels, channels);
    }

    // The depthwise filter's pixels go into rows of scratch, which then are this convolution's input.
    void compute_front(const Task& task, Block* blocks, int count, float* rows) const {
        const int channels = task.memory.map(x_).channels, full = 2 * task.kernels->pairs;
        const int64_t floats = row_floats(*task.kernels, channels);
        for (int b = 0; b < count; b++, rows += full * floats) {
            Block& block = blocks[b];
            float* out[kMaxPixels];
            std::copy_n(block.args.out, full, out);
            for (int m = 0; m < full; m++) block.args.out[m] = rows + m * floats;
            front_->compute(task, &block, 1, nullptr);
            for (int m = 0; m < block.pixels; m++) front_->activate(*task.kernels, rows + m * floats, channels);
            std::copy_n(out, full, block.args.out);
            const int step = block.single ? 1 : 2;
            for (int m = 0; m < block.pixels; m += step) block.args.in[m / step] = rows + m * floats;
            block.args.pair_stride = floats;
        }
    }

    struct Tile {  // one or two vectors of output channels of one group
        int64_t weights, bias;
        int first_channel, last_channel, vectors;
        int input;  // first input channel of the group
    };

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
        const int most = std::max(part / columns, 1);  // floats of the window in a part
        const int taps = static_cast<int>(taps_.size());
        const bool whole = static_cast<int64_t>(run_) * taps * columns <= int64_t{2} * part;
        if (whole || run_ <= most) {
            const int together = whole ? taps : most / run_;
            part_taps_ = taps_;
            for (int t = 0; t < taps; t += together) parts_.push_back({t, std::min(together, taps - t), run_});
            return;
        }
        const int pieces = (run_ + most - 1) / most, length = (run_ + pieces - 1) / pieces;
        for (ptrdiff_t tap : taps_)
            for (int c = 0; c < run_; c += length) {
                parts_.push_back({static_cast<int>(part_taps_.size()), 1, std::min(length, run_ - c)});
                part_taps_.push_back(tap + c);
            }
    }

    // weight (O, I, ky, kx) -> per tile [ky][kx][I][vectors * width], output channels padded with zeros
    Lines pack(std::span<const float> weight, std::span<const float> bias, int width, int in_group) {
        const int groups = params_.groups, out_group = out_channels_ / groups, kernel = window_.kernel_y * window_.kernel_x;
        const int64_t taken = static_cast<int64_t>(in_group) * kernel;  // floats of one output channel
        Lines packed;
        packed.reserve(static_cast<size_t>(groups) * ((out_group + width - 1) / width * width) * taken);
        for (int g = 0; g < groups; g++)
            for (int first = 0; first < out_group;) {
                const int left = out_group - first, vectors = left > width ? 2 : 1, columns = vectors * width;
                const int used = std::min(columns, left), channel = g * out_group + first;
                tiles_.push_back({static_cast<int64_t>(packed.size()), static_cast<int64_t>(packed_bias_.size()), channel,
                                  channel + used, vectors, g * in_group});
                const size_t start = packed.size();
                packed.resize(start + static_cast<size_t>(columns * taken));
                for (int o = 0; o < used; o++) {
                    const float* from = weight.data() + (channel + o) * taken;
                    float* to = packed.data() + start + o;
                    for (int i = 0; i < in_group; i++)
                        for (int t = 0; t < kernel; t++) to[(static_cast<int64_t>(t) * in_group + i) * columns] = *from++;
                }
                for (int o = 0; o < columns; o++) packed_bias_.push_back(o < used && !bias.empty() ? bias[channel + o] : 0.f);
                first += columns;
            }
        return packed;
    }

    std::shared_ptr<const Packed> packed_;
    Lines packed_bias_;
    Order order_;
    std::vector<ptrdiff_t> part_taps_;
    std::vector<Part> parts_;
    std::vector<Tile> tiles_;
    int out_channels_;
    const Filter* front_ = nullptr;  // a depthwise convolution done here, pixel by pixel, and not kept as a map
    bool front_in_streams_ = false;
    bool whole_ = false, streams_ = false;
};

}  // namespace

OpPtr make_depthwise(int x, std::span<const float> weight, int channels, int kernel_y, int kernel_x,
                     std::span<const float> bias, const ConvParams& p, int width, WeightStore& store);

OpPtr make_conv(int x, int out, std::span<const float> weight, int kernel_y, int kernel_x, std::span<const float> bias,
                const ConvParams& p, const std::vector<Map>& maps, const Kernels& kernels, WeightStore& store) {
    const int channels = maps[out].channels;
    if (p.groups > 1 && p.groups == channels && maps[x].channels == channels)
        return make_depthwise(x, weight, channels, kernel_y, kernel_x, bias, p, kernels.width, store);
    return std::make_unique<Conv>(x, weight, channels, kernel_y, kernel_x, bias, p, maps[x].channels / p.groups, kernels.width, store);
}

}  // namespace reconv
