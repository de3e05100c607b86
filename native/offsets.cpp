// Offsets of pieces of memory with lifetimes: greedy, in several orders, and the best of them.
#include <algorithm>
#include <numeric>
#include <random>

#include "memory.hpp"

namespace reconv {
namespace {

bool meet(const Place& a, const Place& b) { return a.first <= b.last && b.first <= a.last; }

// Every piece goes into the smallest gap that holds it among those that are placed and live at the same time.
int64_t place_in(const std::vector<int>& order, std::vector<Place>& places, int64_t best) {
    int64_t end = 0;
    std::vector<int> placed, rivals;
    for (int index : order) {
        Place& p = places[index];
        rivals.clear();
        for (int other : placed)
            if (meet(places[other], p)) rivals.push_back(other);
        std::sort(rivals.begin(), rivals.end(), [&](int a, int b) { return places[a].offset < places[b].offset; });
        int64_t at = 0, found = -1, smallest = 0;
        for (int other : rivals) {
            const int64_t gap = places[other].offset - at;
            if (gap >= p.floats && (found < 0 || gap < smallest)) found = at, smallest = gap;
            at = std::max(at, places[other].offset + places[other].floats);
        }
        p.offset = found < 0 ? at : found;
        end = std::max(end, p.offset + p.floats);
        if (end >= best) return end;  // no better than what is known
        placed.push_back(index);
    }
    return end;
}

}  // namespace

int64_t place_all(std::vector<Place>& places) {
    constexpr int kTries = 200;  // at exchanging neighbours of the best order
    int64_t live = 0;            // no order needs less
    for (const Place& p : places) {
        int64_t sum = 0;
        for (const Place& other : places)
            if (other.first <= p.first && p.first <= other.last) sum += other.floats;
        live = std::max(live, sum);
    }
    int64_t best = INT64_MAX;
    std::vector<int> order(places.size()), best_order;
    std::vector<Place> best_places = places;
    const auto attempt = [&](const std::vector<int>& tried) {
        std::vector<Place> trial = places;
        const int64_t end = place_in(tried, trial, best);
        if (end >= best) return false;
        best = end, best_order = tried, best_places = std::move(trial);
        return true;
    };
    const auto sorted = [&](auto&& key) {
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(places[a]) > key(places[b]); });
        attempt(order);
    };
    sorted([](const Place& p) { return static_cast<double>(p.floats); });
    sorted([](const Place& p) { return static_cast<double>(p.floats) * (p.last - p.first + 1); });
    sorted([](const Place& p) { return static_cast<double>(p.last - p.first); });
    sorted([](const Place& p) { return static_cast<double>(-p.first); });
    sorted([](const Place& p) { return static_cast<double>(p.last); });
    std::minstd_rand random(1);
    for (int i = 0; i < kTries && best > live && order.size() > 1; i++) {
        order = best_order;
        const size_t a = random() % order.size(), b = random() % order.size();
        std::rotate(order.begin() + std::min(a, b), order.begin() + std::max(a, b), order.begin() + std::max(a, b) + 1);
        attempt(order);
    }
    places = std::move(best_places);
    return places.empty() ? 0 : best;
}

}  // namespace reconv
