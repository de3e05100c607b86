#define RECONV_ISA v4vnni
#define VL 16
#define PAIRS 6
#define RECONV_VNNI
#include "kernels8_impl.hpp"
