#include "memory.hpp"

#include <algorithm>

#include "branches.hpp"
#include "divide.hpp"
#include "plan.hpp"

namespace reconv {
namespace {

constexpr double kMostRepeated = 0.2;        // of the time may be spent on what was made before
constexpr double kWorthwhile = 0.99;         // a change has to bring the price below this share of what it was
constexpr double kCheap = 0.02;              // of the time: bands that cost less are not improved upon
constexpr int kMostTrials = 12, kMostRounds = 16, kMostStretches = 3;  // changes that are looked at, for so many stretches
constexpr int kIdleJobs = 4;  // a storage that none of so many jobs uses may be worth making again
constexpr int64_t kSmall = int64_t{4} << 20;  // floats: below, nothing is gained without a limit

}  // namespace

MemoryPlan assembled(const Work& work, const std::vector<Stretch>& stretches) {
    MemoryPlan plan;
    plan.work = work;
    const Links links(plan.work);
    Bands bands(plan.work, links);
    plan.storages = links.storages;
    plan.stretches = stretches;
    int forks = 0;
    for (const Storage& s : plan.storages) {
        Place place;
        place.rows = s.top + s.height + s.bottom;
        place.floats = s.whole();
        place.first = plan.stretch_of(s.first), place.last = plan.stretch_of(s.last);
        plan.places.push_back(place);
    }
    for (const Stretch& stretch : plan.stretches) {
        std::vector<Step> steps{{Step::Kind::run, stretch.first, 0, plan.work.jobs[stretch.first].height}};
        if (stretch.bands == 1 && stretch.last > stretch.first + 1) steps = {{Step::Kind::fork, forks++, 0, 0}};
        if (stretch.bands > 1) {
            steps.clear();
            for (const auto& [storage, rows] : bands.walk(stretch, &steps).rows) {
                Place& place = plan.places[storage];
                place.whole = false;
                place.rows = rows;
                place.floats = plan.storages[storage].floats(rows);
            }
        }
        for (int j = stretch.first; j < stretch.last; j++)
            for (int s : links.touched[j])
                if (plan.storages[s].first == j && plan.places[s].whole) plan.steps.push_back({Step::Kind::bind, s, -plan.storages[s].top, 0});
        plan.steps.insert(plan.steps.end(), steps.begin(), steps.end());
        if (stretch.bands > 1) plan.turns.push_back({plan.steps.size() - steps.size(), plan.steps.size()});
    }
    plan.floats = place_all(plan.places);
    return plan;
}

namespace {

double time_of(const Work& work) {
    double ns = 0;
    for (const Job& job : work.jobs) ns += nanoseconds_of(job);
    return ns;
}

// Changes to the work that bring its memory below a limit, or make that cheaper: parts of concats that wait apart, maps
// made twice.
class Search {
public:
    Search(Work work, bool free_only) : work_(std::move(work)), free_only_(free_only), time_(time_of(work_)) {}

    // Changes the work, one change at a time, as long as that lowers the price.
    void approach(int64_t limit) {
        Price price = price_of(work_, limit);
        for (int round = 0; round < kMostRounds && (price.excess > 0 || price.nanoseconds > kCheap * time_); round++) {
            Price found{price.excess * kWorthwhile, price.excess > 0 ? price.nanoseconds : price.nanoseconds * kWorthwhile};
            std::optional<Work> better;
            for (Work& changed : changes(limit)) {
                const Price now = price_of(changed, limit);
                if (now < found) found = now, better = std::move(changed);
            }
            if (!better) return;
            work_ = std::move(*better);
            price = found;
        }
    }

    // A plan of at most so many floats; the places of pieces may leave gaps, for which room is left.
    std::optional<MemoryPlan> within(int64_t limit) const {
        int64_t aim = limit;
        for (int attempt = 0; attempt < 4 && aim > 0; attempt++) {
            Divider divider(work_, free_only_);
            Division division = divider.within(aim);
            if (division.price.excess > 0) return {};
            if (!free_only_) divider.refine(division, aim);
            MemoryPlan plan = assembled(work_, division.stretches);
            if (plan.floats <= limit) return plan;
            aim -= plan.floats - limit;
        }
        return {};
    }

    MemoryPlan smallest() const {
        Divider divider(work_, free_only_);
        Division division = divider.smallest();
        if (!free_only_) divider.refine(division, division.peak);
        return assembled(work_, division.stretches);
    }
    int64_t peak() const { return Divider(work_, free_only_).smallest().peak; }

private:
    Price price_of(const Work& work, int64_t limit) const {
        return Divider(work, free_only_).within(limit).price + Price{0, time_of(work) - time_};
    }

    std::vector<Work> changes(int64_t limit) const {
        Divider divider(work_, free_only_);
        const Links& links = divider.links();
        // where there is too much, or where bands are paid for: the worst of them
        std::vector<std::pair<int64_t, Stretch>> worst;
        for (const Stretch& stretch : divider.within(limit).stretches)
            if (const int64_t live = divider.live(stretch); stretch.bands > 1 || live > limit) worst.emplace_back(live, stretch);
        std::stable_sort(worst.begin(), worst.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
        std::vector<Stretch> dear;
        for (const auto& [live, stretch] : worst)
            if (static_cast<int>(dear.size()) < kMostStretches) dear.push_back(stretch);
        std::vector<std::pair<int64_t, Work>> found;  // with the floats that may be spared
        const std::vector<int> free_parts = detachable(work_);
        for (const Storage& storage : links.storages) {
            if (std::none_of(dear.begin(), dear.end(), [&](const Stretch& s) { return storage.first < s.last && storage.last >= s.first; })) continue;
            for (int part : free_parts) {
                const int root = work_.maps[part].root;
                if (!std::count(storage.roots.begin(), storage.roots.end(), root)) continue;
                const Map& m = work_.maps[part];
                found.emplace_back(storage.whole() - static_cast<int64_t>(m.height) * m.width * m.channels, detached(work_, part));
            }
            // what is only wanted after the crowded jobs may be made after them
            for (const Stretch& s : dear)
                if (storage.first < s.first && storage.last >= s.last)
                    for (const bool all : {false, true}) {
                        Work later = delayed(work_, links, storage.first, s, all);
                        if (!later.jobs.empty()) found.emplace_back(storage.whole(), std::move(later));
                    }
            if (free_only_) continue;
            for (size_t u = 1; u < storage.uses.size(); u++) {
                const auto &use = storage.uses[u], &last = storage.uses[u - 1];
                if (use.read < 0 || use.job - last.job < kIdleJobs) continue;
                Work again = repeated(work_, work_.maps[use.map].root, use.job);
                if (again.jobs.size() > work_.jobs.size() && time_of(again) <= (1 + kMostRepeated) * time_)
                    found.emplace_back(storage.whole(), std::move(again));
            }
        }
        std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
        std::vector<Work> works;
        for (auto& [floats, work] : found)
            if (static_cast<int>(works.size()) < kMostTrials) works.push_back(std::move(work));
        return works;
    }

    Work work_;
    bool free_only_;
    double time_;
};

MemoryPlan least(const Work& work, bool free_only) {
    Search search(work, free_only);
    for (int64_t peak = search.peak();;) {
        search.approach(peak * 9 / 10);
        const int64_t now = search.peak();
        if (now >= peak * 99 / 100) break;
        peak = now;
    }
    return search.smallest();
}

}  // namespace

int MemoryPlan::stretch_of(int job) const {
    for (int i = 0; i < static_cast<int>(stretches.size()); i++)
        if (job < stretches[i].last) return i;
    return static_cast<int>(stretches.size()) - 1;
}

int64_t MemoryPlan::live(int stretch) const {
    int64_t floats = 0;
    for (const Place& p : places)
        if (p.first <= stretch && stretch <= p.last) floats += p.floats;
    return floats;
}

MemoryPlan plan_memory(const Plan& plan, bool stores, std::optional<int64_t> limit) {
    const Work given = list_jobs(plan, stores);
    const std::vector<Work> orders{given, reordered(given, false), reordered(given, true)};
    std::optional<MemoryPlan> best;
    const auto offer = [&best](MemoryPlan plan) {
        if (!best || plan.floats < best->floats) best = std::move(plan);
    };
    for (const Work& work : orders) offer(assembled(work, Divider(work, true).alone().stretches));
    if (best->floats > kSmall) offer(least(best->work, true));
    if (!limit || best->floats <= *limit) return std::move(*best);
    for (const Work& work : orders) {
        Search search(work, false);
        search.approach(*limit);
        if (auto found = search.within(*limit)) return std::move(*found);
    }
    for (const Work& work : orders) offer(least(work, false));
    for (int again = 0; again < kMostRounds; again++) {  // the places of pieces leave other gaps under another limit
        auto found = Search(best->work, false).within(best->floats - 1);
        if (!found) break;
        offer(std::move(*found));
    }
    return std::move(*best);
}

}  // namespace reconv
