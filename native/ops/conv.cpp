// Convolution with channels mixed, in one or more groups (ONNX Conv, and Gemm and MatMul with a constant as 1x1).
#include <algorithm>

#include "filter.hpp"

namespace reconv {
namespace {

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
        const int64_t tile_bytes = static_cast<int64_t>(kernel) * in_group * 2 * kernels.width * 4;
        blocks_ = tiles_.size() > 1 && tile_bytes <= 32 * 1024 ? kMostBlocks : 4;
        std::vector<float>().swap(weight_);
    }

    int64_t bytes() const override { return static_cast<int64_t>((packed_.size() + packed_bias_.size()) * sizeof(float)); }

protected:
    bool whole_vectors() const override { return whole_; }

    void compute(const Kernels& kernels, Block* blocks, int count) const override {
        const int activation = fused_ ? static_cast<int>(params_.activation.kind) : 0;
        for (const Tile& tile : tiles_)
            for (int b = 0; b < count; b++) {
                BlockArgs& args = blocks[b].args;
                args.weights = packed_.data() + tile.weights;
                args.bias = packed_bias_.data() + tile.bias;
                args.first_channel = tile.first_channel;
                for (int p = 0; tile.step && p < blocks[b].pairs; p++) args.in[p] += tile.step;
                kernels.conv[blocks[b].pairs][tile.vectors - 1][activation](args);
            }
    }

private:
    struct Tile {  // one or two vectors of output channels of one group
        int64_t weights, bias;
        int first_channel, vectors;
        int step;  // floats from the previous tile's input channels to this one's
    };

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
    std::vector<Tile> tiles_;
    int out_channels_;
    bool whole_ = false;
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
