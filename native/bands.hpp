// A stretch of jobs run in bands of rows: what is passed on inside it is kept only for as many rows as are still needed.
#pragma once

#include <utility>

#include "jobs.hpp"

namespace reconv {

// What a dense-only run does, step after step.
struct Step {
    enum class Kind {
        bind,   // a storage begins, its first row is `first`
        slide,  // a storage's first row becomes `first`: the rows from there to `last` are moved to its front
        border, // the rows [first, last) of a storage lie below the map: they hold what lies around it from now on
        run,    // the rows [first, last) of a job's map are made
        fork,   // all jobs of fork `what`, its branches at once
    };
    Kind kind;
    int what, first, last;  // what: storage or job
};

// Jobs [first, last) in `bands` bands; one job in one band is a plain dense op, several in one band are a fork's.
struct Stretch {
    int first, last, bands;
};

// Consecutive jobs in two branches or more: no job of one touches what a job of another writes.
struct Fork {
    int first, last;                         // jobs [first, last)
    std::vector<std::vector<int>> branches;  // jobs in their order, the branch with the most work first
};

// Storages that live and die inside a stretch: how many rows of each are there at a time.
struct Windows {
    std::vector<std::pair<int, int>> rows;  // storage, rows
    int64_t floats = 0;                     // of all of them
    int64_t moved = 0;                      // floats that slides move
};

class Bands {
public:
    Bands(const Work& work, const Links& links);

    // What the windows need, from a few bands at the top, in the middle and at the bottom: for a search.
    Windows estimate(const Stretch& stretch);
    // What they need in truth; appends the steps, without the binding of whole storages, where `steps` is given.
    Windows walk(const Stretch& stretch, std::vector<Step>* steps = nullptr);

private:
    struct Held {  // the rows of a storage that are there
        int storage, base = 0, top = 0, most = 0;
    };
    void open(const Stretch& stretch);
    void aim(const Stretch& stretch, int band);
    int lead(const Stretch& stretch);
    int lowest_needed(const Storage& storage) const;
    int highest_used(const Storage& storage) const;

    const Work& work_;
    const Links& links_;
    std::vector<int> wanted_;         // rows of each job after a band, less than 0 before its first is wanted
    std::vector<int> done_, target_;  // those that there are before and after a band
    std::vector<Held> held_;
};

}  // namespace reconv
