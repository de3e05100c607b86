// Ops on maps of codes, real = (code - zero) * scale. What a model's file says in floats between its DequantizeLinear and
// QuantizeLinear is computed on the codes themselves wherever that gives the same.
#pragma once

#include <array>

#include "op.hpp"

namespace reconv {

struct Coding {
    float scale = 1.f;
    int zero = 0;

    float inverse() const { return 1.f / scale; }
};

// conv -> activation [-> codes of `sum` and back, where `coded_sum`] [-> + residual -> after] [-> * factor] -> codes of `out`
// [-> table], or reals where the output is a map of floats.
struct Conv8Params : ConvParams {
    Coding x, out, residual_coding, sum;
    bool coded_sum = false;
    std::vector<float> factor;   // of reals before they become codes, for each output channel; empty: 1
    std::vector<uint8_t> table;  // what each code becomes at last; empty: it stays
};

// weight as in make_conv; bias in units of x.scale * scale[c], shift in reals; both may be empty
struct Weights8 {
    std::span<const int8_t> values;
    std::array<int, 4> shape;
    std::span<const int32_t> bias;
    std::span<const float> scale, shift;
};

OpPtr make_conv8(int x, int out, const Weights8& weights, const Conv8Params& params, const std::vector<Map>& maps,
                 const Kernels& kernels, WeightStore& store);

OpPtr make_quantize(int x, const Coding& coding);
OpPtr make_dequantize(int x, const Coding& coding);
OpPtr make_requantize(int x, const Coding& from, const Coding& to);
OpPtr make_table8(int x, std::vector<uint8_t> table);
// activation: none, clip, silu or leaky
OpPtr make_add8(int a, int b, const Coding& of_a, const Coding& of_b, const Coding& to, const ActivationSpec& spec);
OpPtr make_binary8(int a, int b, Binary kind, const Coding& of_a, const Coding& of_b, const Coding& to, const ActivationSpec& spec,
                   std::vector<float> slopes);

OpPtr make_max_pool8(int x, const PoolParams& params);
OpPtr make_average_pool8(int x, const PoolParams& params, const Coding& from, const Coding& to);
OpPtr make_global_average8(int x, const Coding& from, const Coding& to);

}  // namespace reconv
