// The ops that a plan takes, and what it asks of their maps.
#include <algorithm>
#include <string>

#include "ops/op8.hpp"
#include "plan.hpp"

namespace reconv {
// A window that reaches over the border of `map` needs zeros there.
void Plan::need_halo(int map, const Window& w, int out) {
    const Map& m = checked(map);
    const Map& o = checked(out);
    const int top = w.pad_y, left = w.pad_x;
    const int bottom = (o.height - 1) * w.stride_y + (w.kernel_y - 1) * w.dilation_y - w.pad_y - (m.height - 1);
    const int right = (o.width - 1) * w.stride_x + (w.kernel_x - 1) * w.dilation_x - w.pad_x - (m.width - 1);
    Root& root = roots_[m.root];
    if (top <= 0 && left <= 0 && bottom <= 0 && right <= 0) return;
    for (int id = map; id >= 0; id = maps_[id].parent)
        require(maps_[id].view != View::phase && maps_[id].view != View::pixels,
                "a window with padding cannot read a map whose pixels are scattered");
    require(root.halo_allowed, "a window with padding cannot read a map whose pixels are flattened");
    root.halo.top = std::max(root.halo.top, top);
    root.halo.bottom = std::max(root.halo.bottom, bottom);
    root.halo.side = std::max({root.halo.side, left, right});
}

// The sizes of a convolution of m into o, weights (out channels, in channels / groups, kernel height, kernel width).
void Plan::check_window(const std::array<int, 4>& shape, const ConvParams& params, const Map& m, const Map& o, const std::string& what) const {
    const auto [out_channels, in_channels, kernel_y, kernel_x] = shape;
    require(kernel_y > 0 && kernel_x > 0 && params.stride_y > 0 && params.stride_x > 0 && params.dilation_y > 0 &&
                params.dilation_x > 0 && params.groups > 0,
            what + ": kernel, strides, dilations and groups must be positive");
    require(o.depth() == out_channels && m.depth() == in_channels * params.groups && out_channels % params.groups == 0,
            what + ": weight (" + std::to_string(out_channels) + ", " + std::to_string(in_channels) + ") in " +
                std::to_string(params.groups) + " groups does not fit " + size_of(m) + " -> " + size_of(o));
}

int Plan::conv(int x, int out, std::span<const float> weight, std::array<int, 4> shape, std::span<const float> bias,
               const ConvParams& params, bool cut, int64_t macs) {
    const Map &m = of_floats(x, "conv"), &o = of_floats(out, "conv");
    const auto [out_channels, in_channels, kernel_y, kernel_x] = shape;
    check_window(shape, params, m, o, "conv");
    require(macs >= 0, "conv: negative multiply-adds");
    require(bias.empty() || static_cast<int>(bias.size()) == out_channels, "conv: bias of another length");
    std::vector<int> inputs{x};
    if (params.residual >= 0) {
        require(of_floats(params.residual, "conv").same_size(o), "conv: the residual's size is not the output's");
        inputs.push_back(params.residual);
    }
    need_halo(x, {kernel_y, kernel_x, params.stride_y, params.stride_x, params.pad_y, params.pad_x, params.dilation_y,
                  params.dilation_x}, out);
    auto op = make_conv(x, out, weight, kernel_y, kernel_x, bias, params, maps_, *kernels_, *store_);
    return add(std::move(op), std::move(inputs), out, cut,
               macs ? macs : static_cast<int64_t>(out_channels) * in_channels * kernel_y * kernel_x);
}

int Plan::max_pool(int x, int out, const PoolParams& params, bool cut) {
    const Map &m = checked(x), &o = checked(out);
    require(m.channels == o.channels && m.codes == o.codes, "max_pool: channels differ");
    return add(m.codes ? make_max_pool8(x, params) : make_max_pool(x, out, params), {x}, out, cut);
}

int Plan::average_pool(int x, int out, const PoolParams& params, bool cut) {
    require(of_floats(x, "average_pool").channels == of_floats(out, "average_pool").channels, "average_pool: channels differ");
    return add(make_average_pool(x, out, params), {x}, out, cut);
}

int Plan::global_pool(int x, int out, Global kind, bool cut) {
    const Map& o = of_floats(out, "global_pool");
    require(of_floats(x, "global_pool").channels == o.channels && o.height == 1 && o.width == 1, "global_pool: the output is (1, 1, C)");
    return add(make_global_pool(x, out, kind), {x}, out, cut);
}

int Plan::unary(int x, int out, const ActivationSpec& spec, std::vector<float> slopes) {
    require(of_floats(x, "unary").same_size(of_floats(out, "unary")), "unary: sizes differ");
    return add(make_unary(x, out, spec, std::move(slopes)), {x}, out, false);
}

int Plan::affine(int x, int out, std::vector<float> scale, std::vector<float> shift, const ActivationSpec& spec,
                 std::vector<float> slopes) {
    const size_t channels = static_cast<size_t>(checked(x).channels);
    require(of_floats(x, "affine").same_size(of_floats(out, "affine")), "affine: sizes differ");
    require(scale.size() == channels && shift.size() == channels, "affine: scale and shift have one value per channel");
    return add(make_affine(x, out, std::move(scale), std::move(shift), spec, std::move(slopes)), {x}, out, false);
}

int Plan::binary(int a, int b, int out, Binary kind, const ActivationSpec& spec, std::vector<float> slopes) {
    const Map& o = of_floats(out, "binary");
    for (int in : {a, b}) {
        const Map& m = of_floats(in, "binary");
        require((m.height == o.height || m.height == 1) && (m.width == o.width || m.width == 1) &&
                    (m.channels == o.channels || m.channels == 1),
                "binary: " + size_of(m) + " does not broadcast to " + size_of(o));
    }
    return add(make_binary(a, b, out, kind, spec, std::move(slopes), maps_), {a, b}, out, false);
}

int Plan::binary_constant(int x, int out, Binary kind, Constant constant, bool constant_first, const ActivationSpec& spec,
                          std::vector<float> slopes) {
    const Map &m = of_floats(x, "binary_constant"), &o = of_floats(out, "binary_constant");
    require((m.height == o.height || m.height == 1) && (m.width == o.width || m.width == 1) &&
                (m.channels == o.channels || m.channels == 1),
            "binary_constant: " + size_of(m) + " does not broadcast to " + size_of(o));
    require((constant.height == o.height || constant.height == 1) && (constant.width == o.width || constant.width == 1) &&
                (constant.channels == o.channels || constant.channels == 1),
            "binary_constant: the constant does not broadcast to " + size_of(o));
    return add(make_binary_constant(x, out, kind, std::move(constant), constant_first, spec, std::move(slopes)), {x}, out,
               false);
}

int Plan::softmax(int x, int out) {
    require(of_floats(x, "softmax").same_size(of_floats(out, "softmax")), "softmax: sizes differ");
    return add(make_softmax(x, out), {x}, out, false);
}

int Plan::resize(int x, int out, ResizeTable table) {
    const Map &m = checked(x), &o = checked(out);
    require(m.channels == o.channels && m.codes == o.codes, "resize: channels differ");
    require(m.codes == 0 || table.nearest(), "resize: codes are only taken as they are, from the nearest pixel");
    const auto fits = [&](const std::vector<int>& index, int length, int limit) {
        return static_cast<int>(index.size()) == length &&
               std::all_of(index.begin(), index.end(), [limit](int i) { return i >= 0 && i < limit; });
    };
    require(fits(table.taps.y0, o.height, m.height) && fits(table.taps.y1, o.height, m.height) &&
                fits(table.taps.x0, o.width, m.width) && fits(table.taps.x1, o.width, m.width) &&
                static_cast<int>(table.wy.size()) == o.height && static_cast<int>(table.wx.size()) == o.width,
            "resize: tables do not fit " + size_of(m) + " -> " + size_of(o));
    return add(make_resize(x, out, std::move(table)), {x}, out, false);
}

int Plan::copy(int x, int out) {
    const Map &m = checked(x), &o = checked(out);
    require(m.channels == o.channels && m.codes == o.codes && static_cast<int64_t>(m.height) * m.width == static_cast<int64_t>(o.height) * o.width,
            "copy: " + size_of(m) + " is not " + size_of(o));
    return add(make_copy(x, out), {x}, out, false);
}

int Plan::gather(int x, int out, std::vector<int32_t> index, float fill) {
    const Map &m = checked(x), &o = checked(out);
    require(static_cast<int64_t>(index.size()) == static_cast<int64_t>(o.height) * o.width * o.depth(),
            "gather: the index has another size than the output");
    require((m.codes > 0) == (o.codes > 0), "gather: " + size_of(m) + " and " + size_of(o) + " are not both of codes");
    require(m.codes == 0 || (fill >= 0.f && fill <= 255.f), "gather: codes are filled with a code, 0 to 255");
    const int64_t count = static_cast<int64_t>(m.height) * m.width * m.depth();
    require(std::all_of(index.begin(), index.end(), [count](int32_t i) { return i >= -1 && i < count; }),
            "gather: an index is out of range");
    return add(make_gather(x, out, std::move(index), fill, maps_), {x}, out, false);
}

}  // namespace reconv
