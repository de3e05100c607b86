// Convolution of codes over a block of pixels, dense in channels or depthwise. Included by kernels8_impl.hpp.
#pragma once

// A clip before codes is one of the codes' bounds.
template <bool CUTS>
INLINE Coding coding_of(const Finish8& finish) {
    if (CUTS && finish.activation == Activation::clip) return coding(finish.inverse, finish.zero, finish.low, finish.high);
    return coding(finish.inverse, finish.zero);
}

// Whether that bound is only an upper one, so that nothing is left to be done but for it.
INLINE bool clips_above(const Finish8& finish) { return finish.low * finish.inverse <= static_cast<float>(-finish.zero); }

// Sums of the channels [from, from + channels) to what they become; sums: [pixel][row], the pixels in pairs. What is done is
// copied first: codes that are written could be part of it, as far as the compiler knows.
template <Activation ACTIVATION, bool RESIDUAL, bool CODES, bool FACTOR>
void finish_sums(const BlockArgs8& args, const int32_t* sums, int pixels, int row, int from, int channels) {
    constexpr bool kClipsCodes = ACTIVATION == Activation::clip && CODES && !RESIDUAL && !FACTOR;
    const Finish8 finish = *args.finish;
    const Coding to = coding_of<CODES && !RESIDUAL && !FACTOR>(finish);
    const Coding inner = coding(finish.inner_inverse, finish.inner_zero);
    const float *scales = args.scale + from, *shifts = args.shift + from, *factors = FACTOR ? args.factor + from : nullptr;
    const int first = args.first_channel + from;
    // of K vectors of pixels m[i], channels c[i]; scale and shift: as many as there are, taken in turn
    const auto reals_at = [&]<int K, int S>(fvec (&real)[K], const int (&m)[K], const int (&c)[K], const fvec (&scale)[S],
                                            const fvec (&shift)[S], int count) __attribute__((always_inline)) {
        EACH(K, real[i] = to_float(load(sums + m[i] * row + c[i])) * scale[i % S] + shift[i % S])
        if constexpr (!kClipsCodes) activate(real, ACTIVATION, finish.low, finish.high);
        if constexpr (RESIDUAL) {
            if (finish.inner_inverse != 0.f)
                EACH(K, real[i] = real_of(code_of(real[i], inner), finish.inner_scale, finish.inner_zero))
            EACH(K, real[i] = real[i] + real_of(read(args.residual[m[i]] + first + c[i], count), finish.residual_scale, finish.residual_zero))
            activate(real, finish.after, finish.after_low, finish.after_high);
        }
        if constexpr (FACTOR) EACH(K, real[i] = real[i] * load(factors + c[i]))
    };
    int c = 0;
#if VL == 16
    if constexpr (CODES)
        for (; c + 2 * VL <= channels; c += 2 * VL) {
            const fvec scale[] = {load(scales + c), load(scales + c + VL)}, shift[] = {load(shifts + c), load(shifts + c + VL)};
            for (int m = 0; m < pixels; m += 2) {
                fvec real[4];
                reals_at(real, {m, m, m + 1, m + 1}, {c, c + VL, c, c + VL}, scale, shift, VL);
                narrow_two<kClipsCodes>(static_cast<uint8_t*>(args.out[m]) + first + c, static_cast<uint8_t*>(args.out[m + 1]) + first + c, real, to);
            }
        }
#endif
    for (; c < channels; c += VL) {
        const int count = channels - c < VL ? channels - c : VL;
        const fvec scale[] = {load(scales + c)}, shift[] = {load(shifts + c)};
        int m = 0;
#if VL == 16
        if constexpr (CODES)
            for (; m + 4 <= pixels; m += 4) {
                fvec real[4];
                reals_at(real, {m, m + 1, m + 2, m + 3}, {c, c, c, c}, scale, shift, count);
                narrow_four<kClipsCodes>(args.out + m, first + c, real, to, count);
            }
#endif
        for (; m < pixels; m += 2) {
            fvec real[2];
            reals_at(real, {m, m + 1}, {c, c}, scale, shift, count);
            for (int i = 0; i < 2; i++) {
                if constexpr (CODES) write(static_cast<uint8_t*>(args.out[m + i]) + first + c, code_of(real[i], to), count);
                else write(static_cast<float*>(args.out[m + i]) + first + c, real[i], count);
            }
        }
    }
}

template <bool RESIDUAL, bool CODES, bool FACTOR>
INLINE void finish_activated(const BlockArgs8& args, const int32_t* sums, int pixels, int row, int from, int channels) {
    switch (args.finish->activation) {
        case Activation::clip:
            if (CODES && !RESIDUAL && !FACTOR && clips_above(*args.finish)) break;
            return finish_sums<Activation::clip, RESIDUAL, CODES, FACTOR>(args, sums, pixels, row, from, channels);
        case Activation::silu: return finish_sums<Activation::silu, RESIDUAL, CODES, FACTOR>(args, sums, pixels, row, from, channels);
        case Activation::leaky: return finish_sums<Activation::leaky, RESIDUAL, CODES, FACTOR>(args, sums, pixels, row, from, channels);
        default: break;
    }
    finish_sums<Activation::none, RESIDUAL, CODES, FACTOR>(args, sums, pixels, row, from, channels);
}

void finish_block(const BlockArgs8& args, const int32_t* sums, int pixels, int row, int from, int channels) {
    if (!args.finish->codes)
        return args.has_residual ? finish_activated<true, false, false>(args, sums, pixels, row, from, channels)
                                 : finish_activated<false, false, false>(args, sums, pixels, row, from, channels);
    if (args.factor)
        return args.has_residual ? finish_activated<true, true, true>(args, sums, pixels, row, from, channels)
                                 : finish_activated<false, true, true>(args, sums, pixels, row, from, channels);
    return args.has_residual ? finish_activated<true, true, false>(args, sums, pixels, row, from, channels)
                             : finish_activated<false, true, false>(args, sums, pixels, row, from, channels);
}

// out[pixel][0 .. channels) = finish(start + sum over taps and run of in * weights), start = the bias or the sums so far
template <bool SINGLE, int P, int N>
void conv_block(const BlockArgs8& args) {
    constexpr int B = SINGLE ? 2 * P : P;  // addresses
    ivec acc[2 * P][N];
    if (args.resume) {
#pragma GCC unroll 16
        for (int m = 0; m < 2 * P; m++)
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) acc[m][n] = load(args.partial + (m * N + n) * VL);
    } else {
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) {
            const ivec s = load(args.start + n * VL);
#pragma GCC unroll 16
            for (int m = 0; m < 2 * P; m++) acc[m][n] = s;
        }
    }
    const int8_t* w = args.weights;
    const ptrdiff_t run = args.run, pair = args.pair_stride;
    for (int t = 0; t < args.tap_count; t++) {
        const ptrdiff_t end = args.taps[t] + run;
        const uint8_t* base[B];
#pragma GCC unroll 16
        for (int b = 0; b < B; b++) base[b] = args.in[b] + end;
        for (ptrdiff_t c = -run; c != 0; c += 4) {
            Weights v[N];
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) v[n] = weights_at(w + n * VL * 4);
            w += N * VL * 4;
            const ptrdiff_t second = c + pair;
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) {
                const Codes x0 = codes_at(base[SINGLE ? 2 * p : p] + c);
#pragma GCC unroll 2
                for (int n = 0; n < N; n++) acc[2 * p][n] = dot(acc[2 * p][n], x0, v[n]);
                const Codes x1 = codes_at(SINGLE ? base[2 * p + 1] + c : base[p] + second);
#pragma GCC unroll 2
                for (int n = 0; n < N; n++) acc[2 * p + 1][n] = dot(acc[2 * p + 1][n], x1, v[n]);
            }
        }
    }
    int32_t waiting[2 * P * N * VL];
    int32_t* sums = args.keep ? args.partial : waiting;
#pragma GCC unroll 16
    for (int m = 0; m < 2 * P; m++)
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) store(sums + (m * N + n) * VL, acc[m][n]);
    if (!args.keep) finish_block(args, sums, 2 * P, N * VL, 0, args.channels);
}

void pack_conv(int8_t* to, const int8_t* weight, int used, int columns, int taps, int channels, int padded) {
    for (int t = 0; t < taps; t++)
        for (int i = 0; i < padded; i += 4)
            for (int o = 0; o < columns; o++)
                for (int k = i; k < i + 4; k++)
                    *to++ = o < used && k < channels ? weight[(static_cast<ptrdiff_t>(o) * channels + k) * taps + t] : int8_t{0};
}
