// Follows the steps of a memory plan over a shadow of the block that knows of every float what was last put there, and says
// what goes wrong: a job that reads what is not there (any more), writes over what is still wanted, or leaves the block.
#pragma once

#include <string>
#include <vector>

#include "memory.hpp"
#include "plan.hpp"

namespace reconv {

class MemoryCheck {
public:
    MemoryCheck(const Plan& plan, const MemoryPlan& memory) : plan_(plan), memory_(memory), shadow_(static_cast<size_t>(memory.floats), kGarbage) {
        bases_.assign(memory.storages.size(), 0);
        present_.assign(memory.work.roots.size(), -1);
    }

    // The first fault, or nothing.
    std::string fault() {
        std::vector<int> rows(memory_.work.jobs.size(), 0);
        for (const Step& step : memory_.steps) {
            if (step.kind == Step::Kind::run) {
                if (step.first != rows[step.what]) return "a job skips rows";
                rows[step.what] = step.last;
                run(memory_.work.jobs[step.what], step.what, step.first, step.last);
            } else if (step.kind == Step::Kind::fork) {
                // Branches at once may take any order: the last one first shows whether one waits for another.
                const auto& branches = memory_.forks[static_cast<size_t>(step.what)].branches;
                for (auto branch = branches.rbegin(); branch != branches.rend(); ++branch)
                    for (int j : *branch) {
                        const Job& job = memory_.work.jobs[static_cast<size_t>(j)];
                        run(job, j, 0, job.height);
                        rows[static_cast<size_t>(j)] = job.height;
                    }
            } else {
                prepare(step);
            }
            if (!fault_.empty()) return fault_;
        }
        for (size_t j = 0; j < rows.size(); j++)
            if (rows[j] != memory_.work.jobs[j].height) return "a job is not done";
        return {};
    }

private:
    static constexpr int64_t kGarbage = -1;
    static int64_t border(uint32_t fill) { return -2 - static_cast<int64_t>(fill); }  // zeros, or zero points

    // What a float of a map is known by: storages that share a place are told apart by their roots.
    int64_t name(int root, int row, int64_t column) const { return ((static_cast<int64_t>(root) * 100'000 + row + 1000) << 24) + column; }

    int64_t address(int storage, int row) const {
        return memory_.places[storage].offset + memory_.storages[storage].row_zero(bases_[storage]) + row * memory_.storages[storage].row_floats;
    }

    int64_t& at(int64_t address, int storage) {
        const Place& place = memory_.places[storage];
        if (address < place.offset || address >= place.offset + place.floats || address >= memory_.floats) {
            if (fault_.empty()) fault_ = "a row lies outside its storage";
            return trash_;
        }
        return shadow_[static_cast<size_t>(address)];
    }

    void fill(int64_t first, int64_t last, int storage, int64_t what) {
        for (int64_t a = first; a < last; a++) at(a, storage) = what;
    }

    void prepare(const Step& step) {
        const Storage& s = memory_.storages[step.what];
        const Place& place = memory_.places[step.what];
        if (step.kind != Step::Kind::border)
            for (int root : s.roots) present_[root] = step.what;
        if (step.kind == Step::Kind::bind) {
            bases_[step.what] = step.first;
            fill(place.offset, place.offset + place.floats, step.what, border(s.fill));
            const Root& r = memory_.work.roots[s.roots.front()];
            if (place.whole)
                for (int y = 0; y < s.height; y++)
                    fill(address(step.what, y), address(step.what, y) + static_cast<int64_t>(r.width) * r.channels, step.what, kGarbage);
        } else if (step.kind == Step::Kind::slide) {
            std::vector<int64_t> kept;
            for (int64_t a = address(step.what, step.first); a < address(step.what, step.last); a++) kept.push_back(at(a, step.what));
            const int64_t to = address(step.what, bases_[step.what]);
            for (size_t i = 0; i < kept.size(); i++) at(to + static_cast<int64_t>(i), step.what) = kept[i];
            bases_[step.what] = step.first;
        } else {
            fill(address(step.what, step.first), address(step.what, step.last), step.what, border(s.fill));
        }
    }

    int storage_of(int map, int job) {
        int found = -1;
        for (size_t s = 0; s < memory_.storages.size(); s++)
            for (const auto& use : memory_.storages[s].uses)
                if (use.job == job && use.map == map) found = static_cast<int>(s);
        // a state knows one place of a root at a time
        if (present_[memory_.work.maps[map].root] != found && fault_.empty()) fault_ = "two lives of a root at once";
        return found;
    }

    // One row of a map, a pixel at a time: `visit` gets the address of a float and its name.
    template <class Visit>
    void row(int map, int y, int storage, Visit&& visit) {
        const Map& m = memory_.work.maps[map];
        const Root& r = memory_.work.roots[m.root];
        for (int x = 0; x < m.width; x++)
            for (int c = 0; c < m.channels; c++) {
                const int64_t from_origin = m.at(y, x) - r.origin + c;  // of row 0 of the root
                const int64_t row = from_origin >= 0 ? from_origin / r.row_stride : -1;
                visit(address(storage, 0) + from_origin, name(m.root, static_cast<int>(row), from_origin - row * r.row_stride));
            }
    }

    void run(const Job& job, int index, int first, int last) {
        for (size_t i = 0; i < job.reads.size(); i++) {
            const int map = job.reads[i].map, storage = storage_of(map, index);
            const Map& m = memory_.work.maps[map];
            const Root& root = memory_.work.roots[m.root];
            for (int y = first; y < last; y++) {
                const Rows rows = rows_of(job, static_cast<int>(i), y);
                for (int from = rows.first; from < rows.last; from++) {
                    if (from < -root.halo.top || from >= m.height + root.halo.bottom) continue;  // no kernel reads there
                    if (from < 0 || from >= m.height) {
                        if (scattered(map)) continue;  // pools, which leave out what is not in the map
                        for (int64_t a = address(storage, from); a < address(storage, from + 1); a++)
                            if (at(a, storage) != border(root.fill) && fault_.empty()) fault_ = "a window reads a border that is not there";
                    } else {
                        row(map, from, storage, [&](int64_t a, int64_t wanted) {
                            if (at(a, storage) != wanted && fault_.empty()) fault_ = "a job reads what is not there";
                        });
                    }
                    if (scattered(map) || root.halo.side == 0) continue;
                    for (int64_t a = address(storage, from) - root.halo.side * root.channels; a < address(storage, from); a++)
                        if (at(a, storage) != border(root.fill) && fault_.empty()) fault_ = "a window reads a gap that is not there";
                }
            }
        }
        if (job.out < 0) return;
        const int storage = storage_of(job.out, index);
        for (int y = first; y < last; y++)
            if (!is_join(job))
                row(job.out, y, storage, [&](int64_t a, int64_t what) { at(a, storage) = what; });
    }

    bool scattered(int map) const {
        for (; map >= 0; map = memory_.work.maps[map].parent)
            if (const View view = memory_.work.maps[map].view; view == View::phase || view == View::pixels) return true;
        return false;
    }

    bool is_join(const Job& job) const { return job.op && job.op->pixel_cost(memory_.work.maps) == 0; }

    Rows rows_of(const Job& job, int read, int y) const {
        if (job.kind != Job::Kind::run || job.index < 0) return {y, y + 1};
        if (job.fused && read == 0) return plan_.ops()[plan_.front_of(job.index, true)]->rows(0, y, memory_.work.maps);
        return job.op->rows(read, y, memory_.work.maps);
    }

    const Plan& plan_;
    const MemoryPlan& memory_;
    std::vector<int64_t> shadow_;
    std::vector<int> bases_, present_;  // present_: storage of each root
    std::string fault_;
    int64_t trash_ = 0;
};

}  // namespace reconv
