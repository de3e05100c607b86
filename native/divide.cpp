#include "divide.hpp"

#include <algorithm>
#include <limits>

namespace reconv {
namespace {

constexpr int kLongest = 160;       // jobs of a stretch
constexpr int kMostBands = 256;
constexpr int kFewRows = 8;         // that a row may be made of although they are most of a map
// What things cost, to weigh one division against another.
constexpr double kNsPerMac = 0.016, kNsPerFloat = 0.3, kNsPerCall = 3000, kNsPerMovedFloat = 0.6, kNsPerWeight = 0.3;
constexpr double kFreeShare = 0.01;             // of a stretch's time that bands may take longer and count as free
constexpr int64_t kFreeFloats = int64_t{4} << 20;  // what fits a cache anyway gains nothing from bands

int64_t infinite() { return std::numeric_limits<int64_t>::max(); }

}  // namespace

double nanoseconds_of(const Job& job) { return static_cast<double>(job.macs) * kNsPerMac + kNsPerCall; }

Divider::Divider(const Work& work, bool free_only)
    : work_(work), free_only_(free_only), links_(work), bands_(work_, links_), alone_(work.jobs.size(), 0), ends_(work.jobs.size() + 1, true),
      whole_reader_(work.jobs.size(), false) {
    const int count = static_cast<int>(work.jobs.size());
    std::vector<int64_t> across(count + 1, 0);  // floats that pass from before a job to it and those behind
    for (const Storage& s : links_.storages) {
        for (int j = s.first; j <= std::min(s.last, count - 1); j++) alone_[j] += s.whole();
        for (int j = s.first + 1; j <= std::min(s.last, count); j++) across[j] += s.whole();
    }
    for (int j = 0; j < count; j++) {
        const auto& reads = work.jobs[j].reads;
        whole_reader_[j] = std::any_of(reads.begin(), reads.end(), [&](const Read& read) {
            int most = 0;
            for (int y = 0; y < work.jobs[j].height; y++) most = std::max(most, read.needs->until[y + 1] - read.needs->from[y]);
            return most > std::max(work.maps[read.map].height / 2, kFewRows);
        });
    }
    // what passes a stretch's ends is whole: they lie where little does, and where a branch ends and another begins
    for (int j = 1; j < count; j++) {
        const auto& uses = links_.consumers[j - 1];
        const bool handed = std::any_of(uses.begin(), uses.end(), [j](const auto& use) { return use.job == j; });
        ends_[j] = !handed || (across[j] <= across[j - 1] && across[j] <= across[j + 1]);
    }
}

int64_t Divider::live(const Stretch& stretch) {
    int64_t floats = 0;
    for (const Storage& s : links_.storages)
        if (s.first < stretch.last && s.last >= stretch.first && (stretch.bands == 1 || s.first < stretch.first || s.last >= stretch.last))
            floats += s.whole();
    return stretch.bands == 1 ? floats : floats + bands_.estimate(stretch).floats;
}

// What a search has estimated is a little less than the truth now and then: finer bands where it is.
void Divider::refine(Division& division, int64_t limit) {
    for (Stretch& stretch : division.stretches) {
        if (stretch.bands == 1) continue;
        const int64_t whole = live(stretch) - bands_.estimate(stretch).floats;
        int64_t least = bands_.walk(stretch).floats;
        for (int bands = stretch.bands * 2; whole + least > limit && bands <= kMostBands; bands *= 2)
            if (const int64_t floats = bands_.walk({stretch.first, stretch.last, bands}).floats; floats < least)
                least = floats, stretch.bands = bands;
    }
}

Division Divider::alone() const {
    Division division;
    for (int j = 0; j < static_cast<int>(work_.jobs.size()); j++) division.stretches.push_back({j, j + 1, 1});
    division.peak = alone_.empty() ? 0 : *std::max_element(alone_.begin(), alone_.end());
    return division;
}

// The coarsest bands that need no more than `enough`, or else those that need the least; bands == 1 where there are none.
Divider::Option Divider::banded(int first, int last, int64_t whole, int64_t enough) {
    int height = 1;
    int64_t inner = 0;
    double time = 0;
    for (int j = first; j < last; j++) {
        const Job& job = work_.jobs[j];
        height = std::max(height, job.height);
        time += nanoseconds_of(job);
        for (int s : links_.touched[j])
            if (const Storage& storage = links_.storages[s]; storage.first == j && storage.last < last) inner += storage.whole();
    }
    time += static_cast<double>(inner) * kNsPerFloat;
    Option best;
    if (free_only_ && inner < kFreeFloats) return best;
    const auto option = [&](int bands) {
        const Windows windows = bands_.estimate({first, last, bands});
        double ns = static_cast<double>(windows.moved) * kNsPerMovedFloat;
        for (int j = first; j < last; j++) {
            const Job& job = work_.jobs[j];
            const double more = std::min(bands, job.height) - 1, weights = job.op ? static_cast<double>(job.op->macs_per_pixel) : 0;
            ns += more * (kNsPerCall + weights * kNsPerWeight);
        }
        return Option{bands, whole + windows.floats, ns};
    };
    for (int bands = 4; bands / 2 <= std::min(kMostBands, 2 * height); bands *= 4) {
        Option next = option(bands);
        const bool free = !free_only_ || next.nanoseconds <= kFreeShare * time;
        if (next.live > enough && free) {
            if (best.bands > 1 && next.live >= best.live) break;
            best = next;
            continue;
        }
        // half as many may do as well
        const Option half = option(bands / 2);
        const bool half_free = !free_only_ || half.nanoseconds <= kFreeShare * time;
        if (half_free && (!free || half.live <= enough)) next = half;
        if ((free || half_free) && (best.bands == 1 || next.live < best.live)) best = next;
        break;
    }
    return best;
}

// The first job behind `first` that makes a root again which the jobs between use: a state knows one place of a root at a
// time, so one stretch cannot hold both lives.
int Divider::first_again(int first) const {
    std::vector<int> storage(work_.roots.size(), -1);
    for (int j = first; j < static_cast<int>(work_.jobs.size()); j++)
        for (int s : links_.touched[j])
            for (int root : links_.storages[s].roots) {
                if (storage[root] >= 0 && storage[root] != s) return j;
                storage[root] = s;
            }
    return static_cast<int>(work_.jobs.size());
}

// All stretches of several jobs that begin at `first` and hold a job that alone needs more than `above`.
template <class Visit>
void Divider::stretches_from(int first, int64_t above, Visit&& visit) {
    if (!ends_[first]) return;
    const int count = static_cast<int>(work_.jobs.size());
    int64_t whole = alone_[first];  // of the storages that live longer than the stretch
    bool hot = false;
    const int again = first_again(first);
    for (int last = first; last < std::min({count, first + kLongest, again}) && !whole_reader_[last]; last++) {
        for (int s : links_.touched[last])
            if (last > first && links_.storages[s].first == last) whole += links_.storages[s].whole();
        for (int s : links_.touched[last])
            if (links_.storages[s].first >= first && links_.storages[s].last == last) whole -= links_.storages[s].whole();
        hot = hot || alone_[last] > above;
        if (hot && last > first && ends_[last + 1]) visit(last + 1, whole);
    }
}

Division Divider::within(int64_t limit) {
    const int count = static_cast<int>(work_.jobs.size());
    struct Best {
        Price price{std::numeric_limits<double>::infinity(), 0};
        Stretch stretch{};
        int64_t peak = 0;
    };
    std::vector<Best> best(count + 1);
    best[0].price = {};
    const auto price = [limit](int64_t live, double ns) { return Price{static_cast<double>(std::max<int64_t>(live - limit, 0)), ns}; };
    const auto offer = [&](const Stretch& stretch, int64_t live, double ns) {
        const Price total = best[stretch.first].price + price(live, ns);
        if (total < best[stretch.last].price) best[stretch.last] = {total, stretch, std::max(best[stretch.first].peak, live)};
    };
    for (int i = 0; i < count; i++) {
        offer({i, i + 1, 1}, alone_[i], 0);
        stretches_from(i, limit, [&](int last, int64_t whole) {
            if (!(best[i].price + price(whole, 0) < best[last].price)) return;
            const Option option = banded(i, last, whole, limit);
            if (option.bands > 1) offer({i, last, option.bands}, option.live, option.nanoseconds);
        });
    }
    Division found;
    found.price = best[count].price;
    found.peak = best[count].peak;
    for (int at = count; at > 0; at = best[at].stretch.first) found.stretches.push_back(best[at].stretch);
    std::reverse(found.stretches.begin(), found.stretches.end());
    return found;
}

Division Divider::smallest() {
    const int count = static_cast<int>(work_.jobs.size());
    std::vector<int64_t> best(count + 1, infinite());
    best[0] = 0;
    for (int i = 0; i < count; i++) {
        best[i + 1] = std::min(best[i + 1], std::max(best[i], alone_[i]));
        stretches_from(i, 0, [&](int last, int64_t whole) {
            if (std::max(best[i], whole) >= best[last]) return;
            const Option option = banded(i, last, whole, best[i]);
            if (option.bands > 1) best[last] = std::min(best[last], std::max(best[i], option.live));
        });
    }
    return within(best[count]);
}

}  // namespace reconv
