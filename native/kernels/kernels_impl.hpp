// The kernels, written once in vector extensions and compiled once per instruction set.
//
// The including file defines RECONV_ISA (the namespace and table suffix), VL (floats in a vector) and PAIRS (pairs of
// pixels in a full block). PAIRS * 2 * 2 accumulators, two weight vectors and a broadcast must fit the registers.
#include <cmath>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernels8.hpp"

#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)

namespace reconv {
namespace {
namespace RECONV_ISA {

#include "vec.hpp"
#include "conv_kernels.hpp"
#include "map_kernels.hpp"
#include "input_kernels.hpp"

}  // namespace RECONV_ISA
}  // namespace

#define CONV_ROW(s, p) \
    {{RECONV_ISA::conv_block<s, p, 1, 0>, RECONV_ISA::conv_block<s, p, 1, 1>, RECONV_ISA::conv_block<s, p, 1, 2>, \
      RECONV_ISA::conv_block<s, p, 1, 3>}, \
     {RECONV_ISA::conv_block<s, p, 2, 0>, RECONV_ISA::conv_block<s, p, 2, 1>, RECONV_ISA::conv_block<s, p, 2, 2>, \
      RECONV_ISA::conv_block<s, p, 2, 3>}}
#define NO_CONV_ROW {{nullptr, nullptr, nullptr, nullptr}, {nullptr, nullptr, nullptr, nullptr}}
#define DEPTHWISE_ROW(s, p) \
    {RECONV_ISA::depthwise_block<s, p, 0>, RECONV_ISA::depthwise_block<s, p, 1>, RECONV_ISA::depthwise_block<s, p, 2>, \
     RECONV_ISA::depthwise_block<s, p, 3>}
#define NO_DEPTHWISE_ROW {nullptr, nullptr, nullptr, nullptr}
#if PAIRS == 6
#define CONV_ROWS(s) \
    {NO_CONV_ROW, CONV_ROW(s, 1), CONV_ROW(s, 2), CONV_ROW(s, 3), CONV_ROW(s, 4), CONV_ROW(s, 5), CONV_ROW(s, 6)}
#define DEPTHWISE_ROWS(s) \
    {NO_DEPTHWISE_ROW, DEPTHWISE_ROW(s, 1), DEPTHWISE_ROW(s, 2), DEPTHWISE_ROW(s, 3), DEPTHWISE_ROW(s, 4), \
     DEPTHWISE_ROW(s, 5), DEPTHWISE_ROW(s, 6)}
#else
#define CONV_ROWS(s) \
    {NO_CONV_ROW, CONV_ROW(s, 1), CONV_ROW(s, 2), CONV_ROW(s, 3), NO_CONV_ROW, NO_CONV_ROW, NO_CONV_ROW}
#define DEPTHWISE_ROWS(s) \
    {NO_DEPTHWISE_ROW, DEPTHWISE_ROW(s, 1), DEPTHWISE_ROW(s, 2), DEPTHWISE_ROW(s, 3), NO_DEPTHWISE_ROW, \
     NO_DEPTHWISE_ROW, NO_DEPTHWISE_ROW}
#endif

const Kernels CONCAT(kernels_, RECONV_ISA) = {
    RECONV_ISA_NAME,
    VL,
    PAIRS,
    {CONV_ROWS(false), CONV_ROWS(true)},
    {DEPTHWISE_ROWS(false), DEPTHWISE_ROWS(true)},
    RECONV_ISA::activate,
    RECONV_ISA::add_activate,
    RECONV_ISA::put,
    RECONV_ISA::cut,
    RECONV_ISA::input_row,
    RECONV_ISA::byte_row,
    RECONV_ISA::max_window,
    RECONV_ISA::average_window,
    RECONV_ISA::affine,
    RECONV_ISA::binary,
    RECONV_ISA::lerp4,
    RECONV_ISA::softmax,
    RECONV_ISA::sum_row,
    RECONV_ISA::max_row,
    RECONV_ISA::export_row,
    &CONCAT(kernels8_, RECONV_ISA),
};

}  // namespace reconv
