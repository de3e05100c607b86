#include "bands.hpp"

#include <algorithm>
#include <limits>

namespace reconv {
namespace {

constexpr int kNone = std::numeric_limits<int>::max();
constexpr int kLongestTurn = 4;  // bands
constexpr int kMostLead = 4;     // bands before the first one, for each of the others

}  // namespace

Bands::Bands(const Work& work, const Links& links)
    : work_(work), links_(links), wanted_(work.jobs.size(), 0), done_(work.jobs.size(), 0), target_(work.jobs.size(), 0) {}

void Bands::open(const Stretch& stretch) {
    held_.clear();
    for (int j = stretch.first; j < stretch.last; j++) {
        done_[j] = target_[j] = 0;
        for (int s : links_.touched[j])
            if (links_.storages[s].first == j && links_.storages[s].last < stretch.last) held_.push_back({s});
    }
}

// The rows that are wanted of every job after a band. Those that nothing in the stretch reads advance evenly and are through
// after the last band; the others are just as far as their readers want them. What a first row is made of (a deep network's
// may be made of half a picture) is not made all at once: there are bands before the first one, with rows above the map's
// first one in mind, so that every job goes at its own even pace from its own first row on.
void Bands::aim(const Stretch& stretch, int band) {
    for (int j = stretch.last; j-- > stretch.first;) {
        const int height = work_.jobs[j].height;
        int rows = std::numeric_limits<int>::min();
        for (const auto& use : links_.consumers[j])
            if (use.job < stretch.last) rows = std::max(rows, work_.jobs[use.job].reads[use.read].needs->wanted(wanted_[use.job]));
        if (rows == std::numeric_limits<int>::min()) {
            const int64_t scaled = static_cast<int64_t>(height) * (band + 1);
            rows = static_cast<int>(scaled >= 0 ? scaled / stretch.bands : -((-scaled + stretch.bands - 1) / stretch.bands));
        }
        wanted_[j] = band + 1 == stretch.bands ? height : std::min(rows, height);
        target_[j] = std::max(wanted_[j], 0);
    }
}

// How many bands there are before the first one.
int Bands::lead(const Stretch& stretch) {
    int bands = 0;
    for (int most = stretch.bands * kMostLead; bands < most; bands++) {
        aim(stretch, -bands - 1);
        if (std::none_of(target_.begin() + stretch.first, target_.begin() + stretch.last, [](int rows) { return rows > 0; })) break;
    }
    return bands;
}

// The first row of a storage that its jobs still read or write, after what is done.
int Bands::lowest_needed(const Storage& storage) const {
    int low = kNone;
    for (const auto& use : storage.uses) {
        const Job& job = work_.jobs[use.job];
        if (done_[use.job] == job.height) continue;
        const int row = use.read < 0 ? done_[use.job] : job.reads[use.read].needs->from[done_[use.job]];
        if (row != kNone) low = std::min(low, row < 0 ? row : work_.root_row(use.map, row));
    }
    return low == kNone ? kNone : std::max(low, -storage.top);
}

// Past the last row that its jobs read or write up to their targets.
int Bands::highest_used(const Storage& storage) const {
    int high = -storage.top;
    for (const auto& use : storage.uses) {
        const Job& job = work_.jobs[use.job];
        const int rows = use.read < 0 ? target_[use.job] : job.reads[use.read].needs->until[target_[use.job]];
        if (rows > 0) high = std::max(high, work_.root_row(use.map, rows - 1) + 1);
    }
    return std::min(high, storage.height + storage.bottom);
}

Windows Bands::estimate(const Stretch& stretch) {
    open(stretch);
    // Where the smallest map has fewer rows than there are bands, it grows in some bands and not in others.
    int fewest = kNone;
    for (int j = stretch.first; j < stretch.last; j++) fewest = std::min(fewest, work_.jobs[j].height);
    const int turn = std::clamp(stretch.bands / fewest, 1, kLongestTurn);
    Windows windows;
    const auto sample = [&](int first, int count) {
        aim(stretch, first - 1);
        for (int band = first; band < first + count; band++) {
            std::copy(target_.begin() + stretch.first, target_.begin() + stretch.last, done_.begin() + stretch.first);
            aim(stretch, band);
            for (Held& h : held_) {
                const Storage& storage = links_.storages[h.storage];
                const int high = highest_used(storage), low = std::min(lowest_needed(storage), high);
                h.most = std::max(h.most, high - low);
            }
        }
    };
    sample(0, 1);
    sample(stretch.bands / 2, std::min(turn, stretch.bands / 2));
    sample(stretch.bands - 1, 1);
    for (const Held& h : held_) {
        const Storage& storage = links_.storages[h.storage];
        windows.floats += storage.floats(h.most);
        windows.moved += std::max<int64_t>(static_cast<int64_t>(h.most) * stretch.bands - storage.height, 0) * storage.row_floats;
    }
    return windows;
}

Windows Bands::walk(const Stretch& stretch, std::vector<Step>* steps) {
    open(stretch);
    for (Held& h : held_) {
        h.base = h.top = lowest_needed(links_.storages[h.storage]);
        if (steps) steps->push_back({Step::Kind::bind, h.storage, h.base, 0});
    }
    Windows windows;
    const int before = lead(stretch);
    for (int band = -before; band < stretch.bands; band++) {
        aim(stretch, band);
        for (Held& h : held_) {
            const Storage& storage = links_.storages[h.storage];
            const int low = std::min(lowest_needed(storage), h.top), high = std::max(highest_used(storage), h.top);
            if (low > h.base) {
                windows.moved += (h.top - low) * storage.row_floats;
                if (steps) steps->push_back({Step::Kind::slide, h.storage, low, h.top});
                h.base = low;
            }
            if (steps && high > storage.height && high > h.top)
                steps->push_back({Step::Kind::border, h.storage, std::max(storage.height, h.top), high});
            h.top = high;
            h.most = std::max(h.most, high - h.base);
        }
        for (int j = stretch.first; j < stretch.last; j++) {
            if (steps && target_[j] > done_[j]) steps->push_back({Step::Kind::run, j, done_[j], target_[j]});
            done_[j] = target_[j];
        }
    }
    for (const Held& h : held_) {
        windows.rows.emplace_back(h.storage, h.most);
        windows.floats += links_.storages[h.storage].floats(h.most);
    }
    return windows;
}

}  // namespace reconv
