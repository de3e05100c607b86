#define RECONV_ISA baseline
#define VL 4
#define PAIRS 3
#include "kernels8_impl.hpp"
