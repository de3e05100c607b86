#include "branches.hpp"

#include <algorithm>
#include <numeric>

#include "divide.hpp"

namespace reconv {
namespace {

constexpr int kLongest = 64;         // jobs of a fork
constexpr double kEfficiency = 0.85;  // of threads that share a job, beside each on a job of its own; rather too low

// Whether one map shows pixels of the other: it is the other, or a view of it at any depth.
bool related(const std::vector<Map>& maps, int a, int b) {
    for (int id = a; id >= 0; id = maps[id].parent)
        if (id == b) return true;
    for (int id = b; id >= 0; id = maps[id].parent)
        if (id == a) return true;
    return false;
}

// Of each job the jobs before it that may not run at the same time: one writes what the other reads or writes. Two roots
// in one storage are lives of it that follow each other.
std::vector<std::vector<int>> conflicts(const Work& work, const Links& links) {
    std::vector<std::vector<int>> found(work.jobs.size());
    for (const Storage& storage : links.storages)
        for (const auto& a : storage.uses)
            for (const auto& b : storage.uses)
                if (a.job < b.job && (a.read < 0 || b.read < 0) &&
                    (work.maps[a.map].root != work.maps[b.map].root || related(work.maps, a.map, b.map)))
                    found[b.job].push_back(a.job);
    return found;
}

// Branches that grow job by job.
class Growing {
public:
    Growing(int first, const std::vector<std::vector<int>>& conflicts, const Work& work) : first_(first), conflicts_(conflicts), work_(work) {}

    void add(int job) {
        const int at = job - first_;
        parent_.push_back(at);
        time_.push_back(work_.jobs[job].kind == Job::Kind::run ? nanoseconds_of(work_.jobs[job]) : 0.0);
        together_ += time_[at];
        for (int other : conflicts_[job]) {
            if (other < first_) continue;
            const int from = find(other - first_), to = find(at);
            if (from == to) continue;
            parent_[from] = to;
            time_[to] += time_[from];
        }
    }

    int find(int at) {
        while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
        return at;
    }

    // Nanoseconds that the branches are quicker on threads of their own, roughly: the largest first, each to the thread
    // that has the least to do.
    double gain(int threads) {
        std::vector<double> branches, load(threads, 0.0);
        for (int at = 0; at < static_cast<int>(parent_.size()); at++)
            if (find(at) == at && time_[at] > 0.0) branches.push_back(time_[at]);
        if (branches.size() < 2) return 0.0;
        std::sort(branches.rbegin(), branches.rend());
        for (double branch : branches) *std::min_element(load.begin(), load.end()) += branch;
        return together_ / (kEfficiency * threads) - *std::max_element(load.begin(), load.end());
    }

    Fork fork() {
        Fork fork{first_, first_ + static_cast<int>(parent_.size()), {}};
        std::vector<int> roots;
        for (int at = 0; at < static_cast<int>(parent_.size()); at++) {
            auto known = std::find(roots.begin(), roots.end(), find(at));
            if (known == roots.end()) known = roots.insert(roots.end(), find(at)), fork.branches.emplace_back();
            fork.branches[static_cast<size_t>(known - roots.begin())].push_back(first_ + at);
        }
        std::stable_sort(fork.branches.begin(), fork.branches.end(),
                         [&](const auto& a, const auto& b) { return time_[find(a[0] - first_)] > time_[find(b[0] - first_)]; });
        return fork;
    }

private:
    int first_;
    const std::vector<std::vector<int>>& conflicts_;
    const Work& work_;
    std::vector<int> parent_;
    std::vector<double> time_;  // of a branch, at its root
    double together_ = 0.0;
};

// The stretches of a plan with every fork's jobs alone again.
std::vector<Stretch> alone(const MemoryPlan& plan) {
    std::vector<Stretch> stretches;
    for (const Stretch& s : plan.stretches) {
        if (s.bands > 1) stretches.push_back(s);
        else
            for (int j = s.first; j < s.last; j++) stretches.push_back({j, j + 1, 1});
    }
    return stretches;
}

}  // namespace

std::vector<Fork> forks_of(const MemoryPlan& plan, int threads) {
    const int count = static_cast<int>(plan.work.jobs.size());
    const auto before = conflicts(plan.work, Links(plan.work));
    std::vector<bool> free(count, false);  // runs alone, and may be in a branch
    for (const Stretch& s : alone(plan)) free[s.first] = s.bands == 1 && plan.work.jobs[s.first].kind != Job::Kind::load;
    std::vector<double> best(count + 1, 0.0);  // gain of the forks from a job on
    std::vector<int> end(count, 0);            // of the fork that begins with it, 0: none
    for (int first = count - 1; first >= 0; first--) {
        best[first] = best[first + 1];
        Growing growing(first, before, plan.work);
        for (int j = first; j < count && j < first + kLongest && free[j]; j++) {
            growing.add(j);
            const double gain = growing.gain(threads);
            if (gain > 0.0 && gain + best[j + 1] > best[first]) best[first] = gain + best[j + 1], end[first] = j + 1;
        }
    }
    std::vector<Fork> forks;
    for (int first = 0; first < count;) {
        if (end[first] == 0) {
            first++;
            continue;
        }
        Growing growing(first, before, plan.work);
        for (int j = first; j < end[first]; j++) growing.add(j);
        forks.push_back(growing.fork());
        first = end[first];
    }
    return forks;
}

MemoryPlan branched(const MemoryPlan& plan, const std::vector<Fork>& forks) {
    std::vector<Stretch> stretches;
    for (const Stretch& s : alone(plan)) {
        const auto inside = std::find_if(forks.begin(), forks.end(), [&s](const Fork& f) { return s.first >= f.first && s.last <= f.last; });
        if (inside == forks.end()) stretches.push_back(s);
        else if (s.first == inside->first) stretches.push_back({inside->first, inside->last, 1});
    }
    MemoryPlan made = assembled(plan.work, stretches);
    made.forks = forks;
    return made;
}

}  // namespace reconv
