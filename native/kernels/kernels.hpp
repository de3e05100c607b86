// The micro-kernels' table: what one instruction set offers to the ops.
//
// Kernels know pointers and strides, nothing of graphs, maps or stale sets. Each instruction set fills one table from
// the same source (kernels_impl.hpp), and the plan picks a table when it is made.
//
// Order of accumulation. A pixel's value must not depend on its place in a block, on the thread or on the split of the
// work, so every kernel adds the taps of a window in row-major order and the channels of a tap in ascending order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reconv {

enum class Activation : int32_t {
    none, clip, silu, leaky,  // applied in registers by the convolution kernels
    prelu, sigmoid, tanh, hardsigmoid, hardswish, gelu, gelu_tanh, erf, elu, softplus, mish, exp, log, sqrt,
};
constexpr int kFusedActivations = 4;  // none, clip, silu, leaky

struct ActivationSpec {
    Activation kind = Activation::none;
    float a = 0.f, b = 0.f;         // clip: low, high; leaky, elu: alpha; hardsigmoid: alpha, beta
    const float* slopes = nullptr;  // prelu: one per channel
};

enum class Binary : int32_t { add, sub, mul, div, min, max, pow };

constexpr int kMaxPairs = 6;
constexpr int kMaxPixels = 2 * kMaxPairs;

// A block is up to `pairs` pairs of output pixels. The two pixels of a pair lie `pair_stride` floats apart in the input,
// the pairs anywhere: a dense row and scattered runs of stale pixels take the same kernel at the same speed, and seven
// addresses instead of twelve fit the registers. Pixels that are left over, the last of odd runs, are gathered in blocks
// of their own, with an address each.
struct BlockArgs {
    const float* in[kMaxPixels];    // first tap of each pair's first pixel; of each pixel in a block of single ones
    float* out[kMaxPixels];         // where each pixel's channels go
    ptrdiff_t pair_stride;          // floats
    const ptrdiff_t* taps;          // offset of each tap from the first, floats
    int tap_count;
    int run;                        // contiguous floats read at each tap (channels, or kernel width x channels)
    const float* weights;           // convolution: [tap][run][vectors * width]; depthwise: [tap][padded channels]
    const float* bias;              // [vectors * width] or [padded channels]
    int first_channel;              // added to every out pointer
    float* partial;                 // sums of a window done in parts, [pixel][vectors * width]
    bool resume, keep;              // start from `partial` and not from the bias; leave the sums there and not in `out`
    float low, high;                // clip; leaky: low is the slope
};

using BlockKernel = void (*)(const BlockArgs&);
// channels: multiple of the vector width for scratch rows; the padding of weights and bias covers the rest
using DepthwiseKernel = void (*)(const BlockArgs&, int channels, int padded);

struct InputRow {
    const float* source;            // user's array, at (y, 0, 0)
    ptrdiff_t source_pixel, source_channel;  // element strides
    float* stored;                  // the map's row
    ptrdiff_t stored_pixel;
    int width, channels;
    float* scratch;                 // 2 * (width * channels + 64) floats
};

constexpr int kMostByteChannels = 4;

struct ByteRow {
    const uint8_t* source;          // user's array, at (y, 0, 0)
    ptrdiff_t source_pixel, source_channel;  // bytes
    uint8_t* kept;                  // the last frame's row, its channels together; null: none is kept
    bool known;                     // pixels whose bytes are those kept have not moved
    uint8_t* mirror;                // the bytes of what is stored, or where they go; null: nowhere
    bool mirrors;                   // they are there
    const float* table;             // (channels, 256): what a byte stands for
    const int32_t* order;           // of each channel, where the source has it
    const float *factors, *shifts;  // of 64 pixels: the table is byte * factor - shift; null: no table; no shifts
    bool swapped;                   // with factors: the first and the third channel are; else all are where they were
    float* stored;                  // the map's row
    ptrdiff_t stored_pixel;
    int width, channels;            // at most kMostByteChannels
    float* scratch;                 // 2 * (width * channels + 64) floats
};

struct Kernels8;  // kernels8.hpp

struct Kernels {
    const char* name;
    int width;                      // floats in a vector
    int pairs;                      // pairs in a full block
    BlockKernel conv[2][kMaxPairs + 1][2][kFusedActivations];  // [single pixels][pairs][vectors - 1][activation]
    DepthwiseKernel depthwise[2][kMaxPairs + 1][kFusedActivations];
    void (*activate)(float* values, int64_t count, const ActivationSpec&);  // prelu: count = channels
    // values = after(values + other), for one pixel
    void (*add_activate)(float* values, const float* other, int count, const ActivationSpec& after);
    // Copies the wanted pixels (bit per pixel) of a block to where they are stored.
    void (*put)(uint32_t wanted, float* const* fresh, float* const* stored, int channels);
    // Cutoff of the wanted pixels: bit m set where pixel m moved; its new values are then copied over the stored ones.
    // weights == nullptr: moved unless bit-identical and finite; else moved unless sum w (new - stored)^2 <= limit.
    uint32_t (*cut)(uint32_t wanted, float* const* fresh, float* const* stored, int channels, const float* weights,
                    float limit);
    // Compares a row of the frame with the stored one, stores what moved and sets its bits (whole words are written).
    // A dense frame passes all = true: every pixel is stored and every bit set; bits may then be null.
    void (*input_row)(const InputRow&, const float* weights, float limit, bool all, uint64_t* bits);
    // The same with a row of bytes: stores and marks what input_row would, given the floats of the table. Keeps the row.
    // False: the bytes are those that were kept.
    bool (*byte_row)(const ByteRow&, const float* weights, float limit, bool all, uint64_t* bits);
    void (*max_window)(float* out, const float* const* in, int count, int channels);
    void (*average_window)(float* out, const float* const* in, int count, int channels, float divisor);
    void (*affine)(float* out, const float* in, const float* scale, const float* shift, int channels);
    // step 0 repeats one value over the channels
    void (*binary)(Binary, float* out, const float* a, int a_step, const float* b, int b_step, int channels);
    void (*lerp4)(float* out, const float* const in[4], const float weights[4], int channels);
    void (*softmax)(float* out, const float* in, int channels);
    // sum (or maximum) of a row of pixels added to out
    void (*sum_row)(float* out, const float* in, int pixels, ptrdiff_t stride, int channels);
    void (*max_row)(float* out, const float* in, int pixels, ptrdiff_t stride, int channels);
    // (pixels, channels) with given strides -> user's array with given strides
    void (*export_row)(float* out, ptrdiff_t out_pixel, ptrdiff_t out_channel, const float* in, ptrdiff_t in_pixel,
                       int pixels, int channels);
    const Kernels8* codes;          // the kernels on maps of 8-bit codes
};

extern const Kernels kernels_baseline;
#if defined(RECONV_X86)
extern const Kernels kernels_v3;
extern const Kernels kernels_v4;
#elif defined(RECONV_ARM)
extern const Kernels kernels_neon;
#endif

}  // namespace reconv
