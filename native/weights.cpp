#include "weights.hpp"

#include <span>

namespace reconv {
namespace {

// Four lanes, so that multiplications overlap. What it finds is compared bit for bit: it only has to be quick and even.
uint64_t hash_of(std::span<const float> values) {
    constexpr uint64_t kPrime = 0x9e3779b97f4a7c15u;
    uint64_t lanes[4] = {1, 2, 3, 4};
    size_t i = 0;
    const auto mix = [](uint64_t lane, uint64_t word) {
        lane = (lane ^ word) * kPrime;
        return lane ^ (lane >> 29);
    };
    for (; i + 8 <= values.size(); i += 8) {
        uint64_t words[4];
        std::memcpy(words, values.data() + i, sizeof words);
        for (int l = 0; l < 4; l++) lanes[l] = mix(lanes[l], words[l]);
    }
    for (; i < values.size(); i++) {
        uint32_t word;
        std::memcpy(&word, values.data() + i, sizeof word);
        lanes[0] = mix(lanes[0], word);
    }
    uint64_t all = values.size();
    for (uint64_t lane : lanes) all = mix(all, lane);
    return all;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

}  // namespace

std::shared_ptr<const Packed> WeightStore::keep(Lines values) {
    const uint64_t hash = hash_of(values);
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    for (auto [at, end] = known_.equal_range(hash); at != end; ++at)
        if (auto found = at->second.lock(); found && same_bits(found->values, values)) return found;
    auto made = std::make_shared<const Packed>(Packed{std::move(values), hash});
    known_.emplace(hash, made);
    return made;
}

int64_t WeightStore::bytes() const {
    const std::lock_guard lock(mutex_);
    int64_t total = 0;
    for (const auto& [hash, known] : known_)
        if (const auto packed = known.lock()) total += packed->bytes();
    return total;
}

}  // namespace reconv
