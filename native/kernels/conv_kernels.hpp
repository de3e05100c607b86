// Convolution over a block of pixels, dense in channels or depthwise. Included by kernels_impl.hpp.
#pragma once

template <int ACTIVATION>
INLINE vec finish(vec v, const BlockArgs& args) {
    if constexpr (ACTIVATION == 1) return vmin(vmax(v, args.low), args.high);
    if constexpr (ACTIVATION == 2) return silu(v);
    if constexpr (ACTIVATION == 3) return v < 0.f ? v * args.low : v;
    return v;
}

// out[pixel][0 .. N*VL) = activation(start + sum over taps and run of in * weights), start = bias or the sums so far
template <bool SINGLE, int P, int N, int ACTIVATION>
void conv_block(const BlockArgs& args) {
    constexpr int B = SINGLE ? 2 * P : P;  // addresses
    vec acc[2 * P][N];
    if (args.resume) {
#pragma GCC unroll 16
        for (int m = 0; m < 2 * P; m++)
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) acc[m][n] = load(args.partial + (m * N + n) * VL);
    } else {
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) {
            const vec b = load(args.bias + n * VL);
#pragma GCC unroll 16
            for (int m = 0; m < 2 * P; m++) acc[m][n] = b;
        }
    }
    const float* w = args.weights;
    const ptrdiff_t run_bytes = static_cast<ptrdiff_t>(args.run) * 4;
    for (int t = 0; t < args.tap_count; t++) {
        const ptrdiff_t tap = args.taps[t];
        const char* base[B];
#pragma GCC unroll 16
        for (int b = 0; b < B; b++) base[b] = reinterpret_cast<const char*>(args.in[b] + tap) + run_bytes;
        const ptrdiff_t pair = args.pair_stride * 4;
        for (ptrdiff_t c = -run_bytes; c != 0; c += 4) {
            vec v[N];
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) v[n] = load(w + n * VL);
            w += N * VL;
            const ptrdiff_t second = c + pair;
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) {
                const float x0 = *reinterpret_cast<const float*>(base[SINGLE ? 2 * p : p] + c);
                const float x1 = *reinterpret_cast<const float*>(SINGLE ? base[2 * p + 1] + c : base[p] + second);
#pragma GCC unroll 2
                for (int n = 0; n < N; n++) {
                    acc[2 * p][n] += x0 * v[n];
                    acc[2 * p + 1][n] += x1 * v[n];
                }
            }
        }
    }
    if (args.keep) {
#pragma GCC unroll 16
        for (int m = 0; m < 2 * P; m++)
#pragma GCC unroll 2
            for (int n = 0; n < N; n++) store(args.partial + (m * N + n) * VL, acc[m][n]);
        return;
    }
#pragma GCC unroll 16
    for (int m = 0; m < 2 * P; m++) {
        float* out = args.out[m] + args.first_channel;
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) store(out + n * VL, finish<ACTIVATION>(acc[m][n], args));
    }
}

// One filter per channel. `channels` of the out rows are written in whole vectors; the caller gives rows with room.
template <bool SINGLE, int P, int ACTIVATION>
void depthwise_block(const BlockArgs& args, int channels, int padded) {
    const ptrdiff_t pair = args.pair_stride;
    for (int c = 0; c < channels; c += VL) {
        vec acc[2 * P];
        const vec b = load(args.bias + c);
#pragma GCC unroll 16
        for (int m = 0; m < 2 * P; m++) acc[m] = b;
        const float* w = args.weights + c;
        for (int t = 0; t < args.tap_count; t++, w += padded) {
            const ptrdiff_t first = args.taps[t] + c, second = first + pair;
            const vec v = load(w);
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) {
                acc[2 * p] += load(args.in[SINGLE ? 2 * p : p] + first) * v;
                acc[2 * p + 1] += (SINGLE ? load(args.in[2 * p + 1] + first) : load(args.in[p] + second)) * v;
            }
        }
#pragma GCC unroll 16
        for (int m = 0; m < 2 * P; m++) store(args.out[m] + args.first_channel + c, finish<ACTIVATION>(acc[m], args));
    }
}
