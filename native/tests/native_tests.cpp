// A driver for sanitizer builds: the core without Python. Random plans stepped by several threads, stale sets against bit
// loops, teams that start and stop. Prints "N checks passed"; exit code 1 when one failed.
//
//   native_tests [seed] [plans]
//   native_tests isas               the instruction sets that this machine runs, best first
#include <cstdio>
#include <cstdlib>

#include "kernels/dispatch.hpp"
#include "testing.hpp"

using namespace reconv;
using namespace reconv::testing;

void reconv::testing::check(bool ok, const std::string& what, std::source_location at) {
    if (ok) {
        passed++;
        return;
    }
    if (failed++ < 20) std::fprintf(stderr, "line %u: %s\n", static_cast<unsigned>(at.line()), what.c_str());
}

int main(int count, char** arguments) {
    if (count == 2 && std::string(arguments[1]) == "isas") {
        for (const std::string& isa : usable_isas()) std::printf("%s\n", isa.c_str());
        return 0;
    }
    const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
    const int plans = count > 2 ? std::atoi(arguments[2]) : 40;
    Random random(seed);
    test_spread(random);
    test_taps(random);
    test_runs(random);
    test_team(random);
    test_team_ends();
    test_processors();
    test_together(random);
    test_weights(random);
    test_silu8();
    for (const std::string& isa : usable_isas()) test_kernels8(seed, isa);
    for (const std::string& isa : usable_isas())
        for (const bool codes : {false, true})
            for (int i = 0; i < (plans + 3) / 4; i++) test_orders(seed * 1000 + static_cast<uint64_t>(i), isa, codes);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_forks(seed * 1000 + static_cast<uint64_t>(i), isa);
    check(plans < 10 || forks_seen > plans, "forks are found");
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_plan(seed * 1000 + static_cast<uint64_t>(i), isa);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_frames(seed * 1000 + static_cast<uint64_t>(i), isa);
    for (const std::string& isa : usable_isas())
        for (int i = 0; i < plans; i++) test_memory(seed * 1000 + static_cast<uint64_t>(i), isa);
    // few are harmless: rows that are zeros anyway, pieces that nothing else comes near
    check(plans < 10 || objections > 4 * overlooked, "the checker of memory plans objects to " + std::to_string(objections) + " and overlooks " + std::to_string(overlooked));
    if (failed) {
        std::fprintf(stderr, "%lld checks failed\n", static_cast<long long>(failed));
        return 1;
    }
    std::printf("%lld checks passed\n", static_cast<long long>(passed));
}
