// Plain arithmetic on codes, other code than the kernels' with the same rounding, and random operands.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/kernels8.hpp"
#include "testing.hpp"

namespace reconv::testing {

// --- plain arithmetic

inline int plain_code(float real, float inverse, int zero) {
    const float t = real * inverse;
    if (!(t > static_cast<float>(-zero))) return 0;
    return static_cast<int>(std::nearbyint(std::min(t, static_cast<float>(255 - zero)))) + zero;
}

inline float plain_silu(float x) {
    const float t = std::min(std::max(x * -1.44269504f, -125.f), 125.f);
    const float n = static_cast<float>(std::nearbyint(t)), f = t - n;
    float p = 1.3264725692e-3f;
    for (float c : {9.6715130901e-3f, 5.5507337515e-2f, 2.4022242078e-1f, 6.9314697759e-1f, 1.f}) {
        const float product = p * f;
        p = product + c;
    }
    const float d = std::ldexp(p, static_cast<int>(n)) + 1.f;
    return x / d;
}

inline float plain_activation(float x, Activation kind, float low, float high) {
    switch (kind) {
        case Activation::clip: return std::min(std::max(x, low), high);
        case Activation::silu: return plain_silu(x);
        case Activation::leaky: return x < 0.f ? x * low : x;
        default: return x;
    }
}

inline float plain_real(int sum, float scale, float shift, float factor, const Finish8& f, const uint8_t* residual) {
    const float product = static_cast<float>(sum) * scale;
    float real = plain_activation(product + shift, f.activation, f.low, f.high);
    if (!residual) return real * factor;
    if (f.inner_inverse != 0.f)
        real = static_cast<float>(plain_code(real, f.inner_inverse, f.inner_zero) - f.inner_zero) * f.inner_scale;
    const float other = static_cast<float>(*residual - f.residual_zero) * f.residual_scale;
    return plain_activation(real + other, f.after, f.after_low, f.after_high) * factor;
}

// --- random operands

inline uint8_t any_code(Random& random) { return static_cast<uint8_t>(random.one_in(2) ? random.whole(0, 255) : random.pick({0, 1, 254, 255})); }

inline std::vector<uint8_t> codes(Random& random, int64_t count, bool extreme = false) {
    std::vector<uint8_t> values(static_cast<size_t>(count));
    for (uint8_t& v : values) v = extreme ? uint8_t{255} : any_code(random);
    return values;
}

constexpr Activation kFused[] = {Activation::none, Activation::clip, Activation::silu, Activation::leaky};

// Rows, windows and the cutoff (rows8.cpp).
void test_rows8(const Kernels8& kernels, Random& random);

}  // namespace reconv::testing
