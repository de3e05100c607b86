// Convolution with channels mixed, in one or more groups (ONNX Conv, and Gemm and MatMul with a constant as 1x1).
#include <algorithm>

#include "filter.hpp"

namespace reconv {

bool is_depthwise(const Op& op);  // depthwise.cpp

namespace {

constexpr int kPartFloats = 6144;       // of weights in a part of a window: half of a first cache of 48 KiB
constexpr int kStreamedFloats = 32768;  // weights that other layers push out of the nearer caches between two runs

class Conv final : public Filter {
public:
    Conv(int x, std::span<const float> weight, int out_channels, int kernel_y, int kernel_x, std::span<const float> bias,
         const ConvParams& p)
        : Filter(x, kernel_y, kernel_x, p), weight_(weight.begin(), weight.end()), bias_(bias.begin(), bias.end()),
          out_channels_(out_channels) {
        bias_.resize(out_channels, 0.f);
    }

    void prepare(const Kernels& kernels, const std::vector<Map>& maps) override {
        const Map& in = maps[x_];
        const int groups = params_.groups, in_group = in.channels / groups, out_group = out_channels_ / groups;
        const int kernel = window_.kernel_y * window_.kernel_x;
        // Neighbouring taps of a row are contiguous where the map's pixels are: one long run instead of several.
        const bool merge = groups == 1 && window_.dilation_x == 1 && in.pixel_stride == in.channels;
        run_ = merge ? window_.kernel_x * in.channels : in_group;
        for (int ky = 0; ky < window_.kernel_y; ky++)
            for (int kx = 0; kx < (merge ? 1 : window_.kernel_x); kx++)
                taps_.push_back(ky * window_.dilation_y * in.row_stride + kx * window_.dilation_x * in.pixel_stride);
        whole_ = out_group % kernels.width == 0;
        ahead_ = (window_.kernel_y - 1) * window_.dilation_y * in.row_stride + (window_.kernel_x - 1) * window_.dilation_x * in.pixel_stride;
        pack(kernels.width, groups, in_group, out_group, kernel);
        streams_ = packed_.size() > kStreamedFloats;
        divide(2 * kernels.width);
        blocks_ = tiles_.size() > 1 || parts_.size() > 1 ? kMostBlocks : 4;
        std::vector<float>().swap(weight_);
    }

    int64_t bytes() const override { return static_cast<int64_t>((packed_.size() + packed_bias_.size()) * sizeof(float)); }

    int64_t grain(const Kernels& kernels) const override { return streams_ ? kMostBlocks * 2 * kernels.pairs : 1; }

    bool absorb(const Op& before, bool in_streams, const std::vector<Map>& maps) override {
        const bool pointwise = window_.kernel_y == 1 && window_.kernel_x == 1 && window_.stride_y == 1 && window_.stride_x == 1 &&
                               window_.pad_y == 0 && window_.pad_x == 0 && params_.groups == 1;
        if (!pointwise || !is_depthwise(before) || !maps[x_].same_pixels(maps[out])) return false;
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
    int64_t scratch_floats(const Kernels& kernels, const std::vector<Map>& maps) const override {
        const int64_t sums = static_cast<int64_t>(open_blocks()) * 2 * kernels.pairs * 2 * kernels.width;
        return Filter::scratch_floats(kernels, maps) + (front_ ? front_floats(kernels, maps[x_].channels) : 0) + sums;
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
        for (const Tile& tile : tiles_) {
            const float* weights = packed_.data() + tile.weights;
            for (size_t part = 0; part < parts_.size(); part++) {
                const Part& p = parts_[part];
                const int kind = part + 1 == parts_.size() ? activation : 0;
                const int64_t floats = static_cast<int64_t>(p.taps) * p.run * tile.vectors * kernels.width;
                const float* next = weights + floats;  // the next part's, fetched while this one is in use
                const int64_t share = streams_ ? (floats / count + 15) / 16 * 16 : 0;
                for (int b = 0; b < count; b++) {
                    BlockArgs& args = blocks[b].args;
                    if (part == 0 && tile.step)
                        for (int i = 0; i < (blocks[b].single ? blocks[b].pixels : blocks[b].pairs()); i++) args.in[i] += tile.step;
                    args.taps = part_taps_.data() + p.tap;
                    args.tap_count = p.taps;
                    args.run = p.run;
                    args.weights = weights;
                    args.bias = packed_bias_.data() + tile.bias;
                    args.first_channel = tile.first_channel;
                    args.partial = rows + b * sums;
                    args.resume = part > 0;
                    args.keep = part + 1 < parts_.size();
                    for (const float *at = next, *end = std::min(next + share, packed_.data() + packed_.size()); at < end; at += 16)
                        __builtin_prefetch(at, 0, 2);
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

private:
    int64_t front_floats(const Kernels& kernels, int channels) const {
        return static_cast<int64_t>(open_blocks()) * 2 * kernels.pairs * row_floats(kernels, channels);
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
        int first_channel, vectors;
        int step;  // floats from the previous tile's input channels to this one's
    };

    // A window is done in parts so small that a part's weights stay in the first cache for all blocks computed together;
    // the sums wait in scratch, so the order of accumulation is the same.
    struct Part {
        int tap, taps, run;  // into part_taps_
    };

    void divide(int columns) {
        const int most = std::max(kPartFloats / columns, 1);  // floats of the window in a part
        const int taps = static_cast<int>(taps_.size());
        if (static_cast<int64_t>(run_) * taps * columns <= 2 * kPartFloats || run_ <= most) {
            const int together = static_cast<int64_t>(run_) * taps * columns <= 2 * kPartFloats ? taps : most / run_;
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
    void pack(int width, int groups, int in_group, int out_group, int kernel) {
        for (int g = 0; g < groups; g++)
            for (int first = 0; first < out_group;) {
                const int left = out_group - first, vectors = left > width ? 2 : 1, columns = vectors * width;
                tiles_.push_back({static_cast<int64_t>(packed_.size()), static_cast<int64_t>(packed_bias_.size()),
                                  g * out_group + first, vectors, g > 0 && first == 0 ? in_group : 0});
                const int used = std::min(columns, left);
                for (int t = 0; t < kernel; t++)
                    for (int i = 0; i < in_group; i++)
                        for (int o = 0; o < columns; o++)
                            packed_.push_back(o < used ? weight_[(static_cast<int64_t>(g * out_group + first + o) * in_group + i) * kernel + t] : 0.f);
                for (int o = 0; o < columns; o++) packed_bias_.push_back(o < used ? bias_[g * out_group + first + o] : 0.f);
                first += columns;
            }
    }

    std::vector<float> weight_, bias_, packed_, packed_bias_;
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
                     std::span<const float> bias, const ConvParams& p);

OpPtr make_conv(int x, int out, std::span<const float> weight, int kernel_y, int kernel_x, std::span<const float> bias,
                const ConvParams& p, const std::vector<Map>& maps) {
    const int channels = maps[out].channels;
    if (p.groups > 1 && p.groups == channels && maps[x].channels == channels)
        return make_depthwise(x, weight, channels, kernel_y, kernel_x, bias, p);
    return std::make_unique<Conv>(x, weight, channels, kernel_y, kernel_x, bias, p);
}

}  // namespace reconv
