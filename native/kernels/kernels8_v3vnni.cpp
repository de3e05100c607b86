#define RECONV_ISA v3vnni
#define VL 8
#define PAIRS 3
#define RECONV_VNNI
#include "kernels8_impl.hpp"
