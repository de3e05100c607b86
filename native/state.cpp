#include "state.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>

namespace reconv {
namespace {

// In a step with lists, whose pixels lie anywhere: they take longer, and so does what a piece leaves over.
constexpr int64_t kListedShare = 5'000, kListedPiece = 1'500'000;
constexpr int64_t kAlone = 1 << 20;  // bytes of a frame that one thread compares before it calls the others

const Plan& sealed(const Plan& plan) {
    if (!plan.sealed()) throw std::invalid_argument("the plan is not sealed");
    return plan;
}

}  // namespace

State::State(std::shared_ptr<const Plan> plan, std::shared_ptr<Threads> threads, bool dense_only, float tolerance)
    : plan_(std::move(plan)), threads_(std::move(threads)), dense_only_(dense_only),
      dense_(dense_only ? sealed(*plan_).memory() : nullptr),
      block_(static_cast<size_t>(dense_ ? dense_->floats : sealed(*plan_).memory_floats(false)) * 4) {
    set_tolerance(tolerance);
    const auto& maps = plan_->maps();
    bytes_ = (dense_ ? dense_->floats : plan_->memory_floats(false)) * 4;
    op_seconds_.assign(plan_->ops().size(), 0.0);
    if (dense_only) {
        roots_.assign(dense_->work.roots.size(), nullptr);
        bases_.assign(dense_->storages.size(), 0);
        memory_ = {&dense_->work.maps, &roots_};
        int most = 1;
        for (const Job& job : dense_->work.jobs) most = std::max(most, job.height);
        runs_.reserve(static_cast<size_t>(most));
        if (!dense_->turns.empty()) branch_runs_.resize(static_cast<size_t>(threads_->count()));
        for (const Fork& fork : dense_->forks) branch_runs_.resize(std::max(branch_runs_.size(), fork.branches.size()));
        for (auto& runs : branch_runs_) runs.reserve(static_cast<size_t>(most));
        return;
    }
    for (const Root& r : plan_->roots()) roots_.push_back(r.in_streams ? block_.floats() + r.stream_offset : nullptr);
    for (const Root& r : plan_->roots())  // memory is zeros as it comes
        if (r.in_streams && r.halo.any() && r.fill) fill_words(block_.floats() + r.stream_offset, block_.floats() + r.stream_offset + r.floats, r.fill);
    memory_ = {&maps, &roots_};
    runs_.reserve(static_cast<size_t>(plan_->most_runs()));
    cuts_.resize(maps.size());

    stale_words_.assign(static_cast<size_t>(plan_->stale_words()), 0);
    uint64_t* words = stale_words_.data();
    const auto take = [&words](const Map& m) {
        Bits bits{words, m.height, m.width, words_for(m.width)};
        words += static_cast<int64_t>(bits.height) * bits.row_words;
        return bits;
    };
    stale_.resize(static_cast<size_t>(plan_->stale_sets()));
    for (const Map& m : maps)
        if (m.view != View::channels) stale_[m.stale] = take(m);
    for (const auto& op : plan_->ops()) todo_.push_back(take(maps[op->out]));
    row_.resize(static_cast<size_t>(plan_->row_words()));
    weights_.assign(static_cast<size_t>(plan_->weight_floats()), 0.f);
    int index = 0;
    for (int id : plan_->cut_maps()) {
        cuts_[id].index = index;
        cuts_[id].deviation.assign(maps[id].depth(), 0.f);
        index += plan_->padded(maps[id]);
    }
    op_inputs_.reserve(static_cast<size_t>(plan_->most_inputs()));
    bytes_ += static_cast<int64_t>((stale_words_.size() + row_.size() + op_seconds_.size()) * 8 + weights_.size() * 4 + runs_.capacity() * sizeof(Run) +
                                   (stale_.size() + todo_.size() + op_inputs_.capacity()) * sizeof(Bits));
    for (const Cut& cut : cuts_) bytes_ += static_cast<int64_t>(cut.deviation.size() * 4);
}

void State::set_tolerance(float tolerance) {
    if (!(tolerance >= 0.f) || !std::isfinite(tolerance))
        throw std::invalid_argument("tolerance must be a finite number of at least 0");
    // What is stored may be further off than a lower tolerance allows, but for what a dense step has just stored, and
    // deviations are unknown before the first tolerant dense step: both make the next step dense.
    if ((tolerance < tolerance_ && !was_dense_) || (tolerance_ == 0.f && tolerance > 0.f)) ready_ = false;
    tolerance_ = tolerance;
}

Bits State::stale(int map) const { return stale_.at(plan_->checked(map).stale); }
Bits State::todo(int op) const { return todo_.at(op); }

bool State::changed(int output) const {
    if (was_dense_ || dense_only_) return true;
    return stale_[memory_.map(plan_->outputs().at(output).map).stale].any();
}

const float* State::weights_of(int map) const {
    return tolerance_ > 0.f && !dense_only_ ? weights_.data() + cuts_[map].index : nullptr;
}

std::span<const float> State::deviation(int map) const {
    if (plan_->checked(map).channels == 0 || dense_only_ || cuts_[map].index < 0)
        throw std::invalid_argument("the map is not under cutoff");
    return cuts_[map].deviation;
}

void State::set_weights(int map, std::span<const float> weights) {
    const Map& m = plan_->checked(map);
    if (dense_only_ || cuts_[map].index < 0) throw std::invalid_argument("the map is not under cutoff");
    if (static_cast<int>(weights.size()) != m.depth())
        throw std::invalid_argument("one weight per channel: expected " + std::to_string(m.depth()) + ", got " +
                                    std::to_string(weights.size()));
    for (float w : weights)
        if (!(w >= 0.f) || !std::isfinite(w)) throw std::invalid_argument("weights must be finite and at least 0");
    std::copy(weights.begin(), weights.end(), weights_.begin() + cuts_[map].index);
    cuts_[map].fixed = true;
    forget_frames();
}

void State::profile(bool on) {
    profiling_ = on;
    std::fill(op_seconds_.begin(), op_seconds_.end(), 0.0);
}

void State::step(std::span<const float* const> sources, std::span<float* const> targets, std::span<const ByteFrame> frames,
                 std::span<const int> slots) {
    if (sources.size() != plan_->inputs().size()) throw std::invalid_argument("one array per input is needed");
    const size_t wanted = dense_only_ && !dense_->work.stores ? 0 : plan_->outputs().size();
    if (!targets.empty() && targets.size() != wanted)
        throw std::invalid_argument(wanted ? "one array per output is needed" : "outputs are to be read after the step");
    if (dense_only_ && std::find(targets.begin(), targets.end(), nullptr) != targets.end())
        throw std::invalid_argument("one array per output is needed");
    const auto is_slot = [](int slot) { return slot == 0 || slot == 1; };
    const bool fits = !dense_only_ && slots.size() == targets.size() && !slots_.empty() && std::all_of(slots.begin(), slots.end(), is_slot);
    if (!slots.empty() && !fits) throw std::invalid_argument("one slot per array is needed, and renewed");
    check_frames(frames);
    Threads::Session team(*threads_);
    team.reserve(plan_->scratch_floats(dense_only_));
    was_dense_ = dense_only_ || !ready_;
    ready_ = false;  // a step that fails half-way makes the next one dense
    recomputed_macs_ = 0;
    turn_frames(frames);
    if (dense_only_) return run_dense(sources, targets, team);
    for (int i = 0; i < static_cast<int>(sources.size()); i++)
        load_rows(i, sources[i], 0, memory_.map(plan_->inputs()[i].map).height, team);
    for (int op = 0; op < static_cast<int>(plan_->ops().size()); op++) {
        if (!profiling_) {
            run_op(op, team);
            continue;
        }
        const auto start = std::chrono::steady_clock::now();
        run_op(op, team);
        op_seconds_[op] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    store_targets(targets, slots, team);
    ready_ = !was_dense_ || tolerance_ == 0.f || estimate();
}

void State::load_rows(int input, const float* source, int first, int last, Threads::Session& team) {
    const Border& border = plan_->inputs()[input];
    const Map& m = memory_.map(border.map);
    constexpr int kRows = 16;  // of a piece
    const int64_t row = static_cast<int64_t>(m.width) * m.channels;
    // Equal bytes are compared sooner than the others are awake.
    const bool known = has_frame(input) && byte_inputs_[static_cast<size_t>(input)].known;
    for (const int until = known ? static_cast<int>(std::min<int64_t>(last, first + kAlone / row)) : first; first < until;) {
        const int end = std::min(first + kRows, until);
        const bool differs = load_rows(input, source, first, end, team.scratch());
        first = end;
        if (differs) break;
    }
    if (first == last) return;
    std::atomic<int> next{first};
    const auto work = [&](float* scratch) {
        for (int start; (start = next.fetch_add(kRows, std::memory_order_relaxed)) < last;)
            load_rows(input, source, start, std::min(start + kRows, last), scratch);
    };
    if ((last - first) * row < kShare)
        work(team.scratch());
    else
        team.run(std::ref(work));
}

// false: frames of bytes told that nothing is another
bool State::load_rows(int input, const float* source, int first, int last, float* scratch) {
    if (has_frame(input)) return load_bytes(input, first, last, scratch);
    const Border& border = plan_->inputs()[input];
    const Map& m = memory_.map(border.map);
    for (int y = first; y < last; y++) {
        InputRow in{source + y * border.strides[0], static_cast<ptrdiff_t>(border.strides[1]),
                    static_cast<ptrdiff_t>(border.strides[2]), memory_.pixel(border.map, y, 0),
                    static_cast<ptrdiff_t>(m.pixel_stride), m.width, m.channels, scratch};
        plan_->kernels().input_row(in, was_dense_ ? nullptr : weights_of(border.map), tolerance_ * tolerance_, was_dense_,
                                   dense_only_ ? nullptr : stale_[m.stale].row(y));
    }
    return true;
}

void State::run_op(int index, Threads::Session& team) {
    if (plan_->done_by(index, false) != index) return;
    const Op& op = *plan_->ops()[index];
    const Map& o = memory_.map(op.out);
    const int front = plan_->front_of(index, false);
    runs_.clear();
    Cutoff cutoff;
    int64_t pixels = 0;
    if (was_dense_) {
        for (int y = 0; y < o.height; y++) runs_.push_back({y, 0, o.width, static_cast<int64_t>(y) * o.width});
        pixels = static_cast<int64_t>(o.height) * o.width;
        todo_[index].fill();
        if (front >= 0) todo_[front].fill();
        stale_[o.stale].fill();
    } else {
        op_inputs_.clear();
        bool any = false;
        for (int in : op.inputs) {
            op_inputs_.push_back(stale_[memory_.map(in).stale]);
            any = any || op_inputs_.back().any();
        }
        const Bits &todo = todo_[index], &moved = stale_[o.stale];
        todo.clear();
        if (front >= 0) todo_[front].clear();
        moved.clear();
        if (!any) return;
        op.spread(op_inputs_, todo, row_);
        if (op.cut)
            cutoff = {true, weights_of(op.out), tolerance_ * tolerance_, moved};
        else if (op.compares())
            cutoff = {true, nullptr, 0.f, moved};
        else
            moved.unite(todo);
    }
    if (was_dense_) {
        account(op, front, pixels);
        return dispatch(op, cutoff, pixels, front >= 0, team);
    }
    if (front >= 0) todo_[front].unite(todo_[index]);
    const int band = plan_->band_rows(o.width);
    for (int y = 0; y < o.height; y += band) {
        runs_.clear();
        pixels = collect_runs(todo_[index], y, std::min(y + band, o.height), runs_);
        account(op, front, pixels);
        if (pixels) dispatch(op, cutoff, pixels, front >= 0, team);
    }
}

void State::account(const Op& op, int front, int64_t pixels) {
    recomputed_macs_ += pixels * op.macs_per_pixel;
    if (front >= 0) recomputed_macs_ += pixels * plan_->ops()[front]->macs_per_pixel;
}

// Shares an op's runs among the team: pieces of about equal numbers of pixels, taken by whoever is free.
void State::dispatch(const Op& op, const Cutoff& cutoff, int64_t pixels, bool fused, Threads::Session& team) {
    const int64_t cost = op.pixel_cost(*memory_.maps);
    if (cost == 0) return;
    const Task whole{memory_, &plan_->kernels(), runs_, cutoff, team.scratch(), true, fused};
    const int64_t worth = was_dense_ ? kShare : kListedShare;
    const bool shares = team.count() > 1 && op.splits() && pixels * cost >= worth;
    if (const int slices = shares ? op.slices(whole, pixels, team.count()) : 1; slices > 1)
        return dispatch_slices(op, whole, slices, team);
    const int64_t block = op.block_pixels(plan_->kernels());
    if (!shares || pixels <= block) return op.run(whole);
    // Every piece reads all of an op's weights: an op with many of them is cut into no more pieces than there are members.
    const int64_t even = (pixels + team.count() - 1) / team.count();
    const int64_t least = was_dense_ ? kShare / 2 : kListedPiece;
    const int64_t wanted = std::max({pixels / (team.count() * 4), least / cost, op.grain(plan_->kernels()), int64_t{1}});
    const int64_t piece = wanted < even ? (wanted + block - 1) / block * block : (even + 1) / 2 * 2;
    const int pieces = static_cast<int>((pixels + piece - 1) / piece);
    // The caller takes pieces from the front and the others from the back: a member's pixels lie near those that it wrote
    // of the op before, which its own cache still holds.
    std::atomic<int> taken{0}, front{0}, back{0};
    const auto run_at = [&](int64_t pixel) {
        const auto after = std::upper_bound(runs_.begin(), runs_.end(), pixel, [](int64_t p, const Run& run) { return p < run.before; });
        return static_cast<size_t>(after - runs_.begin()) - 1;
    };
    // Where a piece begins: short runs are not divided, for what is left over of one would be computed by itself.
    const auto begin_of = [&](int p) {
        const int64_t pixel = p * piece;
        if (pixel >= pixels) return pixels;
        const Run& run = runs_[run_at(pixel)];
        return (run.x1 - run.x0) * 2 <= piece ? run.before : pixel;
    };
    const auto work = [&](float* scratch) {
        const bool forward = scratch == whole.scratch;
        while (taken.fetch_add(1, std::memory_order_relaxed) < pieces) {
            const int p = forward ? front.fetch_add(1, std::memory_order_relaxed)
                                  : pieces - 1 - back.fetch_add(1, std::memory_order_relaxed);
            int64_t first = begin_of(p);
            const int64_t last = begin_of(p + 1);
            for (size_t at = run_at(first); first < last;) {
                const Run& run = runs_[at];
                const int64_t end = run.before + run.x1 - run.x0;
                if (first == run.before && end <= last) {  // as many whole runs as the piece holds, in one call
                    const size_t until = last == pixels ? runs_.size() : run_at(last);
                    op.run({memory_, &plan_->kernels(), std::span<const Run>(runs_).subspan(at, until - at), cutoff, scratch, false, fused});
                    first = until == runs_.size() ? pixels : runs_[until].before;
                    at = until;
                    continue;
                }
                const int64_t reached = std::min(end, last);
                const Run part{run.y, static_cast<int>(run.x0 + first - run.before), static_cast<int>(run.x0 + reached - run.before)};
                op.run({memory_, &plan_->kernels(), std::span<const Run>(&part, 1), cutoff, scratch, false, fused});
                first = reached;
                at += reached == end;
            }
        }
    };
    team.run(std::ref(work));
}

// Shares an op's output channels among the team. What a stream's pixels become waits in the caller's scratch.
void State::dispatch_slices(const Op& op, const Task& whole, int slices, Threads::Session& team) {
    float* rows = whole.cutoff.compare ? whole.scratch : nullptr;
    std::atomic<int> next{0};
    const auto work = [&](float* scratch) {
        for (int s; (s = next.fetch_add(1, std::memory_order_relaxed)) < slices;) {
            Task task = whole;
            task.scratch = scratch;
            task.alone = false;
            task.slice = {s, slices, rows};
            op.run(task);
        }
    };
    team.run(std::ref(work));
    if (!rows) return;
    Task task = whole;
    task.slice.rows = rows;
    op.put_away(task);
}

}  // namespace reconv
