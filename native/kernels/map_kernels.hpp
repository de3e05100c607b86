// Activations, cutoff, output, pooling and pointwise kernels. Included by kernels_impl.hpp.
#pragma once

INLINE vec apply(vec x, const ActivationSpec& spec) {
    switch (spec.kind) {
        case Activation::clip: return vmin(vmax(x, spec.a), spec.b);
        case Activation::silu: return silu(x);
        case Activation::leaky: return x < 0.f ? x * spec.a : x;
        case Activation::sigmoid: return sigmoid(x);
        case Activation::tanh: return hyperbolic_tangent(x);
        case Activation::hardsigmoid: return vmin(vmax(x * spec.a + spec.b, 0.f), 1.f);
        case Activation::hardswish: return x * vmin(vmax(x * (1.f / 6.f) + 0.5f, 0.f), 1.f);
        case Activation::gelu: return 0.5f * x * (1.f + error_function(x * 0.70710678f));
        case Activation::gelu_tanh:
            return 0.5f * x * (1.f + hyperbolic_tangent(0.79788456f * (x + 0.044715f * x * x * x)));
        case Activation::erf: return error_function(x);
        case Activation::elu:
            for (int i = 0; i < VL; i++)
                if (x[i] < 0.f) x[i] = spec.a * __builtin_expm1f(x[i]);
            return x;
        case Activation::softplus:
        case Activation::mish: {
            vec soft = x;
            for (int i = 0; i < VL; i++) {
                const float e = __builtin_log1pf(__builtin_expf(-__builtin_fabsf(x[i])));
                soft[i] = (x[i] > 0.f ? x[i] : 0.f) + e;
            }
            return spec.kind == Activation::mish ? x * hyperbolic_tangent(soft) : soft;
        }
        case Activation::exp:
            for (int i = 0; i < VL; i++) x[i] = __builtin_expf(x[i]);
            return x;
        case Activation::log:
            for (int i = 0; i < VL; i++) x[i] = __builtin_logf(x[i]);
            return x;
        case Activation::sqrt:
            for (int i = 0; i < VL; i++) x[i] = __builtin_sqrtf(x[i]);
            return x;
        default: return x;
    }
}

// values[i] = f(values[i]) over whole vectors and a last part that goes through a buffer of its own
template <class F>
INLINE void map_in_place(float* values, int64_t count, F f) {
    int64_t i = 0;
    for (; i + VL <= count; i += VL) store(values + i, f(load(values + i), i));
    if (i < count) {
        float rest[VL] = {};
        __builtin_memcpy(rest, values + i, static_cast<size_t>(count - i) * 4);
        vec v = f(load(rest), i);
        __builtin_memcpy(values + i, &v, static_cast<size_t>(count - i) * 4);
    }
}

void activate(float* values, int64_t count, const ActivationSpec& spec) {
    if (spec.kind == Activation::none) return;
    if (spec.kind == Activation::prelu) {
        for (int64_t i = 0; i < count; i++) values[i] = values[i] < 0.f ? values[i] * spec.slopes[i] : values[i];
        return;
    }
    map_in_place(values, count, [&](vec x, int64_t) { return apply(x, spec); });
}

void add_activate(float* values, const float* other, int count, const ActivationSpec& after) {
    int i = 0;
    for (; i + VL <= count; i += VL) store(values + i, load(values + i) + load(other + i));
    for (; i < count; i++) values[i] += other[i];
    activate(values, count, after);
}

INLINE float sum_lanes(vec v) {
    float s = 0.f;
#if VL >= 16
    typedef float half __attribute__((vector_size(VL * 2), aligned(4), may_alias));
    typedef float quarter __attribute__((vector_size(VL), aligned(4), may_alias));
    half h = *reinterpret_cast<half*>(&v) + *(reinterpret_cast<half*>(&v) + 1);
    quarter q = *reinterpret_cast<quarter*>(&h) + *(reinterpret_cast<quarter*>(&h) + 1);
    s = (q[0] + q[1]) + (q[2] + q[3]);
#else
    for (int i = 0; i < VL; i++) s += v[i];
#endif
    return s;
}

INLINE bool any_bit(ivec v) {
#if defined(__AVX512F__) && VL == 16
    return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0;
#else
    int64_t folded = 0;
    typedef int64_t lvec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
    const lvec l = (lvec)v;
    for (int i = 0; i < VL / 2; i++) folded |= l[i];
    return folded != 0;
#endif
}

// x - x is a zero bit pattern exactly when x is finite
INLINE ivec difference(vec fresh, vec stored) { return ((ivec)fresh ^ (ivec)stored) | (ivec)(fresh - fresh); }

INLINE bool differs(const float* fresh, const float* stored, int count) {
    ivec any = {};
    int i = 0;
    for (; i + VL <= count; i += VL) any |= difference(load(fresh + i), load(stored + i));
    if (i < count) {
        float a[VL] = {}, b[VL] = {};
        __builtin_memcpy(a, fresh + i, static_cast<size_t>(count - i) * 4);
        __builtin_memcpy(b, stored + i, static_cast<size_t>(count - i) * 4);
        any |= difference(load(a), load(b));
    }
    return any_bit(any);
}

// weights are padded with zeros to whole vectors; a NaN makes the comparison false, so such a pixel has moved
INLINE bool beyond(const float* fresh, const float* stored, int count, const float* weights, float limit) {
    vec sum = {};
    int i = 0;
    for (; i + VL <= count; i += VL) {
        const vec d = load(fresh + i) - load(stored + i);
        sum += d * d * load(weights + i);
    }
    if (i < count) {
        float a[VL] = {}, b[VL] = {};
        __builtin_memcpy(a, fresh + i, static_cast<size_t>(count - i) * 4);
        __builtin_memcpy(b, stored + i, static_cast<size_t>(count - i) * 4);
        const vec d = load(a) - load(b);
        sum += d * d * load(weights + i);
    }
    return !(sum_lanes(sum) <= limit);
}

INLINE void copy_pixel(float* to, const float* from, int channels) {
    int c = 0;
    for (; c + VL <= channels; c += VL) store(to + c, load(from + c));
    for (; c < channels; c++) to[c] = from[c];
}

void put(uint32_t wanted, float* const* fresh, float* const* stored, int channels) {
    for (; wanted; wanted &= wanted - 1) {
        const int m = __builtin_ctz(wanted);
        copy_pixel(stored[m], fresh[m], channels);
    }
}

uint32_t cut(uint32_t wanted, float* const* fresh, float* const* stored, int channels, const float* weights, float limit) {
    uint32_t moved = 0;  // of all pixels first: whether one has moved cannot be foreseen, and none waits for another
    for (uint32_t left = wanted; left; left &= left - 1) {
        const int m = __builtin_ctz(left);
        const bool is_moved = weights ? beyond(fresh[m], stored[m], channels, weights, limit)
                                      : differs(fresh[m], stored[m], channels);
        moved |= static_cast<uint32_t>(is_moved) << m;
    }
    put(moved, fresh, stored, channels);
    return moved;
}

// The larger of the two; a NaN stays.
INLINE float larger(float v, float x) { return x > v || x != x ? x : v; }

void max_window(float* out, const float* const* in, int count, int channels) {
    int c = 0;
    for (; c + VL <= channels; c += VL) {
        vec v = load(in[0] + c);
        for (int i = 1; i < count; i++) {
            const vec x = load(in[i] + c);
            v = ((x > v) | (x != x)) ? x : v;  // a NaN stays
        }
        store(out + c, v);
    }
    for (; c < channels; c++) {
        float v = in[0][c];
        for (int i = 1; i < count; i++) v = larger(v, in[i][c]);
        out[c] = v;
    }
}

void average_window(float* out, const float* const* in, int count, int channels, float divisor) {
    int c = 0;
    for (; c + VL <= channels; c += VL) {
        vec v = {};
        for (int i = 0; i < count; i++) v += load(in[i] + c);
        store(out + c, v / divisor);
    }
    for (; c < channels; c++) {
        float v = 0.f;
        for (int i = 0; i < count; i++) v += in[i][c];
        out[c] = v / divisor;
    }
}

void affine(float* out, const float* in, const float* scale, const float* shift, int channels) {
    for (int c = 0; c < channels; c++) out[c] = in[c] * scale[c] + shift[c];
}

template <class F>
INLINE void binary_loop(float* out, const float* a, int a_step, const float* b, int b_step, int channels, F f) {
    if (a_step && b_step) {
        for (int c = 0; c < channels; c++) out[c] = f(a[c], b[c]);
    } else if (a_step) {
        const float y = b[0];
        for (int c = 0; c < channels; c++) out[c] = f(a[c], y);
    } else {
        const float x = a[0];
        for (int c = 0; c < channels; c++) out[c] = f(x, b[b_step ? c : 0]);
    }
}

void binary(Binary kind, float* out, const float* a, int a_step, const float* b, int b_step, int channels) {
    switch (kind) {
        case Binary::add: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return x + y; });
        case Binary::sub: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return x - y; });
        case Binary::mul: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return x * y; });
        case Binary::div: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return x / y; });
        case Binary::min: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return y < x || y != y ? y : x; });
        case Binary::max: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return y > x || y != y ? y : x; });
        case Binary::pow: return binary_loop(out, a, a_step, b, b_step, channels, [](float x, float y) { return __builtin_powf(x, y); });
    }
}

void lerp4(float* out, const float* const in[4], const float weights[4], int channels) {
    for (int c = 0; c < channels; c++)
        out[c] = ((weights[0] * in[0][c] + weights[1] * in[1][c]) + weights[2] * in[2][c]) + weights[3] * in[3][c];
}

void softmax(float* out, const float* in, int channels) {
    float high = in[0];
    for (int c = 1; c < channels; c++) high = in[c] > high ? in[c] : high;
    for (int c = 0; c < channels; c++) out[c] = in[c] - high;
    map_in_place(out, channels, [](vec x, int64_t) { return exponential(x); });
    float sum = 0.f;
    for (int c = 0; c < channels; c++) sum += out[c];
    for (int c = 0; c < channels; c++) out[c] /= sum;
}

void sum_row(float* out, const float* in, int pixels, ptrdiff_t stride, int channels) {
    for (int x = 0; x < pixels; x++, in += stride)
        for (int c = 0; c < channels; c++) out[c] += in[c];
}

void max_row(float* out, const float* in, int pixels, ptrdiff_t stride, int channels) {
    for (int x = 0; x < pixels; x++, in += stride)
        for (int c = 0; c < channels; c++) out[c] = larger(out[c], in[c]);
}

void export_row(float* out, ptrdiff_t out_pixel, ptrdiff_t out_channel, const float* in, ptrdiff_t in_pixel, int pixels,
                int channels) {
    if (out_channel == 1 && out_pixel == channels && in_pixel == channels) {
        __builtin_memcpy(out, in, static_cast<size_t>(pixels) * channels * 4);
        return;
    }
    constexpr int kTile = 16;  // pixels at a time, so that the input stays in the first cache across channels
    for (int x0 = 0; x0 < pixels; x0 += kTile) {
        const int x1 = x0 + kTile < pixels ? x0 + kTile : pixels;
        for (int c = 0; c < channels; c++)
            for (int x = x0; x < x1; x++) out[x * out_pixel + c * out_channel] = in[x * in_pixel + c];
    }
}
