// A stretch in bands: the members of the team go through its steps side by side, a strip of columns each.
//
// A band is little work, microseconds for each of its ops. Sharing an op at a time costs as much again, and what a member
// reads of the rows above it was written by another. With strips of its own a member finds most of it in its own cache,
// and between two ops the members wait for one another and no more.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "state.hpp"

namespace reconv {
namespace {

bool prepares(const Step& step) { return step.kind != Step::Kind::run; }

// The part of [first, last) that belongs to a member.
std::pair<int, int> part_of(int first, int last, const Member& member) {
    const int64_t length = last - first;
    return {first + static_cast<int>(length * member.id / member.count), first + static_cast<int>(length * (member.id + 1) / member.count)};
}

}  // namespace

// Storages begin, slide and end in what lies below the map: columns of what slides are moved by all members, the rest is done by the first.
void State::prepare(std::span<const Step> steps, Member& member) {
    bool slides = false;
    for (const Step& step : steps) {
        if (step.kind != Step::Kind::slide || step.last <= step.first) continue;
        slides = true;
        const auto [from, until] = part_of(0, static_cast<int>(dense_->storages[step.what].row_floats), member);
        for (int y = step.first; y < step.last; y++)
            std::memmove(row_of(step.what, bases_[step.what] + y - step.first) + from, row_of(step.what, y) + from,
                         static_cast<size_t>(until - from) * sizeof(float));
    }
    if (slides) member.wait();  // rows are found from where storages began before
    if (member.id == 0)
        for (const Step& step : steps) {
            if (step.kind == Step::Kind::bind) bind(step.what, step.first);
            if (step.kind == Step::Kind::slide) point_roots(step.what, step.first);
            if (step.kind == Step::Kind::border) end_rows(step);
        }
    member.wait();
}

void State::run_strip(const Job& job, int first, int last, const Member& member) {
    const Op& op = *job.op;
    const Map& o = memory_.map(job.out);
    const int members = op.splits() ? member.count : 1;
    if (member.id >= members) return;
    std::vector<Run>& runs = branch_runs_[member.id];
    const auto fill = [&](int from, int until) {
        runs.clear();
        for (int y = first; y < last && from < until; y++) runs.push_back({y, from, until});
    };
    Task task{memory_, &plan_->kernels(), {}, {}, member.scratch, members == 1, job.fused};
    fill(0, o.width);
    task.runs = runs;
    const int slices = members > 1 ? op.slices(task, static_cast<int64_t>(last - first) * o.width, members) : 1;
    for (int s = member.id; slices > 1 && s < slices; s += members) {
        task.slice = {s, slices, nullptr};
        op.run(task);
    }
    if (slices > 1) return;
    if (members > 1) {
        const auto [from, until] = part_of(0, o.width, member);
        fill(from, until);
        task.runs = runs;
    }
    if (!runs.empty()) op.run(task);
}

void State::run_part(const Step& step, const Arrays& arrays, const Member& member) {
    const Job& job = dense_->work.jobs[step.what];
    const auto [first, last] = part_of(step.first, step.last, member);
    if (job.kind == Job::Kind::load) {
        load_rows(job.index, arrays.sources[job.index], first, last, member.scratch);
    } else if (job.kind == Job::Kind::store) {
        if (!arrays.targets.empty()) store_rows(job.index, arrays.targets[job.index], first, last, nullptr, true);
    } else if (job.op->pixel_cost(*memory_.maps) > 0) {
        run_strip(job, step.first, step.last, member);
    }
}

void State::run_turns(const Turns& turns, const Arrays& arrays, Threads::Session& team) {
    using Clock = std::chrono::steady_clock;
    const std::span<const Step> steps = std::span(dense_->steps).subspan(turns.first, turns.last - turns.first);
    for (const Step& step : steps) {
        if (prepares(step)) continue;
        const Job& job = dense_->work.jobs[step.what];
        if (job.op) recomputed_macs_ += job.macs / job.height * (step.last - step.first);
    }
    team.together([&](Member& member) {
        for (size_t at = 0; at < steps.size();) {
            size_t end = at;
            while (end < steps.size() && prepares(steps[end])) end++;
            if (end > at) {
                prepare(steps.subspan(at, end - at), member);
                at = end;
                continue;
            }
            const auto start = profiling_ ? Clock::now() : Clock::time_point{};
            run_part(steps[at], arrays, member);
            member.wait();
            if (const int op = dense_->work.jobs[steps[at].what].op_index(); profiling_ && member.id == 0 && op >= 0)
                op_seconds_[op] += std::chrono::duration<double>(Clock::now() - start).count();
            at++;
        }
    });
}

}  // namespace reconv
