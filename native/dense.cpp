// A dense-only step: the steps of the memory plan, one after another.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "state.hpp"

namespace reconv {

float* State::row_of(int storage, int row) const {
    const MemoryPlan& plan = *dense_;
    return block_.floats() + plan.places[storage].offset + plan.storages[storage].row_zero(bases_[storage]) +
           row * plan.storages[storage].row_floats;
}

// Ops address a map's pixels from its row 0, wherever that is, or would be.
void State::point_roots(int storage, int base) {
    const MemoryPlan& plan = *dense_;
    bases_[storage] = base;
    for (int root : plan.storages[storage].roots) roots_[root] = row_of(storage, 0) - plan.work.roots[root].origin;
}

void State::bind(int storage, int base) {
    const MemoryPlan& plan = *dense_;
    const Storage& s = plan.storages[storage];
    const Place& place = plan.places[storage];
    float* const start = block_.floats() + place.offset;
    point_roots(storage, base);
    if (!place.whole) {
        fill_words(start, start + place.floats, s.fill);
        return;
    }
    if (s.top == 0 && s.bottom == 0 && s.lead == 0) return;
    // what windows read beyond the map: rows above and below it, and the gap between two rows
    const Root& r = plan.work.roots[s.roots.front()];
    const int64_t pixels = static_cast<int64_t>(r.width) * r.channels;
    fill_words(start, row_of(storage, 0), s.fill);
    for (int y = 0; y < s.height; y++) fill_words(row_of(storage, y) + pixels, row_of(storage, y + 1), s.fill);
    fill_words(row_of(storage, s.height), start + place.floats, s.fill);
}

// The rows below the map.
void State::end_rows(const Step& step) {
    fill_words(row_of(step.what, step.first), row_of(step.what, step.last), dense_->storages[step.what].fill);
}

void State::slide(int storage, int base, int end) {
    const int64_t row_floats = dense_->storages[storage].row_floats;
    float* const to = row_of(storage, bases_[storage]);
    if (end > base) std::memmove(to, row_of(storage, base), static_cast<size_t>((end - base) * row_floats) * sizeof(float));
    point_roots(storage, base);
}

void State::run_job(const Job& job, int first, int last, Threads::Session& team) {
    runs_.clear();
    const Map& o = memory_.map(job.out);
    for (int y = first; y < last; y++) runs_.push_back({y, 0, o.width, static_cast<int64_t>(y - first) * o.width});
    const int64_t pixels = static_cast<int64_t>(last - first) * o.width;
    recomputed_macs_ += job.macs / job.height * (last - first);
    dispatch(*job.op, {}, pixels, job.fused, team);
}

// Every branch on a thread of its own; where there are more of them, whoever is through takes the next.
void State::run_fork(const Fork& fork, std::span<float* const> targets, Threads::Session& team) {
    std::atomic<int> next{0};
    const auto work = [&](float* scratch) {
        for (int b; (b = next.fetch_add(1, std::memory_order_relaxed)) < static_cast<int>(fork.branches.size());)
            for (int j : fork.branches[b]) {
                const Job& job = dense_->work.jobs[j];
                if (job.kind == Job::Kind::store) {
                    if (!targets.empty()) store_rows(job.index, targets[job.index], 0, job.height, nullptr, true);
                    continue;
                }
                if (job.op->pixel_cost(*memory_.maps) == 0) continue;
                std::vector<Run>& runs = branch_runs_[b];
                runs.clear();
                const int width = memory_.map(job.out).width;
                for (int y = 0; y < job.height; y++) runs.push_back({y, 0, width});
                job.op->run({memory_, &plan_->kernels(), runs, {}, scratch, true, job.fused});
            }
    };
    for (const auto& branch : fork.branches)
        for (int j : branch) recomputed_macs_ += dense_->work.jobs[j].macs;
    const auto start = std::chrono::steady_clock::now();
    team.run(std::ref(work));
    if (!profiling_) return;
    for (int j = fork.first; j < fork.last; j++)
        if (const int op = dense_->work.jobs[j].op_index(); op >= 0) {  // the time of all of them is that of the first
            op_seconds_[op] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            return;
        }
}

void State::run_dense(std::span<const float* const> sources, std::span<float* const> targets, Threads::Session& team) {
    const MemoryPlan& plan = *dense_;
    const Arrays arrays{sources, targets};
    size_t turn = 0;
    for (size_t at = 0; at < plan.steps.size();) {
        if (turn < plan.turns.size() && at == plan.turns[turn].first) {
            run_turns(plan.turns[turn], arrays, team);
            at = plan.turns[turn++].last;
            continue;
        }
        const Step& step = plan.steps[at++];
        switch (step.kind) {
            case Step::Kind::bind: bind(step.what, step.first); continue;
            case Step::Kind::slide: slide(step.what, step.first, step.last); continue;
            case Step::Kind::border: end_rows(step); continue;
            case Step::Kind::fork: run_fork(plan.forks[step.what], targets, team); continue;
            case Step::Kind::run: break;
        }
        const Job& job = plan.work.jobs[step.what];
        if (job.kind == Job::Kind::load) {
            load_rows(job.index, sources[job.index], step.first, step.last, team);
        } else if (job.kind == Job::Kind::store) {
            if (!targets.empty()) store_rows(job.index, targets[job.index], step.first, step.last, &team);
        } else if (profiling_ && job.index >= 0) {
            const auto start = std::chrono::steady_clock::now();
            run_job(job, step.first, step.last, team);
            op_seconds_[job.index] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        } else {
            run_job(job, step.first, step.last, team);
        }
    }
}

}  // namespace reconv
