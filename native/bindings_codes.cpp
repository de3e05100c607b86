// The ops on maps of codes, for Python.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "bindings.hpp"

namespace reconv::python {

using namespace nb::literals;

namespace {

template <class T>
std::span<const T> span_of(const std::optional<Array<T>>& array) {
    return array ? std::span<const T>(array->data(), array->size()) : std::span<const T>();
}

int conv8(Plan& plan, int x, int out, const Array<int8_t>& weight, const std::optional<Ints>& bias, const Floats& weight_scale, float x_scale,
          int x_zero, float out_scale, int out_zero, Pair strides, Pair pads, Pair dilations, int groups, nb::tuple activation,
          const std::optional<Floats>& shift, int residual, float residual_scale, int residual_zero, float sum_scale, int sum_zero,
          nb::tuple activation_after, bool cut, int64_t macs, const std::optional<Array<uint8_t>>& table, const std::optional<Floats>& factor) {
    if (weight.ndim() != 4) throw std::invalid_argument("conv8: the weight is (out channels, in channels / groups, height, width)");
    const auto dimension = [&](size_t i) { return static_cast<int>(weight.shape(i)); };
    const Weights8 weights{{weight.data(), weight.size()}, {dimension(0), dimension(1), dimension(2), dimension(3)},
                           span_of(bias), {weight_scale.data(), weight_scale.size()}, span_of(shift)};
    Conv8Params p;
    set_window(p, strides, pads, dilations, groups);
    auto first = parse_for(std::move(activation), dimension(0)), second = parse_for(std::move(activation_after), dimension(0));
    p.activation = first.spec, p.slopes = std::move(first.slopes);
    p.after = second.spec, p.after_slopes = std::move(second.slopes);
    p.residual = residual;
    p.x = {x_scale, x_zero}, p.out = {out_scale, out_zero}, p.residual_coding = {residual_scale, residual_zero}, p.sum = {sum_scale, sum_zero};
    if (table) p.table.assign(table->data(), table->data() + table->size());
    if (const auto values = span_of(factor); factor) p.factor.assign(values.begin(), values.end());
    p.coded_sum = residual >= 0 && sum_scale != 0.f;
    return plan.conv8(x, out, weights, p, cut, macs);
}

int binary8(Plan& p, int a, int b, int out, const std::string& kind, float a_scale, int a_zero, float b_scale, int b_zero, float out_scale,
            int out_zero, nb::tuple activation) {
    auto parsed = parse_for(std::move(activation), p.checked(out).codes);
    return p.binary8(a, b, out, binary_kind(kind), {Coding{a_scale, a_zero}, {b_scale, b_zero}, {out_scale, out_zero}}, parsed.spec,
                     std::move(parsed.slopes));
}

}  // namespace

void bind_codes(nb::class_<Plan>& plan) {
    plan.def("map8", &Plan::map8, "height"_a, "width"_a, "channels"_a, "zero"_a)
        .def("conv8", &conv8, "x"_a, "out"_a, "weight"_a, "bias"_a.none(), "weight_scale"_a, "x_scale"_a, "x_zero"_a, "out_scale"_a,
             "out_zero"_a, "strides"_a, "pads"_a, "dilations"_a, "groups"_a, "activation"_a = nb::make_tuple("none"), "shift"_a = nb::none(),
             "residual"_a = -1, "residual_scale"_a = 1.f, "residual_zero"_a = 0, "sum_scale"_a = 0.f, "sum_zero"_a = 0,
             "activation_after"_a = nb::make_tuple("none"), "cut"_a = true, "macs"_a = 0, "table"_a = nb::none(), "factor"_a = nb::none())
        .def("quantize", [](Plan& p, int x, int out, float scale, int zero) { return p.quantize(x, out, {scale, zero}); }, "x"_a, "out"_a,
             "scale"_a, "zero"_a)
        .def("dequantize", [](Plan& p, int x, int out, float scale, int zero) { return p.dequantize(x, out, {scale, zero}); }, "x"_a,
             "out"_a, "scale"_a, "zero"_a)
        .def("requantize", [](Plan& p, int x, int out, float x_scale, int x_zero, float out_scale, int out_zero) {
            return p.requantize(x, out, {x_scale, x_zero}, {out_scale, out_zero});
        }, "x"_a, "out"_a, "x_scale"_a, "x_zero"_a, "out_scale"_a, "out_zero"_a)
        .def("table8", [](Plan& p, int x, int out, const Array<uint8_t>& table) {
            return p.table8(x, out, {table.data(), table.data() + table.size()});
        }, "x"_a, "out"_a, "table"_a)
        .def("binary8", &binary8, "a"_a, "b"_a, "out"_a, "kind"_a, "a_scale"_a, "a_zero"_a, "b_scale"_a, "b_zero"_a, "out_scale"_a,
             "out_zero"_a, "activation"_a = nb::make_tuple("none"))
        .def("average_pool8", [](Plan& p, int x, int out, Pair kernel, Pair strides, Pair pads, Pair ends, Pair dilations,
                                 bool count_include_pad, float x_scale, int x_zero, float out_scale, int out_zero, bool cut) {
            PoolParams params = pool_params(kernel, strides, pads, dilations);
            params.end_y = ends.first, params.end_x = ends.second, params.count_include_pad = count_include_pad;
            return p.average_pool8(x, out, params, {x_scale, x_zero}, {out_scale, out_zero}, cut);
        }, "x"_a, "out"_a, "kernel"_a, "strides"_a, "pads"_a, "pads_end"_a, "dilations"_a, "count_include_pad"_a, "x_scale"_a, "x_zero"_a,
             "out_scale"_a, "out_zero"_a, "cut"_a = true)
        .def("global_pool8", [](Plan& p, int x, int out, float x_scale, int x_zero, float out_scale, int out_zero, bool cut) {
            return p.global_pool8(x, out, {x_scale, x_zero}, {out_scale, out_zero}, cut);
        }, "x"_a, "out"_a, "x_scale"_a, "x_zero"_a, "out_scale"_a, "out_zero"_a, "cut"_a = true);
}

}  // namespace reconv::python
