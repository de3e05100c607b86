// Divides the jobs of a dense-only run into stretches: which of them run in bands, and in how many.
#pragma once

#include "bands.hpp"

namespace reconv {

// What a division costs: first the memory beyond a limit, then time.
struct Price {
    double excess = 0;       // floats, summed up over the stretches
    double nanoseconds = 0;  // that bands take longer, roughly

    bool operator<(const Price& o) const { return excess < o.excess || (excess == o.excess && nanoseconds < o.nanoseconds); }
    Price operator+(const Price& o) const { return {excess + o.excess, nanoseconds + o.nanoseconds}; }
};

struct Division {
    std::vector<Stretch> stretches;
    Price price;
    int64_t peak = 0;  // floats
};

class Divider {
public:
    // free_only: bands only where they cost no time
    Divider(const Work& work, bool free_only);

    // The division of the lowest price.
    Division within(int64_t limit);
    // The division whose largest stretch is the smallest.
    Division smallest();
    // Makes bands finer where they need more than the limit in truth.
    void refine(Division& division, int64_t limit);
    // Every job alone.
    Division alone() const;

    // Floats that live during a stretch.
    int64_t live(const Stretch& stretch);
    const Links& links() const { return links_; }

private:
    struct Option {
        int bands = 1;
        int64_t live = 0;
        double nanoseconds = 0;
    };
    template <class Visit>
    void stretches_from(int first, int64_t above, Visit&& visit);
    int first_again(int first) const;
    Option banded(int first, int last, int64_t whole, int64_t enough);

    const Work& work_;
    const bool free_only_;
    const Links links_;
    Bands bands_;
    std::vector<int64_t> alone_;  // floats that live while a job runs alone
    std::vector<bool> ends_;      // whether a stretch may begin or end before a job
    std::vector<bool> whole_reader_;  // by job: a row of it is made of most rows of another map, so bands would not do
};

// What the jobs cost in all, roughly.
double nanoseconds_of(const Job& job);

}  // namespace reconv
