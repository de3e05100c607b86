#define RECONV_ISA v3
#define RECONV_ISA_NAME "v3"
#define VL 8
#define PAIRS 3
#include "kernels_impl.hpp"
