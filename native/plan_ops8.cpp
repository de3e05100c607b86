// The ops on maps of codes that a plan takes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "ops/op8.hpp"
#include "plan.hpp"

namespace reconv {
namespace {

bool fused(const ActivationSpec& spec) { return static_cast<int>(spec.kind) < kFusedActivations; }

// Whether every sum, in whatever order it is added up, stays within 32 bits.
bool sums_fit(const Weights8& weights, int zero) {
    const auto [outputs, inputs, kernel_y, kernel_x] = weights.shape;
    const int64_t taken = static_cast<int64_t>(inputs) * kernel_y * kernel_x;
    for (int o = 0; o < outputs; o++) {
        int64_t low = 0, high = 0, sum = 0;
        for (int8_t w : weights.values.subspan(static_cast<size_t>(o * taken), static_cast<size_t>(taken))) {
            (w < 0 ? low : high) += int64_t{255} * w;
            sum += w;
        }
        const int64_t start = (weights.bias.empty() ? 0 : weights.bias[o]) - zero * sum;
        if (start + low < std::numeric_limits<int32_t>::min() || start + high > std::numeric_limits<int32_t>::max()) return false;
        if (std::min(low, start) < std::numeric_limits<int32_t>::min() || std::max(high, start) > std::numeric_limits<int32_t>::max()) return false;
    }
    return true;
}

}  // namespace

void Plan::check_coding(const Coding& coding, const char* what) const {
    require(coding.scale > 0.f && std::isfinite(coding.scale) && std::isfinite(coding.inverse()), std::string(what).append(": a scale is positive and finite"));
    require(coding.zero >= 0 && coding.zero <= 255, std::string(what).append(": a zero point is a code, 0 to 255"));
}

const Map& Plan::of_codes(int id, const char* what) const {
    const Map& m = checked(id);
    require(m.codes > 0, std::string(what).append(": ").append(size_of(m)).append(" is no map of codes"));
    return m;
}

const Map& Plan::of_floats(int id, const char* what) const {
    const Map& m = checked(id);
    require(m.codes == 0, std::string(what).append(": ").append(size_of(m)).append(" is no map of floats"));
    return m;
}

int Plan::conv8(int x, int out, const Weights8& weights, const Conv8Params& params, bool cut, int64_t macs) {
    const Map &m = of_codes(x, "conv8"), &o = checked(out);
    const auto [outputs, in_group, kernel_y, kernel_x] = weights.shape;
    check_window(weights.shape, params, m, o, "conv8");
    require(static_cast<int64_t>(weights.values.size()) == static_cast<int64_t>(outputs) * in_group * kernel_y * kernel_x, "conv8: weights of another size");
    require(macs >= 0, "conv8: negative multiply-adds");
    for (size_t length : {weights.bias.size(), weights.shift.size()})
        require(length == 0 || static_cast<int>(length) == outputs, "conv8: bias and shift have one value per output channel");
    require(static_cast<int>(weights.scale.size()) == outputs, "conv8: one weight scale per output channel is needed");
    require(std::all_of(weights.scale.begin(), weights.scale.end(), [](float s) { return std::isfinite(s); }), "conv8: a weight scale is not finite");
    check_coding(params.x, "conv8");
    if (o.codes) check_coding(params.out, "conv8");
    require(params.factor.empty() || (o.codes && static_cast<int>(params.factor.size()) == outputs), "conv8: one factor per output channel, where it makes codes");
    require(std::all_of(params.factor.begin(), params.factor.end(), [](float f) { return f > 0.f && std::isfinite(f); }), "conv8: a factor is positive and finite");
    require(params.table.empty() || (o.codes && params.table.size() == 256), "conv8: a table has 256 codes and makes codes");
    if (params.coded_sum) check_coding(params.sum, "conv8");
    require(sums_fit(weights, params.x.zero), "conv8: sums do not fit 32 bits");
    std::vector<int> inputs{x};
    if (params.residual >= 0) {
        require(of_codes(params.residual, "conv8").same_pixels(o) && maps_[params.residual].codes == o.depth(), "conv8: the residual's size is not the output's");
        check_coding(params.residual_coding, "conv8");
        inputs.push_back(params.residual);
    }
    const Root& root = roots_[m.root];
    need_halo(x, {kernel_y, kernel_x, params.stride_y, params.stride_x, params.pad_y, params.pad_x, params.dilation_y, params.dilation_x}, out);
    require(!root.halo.any() || (root.fill & 0xff) == static_cast<uint32_t>(params.x.zero), "conv8: the padding of " + size_of(m) + " is another zero point");
    auto op = make_conv8(x, out, weights, params, maps_, *kernels_, *store_);
    return add(std::move(op), std::move(inputs), out, cut, macs ? macs : static_cast<int64_t>(outputs) * in_group * kernel_y * kernel_x);
}

int Plan::quantize(int x, int out, const Coding& to) {
    require(of_floats(x, "quantize").same_pixels(of_codes(out, "quantize")) && maps_[x].channels == maps_[out].codes, "quantize: sizes differ");
    check_coding(to, "quantize");
    return add(make_quantize(x, to), {x}, out, false);
}

int Plan::dequantize(int x, int out, const Coding& from) {
    require(of_codes(x, "dequantize").same_pixels(of_floats(out, "dequantize")) && maps_[x].codes == maps_[out].channels, "dequantize: sizes differ");
    check_coding(from, "dequantize");
    return add(make_dequantize(x, from), {x}, out, false);
}

int Plan::requantize(int x, int out, const Coding& from, const Coding& to) {
    require(of_codes(x, "requantize").same_size(of_codes(out, "requantize")), "requantize: sizes differ");
    check_coding(from, "requantize"), check_coding(to, "requantize");
    return add(make_requantize(x, from, to), {x}, out, false);
}

int Plan::table8(int x, int out, std::vector<uint8_t> table) {
    require(of_codes(x, "table8").same_size(of_codes(out, "table8")), "table8: sizes differ");
    require(table.size() == 256, "table8: a table has 256 codes");
    return add(make_table8(x, std::move(table)), {x}, out, false);
}

int Plan::binary8(int a, int b, int out, Binary kind, const std::array<Coding, 3>& codings, const ActivationSpec& spec, std::vector<float> slopes) {
    const Map& o = of_codes(out, "binary8");
    bool same = true;
    for (int in : {a, b}) {
        const Map& m = of_codes(in, "binary8");
        same = same && m.same_size(o);
        require((m.height == o.height || m.height == 1) && (m.width == o.width || m.width == 1) && (m.codes == o.codes || m.codes == 1),
                "binary8: " + size_of(m) + " does not broadcast to " + size_of(o));
    }
    for (const Coding& coding : codings) check_coding(coding, "binary8");
    if (same && kind == Binary::add && fused(spec)) return add(make_add8(a, b, codings[0], codings[1], codings[2], spec), {a, b}, out, false);
    return add(make_binary8(a, b, kind, codings[0], codings[1], codings[2], spec, std::move(slopes)), {a, b}, out, false);
}

int Plan::average_pool8(int x, int out, const PoolParams& params, const Coding& from, const Coding& to, bool cut) {
    require(of_codes(x, "average_pool8").codes == of_codes(out, "average_pool8").codes, "average_pool8: channels differ");
    check_coding(from, "average_pool8"), check_coding(to, "average_pool8");
    return add(make_average_pool8(x, params, from, to), {x}, out, cut);
}

int Plan::global_pool8(int x, int out, const Coding& from, const Coding& to, bool cut) {
    const Map &m = of_codes(x, "global_pool8"), &o = of_codes(out, "global_pool8");
    require(m.codes == o.codes && o.height == 1 && o.width == 1, "global_pool8: the output is (1, 1, C)");
    require(static_cast<int64_t>(m.height) * m.width * 255 <= std::numeric_limits<int32_t>::max(), "global_pool8: sums do not fit 32 bits");
    check_coding(from, "global_pool8"), check_coding(to, "global_pool8");
    return add(make_global_average8(x, from, to), {x}, out, cut);
}

}  // namespace reconv
