// Vectors of VL floats in compiler extensions, and the elementary functions on them.
//
// Included once per instruction set inside that set's namespace; nothing here may be shared between sets, so no
// standard-library templates: an inline function compiled for one set could otherwise be linked into another.
#pragma once

typedef float vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(VL * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
INLINE void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
INLINE vec splat(float x) { return vec{} + x; }
INLINE vec vmin(vec x, float high) { vec h = splat(high); return x > h ? h : x; }  // NaN stays NaN
INLINE vec vmax(vec x, float low) { vec l = splat(low); return x < l ? l : x; }
INLINE vec absolute(vec x) { return (vec)((ivec)x & 0x7fffffff); }

// 2^f on [-0.5, 0.5] by a polynomial, the exponent added as an integer; relative error below 3e-7
INLINE vec exponential(vec x) {
    x = vmin(vmax(x, -87.0f), 88.0f);
    const vec magic = splat(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the rounded integer
    const vec r = x * 1.44269504f + magic;
    const vec n = r - magic;
    const vec f = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    vec p = splat(1.9875691500e-4f);
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * (f * f) + f + 1.0f;
    const vec power = (vec)((ivec)p + ((ivec)r << 23));
    return x == x ? power : x;  // a NaN's payload would move into the exponent
}

// 1 / d for 1 <= d < 2^127
INLINE vec reciprocal(vec d) {
#if defined(__AVX512F__) && VL == 16
    const vec r = (vec)_mm512_maskz_rcp14_ps(0xffff, (__m512)d);
    return r * (2.0f - d * r);
#else
    return 1.0f / d;
#endif
}

INLINE vec sigmoid(vec x) {
#if defined(__AVX512DQ__) && VL == 16
    // e^-x = 2^t = 2^floor(t) * 2^(t - floor(t)); the second factor by a minimax polynomial, relative error 8e-8
    const __m512 t = _mm512_maskz_min_ps(0xffff, _mm512_set1_ps(126.0f), (__m512)(x * -1.44269504f));  // NaN stays NaN
    const vec f = (vec)_mm512_maskz_reduce_ps(0xffff, t, 0x01);
    vec p = splat(1.877576680e-3f);
    p = p * f + 8.989340283e-3f;
    p = p * f + 5.582631767e-2f;
    p = p * f + 2.401536173e-1f;
    p = p * f + 6.931530731e-1f;
    p = p * f + 9.999999251e-1f;
    return reciprocal(1.0f + (vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, t));
#else
    return reciprocal(1.0f + exponential(-x));
#endif
}
INLINE vec silu(vec x) { return x * sigmoid(x); }

INLINE vec hyperbolic_tangent(vec x) {  // rational minimax approximation, as in Eigen's ptanh
    const float most = 7.90531110763549805f;
    x = vmin(vmax(x, -most), most);
    const vec s = x * x;
    vec p = splat(-2.76076847742355e-16f);
    p = p * s + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    vec q = splat(1.19825839466702e-06f);
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    // exactly 1 at the ends, whatever the rounding: what multiplies large values (GELU) must vanish there
    const vec t = x * p / q;
    return x >= most ? splat(1.0f) : (x <= -most ? splat(-1.0f) : t);
}

INLINE vec error_function(vec x) {  // rational minimax approximation, as in Eigen's perf
    x = vmin(vmax(x, -4.0f), 4.0f);
    const vec s = x * x;
    vec p = splat(-2.72614225801306e-10f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    vec q = splat(-1.45660718464996e-05f);
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return x * p / q;
}
