// Which instruction sets this machine can run, and the table of each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels.hpp"

namespace reconv {

// Names of the usable sets, best first: "amx", "v4vnni", "v4", "v3vnni", "v3", "baseline". On floats the first two are v4 and
// v3vnni is v3; they differ in the kernels on codes.
std::vector<std::string> usable_isas();

// The table of a usable set; an empty name means the best, or what the environment variable RECONV_ISA names.
// Throws std::invalid_argument for a set that is unknown or that this machine cannot run.
const Kernels& kernels_of(std::string_view name);

}  // namespace reconv
