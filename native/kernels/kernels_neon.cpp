// 128 bits, and twice as many registers as the baseline counts on.
#define RECONV_ISA neon
#define RECONV_ISA_NAME "neon"
#define VL 4
#define PAIRS 6
#include "kernels_impl.hpp"
