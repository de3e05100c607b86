// Convolution of codes (ONNX Conv, and Gemm and MatMul with a constant as 1x1, between DequantizeLinear and QuantizeLinear).
#include "filter8.hpp"
#include "mixing.hpp"

namespace reconv {
namespace {

class Depthwise8 final : public CodesFilter {
public:
    Depthwise8(int x, const Weights8& weights, const Conv8Params& p, bool makes_codes, const Kernels& kernels, WeightStore& store)
        : CodesFilter(x, weights.shape[2], weights.shape[3], p, makes_codes), channels_(weights.shape[0]) {
        const Kernels8& codes = *kernels.codes;
        const int taps = window_.kernel_y * window_.kernel_x;
        Lines packed = room(codes.depthwise_bytes(channels_, taps));
        codes.pack_depthwise(reinterpret_cast<int8_t*>(packed.data()), weights.values.data(), channels_, taps);
        packed_ = store.keep(std::move(packed));
        std::vector<int32_t> start;
        std::vector<float> scale, shift, factor;
        for (int c = 0; c < channels_; c++) {
            start.push_back(start_of(weights, c));
            scale.push_back(scale_of(weights, c));
            shift.push_back(shift_of(weights, c));
            if (kernels_factor()) factor.push_back(factor_of(c));
        }
        const auto arranged = [&](auto& to, const auto& from) {
            to.assign(static_cast<size_t>(codes.depthwise_padded(channels_)), 0);
            codes.arrange(to.data(), from.data(), channels_);
        };
        arranged(start_, start), arranged(scale_, scale), arranged(shift_, shift);
        if (kernels_factor()) arranged(factor_, factor);
    }

    void prepare(const Kernels&, const std::vector<Map>& maps) override {
        find_taps(maps[x_], false);
        run_ = 1;
        blocks_ = 2;
    }
    std::shared_ptr<Op> twin(const Kernels& kernels, const std::vector<Map>& maps) const override {
        auto op = std::make_shared<Depthwise8>(*this);
        op->prepare(kernels, maps);
        return op;
    }
    int64_t bytes() const override { return CodesFilter::bytes() + static_cast<int64_t>(start_.size() * 12 + factor_.size() * 4); }
    const Packed* shared_weights() const override { return packed_.get(); }
    int64_t pixel_cost(const std::vector<Map>&) const override { return macs_per_pixel / 16 + channels_ / 4 + 1; }

    void compute(const Task& task, Block* blocks, int count, float*) const override {
        for (int b = 0; b < count; b++) {
            BlockArgs8& args = blocks[b].args;
            set_window(args);
            open(task, blocks[b], nullptr);
            args.pair_stride = blocks[b].step;
            args.weights = of(*packed_);
            args.start = start_.data(), args.scale = scale_.data(), args.shift = shift_.data();
            args.factor = factor_.empty() ? nullptr : factor_.data();
            args.first_channel = 0;
            args.channels = channels_;
            task.kernels->codes->depthwise[blocks[b].single][blocks[b].pairs()](args);
        }
    }

private:
    std::shared_ptr<const Packed> packed_;
    std::vector<int32_t, LineAllocator<int32_t>> start_;
    Lines scale_, shift_, factor_;
    int channels_;
};

class Conv8 final : public Mixing<CodesFilter, Conv8> {
public:
    Conv8(int x, const Weights8& weights, const Conv8Params& p, bool makes_codes, const Kernels& kernels, WeightStore& store)
        : Mixing(x, weights.shape[0], weights.shape[2], weights.shape[3], p, makes_codes) {
        const int in_group = weights.shape[1], taps = window_.kernel_y * window_.kernel_x, padded = padded_inputs(in_group);
        const int64_t taken = static_cast<int64_t>(in_group) * taps;
        make_tiles(kernels.codes->width, in_group, [&](const Tile& tile, int, int) { return tile.bias * padded * taps; });
        const int64_t lanes = tiles_.back().bias + tiles_.back().vectors * kernels.codes->width;
        Lines packed = room(lanes * padded * taps);
        start_.assign(static_cast<size_t>(lanes), 0);
        scale_.assign(static_cast<size_t>(lanes), 0.f);
        shift_.assign(static_cast<size_t>(lanes), 0.f);
        factor_.assign(static_cast<size_t>(kernels_factor() ? lanes : 0), 0.f);
        for (const Tile& tile : tiles_) {
            const int used = tile.last_channel - tile.first_channel;
            kernels.codes->pack_conv(reinterpret_cast<int8_t*>(packed.data()) + tile.weights, weights.values.data() + tile.first_channel * taken,
                                     used, tile.vectors * kernels.codes->width, taps, in_group, padded);
            for (int o = 0; o < used; o++) {
                const size_t lane = static_cast<size_t>(tile.bias + o);
                start_[lane] = start_of(weights, tile.first_channel + o);
                scale_[lane] = scale_of(weights, tile.first_channel + o);
                shift_[lane] = shift_of(weights, tile.first_channel + o);
                if (kernels_factor()) factor_[lane] = factor_of(tile.first_channel + o);
            }
        }
        keep(store.keep(std::move(packed)));
    }

    int64_t bytes() const override { return CodesFilter::bytes() + static_cast<int64_t>(start_.size() * 12 + factor_.size() * 4); }

private:
    friend Mixing;

    static bool apart() { return true; }
    static int padded_inputs(int channels) { return words_of(channels) * 4; }
    static const CodesFilter* front_of(const Op& op) { return dynamic_cast<const Depthwise8*>(&op); }

    void call(const Kernels& kernels, Block& block, const Tile& tile, bool) const {
        BlockArgs8& args = block.args;
        args.start = start_.data() + tile.bias, args.scale = scale_.data() + tile.bias, args.shift = shift_.data() + tile.bias;
        args.factor = factor_.empty() ? nullptr : factor_.data() + tile.bias;
        args.channels = tile.last_channel - tile.first_channel;
        kernels.codes->conv[block.single][block.pairs()][tile.vectors - 1](args);
    }

    std::vector<int32_t, LineAllocator<int32_t>> start_;
    Lines scale_, shift_, factor_;
};

}  // namespace

OpPtr make_conv8(int x, int out, const Weights8& weights, const Conv8Params& p, const std::vector<Map>& maps, const Kernels& kernels,
                 WeightStore& store) {
    const int depth = maps[out].depth();
    const bool makes_codes = maps[out].codes > 0;
    if (p.groups > 1 && p.groups == depth && maps[x].depth() == depth)
        return std::make_unique<Depthwise8>(x, weights, p, makes_codes, kernels, store);
    return std::make_unique<Conv8>(x, weights, p, makes_codes, kernels, store);
}

}  // namespace reconv
