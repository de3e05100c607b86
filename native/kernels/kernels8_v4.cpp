#define RECONV_ISA v4
#define VL 16
#define PAIRS 6
#include "kernels8_impl.hpp"
