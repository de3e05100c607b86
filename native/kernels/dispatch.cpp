#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "kernels8.hpp"
#if defined(RECONV_X86)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace reconv {
namespace {

#if defined(RECONV_X86)
// A set's kernels on floats with other kernels on codes.
Kernels with_codes(const Kernels& floats, const Kernels8& codes) {
    Kernels kernels = floats;
    kernels.name = codes.name;
    kernels.codes = &codes;
    return kernels;
}

bool avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
}

// Tiles belong to a process that has asked for them.
bool tiles() {
#if defined(__linux__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & (1u << 24)) || !(d & (1u << 25))) return false;  // amx_tile, amx_int8
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
}
#endif

std::vector<const Kernels*> find_usable() {
    std::vector<const Kernels*> found;
#if defined(RECONV_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        if (__builtin_cpu_supports("avx512vnni")) {
            static const Kernels amx = with_codes(kernels_v4, kernels8_amx), v4vnni = with_codes(kernels_v4, kernels8_v4vnni);
            if (tiles()) found.push_back(&amx);
            found.push_back(&v4vnni);
        }
        found.push_back(&kernels_v4);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
        static const Kernels v3vnni = with_codes(kernels_v3, kernels8_v3vnni);
        if (avx_vnni()) found.push_back(&v3vnni);
        found.push_back(&kernels_v3);
    }
#endif
    found.push_back(&kernels_baseline);
    return found;
}

const std::vector<const Kernels*>& usable() {
    static const std::vector<const Kernels*> found = find_usable();
    return found;
}

}  // namespace

std::vector<std::string> usable_isas() {
    std::vector<std::string> names;
    for (const Kernels* k : usable()) names.emplace_back(k->name);
    return names;
}

const Kernels& kernels_of(std::string_view name) {
    const auto& found = usable();
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
