// What the native tests share: checks that are counted, seeded random numbers, and random plans.
#pragma once

#include <atomic>
#include <memory>
#include <random>
#include <source_location>
#include <string>
#include <vector>

#include "state.hpp"

namespace reconv::testing {

inline std::atomic<int64_t> passed{0}, failed{0}, forks_seen{0};
inline int64_t objections = 0, overlooked = 0;  // of the memory's checker to plans that were spoiled

void check(bool ok, const std::string& what, std::source_location at = std::source_location::current());

class Random {
public:
    explicit Random(uint64_t seed) : engine_(seed) {}
    int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
    bool one_in(int n) { return whole(1, n) == 1; }
    float normal() { return std::normal_distribution<float>()(engine_); }
    std::vector<float> normals(int64_t count, float scale = 1.f) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& v : values) v = normal() * scale;
        return values;
    }
    template <class T>
    T pick(std::initializer_list<T> values) { return values.begin()[whole(0, static_cast<int>(values.size()) - 1)]; }

private:
    std::mt19937_64 engine_;
};

struct Model {
    std::shared_ptr<Plan> plan;
    std::vector<int> maps;  // produced, may be read
};

// Ops of all kinds, on floats and on codes, in branches that join.
Model make_model(Random& random, const std::string& isa);
// Layers of few pixels and many weights, heavy enough to be shared among threads: in groups, with a residual, after a
// depthwise one, and at last a matrix product.
Model make_heavy(Random& random, const std::string& isa, bool codes);
// Taller than those of make_model, so that bands have something to do: a ladder down and up again with a concat on the way.
Model make_ladder(Random& random, const std::string& isa);

using Frames = std::vector<std::vector<float>>;
// Frames that differ in a few places, in all, or not at all, with NaN and infinities among them.
Frames make_frames(Random& random, const Map& m, int count);

std::vector<float> values_of(const State& state, const std::vector<int>& maps);
std::vector<float> outputs_of(const State& state);
// Bit for bit, all NaN as one.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

void test_spread(Random& random);
void test_taps(Random& random);
void test_runs(Random& random);
void test_team(Random& random);
void test_team_ends();
void test_processors();
void test_together(Random& random);
void test_weights(Random& random);
void test_plan(uint64_t seed, const std::string& isa);
void test_frames(uint64_t seed, const std::string& isa);
void test_orders(uint64_t seed, const std::string& isa, bool codes);
void test_memory(uint64_t seed, const std::string& isa);
void test_forks(uint64_t seed, const std::string& isa);
void test_silu8();
void test_kernels8(uint64_t seed, const std::string& isa);

}  // namespace reconv::testing
