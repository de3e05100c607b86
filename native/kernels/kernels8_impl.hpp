// The kernels on codes, written once and compiled once per instruction set.
//
// The including file defines RECONV_ISA (the namespace and table suffix), VL (32-bit lanes of a vector), PAIRS (pairs of pixels
// in a full block), where the set multiplies codes with weights in one instruction RECONV_VNNI, and where it has tiles
// RECONV_TILES.
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "kernels8.hpp"

#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

namespace reconv {
namespace {
namespace RECONV_ISA {

#include "vec8.hpp"
#include "conv8_kernels.hpp"
#if defined(RECONV_TILES)
#include "tile8_kernels.hpp"
#endif
#if defined(RECONV_VNNI) && VL == 16
#include "woven8_kernels.hpp"
#else
#include "depthwise8_kernels.hpp"
#endif
#include "map8_kernels.hpp"

#undef EACH

}  // namespace RECONV_ISA
}  // namespace

#define CONV_ROW(s, p) {RECONV_ISA::conv_block<s, p, 1>, RECONV_ISA::conv_block<s, p, 2>}
#define TILE_ROW(s, p) {RECONV_ISA::tile_block<s, p, 1>, RECONV_ISA::tile_block<s, p, 2>}
#define DEPTHWISE(s, p) RECONV_ISA::depthwise_block<s, p>
#if PAIRS == 3
#define CONV_ROWS(s) {{}, CONV_ROW(s, 1), CONV_ROW(s, 2), CONV_ROW(s, 3)}
#define DEPTHWISE_ROWS(s) {nullptr, DEPTHWISE(s, 1), DEPTHWISE(s, 2), DEPTHWISE(s, 3)}
#elif PAIRS == 6
#define CONV_ROWS(s) {{}, CONV_ROW(s, 1), CONV_ROW(s, 2), CONV_ROW(s, 3), CONV_ROW(s, 4), CONV_ROW(s, 5), CONV_ROW(s, 6)}
#define DEPTHWISE_ROWS(s) \
    {nullptr, DEPTHWISE(s, 1), DEPTHWISE(s, 2), DEPTHWISE(s, 3), DEPTHWISE(s, 4), DEPTHWISE(s, 5), DEPTHWISE(s, 6)}
#else  // few pixels are done faster without tiles
#define CONV_ROWS(s) \
    {{}, CONV_ROW(s, 1), CONV_ROW(s, 2), CONV_ROW(s, 3), TILE_ROW(s, 4), TILE_ROW(s, 5), TILE_ROW(s, 6), TILE_ROW(s, 7), \
     TILE_ROW(s, 8), TILE_ROW(s, 9), TILE_ROW(s, 10), TILE_ROW(s, 11), TILE_ROW(s, 12), TILE_ROW(s, 13), TILE_ROW(s, 14), \
     TILE_ROW(s, 15), TILE_ROW(s, 16)}
#define DEPTHWISE_ROWS(s) \
    {nullptr, DEPTHWISE(s, 1), DEPTHWISE(s, 2), DEPTHWISE(s, 3), DEPTHWISE(s, 4), DEPTHWISE(s, 5), DEPTHWISE(s, 6), \
     DEPTHWISE(s, 7), DEPTHWISE(s, 8), DEPTHWISE(s, 9), DEPTHWISE(s, 10), DEPTHWISE(s, 11), DEPTHWISE(s, 12), \
     DEPTHWISE(s, 13), DEPTHWISE(s, 14), DEPTHWISE(s, 15), DEPTHWISE(s, 16)}
#endif
#if defined(RECONV_TILES)
#define RELEASE_TILES RECONV_ISA::release_tiles
#else
#define RELEASE_TILES nullptr
#endif

const Kernels8 CONCAT(kernels8_, RECONV_ISA) = {
    TEXT(RECONV_ISA),
    VL,
    PAIRS,
    {CONV_ROWS(false), CONV_ROWS(true)},
    {DEPTHWISE_ROWS(false), DEPTHWISE_ROWS(true)},
    RECONV_ISA::pack_conv,
    RECONV_ISA::depthwise_bytes,
    RECONV_ISA::depthwise_padded,
    RECONV_ISA::pack_depthwise,
    RECONV_ISA::arrange,
    RECONV_ISA::quantize_row,
    RECONV_ISA::dequantize_row,
    RECONV_ISA::requantize_row,
    RECONV_ISA::table_row,
    RECONV_ISA::add8,
    RECONV_ISA::max_window8,
    RECONV_ISA::average_window8,
    RECONV_ISA::sum_row8,
    RECONV_ISA::average_row8,
    RECONV_ISA::put8,
    RECONV_ISA::cut8,
    RELEASE_TILES,
};

}  // namespace reconv
