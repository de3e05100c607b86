#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "kernels8.hpp"
#if defined(RECONV_X86)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace reconv {
namespace {

#if defined(RECONV_X86) || defined(RECONV_ARM)
// A set's kernels on floats with other kernels on codes.
Kernels with_codes(const Kernels& floats, const Kernels8& codes) {
    Kernels kernels = floats;
    kernels.name = codes.name;
    kernels.codes = &codes;
    return kernels;
}
#endif

#if defined(RECONV_X86)
// What the processor says of itself and the system keeps of its registers. Not the compiler's own question after it
// (__builtin_cpu_supports): its answer comes from a library of the compiler's, and not every one of those has it.
struct Cpu {
    bool v3 = false, v4 = false, vnni = false, vbmi = false, avx_vnni = false, amx = false;

    Cpu() {
        unsigned a = 0, b = 0, c = 0, d = 0, unused = 0;
        const auto bit = [](unsigned word, int place) { return (word >> place & 1u) != 0; };
        if (!__get_cpuid_count(1, 0, &a, &b, &c, &d)) return;
        const bool fma = bit(c, 12), half = bit(c, 29), saved = bit(c, 27);  // OSXSAVE
        if (!saved) return;
        unsigned low = 0, high = 0;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        const bool halves = (low & 0x06) == 0x06, whole = (low & 0xe6) == 0xe6;  // 256, 512 bits
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
        v3 = halves && fma && half && bit(b, 5) && bit(b, 3) && bit(b, 8);  // AVX2, BMI1 and 2
        v4 = v3 && whole && bit(b, 16) && bit(b, 17) && bit(b, 28) && bit(b, 30) && bit(b, 31);  // F, DQ, CD, BW, VL
        vnni = v4 && bit(c, 11);
        vbmi = v4 && bit(c, 1);
        amx = vnni && bit(d, 24) && bit(d, 25);  // tiles, and their products of bytes
        if (__get_cpuid_count(7, 1, &a, &unused, &unused, &unused)) avx_vnni = v3 && bit(a, 4);
    }
};

const Cpu& cpu() {
    static const Cpu found;
    return found;
}

// Tiles belong to a process that has asked for them.
bool tiles() {
#if defined(__linux__)
    if (!cpu().amx) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
}
#endif

#if defined(RECONV_ARM)
// Products of unsigned with signed bytes, four at a time (FEAT_I8MM).
bool matrix_products() {
#if defined(__linux__)
    constexpr unsigned long kI8mm = 1ul << 13;  // HWCAP2_I8MM
    return getauxval(AT_HWCAP2) & kI8mm;
#else
    return false;
#endif
}
#endif

std::vector<const Kernels*> find_usable() {
    std::vector<const Kernels*> found;
#if defined(RECONV_X86)
    if (cpu().v4) {
        if (cpu().vnni) {
            static const Kernels amx = with_codes(kernels_v4, kernels8_amx), v4vnni = with_codes(kernels_v4, kernels8_v4vnni);
            if (tiles()) found.push_back(&amx);
            found.push_back(&v4vnni);
        }
        found.push_back(&kernels_v4);
    }
    if (cpu().v3) {
        static const Kernels v3vnni = with_codes(kernels_v3, kernels8_v3vnni);
        if (cpu().avx_vnni) found.push_back(&v3vnni);
        found.push_back(&kernels_v3);
    }
#elif defined(RECONV_ARM)
    static const Kernels i8mm = with_codes(kernels_neon, kernels8_i8mm);
    if (matrix_products()) found.push_back(&i8mm);
    found.push_back(&kernels_neon);
#endif
    found.push_back(&kernels_baseline);
    return found;
}

const std::vector<const Kernels*>& usable() {
    static const std::vector<const Kernels*> found = find_usable();
    return found;
}

}  // namespace

#if defined(RECONV_X86)
bool permutes_bytes() { return cpu().vbmi; }
#endif

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
