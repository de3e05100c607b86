// Depthwise convolution of codes where four products are one instruction. Included by kernels8_impl.hpp in place of
// depthwise8_kernels.hpp.
#pragma once

// 64 channels at a time. The codes of four taps are woven together, so that a lane has the four of one channel; the weave leaves
// the channels in an order of its own, quarter q of a group has 16 l + 4 q + i at 4 l + i (l, i: 0 to 3), which packing the sums
// to codes undoes. `arrange` brings what belongs to a channel into that order.
constexpr int kChannels8 = 64;
constexpr int kQuarters = 4;
typedef ivec Quarters[kQuarters];

// Where no more than 32 channels are left, a group is two pixels: the lower half of the lanes is the first one's, and what belongs
// to a channel is there twice.
constexpr bool is_half(int channels, int group) { return channels - group <= kChannels8 / 2; }
constexpr int channel_at(int place, bool half) {
    return (place % 16 / 4 * 16 + place / 16 * 4 + place % 4) % (half ? kChannels8 / 2 : kChannels8);
}

INLINE void weave(Quarters q, __m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i low = _mm512_unpacklo_epi8(a, b), low2 = _mm512_unpacklo_epi8(c, d);
    const __m512i high = _mm512_unpackhi_epi8(a, b), high2 = _mm512_unpackhi_epi8(c, d);
    q[0] = (ivec)_mm512_unpacklo_epi16(low, low2);
    q[1] = (ivec)_mm512_unpackhi_epi16(low, low2);
    q[2] = (ivec)_mm512_unpacklo_epi16(high, high2);
    q[3] = (ivec)_mm512_unpackhi_epi16(high, high2);
}

INLINE void add_products(Quarters sums, const Quarters codes, const int8_t* weights) {
    EACH(kQuarters, sums[i] = dot(sums[i], codes[i], weights_at(weights + i * 64)))
}

INLINE __m512i pixel_at(const uint8_t* p) { return _mm512_loadu_si512(p); }
INLINE __m512i pixels_at(const uint8_t* first, const uint8_t* second) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    return _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(low), high, 1);
}

// Sums of 64 channels to codes in their own order.
template <Activation ACTIVATION>
INLINE __m512i finish_quarters(const Quarters sums, const float* scale, const float* shift, const Finish8& finish, const Coding& to) {
    fvec real[kQuarters];
    EACH(kQuarters, real[i] = to_float(sums[i]) * load(scale + i * VL) + load(shift + i * VL))
    if constexpr (ACTIVATION != Activation::clip) activate(real, ACTIVATION, finish.low, finish.high);
    return packed_codes<ACTIVATION == Activation::clip>(real, to);
}

// The same by way of rows in the channels' own order: floats, residuals, factors. which: of the two of a half group.
void finish_slowly(const BlockArgs8& args, const Quarters sums, int pixel, int from, bool half, int which) {
    int32_t ordered[kChannels8];
    float scale[kChannels8], shift[kChannels8], factor[kChannels8];
    for (int p = 0; p < kChannels8; p++) {
        if (half && p % 16 / 8 != which) continue;
        const int c = channel_at(p, half);
        ordered[c] = sums[p / VL][p % VL];
        scale[c] = args.scale[from + p];
        shift[c] = args.shift[from + p];
        if (args.factor) factor[c] = args.factor[from + p];
    }
    BlockArgs8 one = args;
    one.out[0] = one.out[1] = args.out[pixel];  // pixels go in pairs
    one.residual[0] = one.residual[1] = args.residual[pixel];
    one.scale = scale;
    one.shift = shift;
    one.factor = args.factor ? factor : nullptr;
    one.first_channel += from;
    finish_block(one, ordered, 2, 0, 0, args.channels - from < kChannels8 ? args.channels - from : kChannels8);
}

// true: taps of three neighbours in a row, and the second pixel of a pair begins at the second one's
INLINE bool three_in_rows(const BlockArgs8& args) {
    if (args.tap_count != 9) return false;
    for (int t = 0; t < 9; t += 3)
        if (args.taps[t + 1] - args.taps[t] != args.pair_stride || args.taps[t + 2] - args.taps[t + 1] != args.pair_stride) return false;
    return true;
}

template <Activation ACTIVATION>
void depthwise_pixels(const BlockArgs8& args, bool single, int pairs) {
    const Finish8 finish = *args.finish;
    const Coding to = coding_of<true>(finish);
    const bool plain = finish.codes && !args.has_residual && !args.factor;
    const int fours = (args.tap_count + 3) / 4, last = args.tap_count - 1;
    const bool shared = !single && three_in_rows(args);
    constexpr int kFour = kChannels8 * 4;  // bytes of weights of four taps
    // [group of four taps], and where there are nine, [row of three][first pixel, second pixel]
    const int64_t bytes = (fours + (args.tap_count == 9 ? 6 : 0)) * int64_t{kFour};
    const int8_t* weights = args.weights;
    for (int c = 0; c < args.channels; c += kChannels8, weights += bytes) {
        Quarters start;
        for (int q = 0; q < kQuarters; q++) start[q] = load(args.start + c + q * VL);
        const bool half = is_half(args.channels, c);
        const float *scale = args.scale + c, *shift = args.shift + c;
        const int left = args.channels - c, offset = args.first_channel + c;
        for (int p = 0; p < pairs; p++) {
            Quarters first, second, codes;
            for (int q = 0; q < kQuarters; q++) first[q] = second[q] = start[q];
            const uint8_t* in = args.in[single ? 2 * p : p] + c;
            const uint8_t* in2 = single ? args.in[2 * p + 1] + c : in + args.pair_stride;
            if (shared && !half) {
                const int8_t* w = weights + fours * kFour;
                for (int t = 0; t < 9; t += 3, w += 2 * kFour) {
                    const uint8_t* row = in + args.taps[t];
                    const ptrdiff_t step = args.pair_stride;
                    weave(codes, pixel_at(row), pixel_at(row + step), pixel_at(row + 2 * step), pixel_at(row + 3 * step));
                    add_products(first, codes, w);
                    add_products(second, codes, w + kFour);
                }
            } else {
                for (int f = 0; f < fours; f++) {
                    const int t = 4 * f;
                    const ptrdiff_t a = args.taps[t], b = args.taps[t < last ? t + 1 : last];
                    const ptrdiff_t d = args.taps[t + 1 < last ? t + 2 : last], e = args.taps[t + 2 < last ? t + 3 : last];
                    if (half) {
                        weave(codes, pixels_at(in + a, in2 + a), pixels_at(in + b, in2 + b), pixels_at(in + d, in2 + d), pixels_at(in + e, in2 + e));
                        add_products(first, codes, weights + f * kFour);
                        continue;
                    }
                    weave(codes, pixel_at(in + a), pixel_at(in + b), pixel_at(in + d), pixel_at(in + e));
                    add_products(first, codes, weights + f * kFour);
                    weave(codes, pixel_at(in2 + a), pixel_at(in2 + b), pixel_at(in2 + d), pixel_at(in2 + e));
                    add_products(second, codes, weights + f * kFour);
                }
            }
            if (!plain) {
                finish_slowly(args, first, 2 * p, c, half, 0);
                finish_slowly(args, half ? first : second, 2 * p + 1, c, half, 1);
                continue;
            }
            uint8_t* out = static_cast<uint8_t*>(args.out[2 * p]) + offset;
            uint8_t* out2 = static_cast<uint8_t*>(args.out[2 * p + 1]) + offset;
            const __m512i done = finish_quarters<ACTIVATION>(first, scale, shift, finish, to);
            if (half) {
                const auto wanted = static_cast<__mmask32>(~uint32_t{0} >> (kChannels8 / 2 - left));
                const eight both = (eight)done;
                _mm256_mask_storeu_epi8(out, wanted, (__m256i)__builtin_shufflevector(both, both, 0, 1, 2, 3));
                _mm256_mask_storeu_epi8(out2, wanted, (__m256i)__builtin_shufflevector(both, both, 4, 5, 6, 7));
                continue;
            }
            const __m512i done2 = finish_quarters<ACTIVATION>(second, scale, shift, finish, to);
            const __mmask64 wanted = ~uint64_t{0} >> (left < kChannels8 ? kChannels8 - left : 0);
            _mm512_mask_storeu_epi8(out, wanted, done);
            _mm512_mask_storeu_epi8(out2, wanted, done2);
        }
    }
}

template <bool SINGLE, int P>
void depthwise_block(const BlockArgs8& args) {
    switch (args.finish->activation) {
        case Activation::clip:
            return clips_above(*args.finish) ? depthwise_pixels<Activation::none>(args, SINGLE, P) : depthwise_pixels<Activation::clip>(args, SINGLE, P);
        case Activation::silu: return depthwise_pixels<Activation::silu>(args, SINGLE, P);
        case Activation::leaky: return depthwise_pixels<Activation::leaky>(args, SINGLE, P);
        default: return depthwise_pixels<Activation::none>(args, SINGLE, P);
    }
}

int depthwise_padded(int channels) { return (channels + kChannels8 - 1) / kChannels8 * kChannels8; }
int64_t depthwise_bytes(int channels, int taps) {
    return int64_t{depthwise_padded(channels)} * 4 * ((taps + 3) / 4 + (taps == 9 ? 6 : 0));
}

void pack_depthwise(int8_t* to, const int8_t* weight, int channels, int taps) {
    // four weights of each channel of a group; tap < 0 or beyond: 0
    const auto four = [&](int group, const int (&tap)[4]) {
        for (int p = 0; p < kChannels8; p++) {
            const int c = group + channel_at(p, is_half(channels, group));
            for (int t : tap) *to++ = c < channels && t >= 0 && t < taps ? weight[int64_t{c} * taps + t] : int8_t{0};
        }
    };
    for (int group = 0; group < depthwise_padded(channels); group += kChannels8) {
        for (int t = 0; t < taps; t += 4) four(group, {t, t + 1, t + 2, t + 3});
        for (int t = 0; taps == 9 && t < 9; t += 3) {
            four(group, {t, t + 1, t + 2, -1});
            four(group, {-1, t, t + 1, t + 2});
        }
    }
}

void arrange(void* to, const void* values, int channels) {
    const auto* from = static_cast<const char*>(values);
    for (int place = 0; place < depthwise_padded(channels); place++) {
        const int group = place / kChannels8 * kChannels8, zero = 0;
        const int c = group + channel_at(place - group, is_half(channels, group));
        __builtin_memcpy(static_cast<char*>(to) + place * 4, c < channels ? from + c * 4 : reinterpret_cast<const char*>(&zero), 4);
    }
}
