#define RECONV_ISA i8mm
#define VL 4
#define PAIRS 6
#define RECONV_VNNI
#include "kernels8_impl.hpp"
