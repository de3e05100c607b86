#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

namespace reconv {
namespace {

std::vector<const Kernels*> usable() {
    std::vector<const Kernels*> found;
#if defined(RECONV_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found.push_back(&kernels_v4);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        found.push_back(&kernels_v3);
#endif
    found.push_back(&kernels_baseline);
    return found;
}

}  // namespace

std::vector<std::string> usable_isas() {
    std::vector<std::string> names;
    for (const Kernels* k : usable()) names.emplace_back(k->name);
    return names;
}

const Kernels& kernels_of(std::string_view name) {
    const auto found = usable();
    std::string wanted(name);
    if (wanted.empty())
        if (const char* forced = std::getenv("RECONV_ISA")) wanted = forced;
    if (wanted.empty()) return *found.front();
    std::string known;
    for (const Kernels* k : found) {
        if (wanted == k->name) return *k;
        known += known.empty() ? "" : ", ";
        known += k->name;
    }
    throw std::invalid_argument("instruction set '" + wanted + "' is not one that this machine can run (" + known + ")");
}

}  // namespace reconv
