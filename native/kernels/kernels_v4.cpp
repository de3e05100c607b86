#define RECONV_ISA v4
#define RECONV_ISA_NAME "v4"
#define VL 16
#define PAIRS 6
#include "kernels_impl.hpp"
