// The micro-kernels on codes: what one instruction set offers to the ops on maps of unsigned 8-bit codes.
//
// real = (code - zero) * scale. Weights are signed 8-bit, one scale for each output channel; the sums are 32-bit integers
// and exact, so every order of work gives the same. What follows a sum is float arithmetic that is never contracted to a
// fused multiply-add and whose silu (vec8.hpp) is made of single operations, so that all sets give the same bits:
//
//   real = float(sum) * scale[c] + shift[c], two roundings; then the activation
//   code = rne(clamp(real * inverse, -zero, 255 - zero)) + zero, rne: to the nearest, ties to even; a NaN becomes code 0
//
// Where an output channel has a scale of its own, the real is multiplied by factor[c] before that.
//
// Kernels write exactly the codes (or floats) that they are asked for, never a whole vector beyond the last channel. They
// read up to kSlack8 bytes behind the last code of a pixel, of packed weights and of a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace reconv {

constexpr int kMaxPairs8 = 16;
constexpr int kMaxPixels8 = 2 * kMaxPairs8;
constexpr int kSlack8 = 64;  // bytes that may be read, never used, behind the end of codes

// What is done to a convolution's sums, the same for all channels.
struct Finish8 {
    Activation activation = Activation::none;  // none, clip, silu, leaky; others are done by the caller on rows of floats
    float low = 0.f, high = 0.f;               // clip; leaky: low is the slope
    bool codes = true;                         // false: the reals are stored as floats
    float inverse = 1.f;                       // 1 / scale of the output
    int zero = 0;                              // zero point of the output

    // real = activation(..), to codes of `inner` and back if inner_inverse is not 0, + (code - residual_zero) * residual_scale;
    // used where BlockArgs8::has_residual
    float inner_inverse = 0.f, inner_scale = 0.f;
    int inner_zero = 0;
    float residual_scale = 0.f;
    int residual_zero = 0;
    Activation after = Activation::none;       // none, clip, silu, leaky, on the sum
    float after_low = 0.f, after_high = 0.f;
};

// A block as in BlockArgs: pairs of pixels, `pair_stride` bytes apart, or single pixels.
struct BlockArgs8 {
    const uint8_t* in[kMaxPixels8];        // first tap of each pair's first pixel; of each pixel in a block of single ones
    void* out[kMaxPixels8];                // where each pixel's channels go: codes, or floats
    const uint8_t* residual[kMaxPixels8];  // each pixel's codes that are added, where has_residual
    bool has_residual;
    ptrdiff_t pair_stride;                 // bytes
    const ptrdiff_t* taps;                 // offset of each tap from the first, bytes
    int tap_count;
    int run;                               // contiguous bytes read at each tap, a multiple of 4 (of channels, or kernel width x channels)
    const int8_t* weights;                 // by pack_conv: [tap][run / 4][vectors * width][4]; by pack_depthwise
    const int32_t* start;                  // bias - zero point of the input * sum of the weights: [vectors * width]; depthwise: arranged
    const float *scale, *shift;            // as start
    const float* factor;                   // as start, of reals before they become codes; nullptr: none
    int first_channel;                     // codes (or floats) added to every out pointer and codes to every residual pointer
    int channels;                          // that are written, <= vectors * width (depthwise: all)
    int32_t* partial;                      // sums of a window done in parts, [pixel][vectors * width], with room for a full block
    bool resume, keep;                     // start from `partial` and not from `start`; leave the sums there and not in `out`
    const Finish8* finish;
    int* tiles;                            // Tiles8::set of the calling thread; nullptr: the kernel sets its tiles and releases them
};

using BlockKernel8 = void (*)(const BlockArgs8&);

struct Add8 {  // code of activation((a - zero_a) * scale_a + (b - zero_b) * scale_b)
    float scale_a, scale_b;
    int zero_a, zero_b;
    Activation activation = Activation::none;
    float low = 0.f, high = 0.f;
    float inverse = 1.f;
    int zero = 0;
};

struct Average8 {  // code of float(sum - offset) * scale; offset = codes in the sum * zero point, scale = input scale / divisor
    int32_t offset;
    float scale, inverse;
    int zero;
};

struct Kernels8 {
    const char* name;
    int width;                              // 32-bit sums in a vector
    int pairs;                              // pairs in a full block
    BlockKernel8 conv[2][kMaxPairs8 + 1][2];      // [single pixels][pairs][vectors - 1]
    BlockKernel8 depthwise[2][kMaxPairs8 + 1];    // [single pixels][pairs]
    // Weights of a tile, which begin best at a multiple of 64 bytes. From ONNX's (O, I, taps) at the tile's first output channel, `used` of them, to
    // [tap][padded / 4][columns][4]: `padded` >= channels is a multiple of 4, columns = vectors * width, the rest is zeros.
    // Writes taps * padded * columns bytes.
    void (*pack_conv)(int8_t* to, const int8_t* weight, int used, int columns, int taps, int channels, int padded);
    // Depthwise: from (C, taps); writes depthwise_bytes(channels, taps) bytes. The order in which a set takes the channels is
    // its own: start, scale and shift must go through `arrange`, which writes depthwise_padded(channels) values, zeros beyond.
    int64_t (*depthwise_bytes)(int channels, int taps);
    int (*depthwise_padded)(int channels);
    void (*pack_depthwise)(int8_t* to, const int8_t* weight, int channels, int taps);
    void (*arrange)(void* to, const void* values, int channels);  // 32-bit values

    void (*quantize_row)(uint8_t* out, const float* in, int64_t count, float inverse, int zero);
    void (*dequantize_row)(float* out, const uint8_t* in, int64_t count, float scale, int zero);
    void (*requantize_row)(uint8_t* out, const uint8_t* in, int64_t count, float scale, int zero, float inverse, int out_zero);
    void (*table_row)(uint8_t* out, const uint8_t* in, int64_t count, const uint8_t* table);  // 256 entries; out may be in
    void (*add8)(uint8_t* out, const uint8_t* a, const uint8_t* b, int64_t count, const Add8&);
    void (*max_window8)(uint8_t* out, const uint8_t* const* in, int count, int channels);
    void (*average_window8)(uint8_t* out, const uint8_t* const* in, int count, int channels, const Average8&);
    // sums of a row of pixels added to `sums`, and a code for each sum
    void (*sum_row8)(int32_t* sums, const uint8_t* in, int pixels, ptrdiff_t stride, int channels);
    void (*average_row8)(uint8_t* out, const int32_t* sums, int channels, const Average8&);
    // As Kernels::put and cut, `channels` codes of a pixel. weights == nullptr: moved unless all codes are equal; else moved
    // unless sum w ((fresh - stored) * scale)^2 <= limit; weights are padded with zeros to 16.
    void (*put8)(uint32_t wanted, uint8_t* const* fresh, uint8_t* const* stored, int channels);
    uint32_t (*cut8)(uint32_t wanted, uint8_t* const* fresh, uint8_t* const* stored, int channels, const float* weights,
                     float limit, float scale);
    void (*release_tiles)();  // null in sets without tiles
};

// Around the convolutions that a thread does one after the other: setting a set's tile registers takes as long as a small block.
// Nothing else that uses tiles may run in between.
struct Tiles8 {
    explicit Tiles8(const Kernels8& kernels) : release(kernels.release_tiles) {}
    ~Tiles8() {
        if (set >= 0) release();
    }
    Tiles8(const Tiles8&) = delete;
    Tiles8& operator=(const Tiles8&) = delete;

    int set = -1;  // what the registers are set to; -1: nothing
    void (*release)();
};

extern const Kernels8 kernels8_baseline;
#if defined(RECONV_X86)
extern const Kernels8 kernels8_v3;
extern const Kernels8 kernels8_v3vnni;
extern const Kernels8 kernels8_v4;
extern const Kernels8 kernels8_v4vnni;
extern const Kernels8 kernels8_amx;
bool permutes_bytes();  // whether the processor has AVX512-VBMI, which is part of no set
#elif defined(RECONV_ARM)
extern const Kernels8 kernels8_neon;
extern const Kernels8 kernels8_i8mm;
#endif

}  // namespace reconv
