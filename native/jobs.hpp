// The work of a dense-only run as a list of jobs that make rows of maps, and the pieces of memory that they pass on.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "ops/op.hpp"

namespace reconv {

class Plan;

// Which rows of a map another's rows are made of, summed up over the rows from top to bottom.
struct Needs {
    std::vector<int> from;   // [y]: the first row that rows y and on are made of; at the end: none (INT_MAX)
    std::vector<int> until;  // [y]: past the last row that the rows before y are made of
    int height = 1;          // of the other map

    // until[y], continued at the same rate above the map's first row, where rows exist only in a schedule
    int wanted(int y) const {
        if (y > 0) return until[y];
        const int64_t rows = static_cast<int64_t>(until.size()) - 1, ahead = static_cast<int64_t>(-y) * height;
        return until[1] - static_cast<int>((ahead + height + rows - 1) / rows);
    }
};

struct Read {
    int map;
    std::shared_ptr<const Needs> needs;
};

struct Job {
    enum class Kind { load, run, store };  // a user's array into a map, an op, a map into a user's array
    Kind kind = Kind::run;
    int index = -1;            // of the input, op or output; -1: a copy that only dense runs make
    const Op* op = nullptr;
    int out = -1, height = 0;  // map (-1: none) and its rows
    bool fused = false;        // the op does an absorbed one as well
    bool again = false;        // a second time: starts another life of the root that it writes
    int64_t macs = 0;          // of all rows
    std::vector<Read> reads;

    int op_index() const { return kind == Kind::run ? index : -1; }
};

// What is done, in an order that could be another one: jobs only depend on one another through the maps. The maps are the
// plan's, but for those that a dense run keeps in a root of their own.
struct Work {
    std::vector<Map> maps;
    std::vector<Root> roots;
    std::vector<Job> jobs;
    std::vector<std::shared_ptr<const Op>> copies;
    std::vector<std::pair<int, std::shared_ptr<Op>>> twins;  // of the plan's ops, by index, for maps in a root of their own
    const Kernels* kernels = nullptr;
    bool stores = false;  // outputs are written as they come; otherwise their maps are whole at the end

    // Row of the root that a map's row lies in.
    int root_row(int map, int y) const;
    // Whether a map is the other one or a view of it, at any depth.
    bool within(int map, int of) const;
};

// stores: outputs are written to the user's arrays as they come, and need not be there at the end.
Work list_jobs(const Plan& plan, bool stores);

// Parts of wider maps that may wait in a root of their own until the other parts are made.
std::vector<int> detachable(const Work& work);
// The same work with that part made in a root of its own and copied into its place where the other parts are made.
Work detached(const Work& work, int part);
// The same work in another order: what an output is made of is made depth first, the first of an op's inputs first or last.
Work reordered(const Work& work, bool last_first);
struct Stretch;
struct Links;
// The same work with a job, and what is made of it, done after a later stretch that needs none of it; with `all`, what only
// these need is done there too. Without jobs where that cannot be.
Work delayed(const Work& work, const Links& links, int job, const Stretch& behind, bool all);
// The same work with the root's map made a second time before job `before`, out of what is at hand there. Nothing is
// added when the work would be the same or the map cannot be made again.
Work repeated(const Work& work, int root, int before);

// One life of a root, or of several in turn that lie in the same place.
struct Storage {
    struct Use {
        int job, read;  // read: index among the job's reads, -1: it writes
        int map;
    };
    std::vector<int> roots;
    std::vector<Use> uses;     // in order of the jobs
    int first = 0, last = 0;   // job
    int height = 0, top = 0, bottom = 0;
    int64_t row_floats = 0, lead = 0;
    uint32_t fill = 0;         // of what lies around the map

    int64_t floats(int rows) const;
    int64_t whole() const { return floats(top + height + bottom); }
    // offset of row 0 of the root from the storage's first float, when that one's first row is `base`
    int64_t row_zero(int base) const { return lead - base * row_floats; }
};

// Who hands what to whom.
struct Links {
    std::vector<Storage> storages;
    std::vector<std::vector<int>> touched;            // storages, by job
    std::vector<std::vector<Storage::Use>> consumers; // by job: the reads of what it writes

    explicit Links(const Work& work);
};

}  // namespace reconv
