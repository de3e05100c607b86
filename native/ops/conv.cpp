// Convolution of floats with channels mixed (ONNX Conv, and Gemm and MatMul with a constant as 1x1).
#include "mixing.hpp"

namespace reconv {

const FloatFilter* depthwise_of(const Op& op);  // depthwise.cpp

namespace {

class Conv final : public Mixing<FloatFilter, Conv> {
public:
    Conv(int x, std::span<const float> weight, int out_channels, int kernel_y, int kernel_x, std::span<const float> bias,
         const ConvParams& p, int in_group, int width, WeightStore& store)
        : Mixing(x, out_channels, kernel_y, kernel_x, p) {
        whole_ = out_channels / p.groups % width == 0;
        keep(store.keep(pack(weight, bias, width, in_group)));
    }

    int64_t bytes() const override { return static_cast<int64_t>(packed_bias_.size() * sizeof(float)); }

private:
    friend Mixing;

    bool writes_maps() const override { return whole_; }
    // A slice writes whole vectors: where a group's last one reaches into the next group, slices would race.
    bool apart() const { return params_.groups == 1 || whole_; }
    static int padded_inputs(int channels) { return channels; }
    static const FloatFilter* front_of(const Op& op) { return depthwise_of(op); }
    static void open(const Task&, Block&, const Around*) {}

    void call(const Kernels& kernels, Block& block, const Tile& tile, bool last) const {
        block.args.bias = packed_bias_.data() + tile.bias;
        kernels.conv[block.single][block.pairs()][tile.vectors - 1][last ? kernel_kind() : 0](block.args);
    }

    // weight (O, I, ky, kx) -> per tile [ky][kx][I][vectors * width], output channels padded with zeros
    Lines pack(std::span<const float> weight, std::span<const float> bias, int width, int in_group) {
        const int kernel = window_.kernel_y * window_.kernel_x;
        const int64_t taken = static_cast<int64_t>(in_group) * kernel;  // floats of one output channel
        const int groups = params_.groups, out_group = out_channels_ / groups;
        Lines packed;
        packed.reserve(static_cast<size_t>(groups) * ((out_group + width - 1) / width * width) * taken);
        make_tiles(width, in_group, [&](const Tile& tile, int used, int columns) {
            const size_t start = packed.size();
            packed.resize(start + static_cast<size_t>(columns * taken));
            for (int o = 0; o < used; o++) {
                const float* from = weight.data() + (tile.first_channel + o) * taken;
                float* to = packed.data() + start + o;
                for (int i = 0; i < in_group; i++)
                    for (int t = 0; t < kernel; t++) to[(static_cast<int64_t>(t) * in_group + i) * columns] = *from++;
            }
            for (int o = 0; o < columns; o++) packed_bias_.push_back(o < used && !bias.empty() ? bias[tile.first_channel + o] : 0.f);
            return static_cast<int64_t>(start);
        });
        return packed;
    }

    Lines packed_bias_;
    bool whole_ = false;
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
