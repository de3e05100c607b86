#define RECONV_ISA neon
#define VL 4
#define PAIRS 3
#include "kernels8_impl.hpp"
