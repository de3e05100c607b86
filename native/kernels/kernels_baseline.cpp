#define RECONV_ISA baseline
#define RECONV_ISA_NAME "baseline"
#define VL 4
#define PAIRS 3
#include "kernels_impl.hpp"
