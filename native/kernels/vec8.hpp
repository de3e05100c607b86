// Vectors of VL 32-bit lanes for the kernels on codes: exact integer products, and float arithmetic of single operations.
//
// Included once per instruction set inside that set's namespace; nothing here may be shared between sets, so no
// standard-library templates: an inline function compiled for one set could otherwise be linked into another. The files that
// include it are compiled without contraction and with wrapping integers.
#pragma once

typedef float fvec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int16_t svec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint16_t uvec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint8_t bvec __attribute__((vector_size(VL), aligned(1), may_alias));
typedef int8_t cvec __attribute__((vector_size(VL), aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE fvec load(const float* p) { return *reinterpret_cast<const fvec*>(p); }
INLINE ivec load(const int32_t* p) { return *reinterpret_cast<const ivec*>(p); }
INLINE void store(float* p, fvec v) { *reinterpret_cast<fvec*>(p) = v; }
INLINE void store(int32_t* p, ivec v) { *reinterpret_cast<ivec*>(p) = v; }
INLINE fvec splat(float x) { return fvec{} + x; }

#if VL == 16  // in the forms with a mask: the plain ones make GCC 12 warn of its own header
INLINE ivec widen(const uint8_t* p) { return (ivec)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
INLINE ivec widen(const int8_t* p) { return (ivec)_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
INLINE void narrow(uint8_t* p, ivec v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v)); }
INLINE void narrow_some(uint8_t* p, ivec v, int count) {
    _mm_mask_storeu_epi8(p, static_cast<__mmask16>((1u << count) - 1), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
}
INLINE void store_some(float* p, fvec v, int count) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
}
#else
#if VL == 8
INLINE ivec widen(const uint8_t* p) { return (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
INLINE ivec widen(const int8_t* p) { return (ivec)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
INLINE void narrow(uint8_t* p, ivec v) {
    const __m256i halves = _mm256_packs_epi32((__m256i)v, (__m256i)v), codes = _mm256_packus_epi16(halves, halves);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_unpacklo_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1)));
}
#else
INLINE ivec widen(const uint8_t* p) { return __builtin_convertvector(*reinterpret_cast<const bvec*>(p), ivec); }
INLINE ivec widen(const int8_t* p) { return __builtin_convertvector(*reinterpret_cast<const cvec*>(p), ivec); }
INLINE void narrow(uint8_t* p, ivec v) { *reinterpret_cast<bvec*>(p) = __builtin_convertvector(v, bvec); }
#endif
INLINE void narrow_some(uint8_t* p, ivec v, int count) {
    uint8_t all[VL];
    narrow(all, v);
    __builtin_memcpy(p, all, static_cast<size_t>(count));
}
INLINE void store_some(float* p, fvec v, int count) { __builtin_memcpy(p, &v, static_cast<size_t>(count) * 4); }
#endif

// the first `count` codes, zeros beyond; count < VL
INLINE ivec widen_some(const uint8_t* p, int count) {
#if VL == 16
    return (ivec)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << count) - 1), p));
#else
    uint8_t all[VL] = {};
    __builtin_memcpy(all, p, static_cast<size_t>(count));
    return widen(all);
#endif
}

// A row's codes or floats, `count` <= VL of them.
INLINE ivec read(const uint8_t* p, int count) { return count < VL ? widen_some(p, count) : widen(p); }
INLINE void write(uint8_t* p, ivec v, int count) {
    if (count < VL) narrow_some(p, v, count);
    else narrow(p, v);
}
INLINE void write(float* p, fvec v, int count) {
    if (count < VL) store_some(p, v, count);
    else store(p, v);
}

// Several vectors side by side, statement by statement: one alone would wait for each result in turn.
#define EACH(K, statement) \
    _Pragma("GCC unroll 4") for (int i = 0; i < K; i++) { statement; }

// The larger (smaller) of the two; the bound where x is NaN.
#if VL == 16
INLINE fvec above(fvec x, fvec low) { return (fvec)_mm512_maskz_max_ps(0xffff, (__m512)x, (__m512)low); }
INLINE fvec below(fvec x, fvec high) { return (fvec)_mm512_maskz_min_ps(0xffff, (__m512)x, (__m512)high); }
#elif VL == 8
INLINE fvec above(fvec x, fvec low) { return (fvec)_mm256_max_ps((__m256)x, (__m256)low); }
INLINE fvec below(fvec x, fvec high) { return (fvec)_mm256_min_ps((__m256)x, (__m256)high); }
#elif defined(__SSE2__)
INLINE fvec above(fvec x, fvec low) { return (fvec)_mm_max_ps((__m128)x, (__m128)low); }
INLINE fvec below(fvec x, fvec high) { return (fvec)_mm_min_ps((__m128)x, (__m128)high); }
#else
INLINE fvec above(fvec x, fvec low) { return x > low ? x : low; }
INLINE fvec below(fvec x, fvec high) { return x < high ? x : high; }
#endif
INLINE fvec to_float(ivec v) { return __builtin_convertvector(v, fvec); }

constexpr float kRounder = 12582912.0f;       // 1.5 * 2^23: a sum's low bits are the integer nearest to |x| < 2^22
constexpr int32_t kRounderBits = 0x4b400000;  // its bits

// How reals become codes.
struct Coding {
    fvec inverse, low, high;  // low, high: bounds of real * inverse
    ivec zero;
};
INLINE Coding coding(float inverse, int zero) {
    return {splat(inverse), splat(static_cast<float>(-zero)), splat(static_cast<float>(255 - zero)), ivec{} + zero};
}
// for reals that are cut to [low, high] first: the same bits, as a product with a positive number keeps their order
INLINE Coding coding(float inverse, int zero, float low, float high) {
    const Coding all = coding(inverse, zero);
    // both bounds stay among the codes' own: a cut that lies outside of them leaves the code at that end
    const fvec top = above(below(splat(high * inverse), all.high), all.low);
    return {all.inverse, above(splat(low * inverse), all.low), top, all.zero};
}

// code - zero, clamped
INLINE ivec steps_of(fvec real, const Coding& to) {
    const fvec t = below(above(real * to.inverse, to.low), to.high);
#if VL == 16
    return (ivec)_mm512_maskz_cvtps_epi32(0xffff, (__m512)t);
#else
    return (ivec)(t + kRounder) - kRounderBits;
#endif
}
INLINE ivec code_of(fvec real, const Coding& to) { return steps_of(real, to) + to.zero; }

#if VL == 16
// Codes of four vectors; in each 128 bits four of the first, then of the second, third and fourth. LOW: `to` has a bound below
// of its own; code 0 is one by the way of packing, also for what is no number (the smallest integer).
template <bool LOW>
INLINE __m512i packed_codes(const fvec (&real)[4], const Coding& to) {
    fvec t[4];
    __m512i steps[4];
    EACH(4, t[i] = real[i] * to.inverse)
    if constexpr (LOW) EACH(4, t[i] = above(t[i], to.low))
    EACH(4, t[i] = below(to.high, t[i]))
    EACH(4, steps[i] = _mm512_maskz_cvtps_epi32(0xffff, (__m512)t[i]))
    const __m512i zero = _mm512_packs_epi32((__m512i)to.zero, (__m512i)to.zero);
    return _mm512_packus_epi16(_mm512_add_epi16(_mm512_packs_epi32(steps[0], steps[1]), zero),
                               _mm512_add_epi16(_mm512_packs_epi32(steps[2], steps[3]), zero));
}

// The same, each vector's codes together.
template <bool LOW>
INLINE __m512i ordered_codes(const fvec (&real)[4], const Coding& to) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_maskz_permutexvar_epi32(0xffff, order, packed_codes<LOW>(real, to));
}

typedef long long eight __attribute__((vector_size(64)));
typedef long long four __attribute__((vector_size(32), aligned(1), may_alias));
typedef long long two __attribute__((vector_size(16), aligned(1), may_alias));

// channels 0 to 15 and 16 to 31 of a pixel, and of the next
template <bool LOW>
INLINE void narrow_two(uint8_t* first, uint8_t* second, const fvec (&real)[4], const Coding& to) {
    const eight codes = (eight)ordered_codes<LOW>(real, to);
    *reinterpret_cast<four*>(first) = __builtin_shufflevector(codes, codes, 0, 1, 2, 3);
    *reinterpret_cast<four*>(second) = __builtin_shufflevector(codes, codes, 4, 5, 6, 7);
}

// `count` channels of four pixels
template <bool LOW>
INLINE void narrow_four(void* const* out, int offset, const fvec (&real)[4], const Coding& to, int count) {
    const eight codes = (eight)ordered_codes<LOW>(real, to);
    const two pixel[] = {__builtin_shufflevector(codes, codes, 0, 1), __builtin_shufflevector(codes, codes, 2, 3),
                         __builtin_shufflevector(codes, codes, 4, 5), __builtin_shufflevector(codes, codes, 6, 7)};
    const auto wanted = static_cast<__mmask16>((1u << count) - 1);
    EACH(4, _mm_mask_storeu_epi8(static_cast<uint8_t*>(out[i]) + offset, wanted, (__m128i)pixel[i]))
}
#endif

INLINE fvec real_of(ivec code, float scale, int zero) { return to_float(code - zero) * scale; }

// x / (1 + e^-x), every operation rounded by itself: 2^t with t = -x / ln 2 cut to +-125 by a polynomial on the part that
// rounding leaves; relative error 1e-6. The division is not on the ports of all else: Newton steps cost a sixth of a whole model.
template <int K>
INLINE void silu(fvec (&x)[K]) {
    constexpr float kPower[] = {9.6715130901e-3f, 5.5507337515e-2f, 2.4022242078e-1f, 6.9314697759e-1f, 1.0f};
    fvec f[K], p[K], q[K];
    ivec n[K];
    EACH(K, f[i] = below(above(x[i] * -1.44269504f, splat(-125.0f)), splat(125.0f)))
    EACH(K, q[i] = f[i] + kRounder)
    EACH(K, n[i] = (ivec)q[i] << 23)
    EACH(K, f[i] = f[i] - (q[i] - kRounder))
    EACH(K, p[i] = 1.3264725692e-3f * f[i])
    EACH(K, p[i] = (p[i] + kPower[0]) * f[i])
    EACH(K, p[i] = (p[i] + kPower[1]) * f[i])
    EACH(K, p[i] = (p[i] + kPower[2]) * f[i])
    EACH(K, p[i] = (p[i] + kPower[3]) * f[i])
    EACH(K, p[i] = p[i] + kPower[4])
    EACH(K, p[i] = (fvec)((ivec)p[i] + n[i]) + 1.0f)
    EACH(K, x[i] = x[i] / p[i])
}

// `kind` is one of the four that kernels know
template <int K>
INLINE void activate(fvec (&v)[K], Activation kind, float low, float high) {
    switch (kind) {
        case Activation::clip: EACH(K, v[i] = below(above(v[i], splat(low)), splat(high))) break;
        case Activation::silu: silu(v); break;
        case Activation::leaky: EACH(K, v[i] = v[i] < 0.f ? v[i] * low : v[i]) break;
        default: break;
    }
}

// Each lane: low half of x times low half of w, plus high times high, halves as signed 16-bit numbers.
INLINE ivec multiply_halves(ivec x, ivec w) {
#if VL == 16
    return (ivec)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif VL == 8
    return (ivec)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#elif defined(__SSE2__)
    return (ivec)_mm_madd_epi16((__m128i)x, (__m128i)w);
#else
    return ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
#endif
}

// Four codes of a pixel in every lane, and four weights of a channel in each: acc + the sum of their products, exactly.
#if defined(RECONV_VNNI)
typedef ivec Codes;
typedef ivec Weights;
INLINE ivec every(int32_t word) { return ivec{} + word; }
INLINE Codes codes_at(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return every(word);
}
INLINE Weights weights_at(const int8_t* p) { return *reinterpret_cast<const ivec*>(p); }
INLINE ivec dot(ivec acc, Codes x, Weights w) {
#if VL == 16
    return (ivec)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif VL == 8
    return (ivec)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)x, (__m256i)w);
#else
    return (ivec)vusdotq_s32((int32x4_t)acc, (uint8x16_t)x, (int8x16_t)w);
#endif
}
#else
// Widened to 16 bits first: an instruction that multiplies bytes and adds neighbours in 16 bits would saturate.
struct Codes { ivec even, odd; };
struct Weights { ivec even, odd; };
INLINE Codes codes_at(const uint8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    const uvec v = (uvec)(ivec{} + word);
    return {(ivec)(v & 255), (ivec)(v >> 8)};
}
INLINE Weights weights_at(const int8_t* p) {
    const svec v = *reinterpret_cast<const svec*>(p);
    return {(ivec)((svec)((uvec)v << 8) >> 8), (ivec)(v >> 8)};
}
INLINE ivec dot(ivec acc, Codes x, Weights w) { return acc + multiply_halves(x.even, w.even) + multiply_halves(x.odd, w.odd); }
#endif
