// Depthwise convolution: one filter per channel, vectors run along the channels.
#include <algorithm>

#include "../weights.hpp"
#include "filter.hpp"

namespace reconv {
namespace {

class Depthwise final : public FloatFilter {
public:
    Depthwise(int x, std::span<const float> weight, int channels, int kernel_y, int kernel_x, std::span<const float> bias,
              const ConvParams& p, int width, WeightStore& store)
        : FloatFilter(x, kernel_y, kernel_x, p), bias_(bias.begin(), bias.end()), channels_(channels) {
        padded_ = (channels + width - 1) / width * width;
        bias_.resize(padded_, 0.f);
        const int kernel = kernel_y * kernel_x;
        Lines packed(static_cast<size_t>(kernel) * padded_, 0.f);
        for (int t = 0; t < kernel; t++)
            for (int c = 0; c < channels; c++) packed[static_cast<size_t>(t) * padded_ + c] = weight[static_cast<size_t>(c) * kernel + t];
        packed_ = store.keep(std::move(packed));
    }

    void prepare(const Kernels&, const std::vector<Map>& maps) override {
        find_taps(maps[x_], false);
        run_ = 1;
        blocks_ = 2;
    }

    std::shared_ptr<Op> twin(const Kernels& kernels, const std::vector<Map>& maps) const override {
        auto op = std::make_shared<Depthwise>(*this);
        op->prepare(kernels, maps);
        return op;
    }

    int64_t bytes() const override { return static_cast<int64_t>(bias_.size() * sizeof(float)); }
    const Packed* shared_weights() const override { return packed_.get(); }
    int64_t pixel_cost(const std::vector<Map>&) const override { return macs_per_pixel / 4 + channels_; }

    void compute(const Task& task, Block* blocks, int count, float*) const override {
        for (int b = 0; b < count; b++) {
            BlockArgs& args = blocks[b].args;
            set_window(args);
            args.pair_stride = blocks[b].step;
            args.weights = packed_->values.data();
            args.bias = bias_.data();
            args.first_channel = 0;
            task.kernels->depthwise[blocks[b].single][blocks[b].pairs()][kernel_kind()](args, channels_, padded_);
        }
    }

protected:
    bool writes_maps() const override { return padded_ == channels_; }

private:
    std::shared_ptr<const Packed> packed_;
    Lines bias_;
    int channels_, padded_;
};

}  // namespace

const FloatFilter* depthwise_of(const Op& op) { return dynamic_cast<const Depthwise*>(&op); }

OpPtr make_depthwise(int x, std::span<const float> weight, int channels, int kernel_y, int kernel_x,
                     std::span<const float> bias, const ConvParams& p, int width, WeightStore& store) {
    return std::make_unique<Depthwise>(x, weight, channels, kernel_y, kernel_x, bias, p, width, store);
}

}  // namespace reconv
