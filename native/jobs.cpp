#include "jobs.hpp"

#include <algorithm>
#include <limits>

#include "bands.hpp"
#include "plan.hpp"

namespace reconv {
namespace {

constexpr int64_t kAlign = 16;     // floats: storages start on cache lines
constexpr int64_t kOverread = 16;  // floats: the last vector of a pixel's channels may reach past them
constexpr int kNone = std::numeric_limits<int>::max();

int64_t aligned(int64_t floats) { return (floats + kAlign - 1) / kAlign * kAlign; }

template <class RowsOf>
std::shared_ptr<const Needs> needs_of(int height, int of, RowsOf rows_of) {
    auto needs = std::make_shared<Needs>();
    needs->height = of;
    needs->from.assign(height + 1, kNone);
    needs->until.assign(height + 1, 0);
    std::vector<Rows> rows;
    for (int y = 0; y < height; y++) rows.push_back(rows_of(y));
    for (int y = 0; y < height; y++) {
        const bool some = rows[y].first < rows[y].last;
        needs->until[y + 1] = std::max(needs->until[y], some ? rows[y].last : 0);
    }
    for (int y = height; y-- > 0;) {
        const bool some = rows[y].first < rows[y].last;
        needs->from[y] = std::min(needs->from[y + 1], some ? rows[y].first : kNone);
    }
    return needs;
}

Rows same_row(int y) { return {y, y + 1}; }

void add_run(Work& work, const Plan& plan, int index) {
    const Op& op = *plan.ops()[index];
    const int front = plan.front_of(index, true);
    Job job;
    job.index = index, job.op = &op, job.out = op.out, job.height = work.maps[op.out].height, job.fused = front >= 0;
    job.macs = plan.macs(index) + (front >= 0 ? plan.macs(front) : 0);
    for (int i = 0; i < static_cast<int>(op.inputs.size()); i++) {
        // an absorbed op's window is the one that is read through; what is between the two is never written
        const Op& reader = i == 0 && front >= 0 ? *plan.ops()[front] : op;
        const int map = reader.inputs[i];
        job.reads.push_back({map, needs_of(job.height, work.maps[map].height, [&](int y) { return reader.rows(i, y, work.maps); })});
    }
    work.jobs.push_back(std::move(job));
}

bool writes(const Job& job, int root, const Work& work) { return job.out >= 0 && work.maps[job.out].root == root; }

bool reads_root(const Job& job, int root, const Work& work) {
    return std::any_of(job.reads.begin(), job.reads.end(), [&](const Read& r) { return work.maps[r.map].root == root; });
}

// Maps that show the same pixels as `map`: itself and the channels that are read of it.
bool shows(const Work& work, int map, int of) {
    while (map != of && work.maps[map].view == View::channels) map = work.maps[map].parent;
    return map == of;
}

}  // namespace

bool Work::within(int map, int of) const {
    while (map >= 0 && map != of) map = maps[map].parent;
    return map == of;
}

int Work::root_row(int map, int y) const {
    for (; map >= 0; map = maps[map].parent) {
        const Map& m = maps[map];
        if (m.view == View::phase) y = m.phase_y + y * m.stride_y;
        if (m.view == View::pixels) y = 0;
    }
    return y;
}

Work list_jobs(const Plan& plan, bool stores) {
    Work work{plan.maps(), plan.roots(), {}, {}, {}, &plan.kernels(), stores};
    const auto add_border = [&](Job::Kind kind, int index, int map) {
        Job job;
        job.kind = kind, job.index = index, job.height = work.maps[map].height;
        if (kind == Job::Kind::load) job.out = map;
        else job.reads.push_back({map, needs_of(job.height, job.height, same_row)});
        work.jobs.push_back(std::move(job));
    };
    std::vector<bool> loaded(plan.inputs().size(), false);
    for (int op = 0; op < static_cast<int>(plan.ops().size()); op++) {
        if (plan.done_by(op, true) != op) continue;
        add_run(work, plan, op);
        // an input is loaded when it is wanted
        const Job job = work.jobs.back();
        work.jobs.pop_back();
        for (int i = 0; i < static_cast<int>(plan.inputs().size()); i++) {
            const int map = plan.inputs()[i].map;
            if (loaded[i] || !(reads_root(job, work.maps[map].root, work) || writes(job, work.maps[map].root, work))) continue;
            add_border(Job::Kind::load, i, map);
            loaded[i] = true;
        }
        work.jobs.push_back(job);
    }
    for (int i = 0; i < static_cast<int>(plan.inputs().size()); i++)
        if (!loaded[i]) add_border(Job::Kind::load, i, plan.inputs()[i].map);
    std::vector<std::pair<int, int>> outputs;  // place of the last job that makes it, index
    for (int i = 0; i < static_cast<int>(plan.outputs().size()); i++) {
        int at = 0;
        for (int j = 0; j < static_cast<int>(work.jobs.size()); j++)
            if (writes(work.jobs[j], work.maps[plan.outputs()[i].map].root, work)) at = j;
        outputs.emplace_back(stores ? at : static_cast<int>(work.jobs.size()) - 1, i);
    }
    std::sort(outputs.rbegin(), outputs.rend());
    for (const auto& [at, index] : outputs) {
        add_border(Job::Kind::store, index, plan.outputs()[index].map);
        std::rotate(work.jobs.begin() + at + 1, work.jobs.end() - 1, work.jobs.end());
    }
    return work;
}

std::vector<int> detachable(const Work& work) {
    std::vector<int> found;
    for (int part = 0; part < static_cast<int>(work.maps.size()); part++) {
        const Map& m = work.maps[part];
        if ((m.view != View::part && m.view != View::pixels) || work.maps[m.parent].view != View::whole) continue;
        bool free = true;
        int joins = 0;
        for (const Job& job : work.jobs) {
            free = free && !(job.out >= 0 && work.within(job.out, part) && job.kind != Job::Kind::run);
            for (size_t i = 0; i < job.reads.size(); i++) {
                if (!work.within(job.reads[i].map, part)) continue;
                if (job.out == m.parent) joins++;
                else free = free && !(job.fused && i == 0);  // the absorbed op's strides are kept by the other one
            }
        }
        if (free && joins == 1) found.push_back(part);
    }
    return found;
}

Work detached(const Work& before, int part) {
    Work work = before;
    const Map old = work.maps[part];
    Root root = work.roots[old.root];
    if (old.view == View::pixels) root.height = old.height, root.width = old.width, root.halo = {};
    root.channels = old.channels;
    root.row_stride = (root.width + root.halo.side) * static_cast<int64_t>(old.channels);
    root.origin = aligned(root.halo.top * root.row_stride + root.halo.side * static_cast<int64_t>(old.channels));
    const int place = static_cast<int>(work.maps.size());  // where it is copied to
    work.maps.push_back(old);
    work.maps[part].view = View::whole, work.maps[part].parent = -1, work.maps[part].first = 0;
    for (int id = part; id < place; id++)
        if (work.within(id, part)) {
            Map& m = work.maps[id];
            m.root = static_cast<int>(work.roots.size());
            m.lay_out(root, m.parent < 0 ? nullptr : &work.maps[m.parent]);
        }
    work.roots.push_back(root);
    auto copy = make_copy(part, place);
    copy->out = place, copy->inputs = {part};
    int join = 0;
    for (int j = 0; j < static_cast<int>(work.jobs.size()); j++) {
        Job& job = work.jobs[j];
        if (job.out == old.parent) {
            for (Read& read : job.reads)
                if (read.map == part) read.map = place;
            join = j;
            continue;
        }
        if (job.kind != Job::Kind::run) continue;
        bool moved = work.within(job.out, part) && job.op->keeps_strides(-1);
        for (size_t i = 0; i < job.reads.size(); i++)
            moved = moved || (work.within(job.reads[i].map, part) && job.op->keeps_strides(static_cast<int>(i)));
        if (!moved) continue;
        work.twins.emplace_back(job.index, job.op->twin(*work.kernels, work.maps));
        job.op = work.twins.back().second.get();
    }
    Job job;
    job.op = copy.get(), job.out = place, job.height = old.height;
    job.reads.push_back({part, needs_of(job.height, job.height, same_row)});
    work.copies.push_back(std::move(copy));
    work.jobs.insert(work.jobs.begin() + join, std::move(job));
    return work;
}

Work reordered(const Work& before, bool last_first) {
    const int count = static_cast<int>(before.jobs.size());
    std::vector<int> producer(before.maps.size(), -1);
    for (int j = 0; j < count; j++)
        if (before.jobs[j].out >= 0) producer[before.jobs[j].out] = j;
    Work work = before;
    work.jobs.clear();
    std::vector<bool> done(count, false);
    const auto visit = [&](auto&& self, int j) -> void {
        if (done[j]) return;
        done[j] = true;
        const auto& reads = before.jobs[j].reads;
        for (size_t i = 0; i < reads.size(); i++) {
            int map = reads[last_first ? reads.size() - 1 - i : i].map;
            while (producer[map] < 0 && before.maps[map].view == View::channels) map = before.maps[map].parent;
            if (producer[map] >= 0) self(self, producer[map]);
        }
        work.jobs.push_back(before.jobs[j]);
    };
    for (int j = 0; j < count; j++) {
        const bool read = std::any_of(before.jobs.begin(), before.jobs.end(), [&](const Job& job) {
            return std::any_of(job.reads.begin(), job.reads.end(), [&](const Read& r) { return shows(before, r.map, before.jobs[j].out); });
        });
        if (before.jobs[j].kind == Job::Kind::store || !read) visit(visit, j);
    }
    if (before.stores) return work;
    std::stable_partition(work.jobs.begin(), work.jobs.end(), [](const Job& job) { return job.kind != Job::Kind::store; });
    return work;
}

Work delayed(const Work& before, const Links& links, int job, const Stretch& behind, bool all) {
    Work work = before;
    work.jobs.clear();
    if (std::any_of(before.jobs.begin(), before.jobs.end(), [](const Job& j) { return j.again; })) return work;
    std::vector<bool> moved(before.jobs.size(), false);
    moved[job] = true;
    for (int j = job; j < behind.last; j++)
        if (moved[j])
            for (const auto& use : links.consumers[j]) moved[use.job] = true;
    for (int j = behind.first; j < behind.last; j++)
        if (moved[j]) return work;
    for (int j = job; all && j-- > 0;) {
        const auto& uses = links.consumers[j];
        moved[j] = !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](const auto& use) { return moved[use.job]; });
    }
    for (const bool late : {false, true})
        for (int j = 0; j < behind.last; j++)
            if (moved[j] == late) work.jobs.push_back(before.jobs[j]);
    work.jobs.insert(work.jobs.end(), before.jobs.begin() + behind.last, before.jobs.end());
    return work;
}

Work repeated(const Work& before, int root, int at) {
    std::vector<int> wanted{root}, made;
    std::vector<bool> taken(before.jobs.size(), false);
    while (!wanted.empty()) {
        const int next = wanted.back();
        wanted.pop_back();
        if (std::count(made.begin(), made.end(), next)) continue;
        made.push_back(next);
        int writers = 0;
        // the latest life that began before
        int start = 0;
        for (int j = 0; j < at; j++)
            if (before.jobs[j].again && writes(before.jobs[j], next, before)) start = j;
        for (int j = start; j < at; j++) {
            const Job& job = before.jobs[j];
            if (!writes(job, next, before)) continue;
            writers++;
            taken[j] = true;
            for (const Read& read : job.reads)
                if (const int from = before.maps[read.map].root; from != next) {
                    // still at hand: some job reads it later on
                    bool later = false;
                    for (int k = at; k < static_cast<int>(before.jobs.size()) && !later; k++) {
                        if (before.jobs[k].again && writes(before.jobs[k], from, before)) break;
                        later = reads_root(before.jobs[k], from, before);
                    }
                    if (!later) wanted.push_back(from);
                }
        }
        if (writers == 0) return before;
    }
    Work work = before;
    std::vector<Job> more;
    std::vector<int> started;
    for (int j = 0; j < at; j++)
        if (taken[j]) {
            Job job = before.jobs[j];
            const int to = before.maps[job.out].root;
            job.again = std::count(started.begin(), started.end(), to) == 0;
            started.push_back(to);
            more.push_back(std::move(job));
        }
    work.jobs.insert(work.jobs.begin() + at, more.begin(), more.end());
    return work;
}

int64_t Storage::floats(int rows) const { return aligned(2 * lead + rows * row_floats + kOverread); }

Links::Links(const Work& work) : touched(work.jobs.size()), consumers(work.jobs.size()) {
    std::vector<int> now(work.roots.size(), -1);      // storage of each root
    std::vector<int> producer(work.maps.size(), -1);  // job
    const auto read_only_by = [&](int root, int job) {  // of the root's present life
        for (int j = storages[now[root]].first; j < static_cast<int>(work.jobs.size()); j++) {
            if (j > job && work.jobs[j].again && writes(work.jobs[j], root, work)) return true;
            if (j != job && reads_root(work.jobs[j], root, work)) return false;
        }
        return true;
    };
    // what windows read around the map is put there once, when the storage begins
    const auto same_border = [&](const Storage& s, const Root& r) { return !r.halo.any() || s.fill == r.fill || (s.top == 0 && s.bottom == 0 && s.lead == 0); };
    const auto joined = [&](int j, int root) {  // the storage of an input that the job may write over, or -1
        const Job& job = work.jobs[j];
        if (job.kind != Job::Kind::run || work.maps[job.out].view != View::whole) return -1;
        for (size_t i = 0; i < job.reads.size(); i++) {
            const int map = job.reads[i].map, from = work.maps[map].root;
            const Root &a = work.roots[from], &b = work.roots[root];
            if (work.maps[map].view != View::whole || now[from] < 0 || job.fused || !job.op->may_overwrite(static_cast<int>(i), work.maps)) continue;
            if (a.row_stride != b.row_stride || a.width != b.width || a.channels != b.channels || a.height != b.height) continue;
            if (same_border(storages[now[from]], b) && read_only_by(from, j)) return now[from];
        }
        return -1;
    };
    for (int j = 0; j < static_cast<int>(work.jobs.size()); j++) {
        const Job& job = work.jobs[j];
        for (int i = 0; i < static_cast<int>(job.reads.size()); i++) {
            const int map = job.reads[i].map, s = now[work.maps[map].root];
            storages[s].uses.push_back({j, i, map});
            storages[s].last = std::max(storages[s].last, job.kind == Job::Kind::store && !work.stores ? static_cast<int>(work.jobs.size()) : j);
            touched[j].push_back(s);
            int from = map;
            while (producer[from] < 0 && work.maps[from].view == View::channels) from = work.maps[from].parent;
            if (producer[from] >= 0) consumers[producer[from]].push_back({j, i, map});
        }
        if (job.out >= 0) {
            const int root = work.maps[job.out].root;
            if (now[root] < 0 || job.again) {
                const Root& r = work.roots[root];
                now[root] = joined(j, root);
                if (now[root] < 0) {
                    now[root] = static_cast<int>(storages.size());
                    Storage s;
                    s.first = j, s.height = r.height, s.row_floats = r.row_stride;
                    s.lead = aligned(r.halo.side * static_cast<int64_t>(r.channels));
                    storages.push_back(s);
                }
                Storage& s = storages[now[root]];
                if (r.halo.any()) s.fill = r.fill;
                if (!std::count(s.roots.begin(), s.roots.end(), root)) s.roots.push_back(root);
                s.top = std::max(s.top, r.halo.top), s.bottom = std::max(s.bottom, r.halo.bottom);
            }
            Storage& s = storages[now[root]];
            s.uses.push_back({j, -1, job.out});
            s.last = std::max(s.last, j);
            touched[j].push_back(now[root]);
            producer[job.out] = j;
        }
        std::sort(touched[j].begin(), touched[j].end());
        touched[j].erase(std::unique(touched[j].begin(), touched[j].end()), touched[j].end());
    }
}

}  // namespace reconv
