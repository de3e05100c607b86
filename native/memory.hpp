// The memory of a dense-only run: which jobs run in bands of rows, where every storage lies, and the steps that come of it.
#pragma once

#include <cstdint>
#include <optional>

#include "bands.hpp"

namespace reconv {

// A storage's place in the block of memory of a state.
struct Place {
    int64_t offset = 0, floats = 0;
    int rows = 0;               // that are there at a time; all of them, with zeros above and below, where it is whole
    bool whole = true;
    int first = 0, last = 0;    // stretch
};

struct Turns {
    size_t first, last;
};

struct MemoryPlan {
    Work work;
    std::vector<Storage> storages;
    std::vector<Place> places;      // by storage
    std::vector<Stretch> stretches;
    std::vector<Fork> forks;        // that run their branches at once, in order
    std::vector<Step> steps;
    std::vector<Turns> turns;       // where among the steps those of the stretches in bands are, in order
    int64_t floats = 0;             // of the block

    // Floats of the storages that live during a stretch.
    int64_t live(int stretch) const;
    int stretch_of(int job) const;
};

// The plan of a dense-only run in at most `limit` floats where that can be had, or else in as few as can be had. Without
// a limit bands are used only where they cost no time.
MemoryPlan plan_memory(const Plan& plan, bool stores, std::optional<int64_t> limit);

// The plan of these jobs divided into these stretches.
MemoryPlan assembled(const Work& work, const std::vector<Stretch>& stretches);

// Offsets for pieces of memory that live during the stretches first..last, both included, so that no two that live at
// the same time overlap; returns the floats needed.
int64_t place_all(std::vector<Place>& places);

}  // namespace reconv
