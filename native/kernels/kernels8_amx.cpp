#define RECONV_ISA amx
#define VL 16
#define PAIRS 16
#define RECONV_VNNI
#define RECONV_TILES
#include "kernels8_impl.hpp"
