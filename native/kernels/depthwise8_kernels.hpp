// Depthwise convolution of codes: one filter per channel. Included by kernels8_impl.hpp.
#pragma once

constexpr int kChannels8 = VL;  // that are taken at a time

// weights: [tap][padded channels]
template <bool SINGLE, int P>
void depthwise_block(const BlockArgs8& args) {
    constexpr int kTogether = 4 * VL;  // channels whose sums wait for the finish
    const ptrdiff_t pair = args.pair_stride;
    const int padded = (args.channels + VL - 1) / VL * VL;
    int32_t sums[2 * P * kTogether];
    for (int from = 0; from < padded; from += kTogether) {
        const int to = from + kTogether < padded ? from + kTogether : padded;
        for (int c = from; c < to; c += VL) {
            ivec acc[2 * P];
            const ivec s = load(args.start + c);
#pragma GCC unroll 16
            for (int m = 0; m < 2 * P; m++) acc[m] = s;
            const int8_t* w = args.weights + c;
            for (int t = 0; t < args.tap_count; t++, w += padded) {
                const ptrdiff_t first = args.taps[t] + c, second = first + pair;
                const ivec v = widen(w);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++) {
                    acc[2 * p] += multiply_halves(widen(args.in[SINGLE ? 2 * p : p] + first), v);
                    acc[2 * p + 1] += multiply_halves(widen(SINGLE ? args.in[2 * p + 1] + first : args.in[p] + second), v);
                }
            }
#pragma GCC unroll 16
            for (int m = 0; m < 2 * P; m++) store(sums + m * kTogether + c - from, acc[m]);
        }
        finish_block(args, sums, 2 * P, kTogether, from, (to < args.channels ? to : args.channels) - from);
    }
}

int depthwise_padded(int channels) { return (channels + kChannels8 - 1) / kChannels8 * kChannels8; }
int64_t depthwise_bytes(int channels, int taps) { return static_cast<int64_t>(depthwise_padded(channels)) * taps; }

void pack_depthwise(int8_t* to, const int8_t* weight, int channels, int taps) {
    const int padded = depthwise_padded(channels);
    for (int t = 0; t < taps; t++)
        for (int c = 0; c < padded; c++) *to++ = c < channels ? weight[static_cast<ptrdiff_t>(c) * taps + t] : int8_t{0};
}

void arrange(void* to, const void* values, int channels) {
    const size_t bytes = static_cast<size_t>(channels) * 4;
    __builtin_memcpy(to, values, bytes);
    __builtin_memset(static_cast<char*>(to) + bytes, 0, static_cast<size_t>(depthwise_padded(channels)) * 4 - bytes);
}
