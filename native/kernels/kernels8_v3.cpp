#define RECONV_ISA v3
#define VL 8
#define PAIRS 3
#include "kernels8_impl.hpp"
