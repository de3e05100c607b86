// Rows of codes: to and from floats, sums of two maps, pooling, cutoff. Included by kernels8_impl.hpp.
#pragma once

// f(values of VL floats or lanes at i, how many of them count) over a row
template <class F>
INLINE void vectors(int64_t count, F f) {
    int64_t i = 0;
    for (; i + VL <= count; i += VL) f(i, VL);
    if (i < count) f(i, static_cast<int>(count - i));
}

void quantize_row(uint8_t* out, const float* in, int64_t count, float inverse, int zero) {
    const Coding to = coding(inverse, zero);
    vectors(count, [&](int64_t i, int n) __attribute__((always_inline)) {
        fvec v = {};
        if (n < VL) __builtin_memcpy(&v, in + i, static_cast<size_t>(n) * 4);
        else v = load(in + i);
        write(out + i, code_of(v, to), n);
    });
}

void dequantize_row(float* out, const uint8_t* in, int64_t count, float scale, int zero) {
    vectors(count, [&](int64_t i, int n) __attribute__((always_inline)) {
        write(out + i, real_of(read(in + i, n), scale, zero), n);
    });
}

void requantize_row(uint8_t* out, const uint8_t* in, int64_t count, float scale, int zero, float inverse, int out_zero) {
    const Coding to = coding(inverse, out_zero);
    vectors(count, [&](int64_t i, int n) __attribute__((always_inline)) {
        write(out + i, code_of(real_of(read(in + i, n), scale, zero), to), n);
    });
}

#if VL == 16
// A quarter of the table by the low six bits, and of the four what the upper two say.
__attribute__((target("avx512vbmi"))) void table_by_bytes(uint8_t* out, const uint8_t* in, int64_t count, const uint8_t* table) {
    const __m512i first = _mm512_loadu_si512(table), second = _mm512_loadu_si512(table + 64);
    const __m512i third = _mm512_loadu_si512(table + 128), fourth = _mm512_loadu_si512(table + 192);
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 wanted = count - i < 64 ? ~uint64_t{0} >> (64 - (count - i)) : ~uint64_t{0};
        const __m512i x = _mm512_maskz_loadu_epi8(wanted, in + i);
        const __mmask64 upper = _mm512_movepi8_mask(x), odd = _mm512_movepi8_mask(_mm512_add_epi8(x, x));
        const auto quarter = [&](__m512i part) __attribute__((always_inline, target("avx512vbmi"))) {
            return _mm512_maskz_permutexvar_epi8(~__mmask64{0}, x, part);
        };
        const __m512i low = _mm512_mask_blend_epi8(odd, quarter(first), quarter(second));
        const __m512i high = _mm512_mask_blend_epi8(odd, quarter(third), quarter(fourth));
        _mm512_mask_storeu_epi8(out + i, wanted, _mm512_mask_blend_epi8(upper, low, high));
    }
}
#endif

#if VL >= 8
// In each round a sixteenth of the table: codes of other sixteenths get their top bit set, for which a shuffle gives 0.
void table_by_sixteenths(uint8_t* out, const uint8_t* in, int64_t count, const uint8_t* table) {
    constexpr int kTogether = 32;
    for (int64_t i = 0; i < count; i += kTogether) {
        uint8_t row[kTogether] = {};
        const bool whole = count - i >= kTogether;
        if (!whole) __builtin_memcpy(row, in + i, static_cast<size_t>(count - i));
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(whole ? in + i : row));
        __m256i found = _mm256_setzero_si256();
        for (int s = 0; s < 16; s++) {
            const __m256i part = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + s * 16)));
            const __m256i index = _mm256_adds_epu8(_mm256_xor_si256(x, _mm256_set1_epi8(static_cast<char>(s << 4))), _mm256_set1_epi8(0x70));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(part, index));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(whole ? out + i : row), found);
        if (!whole) __builtin_memcpy(out + i, row, static_cast<size_t>(count - i));
    }
}
#endif

void table_row(uint8_t* out, const uint8_t* in, int64_t count, const uint8_t* table) {
#if VL == 16
    if (permutes_bytes()) return table_by_bytes(out, in, count, table);
#endif
#if VL >= 8
    if (count >= 16) return table_by_sixteenths(out, in, count, table);
#endif
    for (int64_t i = 0; i < count; i++) out[i] = table[in[i]];
}

void add8(uint8_t* out, const uint8_t* a, const uint8_t* b, int64_t count, const Add8& given) {
    const Add8 add = given;  // codes that are written could be part of it, as far as the compiler knows
    const Coding to = coding(add.inverse, add.zero);
    vectors(count, [&](int64_t i, int n) __attribute__((always_inline)) {
        fvec sum[] = {real_of(read(a + i, n), add.scale_a, add.zero_a) + real_of(read(b + i, n), add.scale_b, add.zero_b)};
        activate(sum, add.activation, add.low, add.high);
        write(out + i, code_of(sum[0], to), n);
    });
}

void max_window8(uint8_t* out, const uint8_t* const* in, int count, int channels) {
    typedef uint8_t all __attribute__((vector_size(VL * 4), aligned(1), may_alias));
    int c = 0;
    for (; c + VL * 4 <= channels; c += VL * 4) {
        all v = *reinterpret_cast<const all*>(in[0] + c);
        for (int i = 1; i < count; i++) {
            const all x = *reinterpret_cast<const all*>(in[i] + c);
            v = x > v ? x : v;
        }
        *reinterpret_cast<all*>(out + c) = v;
    }
    for (; c < channels; c++) {
        uint8_t v = in[0][c];
        for (int i = 1; i < count; i++) v = in[i][c] > v ? in[i][c] : v;
        out[c] = v;
    }
}

INLINE ivec average_of(ivec sum, const Average8& average) {
    return code_of(to_float(sum - average.offset) * average.scale, coding(average.inverse, average.zero));
}

void average_window8(uint8_t* out, const uint8_t* const* in, int count, int channels, const Average8& average) {
    vectors(channels, [&](int64_t c, int n) __attribute__((always_inline)) {
        ivec sum = {};
        for (int i = 0; i < count; i++) sum += read(in[i] + c, n);
        write(out + c, average_of(sum, average), n);
    });
}

void sum_row8(int32_t* sums, const uint8_t* in, int pixels, ptrdiff_t stride, int channels) {
    vectors(channels, [&](int64_t c, int n) __attribute__((always_inline)) {
        ivec sum = {};
        for (int x = 0; x < pixels; x++) sum += read(in + x * stride + c, n);
        if (n == VL) return store(sums + c, sum + load(sums + c));
        for (int i = 0; i < n; i++) sums[c + i] += sum[i];
    });
}

void average_row8(uint8_t* out, const int32_t* sums, int channels, const Average8& average) {
    vectors(channels, [&](int64_t c, int n) __attribute__((always_inline)) {
        ivec sum = {};
        if (n < VL) __builtin_memcpy(&sum, sums + c, static_cast<size_t>(n) * 4);
        else sum = load(sums + c);
        write(out + c, average_of(sum, average), n);
    });
}

INLINE void copy_codes(uint8_t* to, const uint8_t* from, int channels) {
    int c = 0;
    for (; c + VL <= channels; c += VL) *reinterpret_cast<bvec*>(to + c) = *reinterpret_cast<const bvec*>(from + c);
    for (; c < channels; c++) to[c] = from[c];
}

void put8(uint32_t wanted, uint8_t* const* fresh, uint8_t* const* stored, int channels) {
    for (; wanted; wanted &= wanted - 1) {
        const int m = __builtin_ctz(wanted);
        copy_codes(stored[m], fresh[m], channels);
    }
}

// The sum's order is the same in every set: 16 lanes, folded in halves.
INLINE bool beyond(const uint8_t* fresh, const uint8_t* stored, int channels, const float* weights, float limit, float scale) {
    float sums[16] = {};
    for (int c = 0; c < channels; c += 16)
        for (int i = 0; i < 16; i += VL) {
            const int left = channels - c - i, n = left < VL ? left : VL;
            if (n <= 0) break;
            const fvec d = to_float(read(fresh + c + i, n) - read(stored + c + i, n)) * scale;
            store(sums + i, load(sums + i) + d * d * load(weights + c + i));
        }
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) sums[i] += sums[i + half];
    return !(sums[0] <= limit);
}

uint32_t cut8(uint32_t wanted, uint8_t* const* fresh, uint8_t* const* stored, int channels, const float* weights, float limit,
              float scale) {
    uint32_t moved = 0;
    for (; wanted; wanted &= wanted - 1) {
        const int m = __builtin_ctz(wanted);
        const bool is_moved = weights ? beyond(fresh[m], stored[m], channels, weights, limit, scale)
                                      : __builtin_memcmp(fresh[m], stored[m], static_cast<size_t>(channels)) != 0;
        if (!is_moved) continue;
        moved |= 1u << m;
        copy_codes(stored[m], fresh[m], channels);
    }
    return moved;
}
